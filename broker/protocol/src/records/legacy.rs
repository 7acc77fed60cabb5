//! Message sets of magic 0 and 1, as clients before Kafka 0.11 write and read them.
//!
//! | at | field | type |
//! | --- | --- | --- |
//! | 0 | offset | i64 |
//! | 8 | size, behind itself | i32 |
//! | 12 | CRC-32 of all that follows it | u32 |
//! | 16 | magic | i8 |
//! | 17 | attributes: 0-2 codec, 3 timestamp type (magic 1) | i8 |
//! | 18 | timestamp, ms (magic 1) | i64 |
//! | 18 or 26 | key's length or -1, key | i32, bytes |
//! | | value's length or -1, value | i32, bytes |
//!
//! A compressed set is the value of one message, the wrapper. Its offset is that of the last message in
//! it; magic 1 counts the offsets inside from any base (KIP-31), magic 0 has the true ones. One level deep.

use bytes::{Buf, Bytes};
use thiserror::Error;

use super::compression::{Lz4Header, decompress};
use super::{Compression, LOG_OVERHEAD, Record, RecordsProblem};

const MAGIC_AT: usize = 16;
const CRC_SIZE: usize = 4;
const LOG_APPEND_TIME: i8 = 0x08;

/// The two old message formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum Magic {
    /// Without timestamps: Kafka below 0.10.
    V0 = 0,
    /// With timestamps: Kafka 0.10 (KIP-32).
    V1 = 1,
}

impl Magic {
    /// Bytes of a message behind its size field without key and value.
    const fn overhead(self) -> usize {
        match self {
            Self::V0 => 14,
            Self::V1 => 22,
        }
    }

    pub(super) fn lz4_header(self) -> Lz4Header {
        match self {
            Self::V0 => Lz4Header::Magic0,
            Self::V1 => Lz4Header::Standard,
        }
    }
}

/// Why bytes are not a message set of magic 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LegacyProblem {
    /// The set ends inside a message; on a fetch that is normal for the last one.
    #[error("the message set ends inside a message")]
    Truncated,
    /// A size below that of an empty message.
    #[error("message size {0} is below an empty message's")]
    BadSize(i32),
    /// Neither magic 0 nor 1.
    #[error("magic {0} is not an old message's")]
    BadMagic(i8),
    /// The checksum does not match.
    #[error("a message's checksum {computed:#010x} is not the stored {stored:#010x}")]
    BadCrc {
        /// What the message says.
        stored: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// A key or value that goes beyond its message, or ends before it.
    #[error("length {0} does not fit its message")]
    BadLength(i32),
    /// A codec that these formats don't have.
    #[error("codec {0} does not exist below magic 2")]
    BadCodec(i8),
    /// A compressed message in a compressed one.
    #[error("a compressed message holds a compressed message")]
    Nested,
    /// A compressed message that holds none.
    #[error("a compressed message holds no messages")]
    EmptyWrapper,
    /// Messages of different formats in one set.
    #[error("the set mixes message formats")]
    MixedMagic,
    /// A message that would exceed 2 GiB.
    #[error("a message would exceed 2 GiB")]
    TooLarge,
}

/// One message as it lies in a set; a wrapper is not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its offset; in a produce request and in a wrapper of magic 1 not the final one.
    pub offset: i64,
    /// Its format.
    pub magic: Magic,
    /// Codec and timestamp type.
    pub attributes: i8,
    /// Milliseconds since 1970; -1 in magic 0.
    pub timestamp: i64,
    /// The key; null is `None`.
    pub key: Option<Bytes>,
    /// The value; null is `None`.
    pub value: Option<Bytes>,
}

impl Message {
    /// How its value, then a message set, is compressed.
    pub fn compression(&self) -> Result<Compression, LegacyProblem> {
        match Compression::from_attributes(self.attributes.into()) {
            Some(Compression::Zstd) | None => Err(LegacyProblem::BadCodec(self.attributes & 7)),
            Some(codec) => Ok(codec),
        }
    }

    /// Whether its timestamp is the broker's (LogAppendTime).
    pub fn is_log_append_time(&self) -> bool {
        self.magic == Magic::V1 && self.attributes & LOG_APPEND_TIME != 0
    }

    /// As a record.
    pub fn into_record(self) -> Record {
        Record {
            offset: self.offset,
            timestamp: self.timestamp,
            key: self.key,
            value: self.value,
            headers: Vec::new(),
        }
    }
}

/// The messages of a set as they lie, wrappers closed, each with its CRC checked. Ends behind the first
/// problem; a last message that is cut short is [`LegacyProblem::Truncated`].
#[derive(Debug, Clone)]
pub struct Messages {
    rest: Bytes,
}

impl Messages {
    /// The messages in `set`.
    pub fn new(set: &Bytes) -> Self {
        Self { rest: set.clone() }
    }
}

impl Iterator for Messages {
    type Item = Result<Message, LegacyProblem>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let message = take_message(&mut self.rest);
        if message.is_err() {
            self.rest.clear();
        }
        Some(message)
    }
}

/// The size of the whole message at the front of `set`, and its offset.
pub(super) fn measure(set: &[u8]) -> Result<(usize, i64), LegacyProblem> {
    let Some(front) = set.first_chunk::<LOG_OVERHEAD>() else {
        return Err(LegacyProblem::Truncated);
    };
    let [offset @ .., s0, s1, s2, s3] = *front;
    let size = i32::from_be_bytes([s0, s1, s2, s3]);
    if size < Magic::V0.overhead() as i32 {
        return Err(LegacyProblem::BadSize(size));
    }
    let whole = LOG_OVERHEAD + size as usize;
    if set.len() < whole {
        return Err(LegacyProblem::Truncated);
    }
    Ok((whole, i64::from_be_bytes(offset)))
}

fn take_message(set: &mut Bytes) -> Result<Message, LegacyProblem> {
    let (whole, offset) = measure(set)?;
    let magic = match set[MAGIC_AT] as i8 {
        0 => Magic::V0,
        1 => Magic::V1,
        other => return Err(LegacyProblem::BadMagic(other)),
    };
    if whole < LOG_OVERHEAD + magic.overhead() {
        return Err(LegacyProblem::BadSize((whole - LOG_OVERHEAD) as i32));
    }
    let mut message = set.split_to(whole);
    message.advance(LOG_OVERHEAD);
    let stored = message.get_u32();
    let computed = crc32fast::hash(&message);
    if stored != computed {
        return Err(LegacyProblem::BadCrc { stored, computed });
    }
    message.advance(1);
    let attributes = message.get_i8();
    let timestamp = match magic {
        Magic::V0 => -1,
        Magic::V1 => message.get_i64(),
    };
    let key = take_field(&mut message)?;
    let value = take_field(&mut message)?;
    if !message.is_empty() {
        return Err(LegacyProblem::BadLength(message.len() as i32));
    }
    Ok(Message {
        offset,
        magic,
        attributes,
        timestamp,
        key,
        value,
    })
}

fn take_field(message: &mut Bytes) -> Result<Option<Bytes>, LegacyProblem> {
    let len = message
        .try_get_i32()
        .map_err(|_| LegacyProblem::BadLength(-1))?;
    match usize::try_from(len) {
        Ok(size) if size <= message.len() => Ok(Some(message.split_to(size))),
        Err(_) if len == -1 => Ok(None),
        _ => Err(LegacyProblem::BadLength(len)),
    }
}

/// The messages in a wrapper, with their true offsets and timestamps.
#[derive(Debug, Clone)]
pub struct OpenWrapper {
    messages: Messages,
    magic: Magic,
    /// What the offsets inside lack.
    offset_shift: i64,
    log_append_time: Option<i64>,
    /// Decompressed bytes.
    size: usize,
}

impl OpenWrapper {
    /// Opens a compressed message. Decompresses at most `limit` bytes.
    pub fn open(wrapper: &Message, limit: usize) -> Result<Self, RecordsProblem> {
        let value = wrapper.value.as_ref().ok_or(LegacyProblem::EmptyWrapper)?;
        let mut set = Vec::new();
        let header = wrapper.magic.lz4_header();
        decompress(wrapper.compression()?, header, value, limit, &mut set)?;
        let last_inside = last_offset(&set)?;
        Ok(Self {
            size: set.len(),
            messages: Messages::new(&set.into()),
            magic: wrapper.magic,
            offset_shift: match wrapper.magic {
                Magic::V0 => 0,
                Magic::V1 => wrapper.offset.wrapping_sub(last_inside),
            },
            log_append_time: wrapper.is_log_append_time().then_some(wrapper.timestamp),
        })
    }

    /// How many bytes it holds, decompressed.
    pub fn size(&self) -> usize {
        self.size
    }

    fn adopt(&self, mut message: Message) -> Result<Message, LegacyProblem> {
        if message.magic != self.magic {
            return Err(LegacyProblem::MixedMagic);
        }
        if message.compression()? != Compression::None {
            return Err(LegacyProblem::Nested);
        }
        message.offset = message.offset.wrapping_add(self.offset_shift);
        message.timestamp = self.log_append_time.unwrap_or(message.timestamp);
        Ok(message)
    }
}

impl Iterator for OpenWrapper {
    type Item = Result<Message, LegacyProblem>;

    fn next(&mut self) -> Option<Self::Item> {
        let message = self.messages.next()?;
        Some(message.and_then(|message| self.adopt(message)))
    }
}

fn last_offset(set: &[u8]) -> Result<i64, LegacyProblem> {
    let mut rest = set;
    let mut last = Err(LegacyProblem::EmptyWrapper);
    while !rest.is_empty() {
        let (whole, offset) = measure(rest)?;
        rest = &rest[whole..];
        last = Ok(offset);
    }
    last
}

/// All messages of a set, those in wrappers too, with their true offsets and timestamps. Ends behind the
/// first problem.
#[derive(Debug, Clone)]
pub struct DeepMessages {
    outer: Messages,
    inner: Option<OpenWrapper>,
    limit_left: usize,
}

impl DeepMessages {
    /// The messages in `set`; its wrappers may hold `limit` bytes in all when decompressed.
    pub fn new(set: &Bytes, limit: usize) -> Self {
        Self {
            outer: Messages::new(set),
            inner: None,
            limit_left: limit,
        }
    }

    fn step(&mut self) -> Result<Option<Message>, RecordsProblem> {
        loop {
            if let Some(message) = self.inner.as_mut().and_then(Iterator::next) {
                return Ok(Some(message?));
            }
            self.inner = None;
            let Some(message) = self.outer.next().transpose()? else {
                return Ok(None);
            };
            if message.compression()? == Compression::None {
                return Ok(Some(message));
            }
            let wrapper = OpenWrapper::open(&message, self.limit_left)?;
            self.limit_left -= wrapper.size();
            self.inner = Some(wrapper);
        }
    }
}

impl Iterator for DeepMessages {
    type Item = Result<Message, RecordsProblem>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step().transpose();
        if matches!(step, Some(Err(_))) {
            *self = Self::new(&Bytes::new(), 0);
        }
        step
    }
}

/// What a message is made of when it is written.
#[derive(Debug, Clone, Copy)]
pub struct NewMessage<'a> {
    /// Its offset: see [`Message::offset`].
    pub offset: i64,
    /// How its value, then a message set, is compressed.
    pub compression: Compression,
    /// Whether the timestamp is the broker's. Magic 0 drops it.
    pub is_log_append_time: bool,
    /// Milliseconds since 1970. Magic 0 drops it.
    pub timestamp: i64,
    /// The key; null is `None`.
    pub key: Option<&'a [u8]>,
    /// The value; null is `None`.
    pub value: Option<&'a [u8]>,
}

impl NewMessage<'_> {
    /// Appends the message to a set.
    pub fn put(&self, magic: Magic, out: &mut Vec<u8>) -> Result<(), LegacyProblem> {
        let size = [self.key, self.value]
            .into_iter()
            .flatten()
            .fold(magic.overhead(), |size, field| {
                size.saturating_add(field.len())
            });
        let size = i32::try_from(size).map_err(|_| LegacyProblem::TooLarge)?;
        out.extend_from_slice(&self.offset.to_be_bytes());
        out.extend_from_slice(&size.to_be_bytes());
        let crc_at = out.len();
        out.extend_from_slice(&[0; CRC_SIZE]);
        out.push(magic as u8);
        let time_flag = match magic {
            Magic::V1 if self.is_log_append_time => LOG_APPEND_TIME as u8,
            _ => 0,
        };
        out.push(self.compression as u8 | time_flag);
        if magic == Magic::V1 {
            out.extend_from_slice(&self.timestamp.to_be_bytes());
        }
        put_field(out, self.key);
        put_field(out, self.value);
        let crc = crc32fast::hash(&out[crc_at + CRC_SIZE..]);
        out[crc_at..crc_at + CRC_SIZE].copy_from_slice(&crc.to_be_bytes());
        Ok(())
    }
}

fn put_field(out: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        None => out.extend_from_slice(&(-1_i32).to_be_bytes()),
        Some(field) => {
            out.extend_from_slice(&(field.len() as i32).to_be_bytes());
            out.extend_from_slice(field);
        }
    }
}
