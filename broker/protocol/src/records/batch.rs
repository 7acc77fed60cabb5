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

/// Bytes before a batch's first record.
pub const BATCH_HEADER_SIZE: usize = 61;
/// Bytes that the batch length does not count: the base offset and the length itself.
pub const LOG_OVERHEAD: usize = 12;

const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;

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
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// How the records are compressed; `None` for an unknown codec.
    pub fn compression(&self) -> Option<Compression> {
        Compression::from_attributes(self.attributes)
    }

    /// Whether timestamps are the broker's own (LogAppendTime).
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & 0x08 != 0
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }

    /// Whether the batch holds a control record, which clients never see.
    pub fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }

    /// Checks the CRC of the whole batch at the front of `bytes`.
    pub fn check_crc(&self, bytes: &[u8]) -> Result<(), BatchProblem> {
        let need = self.size();
        let Some(batch) = bytes.get(..need) else {
            return Err(BatchProblem::Truncated {
                have: bytes.len(),
                need,
            });
        };
        let computed = crc32c(&batch[ATTRIBUTES_AT..]);
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
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
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
