//! Whether a produce request's batch may become part of a log: the checks of Kafka's `LogValidator`.
//!
//! | checked | uncompressed | compressed |
//! | --- | --- | --- |
//! | one whole batch of magic 2, its size, CRC, codec, counts, producer fields | always | always |
//! | each record's lengths, its offset delta, timestamp, key | always, where they lie | where [`Rules::must_open`] says so |
//!
//! The walk over uncompressed records allocates nothing and touches no key or value.

use std::ops::RangeInclusive;

use bytes::Bytes;
use thiserror::Error;

use super::compression::{CompressionProblem, Lz4Header, decompress};
use super::record::{RECORD_SIZE_MIN, take_record};
use super::{BATCH_HEADER_SIZE, BatchHeader, BatchProblem, Compression, RawRecord, RecordProblem};
use crate::ErrorCode;

/// Produce versions from here on carry exactly one batch of magic 2 per partition (KIP-98).
const ONE_BATCH_SINCE: i16 = 3;
/// Produce versions from here on may carry zstd (KIP-110).
const ZSTD_SINCE: i16 = 7;
/// How many refused records an answer names: one that names all could be larger than the request.
const REFUSED_RECORDS_MAX: usize = 100;
/// Scratch memory that is kept for the next batch; more than this is given back.
const SCRATCH_KEPT_SIZE: usize = 1024 * 1024;
/// A record without a timestamp.
const NO_TIMESTAMP: i64 = -1;

/// What a topic asks of its batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// `max.message.bytes`: a batch's largest size, header included.
    pub batch_size_max: usize,
    /// Whether each record must have a key: `cleanup.policy` has `compact`.
    pub keys_required: bool,
    /// Which timestamps are taken, ms since 1970: `message.timestamp.before.max.ms` and `after.max.ms`
    /// around now; everything for a topic with LogAppendTime.
    pub timestamps: RangeInclusive<i64>,
    /// Whether compressed batches are opened even where nothing else calls for it.
    pub open_compressed: bool,
    /// The most bytes that a compressed batch may hold.
    pub decompressed_size_max: usize,
}

/// A batch that may be stored once it has its base offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Its header, as sent.
    pub header: BatchHeader,
    /// The largest timestamp among its records. Some clients don't set the header's: where the two differ,
    /// store [`BatchHeader::with_max_timestamp`].
    pub max_timestamp: i64,
}

/// Why a batch is not stored.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[allow(missing_docs)] // the texts say it
pub enum Refusal {
    #[error(transparent)]
    Batch(#[from] BatchProblem),
    #[error(transparent)]
    Record(#[from] RecordProblem),
    #[error(transparent)]
    Compression(#[from] CompressionProblem),
    #[error("there is no record batch for the partition")]
    NoBatch,
    #[error("{0} bytes follow the partition's one record batch")]
    ManyBatches(usize),
    #[error("magic {magic} is not allowed in version {version} of Produce")]
    MagicNotAllowed { magic: i8, version: i16 },
    #[error("zstd is not allowed in version {0} of Produce")]
    ZstdNotAllowed(i16),
    #[error("the batch has {size} bytes, and the topic takes {size_max}")]
    TooLarge { size: usize, size_max: usize },
    #[error("the batch starts at offset {0} instead of 0")]
    BadBaseOffset(i64),
    #[error("the batch counts {count} records up to offset delta {last_offset_delta}")]
    BadCount { count: i32, last_offset_delta: i32 },
    #[error("clients may not write control records")]
    Control,
    #[error("sequence {0} in a batch with a producer id")]
    BadSequence(i32),
    #[error("producer id {id} with epoch {epoch}")]
    BadProducer { id: i64, epoch: i16 },
    #[error("a transactional batch without a producer id")]
    TransactionWithoutProducer,
    #[error("producers may not set the timestamp type to LogAppendTime")]
    LogAppendTime,
    #[error("{} of its records are refused, the first: {}", .0.len(), .0[0].reason)]
    Records(Vec<RefusedRecord>),
}

/// One record that the topic does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedRecord {
    /// Its place in the batch, from 0.
    pub index: i32,
    /// What is wrong with it.
    pub reason: RecordRefusal,
}

/// Why a topic does not take a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[allow(missing_docs)] // the texts say it
pub enum RecordRefusal {
    #[error("a compacted topic takes no record without a key")]
    NoKey,
    #[error("timestamp {timestamp} is outside {earliest} to {latest}")]
    BadTimestamp {
        timestamp: i64,
        earliest: i64,
        latest: i64,
    },
}

impl Refusal {
    /// The code that the partition is answered with.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Batch(_) => ErrorCode::CorruptMessage,
            Self::TooLarge { .. } | Self::Compression(CompressionProblem::TooLarge { .. }) => {
                ErrorCode::MessageTooLarge
            }
            Self::Compression(CompressionProblem::Corrupt { .. }) => ErrorCode::CorruptMessage,
            Self::Compression(CompressionProblem::CannotCompress(_)) => {
                ErrorCode::UnknownServerError
            }
            Self::ZstdNotAllowed(_) => ErrorCode::UnsupportedCompressionType,
            Self::LogAppendTime => ErrorCode::InvalidTimestamp,
            Self::Records(refused) => match refused[0].reason {
                RecordRefusal::BadTimestamp { .. } => ErrorCode::InvalidTimestamp,
                RecordRefusal::NoKey => ErrorCode::InvalidRecord,
            },
            Self::Compression(CompressionProblem::UnknownCodec(_))
            | Self::Record(_)
            | Self::NoBatch
            | Self::ManyBatches(_)
            | Self::MagicNotAllowed { .. }
            | Self::BadBaseOffset(_)
            | Self::BadCount { .. }
            | Self::Control
            | Self::BadSequence(_)
            | Self::BadProducer { .. }
            | Self::TransactionWithoutProducer => ErrorCode::InvalidRecord,
        }
    }
}

/// The magic of the first batch or message in `bytes`; `None` if they are too short to have one.
pub fn magic(bytes: &[u8]) -> Option<i8> {
    bytes.get(16).map(|&magic| magic as i8)
}

/// Checks one partition's records in a Produce request of `version`. Below version 3 they may be of magic 0
/// or 1, see [`magic`]: convert them first. `scratch` is for decompression, and is best kept for the next call.
pub fn produced(
    bytes: &Bytes,
    version: i16,
    rules: &Rules,
    scratch: &mut Vec<u8>,
) -> Result<Accepted, Refusal> {
    let header = check_frame(bytes, version)?;
    let compression = check_header(&header, version, rules.batch_size_max)?;
    header.check_crc(bytes)?;
    let records = &bytes[BATCH_HEADER_SIZE..];
    let max_timestamp = match compression {
        Compression::None => walk(&header, records, rules)?,
        _ if rules.must_open(&header) => walk_compressed(&header, records, rules, scratch)?,
        _ => header.max_timestamp,
    };
    Ok(Accepted {
        header,
        max_timestamp,
    })
}

/// That there is exactly one whole batch of magic 2.
fn check_frame(bytes: &[u8], version: i16) -> Result<BatchHeader, Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::NoBatch);
    }
    let header = BatchHeader::parse(bytes).map_err(|problem| match problem {
        BatchProblem::BadMagic(magic @ 0..=1) if version >= ONE_BATCH_SINCE => {
            Refusal::MagicNotAllowed { magic, version }
        }
        problem => problem.into(),
    })?;
    header.check_whole(bytes)?;
    match bytes.len() - header.size() {
        0 => Ok(header),
        left => Err(Refusal::ManyBatches(left)),
    }
}

/// That the header is one that a client may send.
fn check_header(
    header: &BatchHeader,
    version: i16,
    size_max: usize,
) -> Result<Compression, Refusal> {
    let size = header.size();
    let (count, last_offset_delta) = (header.record_count, header.last_offset_delta);
    let compression = header.codec()?;
    if compression == Compression::Zstd && version < ZSTD_SINCE {
        return Err(Refusal::ZstdNotAllowed(version));
    }
    if header.base_offset != 0 {
        return Err(Refusal::BadBaseOffset(header.base_offset));
    }
    if size > size_max {
        return Err(Refusal::TooLarge { size, size_max });
    }
    if count <= 0 || last_offset_delta != count - 1 {
        return Err(Refusal::BadCount {
            count,
            last_offset_delta,
        });
    }
    if header.is_control() {
        return Err(Refusal::Control);
    }
    if header.is_log_append_time() {
        return Err(Refusal::LogAppendTime);
    }
    check_producer(header)?;
    Ok(compression)
}

fn check_producer(header: &BatchHeader) -> Result<(), Refusal> {
    let (id, epoch) = (header.producer_id, header.producer_epoch);
    match id {
        0.. if epoch < 0 => Err(Refusal::BadProducer { id, epoch }),
        0.. if header.base_sequence < 0 => Err(Refusal::BadSequence(header.base_sequence)),
        0.. => Ok(()),
        -1 if header.is_transactional() => Err(Refusal::TransactionWithoutProducer),
        -1 => Ok(()),
        _ => Err(Refusal::BadProducer { id, epoch }),
    }
}

impl Rules {
    /// Whether a compressed batch's header is not enough to tell that its records are as the topic asks.
    pub fn must_open(&self, header: &BatchHeader) -> bool {
        let taken = |timestamp| timestamp == NO_TIMESTAMP || self.timestamps.contains(&timestamp);
        self.open_compressed
            || self.keys_required
            || header.max_timestamp < header.base_timestamp
            || !taken(header.base_timestamp)
            || !taken(header.max_timestamp)
    }

    fn refusal(&self, record: &RawRecord<'_>, timestamp: i64) -> Option<RecordRefusal> {
        if self.keys_required && record.key.is_none() {
            return Some(RecordRefusal::NoKey);
        }
        if timestamp != NO_TIMESTAMP && !self.timestamps.contains(&timestamp) {
            return Some(RecordRefusal::BadTimestamp {
                timestamp,
                earliest: *self.timestamps.start(),
                latest: *self.timestamps.end(),
            });
        }
        None
    }
}

/// Checks the records of a batch one by one. Returns their largest timestamp.
fn walk(header: &BatchHeader, records: &[u8], rules: &Rules) -> Result<i64, Refusal> {
    let mut rest = records;
    let mut max_timestamp = NO_TIMESTAMP;
    let mut refused = Vec::new();
    if records.len() / RECORD_SIZE_MIN < header.record_count as usize {
        return Err(RecordProblem::Truncated.into());
    }
    for index in 0..header.record_count {
        let record = take_record(&mut rest)?;
        if record.offset_delta != index {
            return Err(Refusal::Record(RecordProblem::BadOffsetDelta {
                found: record.offset_delta,
                expected: index,
            }));
        }
        let timestamp = header.timestamp_of(&record);
        max_timestamp = max_timestamp.max(timestamp);
        if let Some(reason) = rules.refusal(&record, timestamp)
            && refused.len() < REFUSED_RECORDS_MAX
        {
            refused.push(RefusedRecord { index, reason });
        }
    }
    if !rest.is_empty() {
        return Err(RecordProblem::Trailing(rest.len()).into());
    }
    match refused.is_empty() {
        true => Ok(max_timestamp),
        false => Err(Refusal::Records(refused)),
    }
}

fn walk_compressed(
    header: &BatchHeader,
    records: &[u8],
    rules: &Rules,
    scratch: &mut Vec<u8>,
) -> Result<i64, Refusal> {
    scratch.clear();
    let limit = rules.decompressed_size_max;
    let walked = decompress(
        header.codec()?,
        Lz4Header::Standard,
        records,
        limit,
        scratch,
    )
    .map_err(Refusal::from)
    .and_then(|()| walk(header, scratch, rules));
    if scratch.capacity() > SCRATCH_KEPT_SIZE {
        *scratch = Vec::new();
    }
    walked
}
