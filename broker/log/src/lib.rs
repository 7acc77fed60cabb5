//! The log on disk: segments, indexes, recovery, retention, compaction, in Apache Kafka's own files.
//!
//! A [`Log`] is the writing half of one partition; it hands out [`LogReader`]s, which go on while an append waits for
//! the disk, and a [`LogFlusher`]. Nothing here knows tokio or a clock: calls block, and take the time as an argument.

mod buffers;
mod checkpoint;
mod config;
mod directory;
mod epochs;
mod error;
#[cfg(any(test, feature = "faults"))]
pub mod faults;
mod files;
mod index;
mod log;
mod preallocation;
mod producers;
mod reader;
mod roll;
mod scan;
mod segment;
mod shared;
pub mod trash;

pub use checkpoint::{Checkpoint, Offsets};
pub use config::LogConfig;
pub use error::{AppendError, LogError, ReadError, StorageError};
pub use log::{Appended, BatchToAppend, Log, LogFlusher, Opening, Recovery, Stamp};
pub use producers::{ActiveProducer, SequenceCheck, SequenceError};
pub use reader::{Batches, LogReader, SegmentDescription, Slice};
pub use trash::Trash;

#[cfg(test)]
mod tests;
