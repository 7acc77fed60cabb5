//! Syncing to disk, beside appends and reads.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::epochs;
use crate::error::StorageError;
use crate::files;
use crate::segment::{Segment, file_name};
use crate::shared::Shared;

/// Syncs one log; runs on a thread that may block, while the log goes on.
#[derive(Debug, Clone)]
pub struct LogFlusher {
    shared: Arc<Shared>,
}

impl LogFlusher {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Whether `flush.messages` or `flush.ms` asks for a flush now; the caller then flushes, and asks again later.
    /// Takes no lock, so that a log whose disk stalls keeps no other from being flushed.
    pub fn is_due(&self, messages: Option<u64>, ms: Option<u64>, now_ms: i64) -> bool {
        let waiting = self.shared.end() - self.shared.recovery_point();
        if waiting <= 0 {
            self.shared.flushed_ms.store(now_ms, Ordering::Relaxed);
            return false;
        }
        let since = now_ms.saturating_sub(self.shared.flushed_ms.load(Ordering::Relaxed));
        let reached = |limit: Option<u64>, value: i64| {
            limit.is_some_and(|limit| value.unsigned_abs() >= limit)
        };
        let due = reached(messages, waiting) || (since >= 0 && reached(ms, since));
        if due {
            self.shared.flushed_ms.store(now_ms, Ordering::Relaxed);
        }
        due
    }

    /// Brings everything that was appended before the call to disk, and raises the recovery point. A failure takes
    /// the log offline: what the system has dropped can't be told (the bytes count as unsafe until recovery).
    pub fn flush(&self) -> Result<(), StorageError> {
        self.shared.check_writable()?;
        let _one_by_one = self.shared.flushing.lock();
        let cuts = self.shared.cuts();
        let end = self.shared.end();
        if end > self.shared.recovery_point() || self.shared.folder_dirty.load(Ordering::Acquire) {
            self.sync_up_to(end, cuts)?;
        }
        Ok(())
    }

    /// Brings the segments that get no more batches to disk, and raises the recovery point to where the active one
    /// starts: after a crash no more than that one is scanned. Where no segment has been sealed since the last call it
    /// costs two loads. A failure takes the log offline, and is told once: a log that is offline has nothing due.
    pub fn flush_sealed(&self) -> Result<(), StorageError> {
        if self.shared.active_base() <= self.shared.recovery_point() {
            return Ok(());
        }
        if self.shared.check_writable().is_err() {
            return Ok(());
        }
        let _one_by_one = self.shared.flushing.lock();
        let cuts = self.shared.cuts();
        self.sync_up_to(self.shared.active_base(), cuts)
    }

    fn sync_up_to(&self, end: i64, cuts: u64) -> Result<(), StorageError> {
        self.sync(end).map_err(|error| {
            // Whatever was not synced for want of a descriptor is with the next flush, the folder too.
            self.shared.folder_dirty.store(true, Ordering::Release);
            self.shared.refuse(error)
        })?;
        self.shared.raise_recovery_point(end, cuts);
        Ok(())
    }

    fn sync(&self, end: i64) -> Result<(), StorageError> {
        // Cleared first: what changes meanwhile waits for the next flush.
        let folder_dirty = self.shared.folder_dirty.swap(false, Ordering::AcqRel);
        let unsafe_from = self.shared.recovery_point();
        let segments = self.shared.segments();
        let holds_unsafe = |index: usize| {
            segments
                .get(index + 1)
                .is_none_or(|next: &Arc<Segment>| next.base_offset() > unsafe_from)
        };
        for (index, segment) in segments.iter().enumerate() {
            if segment.base_offset() < end && holds_unsafe(index) {
                match segment.sync() {
                    // A cut, retention or compaction has taken it meanwhile.
                    Err(_) if !self.shared.holds(segment) => {}
                    synced => synced?,
                }
            }
        }
        if folder_dirty {
            let folder = self.shared.path();
            sync_if_there(&folder.join(epochs::FILE))?;
            for segment in segments
                .iter()
                .filter(|segment| segment.base_offset() >= unsafe_from)
            {
                sync_if_there(&folder.join(file_name(segment.base_offset(), "snapshot")))?;
            }
            sync_if_there(&folder.join(file_name(end, "snapshot")))?;
            files::sync_folder(&folder).map_err(StorageError::of("sync", &folder))?;
            if self.shared.folder_made.swap(false, Ordering::AcqRel)
                && let Some(parent) = folder.parent()
            {
                files::sync_folder(parent).map_err(StorageError::of("sync", parent))?;
            }
        }
        Ok(())
    }
}

fn sync_if_there(path: &std::path::Path) -> Result<(), StorageError> {
    files::sync_if_there(path).map_err(StorageError::of("sync", path))
}
