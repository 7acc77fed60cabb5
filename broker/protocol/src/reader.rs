//! Decodes one frame without copying what it holds.

use bytes::{Buf, Bytes};
use thiserror::Error;

use crate::Wire;

/// A message's lists may take this many times its size in memory. Real requests stay under 12 where they
/// are small (a one-letter name takes 3 bytes on the wire and 32 in memory) and under 4 where they are
/// large (long names share the frame's bytes, numbers take as much as on the wire).
const MEMORY_PER_WIRE_BYTE: usize = 4;
const MEMORY_PER_WIRE_BYTE_SMALL: usize = 16;
const SMALL_SIZE_MAX: usize = 1024 * 1024;
const MEMORY_SLACK_BYTES: usize = 64 * 1024;

/// What the lists of a frame of this size may take in memory, in bytes.
const fn list_memory_max(frame_size: usize) -> usize {
    let small = if frame_size < SMALL_SIZE_MAX {
        frame_size
    } else {
        SMALL_SIZE_MAX
    };
    MEMORY_SLACK_BYTES
        + small * (MEMORY_PER_WIRE_BYTE_SMALL - MEMORY_PER_WIRE_BYTE)
        + frame_size * MEMORY_PER_WIRE_BYTE
}

/// Why bytes are not a message of the expected schema and version.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {problem}")]
pub struct DecodeError {
    /// `Struct.field` of the innermost field that could not be read.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong with a field's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Problem {
    /// Fewer bytes remain than the field needs.
    #[error("the frame ends inside it")]
    Truncated,
    /// A length that is negative where null is not allowed, or that exceeds what remains.
    #[error("length {0} does not fit the frame")]
    BadLength(i64),
    /// Null in a version that does not allow it.
    #[error("null is not allowed in this version")]
    UnexpectedNull,
    /// Text that is not UTF-8.
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// A varint of more than its type's bits.
    #[error("the variable-length number does not end")]
    BadVarint,
    /// The lists of this frame would take more memory than any real request.
    #[error("too many list elements for the frame's size")]
    TooManyElements,
    /// Bytes are left behind the message.
    #[error("{0} bytes are left behind the message")]
    Trailing(usize),
}

impl From<Problem> for DecodeError {
    fn from(problem: Problem) -> Self {
        Self { field: "", problem }
    }
}

impl DecodeError {
    /// Names the field, unless an inner one is named already.
    pub fn within(self, field: &'static str) -> Self {
        if self.field.is_empty() {
            Self { field, ..self }
        } else {
            self
        }
    }
}

/// What remains of a frame, and in which version it is to be read.
#[derive(Debug)]
pub struct Reader {
    buf: Bytes,
    version: i16,
    flexible: bool,
    list_memory_left: usize,
}

impl Reader {
    /// Reads `buf` as `version`; `flexible` versions (KIP-482) have compact lengths and tagged fields.
    pub fn new(buf: Bytes, version: i16, flexible: bool) -> Self {
        let list_memory_left = list_memory_max(buf.len());
        Self {
            buf,
            version,
            flexible,
            list_memory_left,
        }
    }

    /// The version that is being read.
    pub fn version(&self) -> i16 {
        self.version
    }

    /// Whether lengths are compact and tagged fields follow each struct.
    pub fn flexible(&self) -> bool {
        self.flexible
    }

    /// Sets the version once a header has told it.
    pub fn set_version(&mut self, version: i16, flexible: bool) {
        self.version = version;
        self.flexible = flexible;
    }

    /// Bytes not yet read.
    pub fn remaining(&self) -> usize {
        self.buf.len()
    }

    /// The unread rest, shared.
    pub fn into_rest(self) -> Bytes {
        self.buf
    }

    /// Fails if anything is left: a message ends where its frame ends.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.buf.len() {
            0 => Ok(()),
            left => Err(Problem::Trailing(left).into()),
        }
    }

    /// The next `len` bytes, shared and not copied.
    pub fn take(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        if len > self.buf.len() {
            return Err(Problem::Truncated.into());
        }
        Ok(self.buf.split_to(len))
    }

    /// The next `N` bytes by value.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some(bytes) = self.buf.first_chunk::<N>().copied() else {
            return Err(Problem::Truncated.into());
        };
        self.buf.advance(N);
        Ok(bytes)
    }

    /// An unsigned LEB128 number of at most 32 bits.
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let mut value: u32 = 0;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0x0f {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Problem::BadVarint.into())
    }

    /// A string's or byte string's length; `None` is null. `classic` reads the length of old versions.
    pub(crate) fn length(
        &mut self,
        classic: fn(&mut Self) -> Result<i64, DecodeError>,
    ) -> Result<Option<usize>, DecodeError> {
        let len = if self.flexible {
            i64::from(self.uvarint()?) - 1
        } else {
            classic(self)?
        };
        match usize::try_from(len) {
            Ok(len) if len <= self.buf.len() => Ok(Some(len)),
            _ if len == -1 => Ok(None),
            _ => Err(Problem::BadLength(len).into()),
        }
    }

    /// One tagged field: its tag and its bytes.
    pub(crate) fn tag(&mut self) -> Result<(u32, Bytes), DecodeError> {
        let tag = self.uvarint()?;
        let len = self.uvarint()? as usize;
        Ok((tag, self.take(len)?))
    }

    /// Reads a value that takes all of `content`, a tagged field's bytes. What it takes in memory counts
    /// for the whole frame.
    pub(crate) fn all_of<T: Wire>(&mut self, content: &Bytes) -> Result<T, DecodeError> {
        let rest = std::mem::replace(&mut self.buf, content.clone());
        let value = T::read(self)?;
        self.finish()?;
        self.buf = rest;
        Ok(value)
    }

    /// Accounts for `count` more list elements of this size in memory.
    pub(crate) fn charge(&mut self, count: usize, size: usize) -> Result<(), DecodeError> {
        let left = count
            .checked_mul(size)
            .and_then(|bytes| self.list_memory_left.checked_sub(bytes));
        self.list_memory_left = left.ok_or(Problem::TooManyElements)?;
        Ok(())
    }
}
