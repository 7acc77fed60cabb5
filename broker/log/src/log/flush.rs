//! Syncing to disk, beside appends and reads.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::epochs;
use crate::error::StorageError;
use crate::files;
use crate::segment::{Refusal, Segment, file_name};
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

    /// Below this offset all batches are on disk, and stay there.
    pub fn flushed(&self) -> i64 {
        self.shared.flushed()
    }

    /// Whether a flush has failed: what was not on disk before it may be gone, though it can still be read.
    pub fn is_distrusted(&self) -> bool {
        self.shared.has_sync_failed()
    }

    /// Whether the log is offline for writing: no flush will bring more of it to disk.
    pub fn has_failed(&self) -> bool {
        self.shared.has_failed()
    }

    /// Whether batches have waited for a flush for `ms`, of a caller that asks again and again and flushes then. Of a
    /// log that is offline nothing is due.
    pub fn is_overdue(&self, ms: u64, now_ms: i64) -> bool {
        let since_ms = &self.shared.unflushed_since_ms;
        if self.shared.end() <= self.shared.flushed() || self.shared.has_failed() {
            since_ms.store(now_ms, Ordering::Relaxed);
            return false;
        }
        let waited = now_ms.saturating_sub(since_ms.load(Ordering::Relaxed));
        // A clock that was put back tells nothing of how long it is.
        let due = waited < 0 || waited.unsigned_abs() >= ms;
        if due {
            since_ms.store(now_ms, Ordering::Relaxed);
        }
        due
    }

    /// Whether so much was appended that [`LogFlusher::begin_write_back`] is due; two loads where nothing was. Never in a
    /// simulation, where memory is the disk.
    pub fn is_write_back_due(&self) -> bool {
        let (end, at) = (self.shared.end(), &self.shared.written_back_at);
        if at.load(Ordering::Relaxed) == end
            || self.shared.has_failed()
            || cfg!(feature = "simulation")
        {
            return false;
        }
        let is_due = self.shared.active().is_write_back_due();
        if !is_due {
            at.store(end, Ordering::Relaxed);
        }
        is_due
    }

    /// Has the kernel begin to write what was appended, in whole chunks, and waits only where the disk has too much to do;
    /// false where the file system knows no such thing. It is no flush: nothing counts as on disk for it. Where it shows
    /// that the disk fails, that is what a failed flush is.
    pub fn begin_write_back(&self) -> Result<bool, StorageError> {
        if self.shared.has_failed() {
            return Ok(true);
        }
        let active = self.shared.active();
        let Err(error) = active.begin_write_back() else {
            return Ok(true);
        };
        match Refusal::of(&error) {
            // A cut has taken it meanwhile.
            _ if !self.shared.holds(&active) => Ok(true),
            Refusal::Unsupported => Ok(false),
            Refusal::Passing => Ok(true),
            Refusal::Lost => Err(self.shared.fail_sync(error)),
        }
    }

    /// Brings everything that was appended before the call to disk, and raises the recovery point. A failure takes
    /// the log offline: what the system has dropped can't be told (the bytes count as unsafe until recovery).
    pub fn flush(&self) -> Result<(), StorageError> {
        self.shared.check_writable()?;
        self.flush_all()
    }

    /// The same of a log that is closed, which may be offline because something of it could not be read.
    pub(crate) fn flush_all(&self) -> Result<(), StorageError> {
        let _one_by_one = self.shared.flushing.lock();
        // Whoever has waited for a sync that failed must not take the next one's word.
        self.shared.check_synced()?;
        let cuts = self.shared.cuts();
        let tip = self.shared.tip();
        let is_dirty = self.shared.folder_dirty.load(Ordering::Acquire);
        if tip.end > self.shared.recovery_point() || is_dirty {
            self.sync_up_to(tip.end, cuts)?;
        }
        Ok(())
    }

    /// Brings every batch that was appended before the call to disk, by one sync where they all lie in the active
    /// segment, whose folder is on disk already. Beyond that it is a [`LogFlusher::flush`]. The recovery point stays
    /// where it was otherwise: indexes are left to the flush that the segment gets when it takes no more batches.
    pub fn flush_batches(&self) -> Result<(), StorageError> {
        let _one_by_one = self.shared.flushing.lock();
        self.shared.check_writable()?;
        let cuts = self.shared.cuts();
        let tip = self.shared.tip();
        let flushed = self.shared.flushed();
        if tip.end <= flushed {
            return Ok(());
        }
        // Asked for after the end, so that nothing below it lies behind this segment.
        let active = self.shared.active();
        if active.base_offset() > flushed || self.shared.folder_dirty.load(Ordering::Acquire) {
            self.sync_up_to(tip.end, cuts)?;
        } else {
            match active.sync_batches() {
                Err(_) if !self.shared.holds(&active) => {}
                synced => synced.map_err(|error| self.shared.fail_sync(error))?,
            }
            self.shared.raise_flushed(tip.end, cuts);
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
        let _one_by_one = self.shared.flushing.lock();
        if self.shared.check_writable().is_err() {
            return Ok(());
        }
        let cuts = self.shared.cuts();
        self.sync_up_to(self.shared.active_base(), cuts)
    }

    /// Gives back the descriptors of files that nobody has used since the last call. Batches that were not synced are
    /// before: a failed write-back is told to who has the file open meanwhile, and maybe to nobody else. Nothing counts as
    /// flushed for it.
    pub fn close_idle(&self) -> Result<(), StorageError> {
        let segments = self.shared.segments();
        for segment in segments.iter().filter(|segment| segment.is_idle()) {
            if self.shared.has_write_failed() {
                // No later flush will say that its batches are on disk.
                segment.close();
                continue;
            }
            match segment.sync_unsynced() {
                Err(error) if self.shared.holds(segment) => {
                    return Err(self.shared.fail_sync(error));
                }
                _ => segment.close_synced(),
            }
        }
        Ok(())
    }

    /// Notes that some write-back has failed, and nobody knows of which file: as after a failed flush, unless all is on
    /// disk.
    pub fn doubt(&self, error: StorageError) -> Result<(), StorageError> {
        match self.shared.end() > self.shared.flushed() {
            true => Err(self.shared.fail_sync(error)),
            false => Ok(()),
        }
    }

    fn sync_up_to(&self, end: i64, cuts: u64) -> Result<(), StorageError> {
        self.sync(end).map_err(|error| {
            // Whatever was not synced for want of a descriptor is with the next flush, the folder too.
            self.shared.folder_dirty.store(true, Ordering::Release);
            self.shared.fail_sync(error)
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
        // Names first: segments that were cut off are gone before the one that ends there now is shorter.
        if folder_dirty {
            self.sync_names(end, unsafe_from, &segments)?;
        }
        for (index, segment) in segments.iter().enumerate() {
            if segment.base_offset() < end && holds_unsafe(index) {
                match segment.sync() {
                    // A cut, retention or compaction has taken it meanwhile.
                    Err(_) if !self.shared.holds(segment) => {}
                    synced => synced?,
                }
            }
        }
        Ok(())
    }

    /// The small files, then all names.
    fn sync_names(
        &self,
        end: i64,
        unsafe_from: i64,
        segments: &[Arc<Segment>],
    ) -> Result<(), StorageError> {
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
        Ok(())
    }
}

fn sync_if_there(path: &std::path::Path) -> Result<(), StorageError> {
    files::sync_if_there(path).map_err(StorageError::of("sync", path))
}
