//! Followers: what other brokers lead and this one has replicas of is copied from them, as by Kafka's replica
//! fetchers.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `fetcher/link.rs` | one task and one connection for each broker that leads something here |
//! | `fetcher/copies.rs` | the partitions copied from it, and the fetch session (KIP-227) that they are asked in |
//! | `fetcher/take.rs` | what is done with a partition's part of an answer |
//! | `fetcher/throttle.rs` | the bound on bytes that catch up |

mod copies;
mod link;
mod take;
mod throttle;

use std::collections::HashMap;
use std::sync::Arc;

use milena_metadata::BrokerId;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::partition::Partition;
use link::Link;

/// The partitions whose leader may be another one now.
#[derive(Debug, Default)]
pub struct Fetchers {
    // Bounded by the partitions here, as each change of the metadata is taken over before the next.
    news: Mutex<Vec<Arc<Partition>>>,
    arrived: Notify,
}

impl Fetchers {
    /// The metadata has changed these; or they are not here any more.
    pub fn changed(&self, partitions: impl IntoIterator<Item = Arc<Partition>>) {
        let mut news = self.news.lock();
        news.extend(partitions);
        if !news.is_empty() {
            self.arrived.notify_one();
        }
    }

    async fn next(&self) -> Vec<Arc<Partition>> {
        loop {
            let news = std::mem::take(&mut *self.news.lock());
            if !news.is_empty() {
                return news;
            }
            self.arrived.notified().await;
        }
    }
}

/// Copies until `stopping`: a task for each broker that leads something here.
pub async fn run(broker: Arc<Broker>, stopping: CancellationToken) {
    let tasks = TaskTracker::new();
    let mut links: HashMap<BrokerId, mpsc::UnboundedSender<Arc<Partition>>> = HashMap::new();
    loop {
        let news = tokio::select! {
            news = broker.fetchers().next() => news,
            () = stopping.cancelled() => break,
        };
        for partition in news {
            if let Some(following) = partition.following() {
                links.entry(following.leader).or_insert_with(|| {
                    let (sender, news) = mpsc::unbounded_channel();
                    let link = Link::new(broker.clone(), following.leader, news);
                    tasks.spawn(link.run(stopping.clone()));
                    sender
                });
            }
            // Whoever copied it before must hear of it too. The channel is as long as the partitions are many.
            for link in links.values() {
                // A link ends with `stopping` alone.
                let _ = link.send(partition.clone());
            }
        }
    }
    tasks.close();
    tasks.wait().await;
}

#[cfg(test)]
mod tests;
