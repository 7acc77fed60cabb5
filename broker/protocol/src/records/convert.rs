//! Between magic 2 and the older message sets, and between codecs.
//!
//! | from | to | for |
//! | --- | --- | --- |
//! | magic 0 and 1 | magic 2: one batch per wrapper and per run of plain messages | Produce 0-2 |
//! | magic 2 | magic 0, a wrapper per compressed batch | Fetch 0-1 |
//! | magic 2 | magic 1, a wrapper per compressed batch | Fetch 2-3 |
//!
//! What an old format can't say is dropped as Kafka up to 3.9 did: headers, control batches, producer ids.

use bytes::Bytes;
use thiserror::Error;

use super::builder::seal;
use super::compression::{Codec, CompressionProblem, compress, recode};
use super::legacy::{LegacyProblem, Magic, Message, Messages, NewMessage, OpenWrapper};
use super::{
    BATCH_HEADER_SIZE, BatchBuilder, BatchHeader, BatchOptions, BatchProblem, BuildProblem,
    Compression, OpenBatch, Record, RecordsProblem, batches,
};
use crate::ErrorCode;

/// Why records can't be converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ConvertProblem {
    /// The old formats have no zstd: a client must fetch with version 10 or newer (KIP-110).
    #[error("zstd does not exist below magic 2")]
    ZstdDown,
    /// A producer may not claim that its timestamps are the broker's.
    #[error("producers may not set the timestamp type to LogAppendTime")]
    LogAppendTime,
    /// The records can't be read.
    #[error(transparent)]
    Records(#[from] RecordsProblem),
    /// The records do not fit the other format.
    #[error(transparent)]
    Build(#[from] BuildProblem),
}

impl From<LegacyProblem> for ConvertProblem {
    fn from(problem: LegacyProblem) -> Self {
        Self::Records(problem.into())
    }
}

impl ConvertProblem {
    /// Whether it is only that the records take more room than they were given.
    pub fn wants_room(&self) -> bool {
        matches!(self, Self::Records(problem) if problem.wants_room())
    }

    /// The code that the partition is answered with.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::ZstdDown => ErrorCode::UnsupportedCompressionType,
            Self::LogAppendTime => ErrorCode::InvalidTimestamp,
            Self::Records(problem) => problem.code(),
            Self::Build(BuildProblem::TooLarge) => ErrorCode::MessageTooLarge,
            Self::Build(BuildProblem::BadOffset { .. }) => ErrorCode::InvalidRecord,
            Self::Build(BuildProblem::Compression(_)) => ErrorCode::UnknownServerError,
        }
    }
}

/// A produce request's message set of magic 0 or 1 as magic 2 batches, each from base offset 0 with
/// consecutive offsets, as a client would have sent it. A set that ends inside a message is refused.
///
/// `codec` is `None` to keep each wrapper's; all wrappers together may hold `limit` bytes when decompressed.
pub fn up(
    set: &Bytes,
    codec: Option<Codec>,
    limit: usize,
) -> Result<Vec<(BatchHeader, Bytes)>, ConvertProblem> {
    let mut up = Up {
        codec,
        run: None,
        done: Vec::new(),
    };
    let mut limit_left = limit;
    let mut magic = None;
    for message in Messages::new(set) {
        let message = message?;
        if *magic.get_or_insert(message.magic) != message.magic {
            return Err(LegacyProblem::MixedMagic.into());
        }
        match message.compression()? {
            Compression::None => up.add_plain(&message)?,
            compression => limit_left -= up.add_wrapper(&message, compression, limit_left)?,
        }
    }
    up.end_run()?;
    Ok(up.done)
}

struct Up {
    codec: Option<Codec>,
    run: Option<BatchBuilder>,
    done: Vec<(BatchHeader, Bytes)>,
}

impl Up {
    fn add_plain(&mut self, message: &Message) -> Result<(), ConvertProblem> {
        let builder = match &mut self.run {
            Some(builder) => builder,
            None => self.run.insert(builder(self.codec, Compression::None)),
        };
        push(builder, message)
    }

    /// Returns how many bytes the wrapper holds.
    fn add_wrapper(
        &mut self,
        wrapper: &Message,
        compression: Compression,
        limit: usize,
    ) -> Result<usize, ConvertProblem> {
        self.end_run()?;
        if wrapper.is_log_append_time() {
            return Err(ConvertProblem::LogAppendTime);
        }
        let open = OpenWrapper::open(wrapper, limit)?;
        let size = open.size();
        let mut builder = builder(self.codec, compression);
        for message in open {
            push(&mut builder, &message?)?;
        }
        self.end(builder)?;
        Ok(size)
    }

    fn end_run(&mut self) -> Result<(), ConvertProblem> {
        match self.run.take() {
            Some(builder) => self.end(builder),
            None => Ok(()),
        }
    }

    fn end(&mut self, builder: BatchBuilder) -> Result<(), ConvertProblem> {
        let batch = builder.finish()?;
        let header = BatchHeader::parse(&batch).map_err(RecordsProblem::from)?;
        self.done.push((header, batch));
        Ok(())
    }
}

fn builder(codec: Option<Codec>, own: Compression) -> BatchBuilder {
    BatchBuilder::new(BatchOptions {
        codec: codec.unwrap_or(own.into()),
        ..BatchOptions::default()
    })
}

fn push(builder: &mut BatchBuilder, message: &Message) -> Result<(), ConvertProblem> {
    if message.is_log_append_time() {
        return Err(ConvertProblem::LogAppendTime);
    }
    let (key, value) = (message.key.as_deref(), message.value.as_deref());
    Ok(builder.push(message.timestamp, key, value, &[])?)
}

/// Magic 2 batches as a message set for an old consumer that asked from `from_offset`. A last batch that is
/// cut short is left out. A compressed batch is opened and becomes a wrapper; all of them may hold `limit` bytes when
/// decompressed, and those beyond are left for the next fetch.
///
/// zstd has no old form: what lies before such a batch is returned, and the error only if nothing does, so
/// that a consumer gets all that it can read.
pub fn down(
    bytes: &Bytes,
    magic: Magic,
    from_offset: i64,
    limit: usize,
) -> Result<Bytes, ConvertProblem> {
    let mut set = Vec::new();
    let mut limit_left = limit;
    for batch in batches(bytes) {
        let (header, batch) = match batch {
            Ok(batch) => batch,
            Err(BatchProblem::Truncated { .. }) => break,
            Err(problem) => return Err(RecordsProblem::from(problem).into()),
        };
        if header.is_control() || header.record_count == 0 {
            continue;
        }
        let open = match header.compression() {
            Some(Compression::Zstd) if set.is_empty() => return Err(ConvertProblem::ZstdDown),
            Some(Compression::Zstd) => break,
            _ => match OpenBatch::open(header, &batch, limit_left) {
                Err(problem) if problem.wants_room() && !set.is_empty() => break,
                opened => opened?,
            },
        };
        if header.compression() != Some(Compression::None) {
            limit_left = limit_left.saturating_sub(open.records.len());
        }
        put_batch(&open, magic, from_offset, &mut set)?;
    }
    Ok(set.into())
}

fn put_batch(
    batch: &OpenBatch,
    magic: Magic,
    from_offset: i64,
    set: &mut Vec<u8>,
) -> Result<(), ConvertProblem> {
    let compression = batch.header.codec().map_err(RecordsProblem::from)?;
    if compression != Compression::None {
        return put_wrapper(batch, magic, compression, set);
    }
    for record in batch.iter() {
        let record = record.map_err(RecordsProblem::from)?;
        if record.offset >= from_offset {
            put_record(batch, magic, &record, record.offset, set)?;
        }
    }
    Ok(())
}

fn put_record(
    batch: &OpenBatch,
    magic: Magic,
    record: &Record,
    offset: i64,
    set: &mut Vec<u8>,
) -> Result<(), LegacyProblem> {
    NewMessage {
        offset,
        compression: Compression::None,
        is_log_append_time: batch.header.is_log_append_time(),
        timestamp: record.timestamp,
        key: record.key.as_deref(),
        value: record.value.as_deref(),
    }
    .put(magic, set)
}

fn put_wrapper(
    batch: &OpenBatch,
    magic: Magic,
    compression: Compression,
    set: &mut Vec<u8>,
) -> Result<(), ConvertProblem> {
    let mut inside = Vec::with_capacity(batch.records.len());
    let (mut first_offset, mut last_offset, mut max_timestamp) = (None, 0, -1);
    for record in batch.iter() {
        let record = record.map_err(RecordsProblem::from)?;
        let base = *first_offset.get_or_insert(record.offset);
        let offset = match magic {
            Magic::V0 => record.offset,
            Magic::V1 => record.offset.wrapping_sub(base),
        };
        put_record(batch, magic, &record, offset, &mut inside)?;
        (last_offset, max_timestamp) = (record.offset, record.timestamp.max(max_timestamp));
    }
    let mut value = Vec::with_capacity(inside.len() / 2);
    compress(compression.into(), magic.lz4_header(), &inside, &mut value)
        .map_err(BuildProblem::from)?;
    let wrapper = NewMessage {
        offset: last_offset,
        compression,
        is_log_append_time: batch.header.is_log_append_time(),
        timestamp: max_timestamp,
        key: None,
        value: Some(&value),
    };
    Ok(wrapper.put(magic, set)?)
}

/// The same batch, its records under another codec (a topic's own `compression.type`). Decompresses at
/// most `limit` bytes; the records are not looked into.
pub fn recompress(
    header: BatchHeader,
    batch: &Bytes,
    codec: Codec,
    limit: usize,
) -> Result<(BatchHeader, Bytes), ConvertProblem> {
    let compression = header.codec().map_err(RecordsProblem::from)?;
    header.check_whole(batch).map_err(RecordsProblem::from)?;
    let records = &batch[BATCH_HEADER_SIZE..header.size()];
    let mut bytes = Vec::with_capacity(batch.len());
    bytes.resize(BATCH_HEADER_SIZE, 0);
    recode(compression, records, codec, limit, &mut bytes).map_err(|problem| match problem {
        CompressionProblem::CannotCompress(_) => BuildProblem::from(problem).into(),
        problem => ConvertProblem::from(RecordsProblem::from(problem)),
    })?;
    let header = seal(header.with_codec(codec.compression), &mut bytes)?;
    Ok((header, bytes.into()))
}
