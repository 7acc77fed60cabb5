//! Encodes one frame; large byte strings are handed on, not copied.

use bytes::{BufMut, Bytes, BytesMut};

use crate::frame::{Chunk, External};
use crate::{ErrorCode, Frame, schema};

/// From here on it is cheaper to send bytes as a chunk of their own than to copy them.
const CHUNK_SIZE_MIN: usize = 1024;

/// Collects a message's bytes in the version it was made for.
#[derive(Debug)]
pub struct Writer {
    done: Vec<Chunk>,
    done_len: usize,
    tail: BytesMut,
    version: i16,
    flexible: bool,
    first_error: ErrorCode,
}

impl Writer {
    /// An empty message of `version`; `flexible` versions (KIP-482) have compact lengths and tagged fields.
    pub fn new(version: i16, flexible: bool) -> Self {
        let tail = BytesMut::with_capacity(128);
        Self {
            done: Vec::new(),
            done_len: 0,
            tail,
            version,
            flexible,
            first_error: ErrorCode::None,
        }
    }

    /// The version that is being written.
    pub fn version(&self) -> i16 {
        self.version
    }

    /// Whether lengths are compact and tagged fields follow each struct.
    pub fn flexible(&self) -> bool {
        self.flexible
    }

    /// Sets whether what follows is flexible: headers and bodies differ.
    pub fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    /// Copies raw bytes.
    pub fn put(&mut self, bytes: &[u8]) {
        self.tail.put_slice(bytes);
    }

    /// Appends raw bytes, sharing them where that is cheaper than a copy.
    pub fn put_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < CHUNK_SIZE_MIN {
            return self.put(bytes);
        }
        self.put_chunk(Chunk::Bytes(bytes.clone()));
    }

    /// A length, and a place for that many bytes that the sender supplies.
    pub fn put_external(&mut self, external: External) {
        self.length(Some(external.len as usize), schema::write_i32);
        self.put_chunk(Chunk::External(external));
    }

    fn put_chunk(&mut self, chunk: Chunk) {
        let head = Chunk::Bytes(self.tail.split().freeze());
        for chunk in [head, chunk] {
            self.done_len += chunk.len();
            self.done.push(chunk);
        }
    }

    /// An unsigned LEB128 number.
    pub fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.tail.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.tail.put_u8(value as u8);
    }

    /// Remembers the first error that the message tells, for counting.
    pub(crate) fn note_error(&mut self, error: ErrorCode) {
        if self.first_error.is_none() {
            self.first_error = error;
        }
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.done_len + self.tail.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The length of a list or byte string, or null; `classic` writes the length of old versions.
    pub(crate) fn length(&mut self, len: Option<usize>, classic: fn(&mut Self, i32)) {
        // A frame is bounded to far less than 2^31 bytes, so a length always fits.
        let len = len.map_or(-1, |len| i32::try_from(len).unwrap_or(i32::MAX));
        if self.flexible {
            self.uvarint((len + 1) as u32)
        } else {
            classic(self, len)
        }
    }

    /// Writes `content` as one tagged field: tag, size, bytes.
    pub(crate) fn tagged(&mut self, tag: u32, content: impl FnOnce(&mut Self)) {
        let mut inner = Self::new(self.version, self.flexible);
        content(&mut inner);
        self.uvarint(tag);
        self.uvarint(inner.len() as u32);
        for chunk in inner.into_chunks() {
            match chunk {
                Chunk::Bytes(bytes) => self.put(&bytes),
                chunk => self.put_chunk(chunk),
            }
        }
    }

    /// The message with its length before it, ready to be sent.
    pub fn into_frame(self) -> Frame {
        let (len, first_error) = (self.len() as u32, self.first_error);
        Frame::new(len, self.into_chunks(), first_error)
    }

    /// The message's bytes without a length.
    pub fn into_chunks(mut self) -> Vec<Chunk> {
        if !self.tail.is_empty() {
            self.done.push(Chunk::Bytes(self.tail.freeze()));
        }
        self.done
    }
}
