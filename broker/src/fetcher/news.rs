//! Replicas that somebody has to look at again.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::partition::Partition;

/// Replicas whose leader may be another one now, for one reader. Each is held once, however often it changes before
/// the reader comes: there are no more than replicas.
#[derive(Debug, Default)]
pub struct News {
    changed: Mutex<Changed>,
    arrived: Notify,
}

/// In the order of their first change. A partition that was deleted and made again is two replicas: both are told.
#[derive(Debug, Default)]
struct Changed {
    replicas: Vec<Arc<Partition>>,
    /// Where in memory they are.
    addresses: HashSet<usize>,
}

impl News {
    /// The metadata has changed these; or they are not here any more.
    pub fn changed(&self, replicas: impl IntoIterator<Item = Arc<Partition>>) {
        let mut changed = self.changed.lock();
        for replica in replicas {
            if changed.addresses.insert(Arc::as_ptr(&replica).addr()) {
                changed.replicas.push(replica);
            }
        }
        if !changed.replicas.is_empty() {
            self.arrived.notify_one();
        }
    }

    /// What has changed since this was asked before, once there is something. Nothing is lost where the wait is given
    /// up.
    pub(super) async fn next(&self) -> Vec<Arc<Partition>> {
        loop {
            let changed = self.take();
            if !changed.is_empty() {
                return changed;
            }
            self.arrived.notified().await;
        }
    }

    /// As `next`, of what there is already.
    pub(super) fn take(&self) -> Vec<Arc<Partition>> {
        std::mem::take(&mut *self.changed.lock()).replicas
    }
}
