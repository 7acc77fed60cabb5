//! Fetches that wait for records, woken by the partitions that they wait for.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Partition;

/// One waiting fetch: how many bytes it still wants before it is woken.
#[derive(Debug)]
pub struct Wakeup {
    bytes_wanted: AtomicI64,
    notify: Notify,
}

impl Wakeup {
    /// A fetch that wants `bytes_wanted` more bytes, over all of its partitions.
    pub fn new(bytes_wanted: i64) -> Arc<Self> {
        Arc::new(Self {
            bytes_wanted: AtomicI64::new(bytes_wanted),
            notify: Notify::new(),
        })
    }

    /// Waits until that many bytes have come, or a partition changed hands.
    pub async fn woken(&self) {
        self.notify.notified().await;
    }

    /// Counts bytes that have come; wakes the fetch with the last that it wants.
    pub fn arrived(&self, bytes: i64) {
        if bytes > 0 && self.bytes_wanted.fetch_sub(bytes, Ordering::AcqRel) <= bytes {
            self.notify.notify_one();
        }
    }
}

/// The fetches that wait at one partition.
#[derive(Debug, Default)]
pub struct Waiters {
    // Read without the lock by every append, which mostly finds nobody waiting.
    count: AtomicUsize,
    list: Mutex<Vec<Arc<Wakeup>>>,
}

impl Waiters {
    /// Tells all that wait that `bytes` more can be fetched.
    pub fn arrived(&self, bytes: i64) {
        if self.count.load(Ordering::SeqCst) > 0 {
            self.list
                .lock()
                .iter()
                .for_each(|wakeup| wakeup.arrived(bytes));
        }
    }

    /// Wakes all that wait: the partition changed hands, or is gone.
    pub fn wake_all(&self) {
        self.arrived(i64::MAX / 2);
    }

    fn add(&self, wakeup: &Arc<Wakeup>) {
        let mut list = self.list.lock();
        list.push(wakeup.clone());
        self.count.store(list.len(), Ordering::SeqCst);
    }

    fn remove(&self, wakeup: &Arc<Wakeup>) {
        let mut list = self.list.lock();
        if let Some(at) = list.iter().position(|other| Arc::ptr_eq(other, wakeup)) {
            list.swap_remove(at);
        }
        self.count.store(list.len(), Ordering::SeqCst);
    }
}

/// Keeps a wakeup registered at its partitions while it lives.
#[derive(Debug)]
pub struct Registered {
    wakeup: Arc<Wakeup>,
    partitions: Vec<Arc<Partition>>,
}

impl Registered {
    /// Registers `wakeup`. What became fetchable before this must be looked at after it.
    pub fn new(wakeup: Arc<Wakeup>, partitions: Vec<Arc<Partition>>) -> Self {
        partitions
            .iter()
            .for_each(|partition| partition.waiters().add(&wakeup));
        Self { wakeup, partitions }
    }

    /// The wakeup.
    pub fn wakeup(&self) -> &Wakeup {
        &self.wakeup
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.partitions
            .iter()
            .for_each(|partition| partition.waiters().remove(&self.wakeup));
    }
}
