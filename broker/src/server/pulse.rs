//! Keeps sockets and timers polled while an append holds a worker of the data runtime.
//!
//! Of tokio's workers one polls for all. When what it found keeps it from polling on, no other takes over unless it
//! is woken for some work; so while appends are under way, there is a little work from time to time.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::partitions::Partitions;

/// What a stalled append may add to others' answers. Rare enough to cost nothing that can be measured.
const PERIOD: Duration = Duration::from_millis(50);

/// Wakes a worker of `data` every [`PERIOD`] while there are appends; runs on another runtime.
pub async fn beat(data: Handle, partitions: Arc<Partitions>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        if partitions.appends_under_way() > 0 {
            drop(data.spawn(async {}));
        }
    }
}
