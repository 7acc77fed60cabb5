//! Encodes one frame; large byte strings are handed on, not copied.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::frame::{Chunk, External};
use crate::{ErrorCode, Frame, wire};

/// From here on it is cheaper to send bytes as a chunk of their own than to copy them.
const CHUNK_SIZE_MIN: usize = 1024;

/// The frame's length, kept free at its front until it is known.
const PREFIX_SIZE: usize = 4;

/// Takes most responses, and a Fetch response's fields between the records of a dozen partitions. Below
/// 1 KiB `BytesMut` forgets what it began with, and grows from nothing after each chunk.
const TAIL_SIZE: usize = 1024;

/// Collects a message's bytes in the version it was made for.
#[derive(Debug)]
pub struct Writer {
    /// The frame's first bytes, once a chunk stands behind them.
    head: Option<BytesMut>,
    /// What stands between `head` and `tail`.
    done: Vec<Chunk>,
    done_len: usize,
    tail: BytesMut,
    version: i16,
    flexible: bool,
    in_tag: bool,
    first_error: ErrorCode,
}

impl Writer {
    /// An empty message of `version`; `flexible` versions (KIP-482) have compact lengths and tagged fields.
    pub fn new(version: i16, flexible: bool) -> Self {
        let mut tail = BytesMut::with_capacity(TAIL_SIZE);
        tail.put_bytes(0, PREFIX_SIZE);
        Self {
            head: None,
            done: Vec::new(),
            done_len: 0,
            tail,
            version,
            flexible,
            in_tag: false,
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
        if bytes.len() < CHUNK_SIZE_MIN || self.in_tag {
            return self.put(bytes);
        }
        self.put_chunk(Chunk::Bytes(bytes.clone()));
    }

    /// A length, and a place for that many bytes that the sender supplies.
    pub fn put_external(&mut self, external: External) {
        self.length(Some(external.len as usize), wire::write_i32);
        self.put_chunk(Chunk::External(external));
    }

    fn put_chunk(&mut self, chunk: Chunk) {
        assert!(!self.in_tag, "no tagged field of Kafka's holds records");
        let before = self.tail.split();
        self.done_len += before.len() + chunk.len();
        if self.head.is_none() {
            self.head = Some(before);
        } else if !before.is_empty() {
            self.done.push(Chunk::Bytes(before.freeze()));
        }
        self.done.push(chunk);
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
        self.done_len + self.tail.len() - PREFIX_SIZE
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
            self.uvarint(len.wrapping_add(1) as u32)
        } else {
            classic(self, len)
        }
    }

    /// Writes `content` as one tagged field: tag, size, bytes.
    pub(crate) fn tagged(&mut self, tag: u32, content: impl FnOnce(&mut Self)) {
        self.uvarint(tag);
        let start = self.tail.len();
        self.in_tag = true;
        content(self);
        self.in_tag = false;
        // The size is known now: it goes behind the content, and changes places with it.
        let content_len = self.tail.len() - start;
        self.uvarint(content_len as u32);
        self.tail[start..].rotate_left(content_len);
    }

    /// The message with its length before it, ready to be sent.
    pub fn into_frame(mut self) -> Frame {
        let (len, first_error) = (self.len() as u32, self.first_error);
        let mut chunks = VecDeque::with_capacity(self.done.len() + 2);
        if let Some(mut head) = self.head.take() {
            head[..PREFIX_SIZE].copy_from_slice(&len.to_be_bytes());
            chunks.push_back(Chunk::Bytes(head.freeze()));
        } else {
            self.tail[..PREFIX_SIZE].copy_from_slice(&len.to_be_bytes());
        }
        chunks.extend(self.done);
        if !self.tail.is_empty() {
            chunks.push_back(Chunk::Bytes(self.tail.freeze()));
        }
        Frame::new(chunks, first_error)
    }

    /// The message's bytes without a length.
    pub fn into_chunks(self) -> Vec<Chunk> {
        let mut chunks: Vec<Chunk> = self.into_frame().into_chunks().into();
        if let Some(Chunk::Bytes(head)) = chunks.first_mut() {
            head.advance(PREFIX_SIZE);
        }
        chunks.retain(|chunk| !chunk.is_empty());
        chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(writer: Writer) -> Vec<u8> {
        writer.into_frame().to_vec()
    }

    #[test]
    fn a_frame_begins_with_the_length_of_what_follows() {
        let mut w = Writer::new(0, false);
        w.put(b"abc");
        assert_eq!(w.len(), 3);
        assert_eq!(bytes(w), b"\0\0\0\x03abc");
        assert_eq!(bytes(Writer::new(0, false)), b"\0\0\0\0");
    }

    #[test]
    fn records_of_a_kibibyte_are_shared_and_smaller_ones_copied() {
        let large = Bytes::from(vec![7; CHUNK_SIZE_MIN]);
        let small = large.slice(1..);
        let mut w = Writer::new(0, false);
        w.put(b"a");
        w.put_shared(&large);
        w.put_shared(&large);
        w.put_shared(&small);
        let len = w.len();
        let chunks = w.into_chunks();
        assert_eq!(chunks.len(), 4, "head, two shared chunks, tail");
        assert_eq!(chunks.iter().map(Chunk::len).sum::<usize>(), len);
        for chunk in &chunks[1..3] {
            let Chunk::Bytes(chunk) = chunk else {
                panic!("{chunk:?}")
            };
            assert_eq!(chunk.as_ptr(), large.as_ptr());
        }
    }

    #[test]
    fn an_external_chunk_counts_with_its_length() {
        let mut w = Writer::new(0, false);
        w.put_external(External { len: 10, token: 1 });
        assert_eq!(w.len(), 14);
        let chunks = w.into_chunks();
        assert_eq!(chunks[0], Chunk::Bytes(Bytes::from_static(b"\0\0\0\x0a")));
        assert_eq!(chunks[1], Chunk::External(External { len: 10, token: 1 }));
    }

    #[test]
    fn a_tagged_field_has_its_size_before_it() {
        for len in [0, 1, 127, 128, 20_000] {
            let content = Bytes::from(vec![9; len]);
            let mut w = Writer::new(0, true);
            w.tagged(5, |w| w.put_shared(&content));
            let written = Bytes::from(bytes(w)).slice(PREFIX_SIZE..);
            let (tag, found) = crate::Reader::new(written, 0, true).tag().unwrap();
            assert_eq!((tag, found), (5, content));
        }
    }
}
