//! The coordinator runtime: a shard per partition of an internal topic, each a task that owns its state.
//! Groups run on it; whatever else keeps its state in an internal topic can.
//!
//! - A shard begins with the leadership of its partition: it replays the log, and until that is done
//!   requests get COORDINATOR_LOAD_IN_PROGRESS. With the leadership it ends: NOT_COORDINATOR.
//! - It serves one request after the other. What a request changes becomes visible, and is answered, when
//!   its records are committed; a failed append changes nothing. Requests that do not depend on each
//!   other (offset commits) share an append.
//! - What waits in its queue is served before anybody is expired, and time in which a slow append kept
//!   it from listening does not count as anybody's silence.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use milena_protocol::ErrorCode;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::classic::Now;
use super::record::Record;

mod clock;
mod shard;

/// Requests that wait for one shard. A member has one or two under way; beyond this connections wait.
const QUEUE_SIZE_MAX: usize = 1024;

/// Of a shard of which nothing is known.
const NO_EPOCH: i32 = -1;

/// What a [`CoordinatorLog`] gives back later.
pub type LogFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, ErrorCode>> + Send + 'a>>;

/// The partitions of the internal topic.
pub trait CoordinatorLog: Send + Sync + 'static {
    /// Appends one batch and waits until it is committed, as acks=all; gives its base offset. It must fail
    /// only where the batch is not in the log, or this broker leads the partition no longer.
    fn append(&self, shard: i32, batch: Bytes) -> LogFuture<'_, i64>;

    /// Whole committed batches from `offset` on, or from the log's start if that lies behind it; the first
    /// may begin before `offset`. `None` at the end.
    fn read(&self, shard: i32, offset: i64) -> LogFuture<'_, Option<Bytes>>;
}

/// What a shard knows and decides; pure but for the replies that requests carry.
pub trait Machine: Send + Sized + 'static {
    /// What it is asked, with the place for the answer.
    type Request: Send + 'static;

    /// Takes in a record of the log.
    fn replay(&mut self, key: &Bytes, value: Option<&Bytes>);
    /// The log has been read to its end.
    fn loaded(&mut self, now: Now) -> Vec<Append<Self>>;
    /// Whether what `request` is answered does not depend on appends of its like that are under way.
    fn shares_append(request: &Self::Request) -> bool;
    /// Answers a request, or says what must be appended first.
    fn handle(&mut self, now: Now, request: Self::Request) -> Vec<Append<Self>>;
    /// When [`Self::expire`] is due, a tick of [`Now`].
    fn next_deadline(&self) -> Option<u64>;
    /// Brings about what time alone does.
    fn expire(&mut self, now: Now) -> Vec<Append<Self>>;
    /// Answers a request with an error.
    fn refuse(request: Self::Request, error: ErrorCode);
    /// Answers everybody who waits.
    fn close(self, error: ErrorCode);
}

/// What happens once an append is committed or has failed.
pub type Done<M> = Box<dyn FnOnce(&mut M, Now, Result<(), ErrorCode>) -> Vec<Append<M>> + Send>;

/// Records to append, together or not at all, and what follows.
pub struct Append<M> {
    /// In order; none if there is only something to do once all before is committed.
    pub records: Vec<Record>,
    /// What follows; it may ask for more.
    pub done: Done<M>,
}

/// The shards of one internal topic.
pub struct Coordinator<M: Machine> {
    log: Arc<dyn CoordinatorLog>,
    new_machine: Box<dyn Fn() -> M + Send + Sync>,
    runtime: tokio::runtime::Handle,
    slots: Vec<Mutex<Slot<M>>>,
}

/// Whether a shard is here, and since which leader epoch that is known.
struct Slot<M: Machine> {
    epoch: i32,
    running: Option<Running<M>>,
}

struct Running<M: Machine> {
    queue: mpsc::Sender<M::Request>,
    loaded: Arc<AtomicBool>,
    /// Dropping it ends the task.
    _stop: oneshot::Sender<()>,
}

impl<M: Machine> Coordinator<M> {
    /// No shard is here yet. Their tasks will run on the current runtime.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(
        log: Arc<dyn CoordinatorLog>,
        shard_count: usize,
        new_machine: impl Fn() -> M + Send + Sync + 'static,
    ) -> Self {
        let slot = || {
            Mutex::new(Slot {
                epoch: NO_EPOCH,
                running: None,
            })
        };
        Self {
            log,
            new_machine: Box::new(new_machine),
            runtime: tokio::runtime::Handle::current(),
            slots: (0..shard_count).map(|_| slot()).collect(),
        }
    }

    /// How many shards there are, here or elsewhere.
    pub fn shard_count(&self) -> usize {
        self.slots.len()
    }

    /// This broker leads the shard's partition since `epoch`: loads it. An older epoch is ignored.
    pub fn elected(&self, shard: i32, epoch: i32) {
        let Some(slot) = self.slot(shard) else {
            return;
        };
        let mut slot = slot.lock();
        if epoch <= slot.epoch {
            return;
        }
        let (queue, requests) = mpsc::channel(QUEUE_SIZE_MAX);
        let (stop, stopped) = oneshot::channel();
        let loaded = Arc::new(AtomicBool::new(false));
        let task = shard::Shard::new(
            shard,
            self.log.clone(),
            (self.new_machine)(),
            requests,
            loaded.clone(),
        );
        self.runtime.spawn(task.run(stopped));
        *slot = Slot {
            epoch,
            running: Some(Running {
                queue,
                loaded,
                _stop: stop,
            }),
        };
    }

    /// Another broker leads the shard's partition since `epoch`: drops it. An older epoch is ignored.
    pub fn resigned(&self, shard: i32, epoch: i32) {
        if let Some(slot) = self.slot(shard) {
            let mut slot = slot.lock();
            if epoch >= slot.epoch {
                *slot = Slot {
                    epoch,
                    running: None,
                };
            }
        }
    }

    /// Drops all shards, and the epochs that were known of them.
    pub fn forget_all(&self) {
        for slot in &self.slots {
            *slot.lock() = Slot {
                epoch: NO_EPOCH,
                running: None,
            };
        }
    }

    pub fn loaded_shards(&self) -> Vec<i32> {
        let indexes = 0..self.slots.len() as i32;
        indexes.filter(|&shard| self.queue(shard).is_ok()).collect()
    }

    /// Whether a shard that is here is still being loaded.
    pub fn is_loading(&self) -> bool {
        self.loading_count() > 0
    }

    /// How many shards that are here are still being loaded.
    pub fn loading_count(&self) -> usize {
        let shards = 0..self.slots.len() as i32;
        shards
            .filter(|&shard| matches!(self.queue(shard), Err(ErrorCode::CoordinatorLoadInProgress)))
            .count()
    }

    /// Hands a request to its shard, as [`Self::send`]; where the shard's queue is full it is refused with
    /// COORDINATOR_NOT_AVAILABLE, and not waited for.
    pub fn offer(&self, shard: i32, request: M::Request) {
        let refused = match self.queue(shard) {
            Ok(queue) => match queue.try_send(request) {
                Ok(()) => return,
                Err(mpsc::error::TrySendError::Full(request)) => {
                    (request, ErrorCode::CoordinatorNotAvailable)
                }
                Err(mpsc::error::TrySendError::Closed(request)) => {
                    (request, ErrorCode::NotCoordinator)
                }
            },
            Err(error) => (request, error),
        };
        M::refuse(refused.0, refused.1);
    }

    /// Hands a request to its shard; refuses it if that is not here or not loaded. Waits while the shard's
    /// queue is full.
    pub async fn send(&self, shard: i32, request: M::Request) {
        let refused = match self.queue(shard) {
            Ok(queue) => match queue.send(request).await {
                Ok(()) => return,
                Err(mpsc::error::SendError(request)) => (request, ErrorCode::NotCoordinator),
            },
            Err(error) => (request, error),
        };
        M::refuse(refused.0, refused.1);
    }

    fn queue(&self, shard: i32) -> Result<mpsc::Sender<M::Request>, ErrorCode> {
        let slot = self.slot(shard).ok_or(ErrorCode::NotCoordinator)?.lock();
        let running = slot.running.as_ref().ok_or(ErrorCode::NotCoordinator)?;
        if !running.loaded.load(Ordering::Acquire) {
            return Err(ErrorCode::CoordinatorLoadInProgress);
        }
        Ok(running.queue.clone())
    }

    fn slot(&self, shard: i32) -> Option<&Mutex<Slot<M>>> {
        self.slots.get(usize::try_from(shard).ok()?)
    }
}

#[cfg(test)]
pub(super) mod memory_log;
#[cfg(test)]
mod tests;
