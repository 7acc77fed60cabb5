//! One partition's log: the writing half, owned by one task at a time.

mod append;
mod cut;
mod flush;
mod open;

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_protocol::Uuid;
use milena_protocol::records::BatchHeader;

use crate::config::LogConfig;
use crate::directory::partition_metadata;
use crate::epochs::Epochs;
use crate::error::{LogError, StorageError};
use crate::files::{self, Durability};
use crate::preallocation::Preallocation;
use crate::producers::{self, ActiveProducer, Producers, SequenceCheck, SequenceError};
use crate::reader::LogReader;
use crate::roll::Jitter;
use crate::segment::file_name;
use crate::shared::Shared;

pub use append::{Appended, BatchToAppend, Stamp};
pub use flush::LogFlusher;
pub use open::{Opening, Recovery};
pub(crate) use open::{
    folder::swaps,
    names_in, tidy,
    whole::{Before, orphans},
};

/// What a file's blocks are counted in, whatever the file system's are; bytes.
const BLOCK: u64 = 512;
/// A file may take so many bytes more than it has where nothing is reserved: a part of a block, and the list of blocks.
const NOT_RESERVED_MAX: u64 = 64 << 10;

/// The writing half of a log. Readers and the flusher are handed out, and go on while this half waits.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    config: LogConfig,
    epochs: Epochs,
    producers: Producers,
    /// The log end that the newest snapshot on file is of, where that is known.
    snapshot_at: Option<i64>,
    topic_id: Uuid,
    /// Whether there is a folder.
    is_made: bool,
    head: Head,
}

/// What the writer knows of the active segment.
#[derive(Debug)]
struct Head {
    created_ms: i64,
    /// The first batch's largest timestamp; `None` until it was asked for.
    first_timestamp: Option<i64>,
    bytes_since_index_entry: u64,
    preallocation: Preallocation,
    jitter: Jitter,
}

impl Head {
    fn new(now_ms: i64) -> Self {
        Self {
            created_ms: now_ms,
            first_timestamp: None,
            bytes_since_index_entry: 0,
            preallocation: Preallocation::default(),
            jitter: Jitter::draw(),
        }
    }
}

impl Log {
    /// A reader of this log.
    pub fn reader(&self) -> LogReader {
        LogReader::new(self.shared.clone())
    }

    /// The handle that syncs this log to disk.
    pub fn flusher(&self) -> LogFlusher {
        LogFlusher::new(self.shared.clone())
    }

    /// The settings in force.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Puts other settings in force from the next call on.
    pub fn set_config(&mut self, config: LogConfig) {
        self.config = config;
    }

    /// The first offset that can be read.
    pub fn log_start_offset(&self) -> i64 {
        self.shared.start()
    }

    /// The offset that the next record gets.
    pub fn log_end_offset(&self) -> i64 {
        self.shared.end()
    }

    /// What lies below this offset is on disk; goes into the recovery point checkpoint.
    pub fn recovery_point(&self) -> i64 {
        self.shared.recovery_point()
    }

    /// The partition's folder.
    pub fn folder(&self) -> PathBuf {
        self.shared.path()
    }

    /// Makes the folder, where there is none yet. What it lies in is synced by the next flush.
    fn make_folder(&mut self) -> Result<(), StorageError> {
        if self.is_made {
            return Ok(());
        }
        let path = self.shared.path();
        files::create_folder(&path).map_err(StorageError::of("create", &path))?;
        partition_metadata::write(&path, self.topic_id)?;
        self.shared.note_folder_made();
        self.is_made = true;
        Ok(())
    }

    /// The partition is deleted: who still reads finds files gone, which is no fault of the disk's.
    pub fn note_deleted(&mut self) {
        self.shared.note_deleted();
    }

    /// The folder was renamed (a deleted topic); whoever has a file here to open or write follows.
    pub fn moved_to(&mut self, folder: &Path) {
        *self.shared.folder.write() = folder.to_path_buf();
        // Once deleted it is cut, unless it is open.
        for segment in self.shared.segments() {
            segment.close();
        }
    }

    /// Whether there is a folder.
    pub(crate) fn is_made(&self) -> bool {
        self.is_made
    }

    /// A copy of the folder has taken its place; the segments' files are closed.
    pub(crate) fn note_replaced(&mut self) {
        self.is_made = true;
        self.head.preallocation = Preallocation::default();
        // Who works with the files of before may not bring them here.
        self.shared.forget_hints();
    }

    /// What a producer's batch is. Ask and append under one hold of the log.
    pub fn check_producer(&self, header: &BatchHeader) -> Result<SequenceCheck, SequenceError> {
        self.producers.check(header)
    }

    /// The producers that the log remembers, by id.
    pub fn active_producers(&self) -> Vec<ActiveProducer> {
        self.producers.active()
    }

    /// Forgets producers that have been silent for `producer.id.expiration.ms`.
    pub fn expire_producers(&mut self, now_ms: i64) {
        self.producers
            .expire(now_ms, self.config.producer_id_expiration_ms);
    }

    /// A clean stop: afterwards everything is on disk and the next opening scans nothing. The caller then writes
    /// the checkpoints and the clean-shutdown marker.
    pub fn close(&mut self) -> Result<(), StorageError> {
        self.settle()?;
        self.flusher().flush_all()?;
        // Thousands of logs are closed one after the other, by a process that may have few descriptors.
        for segment in self.shared.segments() {
            segment.close_synced();
        }
        Ok(())
    }

    /// The first half of `close`: writes what only memory has, and syncs nothing yet.
    pub fn settle(&mut self) -> Result<(), StorageError> {
        self.shared.check_synced()?;
        let active = self.shared.active();
        active.seal()?;
        active.close_indexes();
        self.release_reserved()?;
        self.snapshot_producers()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Each producer's last batch, by its last offset.
    pub(crate) fn last_producer_offsets(&self) -> HashMap<i64, i64> {
        self.producers.last_offsets()
    }

    pub(crate) fn forget_epochs_below(&mut self, offset: i64) -> Result<(), StorageError> {
        self.epochs.truncate_below(offset)
    }

    fn release_reserved(&mut self) -> Result<(), StorageError> {
        let active = self.shared.active();
        let size = active.size();
        if self.head.preallocation.is_ahead_of(size) {
            let path = active.path("log");
            active
                .file()?
                .set_len(size)
                .map_err(StorageError::of("truncate", &path))?;
        }
        self.head.preallocation = Preallocation::default();
        Ok(())
    }

    /// Gives back what is reserved behind an active segment to which nothing was written since the last call. The first
    /// time in a life that may be what another one has left: a process that is killed gives nothing back.
    pub(crate) fn release_at_rest(&mut self) -> Result<(), StorageError> {
        let active = self.shared.active();
        let size = active.size();
        if !self.head.preallocation.has_come_to_rest(size) {
            return Ok(());
        }
        let path = active.path("log");
        // Where there is no file, nothing was reserved.
        let held = std::fs::metadata(&path).map_or(0, |file| file.blocks() * BLOCK);
        if held > size + NOT_RESERVED_MAX {
            active
                .file()?
                .set_len(size)
                .map_err(StorageError::of("truncate", &path))?;
        }
        self.head.preallocation.note_given_back();
        Ok(())
    }

    /// Keeps the producers' state as of the log's end.
    fn snapshot_producers(&mut self) -> Result<(), StorageError> {
        let end = self.shared.end();
        // A log that was never written has no producers, and a log that rests has its snapshot.
        if end == 0 || self.snapshot_at == Some(end) {
            return Ok(());
        }
        let path = self.shared.path().join(file_name(end, "snapshot"));
        producers::write(&path, &self.producers, Durability::Cached)?;
        self.shared.note_folder_change();
        self.snapshot_at = Some(end);
        Ok(())
    }
}

/// An offset that names a file of the folder, such as a segment's or a snapshot's.
pub(crate) fn offset_in_name(name: &str, extension: &str) -> Option<i64> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    if digits.len() != 20 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// Offsets of the folder's snapshots, oldest first.
pub(crate) fn snapshots(folder: &Path) -> Result<Vec<i64>, LogError> {
    let mut offsets = Vec::new();
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(offsets),
        entries => entries.map_err(StorageError::of("list", folder))?,
    };
    for entry in entries {
        let entry = entry.map_err(StorageError::of("list", folder))?;
        offsets.extend(
            entry
                .file_name()
                .to_str()
                .and_then(|name| offset_in_name(name, "snapshot")),
        );
    }
    offsets.sort_unstable();
    Ok(offsets)
}
