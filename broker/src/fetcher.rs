//! Followers: what other brokers lead and this one has replicas of is copied from them, as by Kafka's replica
//! fetchers.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `fetcher/link.rs` | one task and one connection for each broker that leads something here |
//! | `fetcher/news.rs` | the replicas whose leader may have changed |
//! | `fetcher/copies.rs` | the partitions copied from it, and the fetch session (KIP-227) that they are asked in |
//! | `fetcher/taking.rs` | answers that are being taken, each data directory by itself |
//! | `fetcher/take.rs` | what is done with a partition's part of an answer |
//! | `fetcher/throttle.rs` | the bound on bytes that catch up |

mod copies;
mod link;
mod news;
mod take;
mod taking;
mod throttle;

use std::collections::HashMap;
use std::sync::Arc;

use milena_metadata::BrokerId;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use link::Link;
pub use news::News;
pub use throttle::Throttle;

/// Copies until `stopping`: a task for each broker that leads something here.
pub async fn run(broker: Arc<Broker>, stopping: CancellationToken) {
    let tasks = TaskTracker::new();
    let mut links: HashMap<BrokerId, Arc<News>> = HashMap::new();
    let throttle = Throttle::new(Instant::now());
    loop {
        let changed = tokio::select! {
            changed = broker.changed_replicas().next() => changed,
            () = stopping.cancelled() => break,
        };
        for leader in changed
            .iter()
            .filter_map(|replica| Some(replica.following()?.leader))
        {
            links.entry(leader).or_insert_with(|| {
                let news = Arc::new(News::default());
                let link = Link::new(broker.clone(), leader, news.clone(), throttle.clone());
                tasks.spawn(link.run(stopping.clone()));
                news
            });
        }
        // Whoever copied them before must hear of it too.
        for news in links.values() {
            news.changed(changed.iter().cloned());
        }
    }
    tasks.close();
    tasks.wait().await;
}

#[cfg(test)]
mod tests;
