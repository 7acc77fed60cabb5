//! The removal of deleted files: in each data directory one after the other, with pauses, so that neither appends there
//! nor the removals of another directory wait for it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use milena_log::Removal;
use parking_lot::Mutex;

use super::Partitions;

/// Between two steps of a removal, for the others who want something of the file system. With it a TiB takes 6 minutes.
const PAUSE: Duration = Duration::from_millis(20);

/// What is to be removed of a data directory.
#[derive(Debug, Default)]
pub(super) struct Removals {
    queue: Mutex<Queue>,
    /// The broker stops: the rest is the next life's.
    is_over: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    // Bounded by the deleted files of the directory.
    waiting: VecDeque<PathBuf>,
    /// Whether a thread is at work.
    is_busy: bool,
}

impl Partitions {
    /// Has deleted files removed whose delay is over.
    pub fn empty_trash(&self) {
        let due = self.trash.lock().take_due(self.clock.monotonic_ms());
        for path in due {
            self.removals[self.dir_with(&path)].put(path);
        }
    }

    /// Which data directory a partition's folder, or a file in one, is in.
    fn dir_with(&self, path: &Path) -> usize {
        let mut around = path.ancestors().skip(1).take(2);
        let dir = around.find_map(|folder| {
            let is_it = |dir: &super::DataDir| dir.directory.path() == folder;
            self.dirs.iter().position(is_it)
        });
        dir.unwrap_or(0)
    }

    /// Has nothing more removed.
    pub(super) fn end_removals(&self) {
        for removals in &self.removals {
            removals.is_over.store(true, Ordering::Relaxed);
        }
    }
}

impl Removals {
    fn put(self: &Arc<Self>, path: PathBuf) {
        let mut queue = self.queue.lock();
        queue.waiting.push_back(path);
        if !std::mem::replace(&mut queue.is_busy, true) {
            let this = self.clone();
            crate::blocking::spawn(move || this.work());
        }
    }

    /// Removes until nothing waits.
    fn work(&self) {
        let pause = || {
            std::thread::sleep(PAUSE);
            !self.is_over()
        };
        let mut removal = Removal::new(&pause);
        while let Some(path) = self.next() {
            if let Err(error) = removal.remove(&path) {
                tracing::warn!(%error, "a deleted file could not be removed");
            }
        }
    }

    fn next(&self) -> Option<PathBuf> {
        let mut queue = self.queue.lock();
        let next = queue.waiting.pop_front().filter(|_| !self.is_over());
        queue.is_busy = next.is_some();
        next
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
