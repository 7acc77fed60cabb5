//! What can go wrong with a log, in a few small types.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_protocol::Uuid;
use thiserror::Error;

/// The disk refused an operation. The log is offline for writing from then on (KAFKA_STORAGE_ERROR).
#[derive(Debug, Clone, Error)]
#[error("could not {action} {}: {source}", path.display())]
pub struct StorageError {
    /// The file or folder.
    pub path: PathBuf,
    /// What was tried, as "could not …" goes on.
    pub action: &'static str,
    /// The system's answer.
    pub source: Arc<io::Error>,
}

impl StorageError {
    /// For `map_err`: the error of `action` on `path`.
    pub(crate) fn of<'a>(
        action: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self {
            path: path.to_path_buf(),
            action,
            source: Arc::new(source),
        }
    }

    /// As `of`, where the path is made only for the error.
    pub(crate) fn at<'a>(
        action: &'static str,
        path: &'a dyn Fn() -> PathBuf,
    ) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self {
            path: path(),
            action,
            source: Arc::new(source),
        }
    }
}

/// Why a log can't be opened or changed.
#[derive(Debug, Clone, Error)]
pub enum LogError {
    /// The disk refused.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Bytes that were safe on disk are no longer a valid log; they are never cut, the replica stays offline.
    #[error("{} is damaged at offset {offset}, byte {byte}: {problem}; it is left as it is. Stop the broker and see `milena log repair`, or restore the file", path.display())]
    Damaged {
        /// The segment's file.
        path: PathBuf,
        /// The offset that was expected there.
        offset: i64,
        /// Where in the file.
        byte: u64,
        /// What was found.
        problem: String,
    },
    /// A small file of the log or its folder can't be understood.
    #[error("{} can't be read: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was found.
        problem: String,
    },
    /// The folder belongs to another topic of the same name.
    #[error("{} belongs to topic id {found}, not to {expected}", path.display())]
    TopicId {
        /// The partition's folder.
        path: PathBuf,
        /// The id in the folder's partition.metadata.
        found: Uuid,
        /// The id that the caller knows.
        expected: Uuid,
    },
}

/// Why an append stored nothing.
#[derive(Debug, Clone, Error)]
pub enum AppendError {
    /// The disk refused now, or has refused before: the log takes no more appends until it is opened anew.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The batches do not fit into one segment (RECORD_LIST_TOO_LARGE).
    #[error("{size} bytes do not fit into a segment of {segment_bytes}")]
    TooLarge {
        /// Bytes of the append.
        size: u64,
        /// The log's segment.bytes.
        segment_bytes: u32,
    },
    /// A follower's batch starts before the log's end.
    #[error("a batch starts at offset {found}, before the log's end {expected}")]
    NotContinuous {
        /// The log's end offset.
        expected: i64,
        /// The batch's base offset.
        found: i64,
    },
}

/// Why nothing was read.
#[derive(Debug, Clone, Error)]
pub enum ReadError {
    /// The offset is below the log's start or above its end (OFFSET_OUT_OF_RANGE).
    #[error("offset {offset} is outside {start}..={end}")]
    OutOfRange {
        /// What was asked for.
        offset: i64,
        /// The log start offset.
        start: i64,
        /// The log end offset.
        end: i64,
    },
    /// The file's bytes are no valid log, or the disk refused.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<StorageError> for ReadError {
    fn from(error: StorageError) -> Self {
        Self::Log(LogError::Storage(error))
    }
}
