//! Fetches that wait for records, and which of their partitions have news for them.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Partition, room};

/// More than any fetch wants: wakes it whatever it waits for.
const ENOUGH_FOR_ALL: i64 = i64::MAX / 2;

/// One fetch, or a session's fetches one after the other: how many bytes it still wants before it is woken, and
/// where there is something new.
#[derive(Debug, Default)]
pub struct Wakeup {
    bytes_wanted: AtomicI64,
    notify: Notify,
    // Each slot at most once, so that this is as long as the fetch has partitions.
    news: Mutex<Vec<u32>>,
}

impl Wakeup {
    /// Says how many bytes are wanted from now on, over all partitions.
    pub fn want(&self, bytes: i64) {
        self.bytes_wanted.store(bytes, Ordering::SeqCst);
    }

    /// Waits until that many bytes have come, or a partition changed hands. May end early: look again.
    pub async fn woken(&self) {
        self.notify.notified().await;
    }

    /// Counts bytes that have come; wakes the fetch with the last that it wants.
    pub fn arrived(&self, bytes: i64) {
        if bytes <= 0 {
            return;
        }
        let wanted = self.bytes_wanted.fetch_sub(bytes, Ordering::AcqRel);
        if wanted > 0 && wanted <= bytes {
            room::note_woken();
        }
        if wanted <= bytes {
            self.notify.notify_one();
        }
    }

    /// The slots that have news. A slot is named again only after [`Watch::heard`].
    pub fn take_news(&self) -> Vec<u32> {
        std::mem::take(&mut self.news.lock())
    }
}

/// Up to where a fetch reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// To the high watermark: a consumer.
    Committed,
    /// To the log's end: a follower. What was committed its next answer says, and none waits for.
    Appended,
    /// As `Appended`, by a follower from which consumers read: what was committed it hears at once.
    AppendedForConsumers,
}

/// A fetch's interest in one partition.
#[derive(Debug)]
struct Interest {
    reads: Reads,
    wakeup: Arc<Wakeup>,
    slot: u32,
    told: AtomicBool,
}

impl Interest {
    fn tell(&self, bytes: i64) {
        if !self.told.swap(true, Ordering::SeqCst) {
            self.wakeup.news.lock().push(self.slot);
        }
        self.wakeup.arrived(bytes);
    }
}

/// The fetches that are interested in one partition.
#[derive(Debug, Default)]
pub struct Waiters {
    // Read without the lock by every append, which mostly finds nobody.
    count: AtomicUsize,
    list: Mutex<Vec<Arc<Interest>>>,
}

impl Waiters {
    /// Tells all that `bytes` more can be fetched.
    pub fn arrived(&self, bytes: i64) {
        self.tell(|_| Some(bytes));
    }

    /// Tells followers that `bytes` more were appended.
    pub fn appended(&self, bytes: i64) {
        self.tell(|reads| (reads != Reads::Committed).then_some(bytes));
    }

    /// Wakes consumers, who look how many bytes were committed. Followers hear of the new high watermark, too.
    pub fn committed(&self) {
        self.tell(|reads| match reads {
            Reads::Committed | Reads::AppendedForConsumers => Some(ENOUGH_FOR_ALL),
            Reads::Appended => Some(0),
        });
    }

    /// Tells of so many bytes, by who reads.
    fn tell(&self, bytes: impl Fn(Reads) -> Option<i64>) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        for interest in self.list.lock().iter() {
            if let Some(bytes) = bytes(interest.reads) {
                interest.tell(bytes);
            }
        }
    }

    /// Tells all of something that their next answer says and none waits for, such as a new log start.
    pub fn changed(&self) {
        self.arrived(0);
    }

    /// Wakes all that wait: the partition changed hands, or is gone.
    pub fn wake_all(&self) {
        self.arrived(ENOUGH_FOR_ALL);
    }

    #[cfg(test)]
    pub fn is_waited_for(&self) -> bool {
        self.count.load(Ordering::SeqCst) > 0
    }

    fn add(&self, interest: &Arc<Interest>) {
        let mut list = self.list.lock();
        list.push(interest.clone());
        self.count.store(list.len(), Ordering::SeqCst);
    }

    fn remove(&self, interest: &Arc<Interest>) {
        let mut list = self.list.lock();
        if let Some(at) = list.iter().position(|other| Arc::ptr_eq(other, interest)) {
            list.swap_remove(at);
        }
        self.count.store(list.len(), Ordering::SeqCst);
    }
}

/// Keeps a fetch registered at a partition while both live: a client that went away keeps no deleted log.
#[derive(Debug)]
pub struct Watch {
    partition: Weak<Partition>,
    interest: Arc<Interest>,
}

impl Watch {
    /// Registers `wakeup`, which knows the partition as `slot`. What came before this must be looked at after it.
    pub fn new(partition: &Arc<Partition>, wakeup: &Arc<Wakeup>, slot: u32, reads: Reads) -> Self {
        let interest = Arc::new(Interest {
            reads,
            wakeup: wakeup.clone(),
            slot,
            told: AtomicBool::new(false),
        });
        partition.waiters().add(&interest);
        Self {
            partition: Arc::downgrade(partition),
            interest,
        }
    }

    /// The partition, unless it is gone.
    pub fn partition(&self) -> Option<Arc<Partition>> {
        self.partition
            .upgrade()
            .filter(|partition| !partition.is_retired())
    }

    /// Wants to be told again. To be called before the partition is looked at, so that nothing falls in between.
    pub fn heard(&self) {
        self.interest.told.store(false, Ordering::SeqCst);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(partition) = self.partition.upgrade() {
            partition.waiters().remove(&self.interest);
        }
    }
}
