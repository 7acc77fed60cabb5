//! Deleting late: files are renamed to `.deleted` at once, and removed after `file.delete.delay.ms`, so that a read
//! that has just found its place still finds the file.

use std::path::PathBuf;

use crate::error::StorageError;
use crate::files;
use crate::segment::Segment;

mod removal;

pub use removal::Removal;

pub(crate) const SUFFIX: &str = ".deleted";
/// How long what could not be removed waits for its second try; for each that follows twice as long.
const RETRY_MS: i64 = 60_000;
/// Together they take a day and a half: what a disk refuses for longer it will refuse until it is mended.
const TRIES_MAX: u32 = 12;

/// Files and folders that wait for their removal. The broker keeps one and ticks it, by a clock that nobody sets: put
/// forward it would remove what is still read, put back it would keep all.
#[derive(Debug, Default)]
pub struct Trash {
    /// By when each is due. In one that a log fills the clock stands at 0.
    waiting: Vec<(i64, Due)>,
}

/// A file or folder whose time has come.
#[derive(Debug)]
pub struct Due {
    /// Where it is.
    pub path: PathBuf,
    /// How often its removal has failed.
    failures: u32,
}

impl Due {
    /// Whether it is tried for the first time.
    pub fn is_first_try(&self) -> bool {
        self.failures == 0
    }
}

impl Trash {
    /// Removes a renamed file or folder once the clock passes `due_ms`.
    pub fn put(&mut self, path: PathBuf, due_ms: i64) {
        let failures = 0;
        self.waiting.push((due_ms, Due { path, failures }));
    }

    /// Takes back, at `now_ms` of the clock, what could not be removed: it is due again later. What was refused often
    /// enough is left to the next start, which finds it by its name.
    pub fn put_back(&mut self, mut due: Due, now_ms: i64) {
        due.failures += 1;
        if due.failures < TRIES_MAX {
            let delay_ms = RETRY_MS << (due.failures - 1);
            self.waiting.push((now_ms.saturating_add(delay_ms), due));
        }
    }

    /// Takes over what a log has put into another just now, at `now_ms` of the clock.
    pub fn append(&mut self, other: Self, now_ms: i64) {
        let due = other.waiting.into_iter();
        let due = due.map(|(delay_ms, due)| (now_ms.saturating_add(delay_ms), due));
        self.waiting.extend(due);
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes out what is due at `now_ms`, to be handed to a [`Removal`] on a thread that may block.
    pub fn take_due(&mut self, now_ms: i64) -> Vec<Due> {
        let due = self.waiting.extract_if(.., |(due_ms, _)| *due_ms <= now_ms);
        due.map(|(_, due)| due).collect()
    }

    /// Renames the segment's files and puts them here.
    pub(crate) fn put_segment(
        &mut self,
        segment: &Segment,
        delay_ms: i64,
    ) -> Result<(), StorageError> {
        Self::rename_for_deletion(segment)?;
        for extension in ["log", "index", "timeindex", "txnindex"] {
            self.put(segment.path(extension), delay_ms);
        }
        Ok(())
    }

    pub(crate) fn rename_for_deletion(segment: &Segment) -> Result<(), StorageError> {
        segment.rename(SUFFIX)
    }

    pub(crate) fn remove_now(segment: &Segment) -> Result<(), StorageError> {
        for extension in ["log", "index", "timeindex", "txnindex"] {
            let path = segment.path(extension);
            files::remove_if_there(&path).map_err(StorageError::of("remove", &path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
