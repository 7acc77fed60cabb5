//! Replicas that somebody has to look at again.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::partition::Partition;
use crate::partitions::Noted;

/// Replicas whose leader may be another one now, for one reader.
#[derive(Debug, Default)]
pub struct News {
    changed: Mutex<Noted>,
    arrived: Notify,
}

impl News {
    /// The metadata has changed these; or they are not here any more.
    pub fn changed(&self, replicas: impl IntoIterator<Item = Arc<Partition>>) {
        let mut changed = self.changed.lock();
        replicas
            .into_iter()
            .for_each(|replica| changed.note(replica));
        if !changed.is_empty() {
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
        self.changed.lock().take()
    }
}
