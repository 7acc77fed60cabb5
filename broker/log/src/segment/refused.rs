//! What of a segment its disk has refused to read, and what goes on without it: of one whose batches can't be read nothing
//! is handed out to be sent, and where an index can't be read batches are found by a walk.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Segment;
use crate::error::StorageError;

/// What was refused so far.
#[derive(Debug, Default)]
pub(super) struct Refused {
    batches: OnceLock<StorageError>,
    offsets: AtomicBool,
    times: AtomicBool,
}

impl Segment {
    /// Notes that its disk refuses to read it; false where that is known.
    pub fn set_unreadable(&self, error: StorageError) -> bool {
        self.refused.batches.set(error).is_ok()
    }

    /// Whether it can be read, as far as anybody has tried.
    pub fn check_readable(&self) -> Result<(), StorageError> {
        self.refused.batches.get().cloned().map_or(Ok(()), Err)
    }

    /// Where `error` is of one of the indexes, batches are found without that one from here on; false where it is of
    /// another file.
    pub fn give_up_index(&self, error: &StorageError) -> bool {
        let refused = &self.refused;
        let indexes = [("index", &refused.offsets), ("timeindex", &refused.times)];
        let of = indexes
            .into_iter()
            .find(|(kind, _)| self.path(kind) == error.path);
        of.is_some_and(|(_, index)| {
            index.store(true, Ordering::Release);
            true
        })
    }

    /// Whether batches are found by walks from the segment's start.
    pub(super) fn has_no_index(&self) -> bool {
        self.refused.offsets.load(Ordering::Acquire)
    }

    /// Whether a look at the indexes would come to nothing.
    pub(super) fn is_beyond_vetting(&self) -> bool {
        self.has_no_index() || self.refused.times.load(Ordering::Acquire)
    }
}
