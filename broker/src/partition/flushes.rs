//! The flushes of a data directory that somebody waits for, on threads that may block.

use std::collections::VecDeque;
use std::sync::Arc;

use milena_log::StorageError;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Partition;
use crate::metrics::{Care, Metrics};
use crate::server::last_end;

/// Flushes of a directory under way at once: the file system gathers them into few writes of its journal, and a disk
/// that hangs holds no more than these of the threads that may block.
const FLUSHES_MAX: usize = 8;

/// A data directory's partitions that wait for a flush, each once, the one that has waited longest first.
#[derive(Debug)]
pub struct FlushQueue {
    metrics: Arc<Metrics>,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    // Bounded by the partitions of the directory.
    waiting: VecDeque<Arc<Partition>>,
    /// Threads at work.
    busy: usize,
}

impl FlushQueue {
    /// A queue whose failures `metrics` count.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        let queue = Mutex::default();
        Self { metrics, queue }
    }

    /// Queues a partition that is not queued.
    pub(super) fn put(self: &Arc<Self>, partition: Arc<Partition>) {
        let mut queue = self.queue.lock();
        queue.waiting.push_back(partition);
        if queue.busy < FLUSHES_MAX {
            queue.busy += 1;
            drop(queue);
            let this = self.clone();
            crate::blocking::spawn_syncing(move || this.work());
        }
    }

    /// Flushes until nobody waits.
    fn work(self: Arc<Self>) {
        while let Some(partition) = self.next() {
            let began = Instant::now();
            let flushed = partition.perform_flush();
            self.metrics.flushed(began);
            if let Err(error) = &flushed {
                report(&self.metrics, &partition, error);
            }
            if partition.end_flush(&flushed) {
                // Behind those that have waited meanwhile.
                self.queue.lock().waiting.push_back(partition);
            }
        }
    }

    fn next(&self) -> Option<Arc<Partition>> {
        let mut queue = self.queue.lock();
        let next = queue.waiting.pop_front();
        if next.is_none() {
            queue.busy -= 1;
        }
        next
    }
}

/// Counts and tells of a flush that failed. The next life must not trust the page cache of that directory.
pub fn report(metrics: &Metrics, partition: &Partition, error: &StorageError) {
    metrics.care_failed(Care::Flush);
    if let Some(dir) = partition.reader().folder().parent() {
        last_end::distrust(dir);
    }
    tracing::error!(topic = %partition.topic(), partition = partition.index(), %error, "flush failed");
}
