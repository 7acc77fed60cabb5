//! Record batches (magic 2) and the older message sets (magic 0 and 1).

mod batch;

pub use batch::{BATCH_HEADER_SIZE, BatchHeader, BatchProblem, Compression, LOG_OVERHEAD, crc32c};
