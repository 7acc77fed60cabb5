//! What reads tell of a log's files, and whether the log takes no more writes for it. What the log does not hold any more
//! is none of its faults.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Shared;
use crate::damage::{self, Noted};
use crate::error::{LogError, StorageError};
use crate::files::{self, LogFile, ReadFault};
use crate::segment::Segment;

impl Shared {
    /// Notes a read of `segment` that has failed. Where the disk is to blame, the log is offline for writing as after a
    /// failed write, so that another replica leads on. Of a segment with a bad block nothing is handed out to be sent any
    /// more; of one that could not be opened nothing was. Waits for the disk where the error may have passed.
    pub fn note_failed_read(&self, segment: &Arc<Segment>, error: &io::Error) {
        // Asked in this order: a segment leaves the log before its files go.
        let Some((fault, source)) = files::read_fault(error).filter(|_| self.holds(segment)) else {
            return;
        };
        let path = segment.path("log");
        if fault == ReadFault::MayPass {
            // The handle of a file may stay stale where another is not.
            segment.close_synced();
            return self.note_damage(&path);
        }
        self.give_up_reading(segment, fault, StorageError::of("read", &path)(source));
    }

    fn give_up_reading(&self, segment: &Segment, fault: ReadFault, error: StorageError) {
        if fault == ReadFault::OutOfReach || segment.set_unreadable(error.clone()) {
            self.fail_read(error);
        }
    }

    /// The same of a lookup, which reads indexes too: where one of them is to blame the segment goes on without it.
    pub fn note_failed_lookup(&self, segment: &Arc<Segment>, error: &StorageError) {
        let Some((fault, _)) = files::read_fault(&error.source).filter(|_| self.holds(segment))
        else {
            return;
        };
        let is_of_batches = error.path == segment.path("log");
        if fault == ReadFault::MayPass && !is_of_batches && files::is_readable(&error.path) {
            return segment.close_synced();
        }
        match segment.give_up_index(error) {
            true => self.fail_read(error.clone()),
            false => self.note_failed_read(segment, &error.source),
        }
    }

    /// The same of whoever has only the error, which names one of the log's files. A time index that can't be read ends
    /// the writes too, and no fetch.
    pub fn note_failure(&self, error: &StorageError) {
        let cause = error.source.get_ref();
        if let Some(LogError::Damaged { path, .. }) = cause.and_then(|cause| cause.downcast_ref()) {
            return self.note_damage(path);
        }
        if !matches!(error.action, "read" | "open") {
            return;
        }
        let Some((fault, _)) = files::read_fault(&error.source) else {
            return;
        };
        // A cut may have taken that file, and an append made another of its name.
        if fault == ReadFault::OutOfReach && LogFile::open(&error.path, false).is_ok() {
            return;
        }
        let segments = self.segments();
        let of_kind = |kind| {
            let mut segments = segments.iter();
            segments.find(|segment| segment.path(kind) == error.path)
        };
        if let Some(segment) = of_kind("log").or_else(|| of_kind("index")) {
            self.note_failed_lookup(segment, error);
        } else if let Some(segment) = of_kind("timeindex") {
            match fault == ReadFault::MayPass && files::is_readable(&error.path) {
                true => segment.close_synced(),
                false => self.fail_read(error.clone()),
            }
        }
    }

    /// Notes that somebody took bytes of this file for no batch. Where a walk over what the log has now finds damage too,
    /// it is offline for writing, and the next life is told: else it was cut, or had segments swapped or taken, while they
    /// were read. Waits for the disk.
    pub fn note_damage(&self, path: &Path) {
        let Some(noted) = self.look_again(path) else {
            return;
        };
        // Last, for a disk that damages what it has may stall too.
        if let Err(error) = damage::write(&self.path(), noted) {
            tracing::warn!(%error, "the next start will not know that this log is damaged");
        }
    }

    /// Where the log's damage is, if this has taken it offline.
    fn look_again(&self, path: &Path) -> Option<Noted> {
        let _one_by_one = self.looking.lock();
        if self.has_failed() {
            return None;
        }
        let segments = self.segments();
        let mut held = segments.iter();
        let segment = held.find(|segment| segment.path("log") == path)?;
        let seen = || (self.generation(), segment.cuts(), segment.size());
        let (generation, cuts, size) = seen();
        let error = segment.walk_checked().err()?;
        // A cut first lowers the size, then takes the bytes, and is counted at last; appends raise the size.
        let (generation_now, cuts_now, size_now) = seen();
        let is_as_it_was = (generation, cuts) == (generation_now, cuts_now) && size_now >= size;
        if !is_as_it_was || !self.holds(segment) {
            return None;
        }
        let noted = match &error {
            LogError::Damaged { offset, byte, .. } => Some(Noted {
                base_offset: segment.base_offset(),
                offset: *offset,
                byte: *byte,
            }),
            _ => None,
        };
        match error {
            LogError::Storage(error) => {
                if let Some((fault, _)) = files::read_fault(&error.source) {
                    self.give_up_reading(segment, fault, error);
                }
            }
            damage => self.fail_read(StorageError::of("read", path)(io::Error::other(damage))),
        }
        noted.filter(|_| self.has_failed())
    }

    /// Notes that a read of `segment` has come to the file's end before the byte `end`, which the log had. As of a bad
    /// block, nothing of it is handed out any more if that is so. Waits for the disk.
    pub fn note_short_file(&self, segment: &Arc<Segment>, end: u64) {
        // A cut lowers the size before it takes the bytes.
        if end > segment.size() || !self.holds(segment) {
            return;
        }
        self.note_damage(&segment.path("log"));
        if let Err(failure) = self.check_writable()
            && segment.is_short()
        {
            segment.set_unreadable(failure);
        }
    }

    fn fail_read(&self, error: StorageError) {
        if self.deleted.load(Ordering::SeqCst) {
            return;
        }
        if !self.has_failed() {
            tracing::error!(%error, "a log takes no more writes, for a file of it can't be read");
        }
        self.go_offline(error);
    }
}
