//! Finding the place that a fetch reads from, without a worker that waits for the disk.
//!
//! A place that is remembered, or that memory and the page cache lead to, is found by whoever asks. What they do not
//! have is looked up on a thread that may block.

use std::sync::Arc;

use milena_log::{ReadError, Region};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::Partition;
use crate::blocking;

/// Lookups of a data directory that may wait for its disk at once: enough to keep a disk busy with the few small reads
/// that each needs, and so few that a disk that stalls leaves most of the threads that may block to the others.
const COLD_LOOKUPS_MAX: usize = 4;

/// A data directory's room for lookups that wait for its disk.
#[derive(Debug)]
pub struct LookupRoom(Arc<Semaphore>);

impl Default for LookupRoom {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(COLD_LOOKUPS_MAX)))
    }
}

impl LookupRoom {
    /// Waits for room, without holding a thread.
    async fn enter(&self) -> OwnedSemaphorePermit {
        let room = self.0.clone().acquire_owned().await;
        room.unwrap_or_else(|_| unreachable!("the semaphore is never closed"))
    }
}

impl Partition {
    /// As [`LogReader::region`](milena_log::LogReader::region), and holds no worker while the disk is waited for. None
    /// where the disk has not answered until `patience` is over; what it says then is in the page cache, for who asks
    /// again. A log that is damaged there, or whose file can't be read, is offline from then on.
    pub async fn region(
        &self,
        (offset, bytes_max): (i64, usize),
        bound: i64,
        at_least_one: bool,
        patience: Option<Instant>,
    ) -> Option<Result<Option<Region>, ReadError>> {
        let cached = self
            .reader
            .region_cached(offset, bytes_max, bound, at_least_one);
        if cached.is_some() {
            return cached;
        }
        let found = async {
            let lane = self.lane.load_full();
            let room = lane.appends.lookups.enter().await;
            let reader = self.reader.clone();
            blocking::run(move || {
                // Taken along: where the fetch is given up, the thread still waits for the disk.
                let _room = room;
                let found = reader.region(offset, bytes_max, bound, at_least_one);
                if let Err(ReadError::Log(error)) = &found {
                    reader.note_failure(error);
                }
                found
            })
            .await
        };
        match patience {
            Some(patience) => timeout_at(patience, found).await.ok(),
            None => Some(found.await),
        }
    }
}
