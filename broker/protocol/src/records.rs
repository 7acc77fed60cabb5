//! Record batches (magic 2) and the older message sets (magic 0 and 1).
//!
//! | to | use |
//! | --- | --- |
//! | step from batch to batch | [`batches`], [`BatchHeader`] |
//! | read the records of one batch | [`OpenBatch`], [`RawRecords`] |
//! | read records of any magic, as a consumer does | [`records`] |
//! | write a batch | [`BatchBuilder`] |
//! | check what a producer sent | [`validate::produced`] |
//! | convert up, down, or to another codec | [`convert`] |

mod batch;
mod batches;
mod builder;
pub mod compression;
pub mod convert;
pub mod legacy;
mod read;
mod record;
pub mod validate;
mod varint;

pub use batch::{BATCH_HEADER_SIZE, BatchHeader, BatchProblem, Compression, LOG_OVERHEAD, crc32c};
pub use batches::{Batches, OpenBatch, RecordsProblem, batches};
pub use builder::{BatchBuilder, BatchOptions, BuildProblem, empty_batch};
pub use compression::{Codec, CompressionProblem, DECOMPRESSED_SIZE_MAX};
pub use read::{Records, records};
pub use record::{Header, RawHeader, RawHeaders, RawRecord, RawRecords, Record, RecordProblem};
