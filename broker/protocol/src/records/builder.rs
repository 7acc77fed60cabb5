//! Writes one magic 2 batch.

use bytes::Bytes;
use thiserror::Error;

use super::batch::{ATTRIBUTES_AT, CONTROL, DELETE_HORIZON, LOG_APPEND_TIME, TRANSACTIONAL};
use super::compression::{Codec, CompressionProblem, Lz4Header, compress};
use super::record::{NewHeaders, NewRecord};
use super::{BATCH_HEADER_SIZE, BatchHeader, Compression, Header, LOG_OVERHEAD, RawRecord, crc32c};

/// The most bytes of records in a batch: its length is an `i32`.
const RECORDS_SIZE_MAX: usize = i32::MAX as usize - BATCH_HEADER_SIZE;

/// No producer id, epoch or sequence, and no timestamp.
const NONE: i8 = -1;

/// What a batch's header says apart from its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchOptions {
    /// The offset that the records' deltas start from.
    pub base_offset: i64,
    /// The leader epoch in which it was appended; -1 from a client.
    pub partition_leader_epoch: i32,
    /// How the records are compressed.
    pub codec: Codec,
    /// The broker's own time, ms, for all records in place of theirs.
    pub log_append_time: Option<i64>,
    /// The idempotent producer's id, or -1.
    pub producer_id: i64,
    /// Its epoch, or -1.
    pub producer_epoch: i16,
    /// The first record's sequence number, or -1.
    pub base_sequence: i32,
    /// Whether the batch belongs to a transaction.
    pub is_transactional: bool,
    /// Whether it holds a control record.
    pub is_control: bool,
    /// From when, ms, a compacted topic may drop the batch's tombstones (KIP-534).
    pub delete_horizon: Option<i64>,
}

impl Default for BatchOptions {
    /// A plain client's: offsets from 0, uncompressed, without a producer id.
    fn default() -> Self {
        Self {
            base_offset: 0,
            partition_leader_epoch: -1,
            codec: Compression::None.into(),
            log_append_time: None,
            producer_id: NONE.into(),
            producer_epoch: NONE.into(),
            base_sequence: NONE.into(),
            is_transactional: false,
            is_control: false,
            delete_horizon: None,
        }
    }
}

impl BatchOptions {
    /// What a batch that is written anew (compaction, a topic's own codec) keeps of the old one.
    /// `codec` is `None` to keep the old one's.
    pub fn of(header: &BatchHeader, codec: Option<Codec>) -> Self {
        let own_codec = header.compression().unwrap_or(Compression::None).into();
        Self {
            base_offset: header.base_offset,
            partition_leader_epoch: header.partition_leader_epoch,
            codec: codec.unwrap_or(own_codec),
            log_append_time: header.is_log_append_time().then_some(header.max_timestamp),
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            is_transactional: header.is_transactional(),
            is_control: header.is_control(),
            delete_horizon: header.delete_horizon(),
        }
    }

    fn attributes(&self, compression: Compression) -> i16 {
        let flag = |set: bool, bit: i16| if set { bit } else { 0 };
        i16::from(compression as u8)
            | flag(self.log_append_time.is_some(), LOG_APPEND_TIME)
            | flag(self.is_transactional, TRANSACTIONAL)
            | flag(self.is_control, CONTROL)
            | flag(self.delete_horizon.is_some(), DELETE_HORIZON)
    }
}

/// Why a record can't become part of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BuildProblem {
    /// The batch would exceed 2 GiB.
    #[error("the batch would exceed 2 GiB")]
    TooLarge,
    /// An offset that does not follow the last one, or is 2^31 or more beyond the base offset.
    #[error("offset {offset} can't follow {last} in a batch")]
    BadOffset {
        /// The record's.
        offset: i64,
        /// The record's before it; one below the base offset at first.
        last: i64,
    },
    /// The records could not be compressed.
    #[error(transparent)]
    Compression(#[from] CompressionProblem),
}

/// Collects records for one batch, encoded as they come.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    options: BatchOptions,
    /// Room for the header, then the records.
    bytes: Vec<u8>,
    count: i32,
    last_offset: i64,
    base_timestamp: Option<i64>,
    max_timestamp: i64,
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new(options: BatchOptions) -> Self {
        Self::with_capacity(options, 0)
    }

    /// An empty batch with room for so many bytes of records.
    pub fn with_capacity(options: BatchOptions, records_size: usize) -> Self {
        let mut bytes = Vec::with_capacity(BATCH_HEADER_SIZE + records_size);
        bytes.resize(BATCH_HEADER_SIZE, 0);
        Self {
            options,
            bytes,
            count: 0,
            last_offset: options.base_offset.wrapping_sub(1),
            base_timestamp: options.delete_horizon,
            max_timestamp: NONE.into(),
        }
    }

    /// Adds a record at the offset behind the last one; `timestamp` in ms since 1970.
    pub fn push(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<(), BuildProblem> {
        let offset = self.last_offset.wrapping_add(1);
        self.append(offset, timestamp, key, value, headers)
    }

    /// Adds a record at `offset`, which may leave a gap behind the last one.
    pub fn append(
        &mut self,
        offset: i64,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<(), BuildProblem> {
        self.add(offset, timestamp, key, value, NewHeaders::List(headers))
    }

    /// Adds a record of another batch at `offset`, with a timestamp in ms since 1970.
    pub fn append_raw(
        &mut self,
        offset: i64,
        timestamp: i64,
        record: &RawRecord<'_>,
    ) -> Result<(), BuildProblem> {
        let headers = NewHeaders::Raw(record.headers);
        self.add(offset, timestamp, record.key, record.value, headers)
    }

    fn add(
        &mut self,
        offset: i64,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: NewHeaders<'_>,
    ) -> Result<(), BuildProblem> {
        let offset_delta = self.delta_of(offset)?;
        let base_timestamp = *self.base_timestamp.get_or_insert(timestamp);
        let record = NewRecord {
            timestamp_delta: timestamp.wrapping_sub(base_timestamp),
            offset_delta,
            key,
            value,
            headers,
        };
        if record.size() > RECORDS_SIZE_MAX - self.records_size() {
            return Err(BuildProblem::TooLarge);
        }
        record.put(&mut self.bytes);
        self.count += 1;
        self.last_offset = offset;
        self.max_timestamp = self.max_timestamp.max(timestamp);
        Ok(())
    }

    fn delta_of(&self, offset: i64) -> Result<i32, BuildProblem> {
        offset
            .checked_sub(self.options.base_offset)
            .and_then(|delta| i32::try_from(delta).ok())
            .filter(|_| offset > self.last_offset && self.count < i32::MAX)
            .ok_or(BuildProblem::BadOffset {
                offset,
                last: self.last_offset,
            })
    }

    /// Lets the batch cover offsets up to `offset`, though no record of it is left there: compaction
    /// keeps a batch's last offset.
    pub fn extend_to(&mut self, offset: i64) -> Result<(), BuildProblem> {
        if offset == self.last_offset {
            return Ok(());
        }
        self.delta_of(offset)?;
        self.last_offset = offset;
        Ok(())
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there is none yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The offset that `push` gives the next record.
    pub fn next_offset(&self) -> i64 {
        self.last_offset.wrapping_add(1)
    }

    /// The batch's size in bytes if it were not compressed.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    fn records_size(&self) -> usize {
        self.bytes.len() - BATCH_HEADER_SIZE
    }

    /// The whole batch. Without a record it is an empty one, uncompressed, which holds the place of its
    /// offsets and of its producer's sequence.
    pub fn finish(self) -> Result<Bytes, BuildProblem> {
        let compression = match self.count {
            0 => Compression::None,
            _ => self.options.codec.compression,
        };
        let header = self.header(compression);
        let mut bytes = match compression {
            Compression::None => self.bytes,
            _ => self.compressed()?,
        };
        seal(header, &mut bytes)?;
        Ok(bytes.into())
    }

    fn compressed(&self) -> Result<Vec<u8>, CompressionProblem> {
        let records = &self.bytes[BATCH_HEADER_SIZE..];
        let mut bytes = Vec::with_capacity(BATCH_HEADER_SIZE + records.len() / 2);
        bytes.resize(BATCH_HEADER_SIZE, 0);
        compress(self.options.codec, Lz4Header::Standard, records, &mut bytes)?;
        Ok(bytes)
    }

    fn header(&self, compression: Compression) -> BatchHeader {
        let options = &self.options;
        let max_timestamp = options.log_append_time.unwrap_or(self.max_timestamp);
        BatchHeader {
            base_offset: options.base_offset,
            batch_length: 0,
            partition_leader_epoch: options.partition_leader_epoch,
            crc: 0,
            attributes: options.attributes(compression),
            // `delta_of` has checked it; an empty batch that was not extended has -1.
            last_offset_delta: self.last_offset.wrapping_sub(options.base_offset) as i32,
            base_timestamp: self.base_timestamp.unwrap_or(max_timestamp),
            max_timestamp,
            producer_id: options.producer_id,
            producer_epoch: options.producer_epoch,
            base_sequence: options.base_sequence,
            record_count: self.count,
        }
    }
}

/// Writes the header at the front of a batch, and returns it, with its length and CRC.
pub(super) fn seal(header: BatchHeader, bytes: &mut [u8]) -> Result<BatchHeader, BuildProblem> {
    let mut header = BatchHeader {
        batch_length: i32::try_from(bytes.len() - LOG_OVERHEAD)
            .map_err(|_| BuildProblem::TooLarge)?,
        ..header
    };
    bytes[..BATCH_HEADER_SIZE].copy_from_slice(&header.to_bytes());
    header.crc = crc32c(&bytes[ATTRIBUTES_AT..]);
    bytes[..BATCH_HEADER_SIZE].copy_from_slice(&header.to_bytes());
    Ok(header)
}

/// The batch that compaction leaves of one whose records are all gone, where its producer's last
/// sequence must be kept: the same offsets, producer and timestamps, no record.
pub fn empty_batch(header: &BatchHeader) -> Bytes {
    let mut bytes = [0; BATCH_HEADER_SIZE];
    let header = BatchHeader {
        record_count: 0,
        ..header.with_codec(Compression::None)
    };
    seal(header, &mut bytes).expect("a header's size fits an i32");
    Bytes::copy_from_slice(&bytes)
}
