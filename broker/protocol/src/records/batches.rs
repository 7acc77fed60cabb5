//! Batches back to back, as they lie in a segment, a produce request or a fetch response, and the
//! records in one.

use bytes::Bytes;
use thiserror::Error;

use super::compression::{CompressionProblem, Lz4Header, decompress};
use super::legacy::LegacyProblem;
use super::{
    BATCH_HEADER_SIZE, BatchHeader, BatchProblem, Compression, RawRecords, Record, RecordProblem,
};
use crate::ErrorCode;

/// The batches in `bytes`, each whole; their CRCs are not checked. Ends behind the first problem, which
/// for what a log or a fetch returns may well be a last batch that is cut short.
pub fn batches(bytes: &Bytes) -> Batches {
    Batches {
        rest: bytes.clone(),
    }
}

/// See [`batches`].
#[derive(Debug, Clone)]
pub struct Batches {
    rest: Bytes,
}

impl Iterator for Batches {
    type Item = Result<(BatchHeader, Bytes), BatchProblem>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let batch = BatchHeader::parse(&self.rest).and_then(|header| {
            header.check_whole(&self.rest)?;
            Ok((header, self.rest.split_to(header.size())))
        });
        if batch.is_err() {
            self.rest.clear();
        }
        Some(batch)
    }
}

/// Why records can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordsProblem {
    /// A batch is not whole or its checksum is wrong.
    #[error(transparent)]
    Batch(#[from] BatchProblem),
    /// A batch does not decompress.
    #[error(transparent)]
    Compression(#[from] CompressionProblem),
    /// A batch's records are not what its header says.
    #[error(transparent)]
    Record(#[from] RecordProblem),
    /// A message set of magic 0 or 1 is wrong.
    #[error(transparent)]
    Legacy(#[from] LegacyProblem),
}

impl RecordsProblem {
    /// Whether it is only that the records take more room than they were given.
    pub fn wants_room(&self) -> bool {
        matches!(self, Self::Compression(CompressionProblem::TooLarge { .. }))
    }

    /// The code that a client is answered with.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Batch(_)
            | Self::Compression(CompressionProblem::Corrupt { .. })
            | Self::Legacy(
                LegacyProblem::Truncated
                | LegacyProblem::BadSize(_)
                | LegacyProblem::BadCrc { .. }
                | LegacyProblem::BadLength(_),
            ) => ErrorCode::CorruptMessage,
            Self::Compression(CompressionProblem::TooLarge { .. })
            | Self::Legacy(LegacyProblem::TooLarge) => ErrorCode::MessageTooLarge,
            Self::Compression(CompressionProblem::CannotCompress(_)) => {
                ErrorCode::UnknownServerError
            }
            Self::Legacy(LegacyProblem::BadCodec(_)) => ErrorCode::UnsupportedCompressionType,
            Self::Compression(CompressionProblem::UnknownCodec(_))
            | Self::Record(_)
            | Self::Legacy(
                LegacyProblem::BadMagic(_)
                | LegacyProblem::Nested
                | LegacyProblem::EmptyWrapper
                | LegacyProblem::MixedMagic,
            ) => ErrorCode::InvalidRecord,
        }
    }
}

/// A batch whose records lie open.
#[derive(Debug, Clone)]
pub struct OpenBatch {
    /// Its header.
    pub header: BatchHeader,
    /// The records, decompressed; part of the batch if that was not compressed.
    pub records: Bytes,
}

impl OpenBatch {
    /// Opens a whole batch. Decompresses at most `limit` bytes; the CRC is not checked.
    pub fn open(header: BatchHeader, batch: &Bytes, limit: usize) -> Result<Self, RecordsProblem> {
        header.check_whole(batch)?;
        let records = batch.slice(BATCH_HEADER_SIZE..header.size());
        let records = match header.codec()? {
            Compression::None => records,
            codec => {
                let mut open = Vec::new();
                decompress(codec, Lz4Header::Standard, &records, limit, &mut open)?;
                open.into()
            }
        };
        Ok(Self { header, records })
    }

    /// The records where they lie.
    pub fn raw(&self) -> RawRecords<'_> {
        RawRecords::new(&self.records, self.header.record_count)
    }

    /// The records with absolute offsets and timestamps.
    pub fn iter(&self) -> impl Iterator<Item = Result<Record, RecordProblem>> + '_ {
        self.raw().map(|raw| {
            let raw = raw?;
            let offset = self.header.offset_of(&raw);
            Ok(raw.share(&self.records, offset, self.header.timestamp_of(&raw)))
        })
    }
}
