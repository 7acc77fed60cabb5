//! The header of a magic 2 record batch (KIP-98).
//!
//! | at | field | type |
//! | --- | --- | --- |
//! | 0 | base offset | i64 |
//! | 8 | batch length, behind itself | i32 |
//! | 12 | partition leader epoch | i32 |
//! | 16 | magic | i8 |
//! | 17 | CRC-32C of all that follows it | u32 |
//! | 21 | attributes: 0-2 codec, 3 timestamp type, 4 transactional, 5 control, 6 delete horizon | i16 |
//! | 23 | last offset delta | i32 |
//! | 27 | base timestamp, ms | i64 |
//! | 35 | max timestamp, ms | i64 |
//! | 43 | producer id | i64 |
//! | 51 | producer epoch | i16 |
//! | 53 | base sequence | i32 |
//! | 57 | record count | i32 |

use thiserror::Error;

use super::{CompressionProblem, RawRecord};

/// Bytes before a batch's first record.
pub const BATCH_HEADER_SIZE: usize = 61;
/// Bytes that the batch length does not count: the base offset and the length itself.
pub const LOG_OVERHEAD: usize = 12;

const CRC_AT: usize = 17;
pub(super) const ATTRIBUTES_AT: usize = 21;

/// CRC-32C is what iSCSI uses.
const CRC32C: crc_fast::CrcAlgorithm = crc_fast::CrcAlgorithm::Crc32Iscsi;

const CODEC: i16 = 0x07;
pub(super) const LOG_APPEND_TIME: i16 = 0x08;
pub(super) const TRANSACTIONAL: i16 = 0x10;
pub(super) const CONTROL: i16 = 0x20;
pub(super) const DELETE_HORIZON: i16 = 0x40;

/// Why bytes are not a whole, valid magic 2 batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BatchProblem {
    /// Fewer bytes than the header or the length calls for.
    #[error("the batch is cut short: {have} of {need} bytes")]
    Truncated {
        /// Bytes that are there.
        have: usize,
        /// Bytes that the batch needs.
        need: usize,
    },
    /// A length below the header's own size.
    #[error("batch length {0} is below a header's size")]
    BadLength(i32),
    /// Another format than magic 2.
    #[error("magic {0} is not a record batch's")]
    BadMagic(i8),
    /// The checksum does not match the bytes.
    #[error("checksum {computed:#010x} is not the stored {stored:#010x}")]
    BadCrc {
        /// What the header says.
        stored: u32,
        /// What the bytes give.
        computed: u32,
    },
}

/// How a batch's records are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Compression {
    None = 0,
    Gzip = 1,
    Snappy = 2,
    Lz4 = 3,
    Zstd = 4,
}

impl Compression {
    /// The codec that the lowest three attribute bits name; `None` for a number that names none.
    pub fn from_attributes(attributes: i16) -> Option<Self> {
        match attributes & 7 {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// A batch's header by value; the records stay where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are the table's above
pub struct BatchHeader {
    pub base_offset: i64,
    pub batch_length: i32,
    pub partition_leader_epoch: i32,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: i32,
}

fn at<const N: usize>(bytes: &[u8; BATCH_HEADER_SIZE], position: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[position..position + N]);
    field
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`; what follows the header may be missing. The CRC is not checked.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchProblem> {
        if bytes.len() >= LOG_OVERHEAD + 5 && bytes[16] != 2 {
            return Err(BatchProblem::BadMagic(bytes[16] as i8));
        }
        let Some(header) = bytes.first_chunk::<BATCH_HEADER_SIZE>() else {
            return Err(BatchProblem::Truncated {
                have: bytes.len(),
                need: BATCH_HEADER_SIZE,
            });
        };
        let batch_length = i32::from_be_bytes(at(header, 8));
        if batch_length < (BATCH_HEADER_SIZE - LOG_OVERHEAD) as i32 {
            return Err(BatchProblem::BadLength(batch_length));
        }
        Ok(Self {
            base_offset: i64::from_be_bytes(at(header, 0)),
            batch_length,
            partition_leader_epoch: i32::from_be_bytes(at(header, 12)),
            crc: u32::from_be_bytes(at(header, CRC_AT)),
            attributes: i16::from_be_bytes(at(header, ATTRIBUTES_AT)),
            last_offset_delta: i32::from_be_bytes(at(header, 23)),
            base_timestamp: i64::from_be_bytes(at(header, 27)),
            max_timestamp: i64::from_be_bytes(at(header, 35)),
            producer_id: i64::from_be_bytes(at(header, 43)),
            producer_epoch: i16::from_be_bytes(at(header, 51)),
            base_sequence: i32::from_be_bytes(at(header, 53)),
            record_count: i32::from_be_bytes(at(header, 57)),
        })
    }

    /// The header as bytes, its CRC as it stands in `self.crc`.
    pub fn to_bytes(&self) -> [u8; BATCH_HEADER_SIZE] {
        let mut bytes = [0; BATCH_HEADER_SIZE];
        bytes[0..8].copy_from_slice(&self.base_offset.to_be_bytes());
        bytes[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.partition_leader_epoch.to_be_bytes());
        bytes[16] = 2;
        bytes[17..21].copy_from_slice(&self.crc.to_be_bytes());
        bytes[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        bytes[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        bytes[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        bytes[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        bytes[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        bytes[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        bytes[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        bytes[57..61].copy_from_slice(&self.record_count.to_be_bytes());
        bytes
    }

    /// The whole batch's size in bytes, header and length field included.
    pub fn size(&self) -> usize {
        // `parse` has refused a negative length.
        LOG_OVERHEAD + self.batch_length as usize
    }

    /// The last record's offset.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.wrapping_add(self.last_offset_delta.into())
    }

    /// A record's offset.
    pub fn offset_of(&self, record: &RawRecord<'_>) -> i64 {
        self.base_offset.wrapping_add(record.offset_delta.into())
    }

    /// A record's timestamp in ms since 1970: its own, or the broker's for all of the batch.
    pub fn timestamp_of(&self, record: &RawRecord<'_>) -> i64 {
        if self.is_log_append_time() {
            self.max_timestamp
        } else {
            self.base_timestamp.wrapping_add(record.timestamp_delta)
        }
    }

    /// How the records are compressed; `None` for an unknown codec.
    pub fn compression(&self) -> Option<Compression> {
        Compression::from_attributes(self.attributes)
    }

    /// How the records are compressed, or that the codec is unknown.
    pub fn codec(&self) -> Result<Compression, CompressionProblem> {
        self.compression()
            .ok_or(CompressionProblem::UnknownCodec(self.attributes & 7))
    }

    /// Whether timestamps are the broker's own (LogAppendTime).
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether the batch holds a control record, which clients never see.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// From when, ms since 1970, compaction may drop the batch's tombstones (KIP-534). The base
    /// timestamp's place holds it, and the records' deltas count from it.
    pub fn delete_horizon(&self) -> Option<i64> {
        (self.attributes & DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }

    /// Checks that the whole batch is at the front of `bytes`.
    pub fn check_whole(&self, bytes: &[u8]) -> Result<(), BatchProblem> {
        let (have, need) = (bytes.len(), self.size());
        if have < need {
            return Err(BatchProblem::Truncated { have, need });
        }
        Ok(())
    }

    /// The header with another codec named in it.
    pub(super) fn with_codec(&self, compression: Compression) -> Self {
        let attributes = self.attributes & !CODEC | i16::from(compression as u8);
        Self {
            attributes,
            ..*self
        }
    }

    /// The header to store for `batch`, which starts with `self`, with another largest timestamp, ms.
    pub fn with_max_timestamp(
        &self,
        batch: &[u8],
        max_timestamp: i64,
    ) -> Result<Self, BatchProblem> {
        let header = Self {
            max_timestamp,
            ..*self
        };
        header.with_new_crc(batch)
    }

    /// The header to store for `batch`, which starts with `self`, where the broker's time, ms, counts for
    /// all of its records.
    pub fn with_log_append_time(&self, batch: &[u8], now: i64) -> Result<Self, BatchProblem> {
        let header = Self {
            attributes: self.attributes | LOG_APPEND_TIME,
            max_timestamp: now,
            ..*self
        };
        header.with_new_crc(batch)
    }

    /// The CRC over this header and the records behind that of `batch`.
    fn with_new_crc(mut self, batch: &[u8]) -> Result<Self, BatchProblem> {
        self.check_whole(batch)?;
        let mut crc = crc_fast::Digest::new(CRC32C);
        crc.update(&self.to_bytes()[ATTRIBUTES_AT..]);
        crc.update(&batch[BATCH_HEADER_SIZE..self.size()]);
        self.crc = crc.finalize() as u32;
        Ok(self)
    }

    /// Checks the CRC of the whole batch at the front of `bytes`.
    pub fn check_crc(&self, bytes: &[u8]) -> Result<(), BatchProblem> {
        self.check_whole(bytes)?;
        let computed = crc32c(&bytes[ATTRIBUTES_AT..self.size()]);
        if computed == self.crc {
            Ok(())
        } else {
            Err(BatchProblem::BadCrc {
                stored: self.crc,
                computed,
            })
        }
    }
}

/// CRC-32C (Castagnoli), with the processor's own instructions where it has them.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(CRC32C, bytes) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_what_it_writes() {
        let header = BatchHeader {
            base_offset: 1 << 40,
            batch_length: 49,
            partition_leader_epoch: 7,
            crc: 0xdead_beef,
            attributes: 0x14,
            last_offset_delta: 3,
            base_timestamp: -1,
            max_timestamp: 1_700_000_000_000,
            producer_id: 9,
            producer_epoch: 2,
            base_sequence: i32::MAX,
            record_count: 4,
        };
        assert_eq!(BatchHeader::parse(&header.to_bytes()), Ok(header));
        assert_eq!(header.compression(), Some(Compression::Zstd));
        assert_eq!(header.last_offset(), (1 << 40) + 3);
    }

    #[test]
    fn crc32c_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
