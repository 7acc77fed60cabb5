//! The removal of deleted files: in each data directory one after the other, with pauses, so that neither appends there
//! nor the removals of another directory wait for it.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use milena_log::{Due, Removal};
use parking_lot::Mutex;

use super::Partitions;

/// Between two steps of a removal, for the others who want something of the file system. With it a TiB takes 6 minutes.
const PAUSE: Duration = Duration::from_millis(20);

/// What is to be removed of a data directory.
#[derive(Debug, Default)]
pub(super) struct Removals {
    queue: Mutex<Queue>,
    /// What could not be removed since the last round.
    refused: Mutex<Vec<Due>>,
    /// The broker stops: the rest is the next life's.
    is_over: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    // Bounded by the deleted files of the directory.
    waiting: VecDeque<Due>,
    /// Whether a thread is at work.
    is_busy: bool,
}

impl Partitions {
    /// Has deleted files removed whose delay is over. What could not be removed comes later once more.
    pub fn empty_trash(&self) {
        let now_ms = self.clock.monotonic_ms();
        for removals in &self.removals {
            let refused = std::mem::take(&mut *removals.refused.lock());
            let mut trash = self.trash.lock();
            refused
                .into_iter()
                .for_each(|due| trash.put_back(due, now_ms));
        }
        let due = self.trash.lock().take_due(now_ms);
        for due in due {
            self.removals[self.dir_with(&due.path)].put(due);
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
    fn put(self: &Arc<Self>, due: Due) {
        let mut queue = self.queue.lock();
        queue.waiting.push_back(due);
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
        while let Some(due) = self.next() {
            let Err(error) = removal.remove(&due.path) else {
                continue;
            };
            if due.is_first_try() {
                tracing::warn!(
                    %error,
                    "a deleted file could not be removed: it is tried again for a day, and at the next start"
                );
            }
            self.refused.lock().push(due);
        }
    }

    fn next(&self) -> Option<Due> {
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
