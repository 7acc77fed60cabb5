//! Whether batches were written that no sync has followed. Their file stays open: that their write-back fails is told to
//! those who have it open, and once the system has forgotten the file, to nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use super::Segment;
use crate::error::StorageError;
use crate::files::LogFile;

/// Counts the beginnings and ends of writes, of which one is under way at a time: an odd number is one that is. None are
/// counted of what an earlier life has written.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    written: AtomicU64,
    /// What `written` was when the last sync began.
    synced: AtomicU64,
}

impl Unsynced {
    /// One that has failed has no end before that of the next.
    fn begin_write(&self) {
        self.written.fetch_or(1, Ordering::SeqCst);
    }

    pub(super) fn end_write(&self) {
        self.begin_write();
        self.written.fetch_add(1, Ordering::SeqCst);
    }

    /// Asked for before a sync.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::SeqCst)
    }

    /// A sync that began then has brought all to disk.
    pub(super) fn note_synced(&self, written: u64) {
        self.synced.fetch_max(written, Ordering::SeqCst);
    }

    fn is_any(&self) -> bool {
        let written = self.written();
        written % 2 == 1 || written != self.synced.load(Ordering::SeqCst)
    }
}

impl Segment {
    /// The open file of batches, which stays open until what is written to it is synced.
    pub fn file_to_write(&self) -> Result<Arc<LogFile>, StorageError> {
        self.unsynced.begin_write();
        // Whoever closes it looks for a write after it has taken the file away, and puts it back: see `close_synced`.
        fence(Ordering::SeqCst);
        self.file()
    }

    /// Syncs batches, unless none were written since the last sync.
    pub fn sync_unsynced(&self) -> Result<(), StorageError> {
        match self.unsynced.is_any() {
            true => self.sync_batches(),
            false => Ok(()),
        }
    }

    /// Gives descriptors back: whoever uses the segment next opens its files where they are then.
    pub fn close(&self) {
        {
            // Whoever is opening it has found it where it was before.
            let _suffix = self.suffix.lock();
            self.file.store(None);
        }
        self.close_indexes();
    }

    /// Gives back those of indexes, which keep what is not written yet.
    pub fn close_indexes(&self) {
        self.offsets.close_idle();
        self.times.close_idle();
    }

    /// Gives descriptors back, but for that of batches that were not synced.
    pub fn close_synced(&self) {
        {
            let _suffix = self.suffix.lock();
            let file = self.file.swap(None);
            fence(Ordering::SeqCst);
            if self.unsynced.is_any() {
                self.file.store(file);
            }
        }
        self.close_indexes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_while_a_sync_was_under_way_is_unsynced() {
        let writes = Unsynced::default();
        assert!(!writes.is_any());
        writes.begin_write();
        assert!(writes.is_any());
        let seen = writes.written();
        writes.end_write();
        writes.note_synced(seen);
        assert!(writes.is_any());
        writes.note_synced(writes.written());
        assert!(!writes.is_any());
    }

    #[test]
    fn a_write_that_has_failed_is_unsynced_until_the_next_was_synced() {
        let writes = Unsynced::default();
        writes.begin_write();
        writes.note_synced(writes.written());
        assert!(writes.is_any());
        writes.begin_write();
        writes.end_write();
        writes.note_synced(writes.written());
        assert!(!writes.is_any());
    }
}
