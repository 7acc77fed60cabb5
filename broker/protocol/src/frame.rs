//! A message as it goes to a socket: a length and chunks that share their bytes.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// What one vectored write takes at the most; more chunks go with the next.
const SLICES_MAX: usize = 64;

/// Length-prefixed bytes to send; what was sent is dropped from its front.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    chunks: VecDeque<Bytes>,
}

impl Frame {
    pub(crate) fn new(len: u32, chunks: Vec<Bytes>) -> Self {
        let prefix = Bytes::copy_from_slice(&len.to_be_bytes());
        Self {
            chunks: std::iter::once(prefix).chain(chunks).collect(),
        }
    }

    /// Bytes left to send.
    pub fn len(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }

    /// Whether everything was sent.
    pub fn is_empty(&self) -> bool {
        self.chunks.iter().all(Bytes::is_empty)
    }

    /// Appends another frame behind this one.
    pub fn append(&mut self, other: Self) {
        self.chunks.extend(other.chunks);
    }

    /// The next bytes for a vectored write.
    pub fn slices(&self) -> Vec<IoSlice<'_>> {
        self.chunks
            .iter()
            .take(SLICES_MAX)
            .map(|chunk| IoSlice::new(chunk))
            .collect()
    }

    /// Drops the first `sent` bytes.
    pub fn advance(&mut self, mut sent: usize) {
        while let Some(chunk) = self.chunks.front_mut() {
            if chunk.len() > sent {
                chunk.advance(sent);
                return;
            }
            sent -= chunk.len();
            self.chunks.pop_front();
        }
    }

    /// The whole frame in one piece, copied.
    pub fn to_vec(&self) -> Vec<u8> {
        self.chunks
            .iter()
            .flat_map(|chunk| chunk.iter().copied())
            .collect()
    }
}
