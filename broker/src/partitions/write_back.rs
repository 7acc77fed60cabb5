//! Paced write-back: the kernel is asked to write what was appended, chunk by chunk, before it has so much to write that
//! appends have to wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Partitions;
use crate::metrics::Metrics;
use crate::partition::{Partition, flushes};

/// A data directory's write-back. Only one request is under way at a time: where the disk has too much to do, a request
/// waits for it, and holds a thread.
#[derive(Debug, Default)]
pub(super) struct WriteBack {
    is_busy: AtomicBool,
    /// Its file system knows no such thing.
    is_unsupported: AtomicBool,
}

/// The one that asks.
struct Turn(Arc<WriteBack>);

impl Partitions {
    /// Has the kernel begin to write what was appended to these logs of a data directory, on a thread of its own. What is
    /// due while one is at work has its turn in a later round.
    pub(super) fn begin_write_back(&self, dir: usize, partitions: &[Arc<Partition>]) {
        let due = partitions.iter().filter(|one| one.is_write_back_due());
        let due: Vec<Arc<Partition>> = due.cloned().collect();
        if !due.is_empty()
            && let Some(turn) = self.write_backs[dir].begin()
        {
            let metrics = self.metrics.clone();
            crate::blocking::spawn(move || turn.take(&due, &metrics));
        }
    }
}

impl WriteBack {
    /// Nobody's turn where it is somebody else's, or there is nothing to ask for.
    fn begin(self: &Arc<Self>) -> Option<Turn> {
        let is_free = !self.is_unsupported.load(Ordering::Relaxed)
            && !self.is_busy.swap(true, Ordering::Acquire);
        is_free.then(|| Turn(self.clone()))
    }
}

impl Turn {
    fn take(self, partitions: &[Arc<Partition>], metrics: &Metrics) {
        for partition in partitions {
            match partition.begin_write_back() {
                Ok(true) => {}
                Ok(false) => {
                    self.0.is_unsupported.store(true, Ordering::Relaxed);
                    return;
                }
                Err(error) => flushes::report(metrics, partition, &error),
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.is_busy.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests;
