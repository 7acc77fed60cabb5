//! A message as it goes to a socket: a length, bytes, and references to bytes that lie elsewhere.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{DecodeError, ErrorCode, Reader, Wire, Writer};

/// One piece of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk {
    /// Bytes that are here.
    Bytes(Bytes),
    /// Bytes that the sender fetches when their turn comes, such as a part of a log segment.
    External(External),
}

/// Stands for `len` bytes that only the sender can find; `token` is its name for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct External {
    /// How many bytes.
    pub len: u32,
    /// Which ones: an index into the sender's own list.
    pub token: u32,
}

impl Chunk {
    /// Bytes that this piece takes on the wire.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::External(external) => external.len as usize,
        }
    }

    /// Whether the piece takes no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A message with its length before it, in pieces.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    chunks: VecDeque<Chunk>,
    first_error: ErrorCode,
}

impl Frame {
    /// `chunks` begin with the length.
    pub(crate) fn new(chunks: VecDeque<Chunk>, first_error: ErrorCode) -> Self {
        Self {
            chunks,
            first_error,
        }
    }

    /// The first error code in the message that is one, for counting.
    pub fn first_error(&self) -> ErrorCode {
        self.first_error
    }

    /// Bytes on the wire, the length's own four included.
    pub fn len(&self) -> usize {
        self.chunks.iter().map(Chunk::len).sum()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.chunks.iter().all(Chunk::is_empty)
    }

    /// The pieces, in order.
    pub fn into_chunks(self) -> VecDeque<Chunk> {
        self.chunks
    }

    /// The whole frame in one piece. Only for messages without external chunks, such as requests.
    ///
    /// # Panics
    /// Where a chunk is external: only a broker's Fetch responses have such, and it sends them in pieces.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len());
        for chunk in &self.chunks {
            match chunk {
                Chunk::Bytes(chunk) => bytes.extend_from_slice(chunk),
                Chunk::External(_) => panic!("an external chunk has no bytes of its own"),
            }
        }
        bytes
    }
}

/// Record batches of a Fetch response: bytes, or a place that the sender reads them from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Records {
    /// Batches that are here; what a reader always gets.
    Bytes(Bytes),
    /// Batches that the sender reads when their turn comes.
    External(External),
}

impl Default for Records {
    fn default() -> Self {
        Self::Bytes(Bytes::new())
    }
}

impl Records {
    /// Size in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::External(external) => external.len as usize,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, where they are here: always on the reading side.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::External(_) => Bytes::new(),
        }
    }
}

impl Wire for Option<Records> {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        Ok(Option::<Bytes>::read(r)?.map(Records::Bytes))
    }
    fn write(&self, w: &mut Writer) {
        match self {
            None => None::<Bytes>.write(w),
            Some(records) => records.write(w),
        }
    }
}

impl Wire for Records {
    fn read(r: &mut Reader) -> Result<Self, DecodeError> {
        Bytes::read(r).map(Self::Bytes)
    }
    fn write(&self, w: &mut Writer) {
        match self {
            Self::Bytes(bytes) => bytes.write(w),
            Self::External(external) => w.put_external(*external),
        }
    }
}
