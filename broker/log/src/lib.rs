//! The log on disk: segments, indexes, recovery, retention, compaction, in Apache Kafka's own files.
//!
//! A [`Log`] is the writing half of one partition; it hands out [`LogReader`]s, which go on while an append waits for
//! the disk, and a [`LogFlusher`]. Nothing here knows tokio or a clock: calls block, and take the time as an argument.

mod buffers;
mod checkpoint;
mod cleaner;
mod config;
mod damage;
mod directory;
mod epochs;
mod error;
#[cfg(any(test, feature = "faults"))]
pub mod faults;
mod files;
mod future;
mod index;
pub mod inspect;
mod log;
mod preallocation;
mod producers;
mod reader;
mod region;
pub mod repair;
mod retention;
mod roll;
mod scan;
mod segment;
mod shared;
mod timestamps;
mod trash;
pub mod unopened;

pub use checkpoint::{Checkpoint, Offsets};
pub use cleaner::{Cleaned, CleaningIo, CleaningPlan, Installed, Pace};
pub use config::LogConfig;
pub use directory::future::{finish_moves, future_folder, give_up_future};
pub use directory::partition_metadata::read as topic_id_of;
pub use directory::{
    DataDirectory, DirectoryError, Identity, LockedDirectory, LockedFolder, PartitionFolder,
    VolumeClaim, identity_of, is_log, is_marked_clean, partition_folders, partitions_with_folders,
    set_aside,
};
pub use error::{AppendError, LogError, ReadError, StorageError};
pub use files::open_count as open_file_count;
pub use future::FutureLog;
pub use log::{Appended, BatchToAppend, Log, LogFlusher, Opening, Recovery, Stamp};
pub use producers::{ActiveProducer, SequenceCheck, SequenceError};
pub use reader::{Batches, LogReader, SegmentDescription, Slice};
pub use region::Region;
pub use retention::Removed;
pub use shared::failed_count as failed_log_count;
pub use timestamps::{ClosedBatch, Searched, TimeSearch, TimestampedOffset, Unopened};
pub use trash::{Due, Removal, Trash};

#[cfg(test)]
mod tests;
