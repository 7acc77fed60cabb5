//! One shard's task: load, then requests and timers in turn.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use milena_protocol::ErrorCode;
use milena_protocol::records::{BatchBuilder, BatchOptions, OpenBatch, batches};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

use super::clock::Clock;
use super::{Append, CoordinatorLog, Machine, QUEUE_SIZE_MAX};

/// Appends are put together up to this size: far below `max.message.bytes`, and enough to share the cost.
const SHARED_BATCH_SIZE_MAX: usize = 64 * 1024;
/// Requests that share an append.
const SHARED_REQUESTS_MAX: usize = 256;
/// How long to wait before a log that could not be read is tried again.
const RELOAD_DELAY: Duration = Duration::from_secs(1);
/// A compressed batch of an internal topic opens to less than this; Kafka's are bounded by the segment size.
const OPEN_BATCH_SIZE_MAX: usize = 128 * 1024 * 1024;

pub(super) struct Shard<M: Machine> {
    index: i32,
    log: Arc<dyn CoordinatorLog>,
    machine: M,
    requests: mpsc::Receiver<M::Request>,
    loaded: Arc<AtomicBool>,
    clock: Clock,
    /// Taken from the queue, and not to be served together with those before it.
    held: Option<M::Request>,
    /// Requests served although a timer was due.
    served_overdue: usize,
}

impl<M: Machine> Shard<M> {
    pub fn new(
        index: i32,
        log: Arc<dyn CoordinatorLog>,
        machine: M,
        requests: mpsc::Receiver<M::Request>,
        loaded: Arc<AtomicBool>,
    ) -> Self {
        let clock = Clock::new();
        Self {
            index,
            log,
            machine,
            requests,
            loaded,
            clock,
            held: None,
            served_overdue: 0,
        }
    }

    /// Runs until `stopped`. An append under way is given up then: whoever waits for it learns that this
    /// broker is not the coordinator any more.
    pub async fn run(mut self, stopped: oneshot::Receiver<()>) {
        tokio::select! {
            biased;
            _ = stopped => {}
            () = self.serve() => {}
        }
        let unserved = std::iter::from_fn(|| self.requests.try_recv().ok());
        for request in self.held.take().into_iter().chain(unserved) {
            M::refuse(request, ErrorCode::NotCoordinator);
        }
        self.machine.close(ErrorCode::NotCoordinator);
    }

    async fn serve(&mut self) {
        self.load().await;
        let appends = self.machine.loaded(self.clock.now());
        self.write(appends).await;
        self.loaded.store(true, Ordering::Release);
        loop {
            match self.next_request().await {
                Some(request) => self.serve_from(request).await,
                None => self.expire().await,
            }
        }
    }

    /// The next request, or `None` when a timer is due and nothing waits.
    async fn next_request(&mut self) -> Option<M::Request> {
        if let Some(request) = self.held.take() {
            return Some(request);
        }
        let deadline = self
            .machine
            .next_deadline()
            .map(|tick_ms| self.clock.instant(tick_ms));
        let is_due = deadline.is_some_and(|deadline| deadline <= Instant::now());
        // What was in the queue when the timer fell due has been served: the rest must not put it off.
        if is_due && self.served_overdue >= QUEUE_SIZE_MAX {
            return None;
        }
        self.served_overdue = if is_due { self.served_overdue + 1 } else { 0 };
        tokio::select! {
            biased;
            Some(request) = self.requests.recv() => Some(request),
            () = until(deadline) => None,
        }
    }

    /// Serves `first`, and with it what may share its append.
    async fn serve_from(&mut self, first: M::Request) {
        let mut appends = Vec::new();
        let mut next = Some(first);
        for served in 0..SHARED_REQUESTS_MAX {
            let Some(request) = next.take().or_else(|| self.requests.try_recv().ok()) else {
                break;
            };
            let shares = M::shares_append(&request);
            if !shares && served > 0 {
                self.held = Some(request);
                break;
            }
            appends.extend(self.machine.handle(self.clock.now(), request));
            if !shares {
                break;
            }
        }
        self.write(appends).await;
    }

    async fn expire(&mut self) {
        self.served_overdue = 0;
        let appends = self.machine.expire(self.clock.now());
        self.write(appends).await;
    }

    async fn write(&mut self, appends: Vec<Append<M>>) {
        let mut appends = VecDeque::from(appends);
        while !appends.is_empty() {
            let together = take_together(&mut appends);
            let begin = Instant::now();
            let result = match batch_of(&together, self.clock.now().wall_ms) {
                Ok(batch) => self.append(batch).await,
                Err(error) => Err(error),
            };
            self.clock.did_not_listen_since(begin);
            let now = self.clock.now();
            for append in together {
                appends.extend((append.done)(&mut self.machine, now, result));
            }
        }
    }

    async fn append(&mut self, batch: Option<Bytes>) -> Result<(), ErrorCode> {
        let Some(batch) = batch else {
            return Ok(());
        };
        let result = self.log.append(self.index, batch).await;
        if let Err(error) = result {
            tracing::warn!(shard = self.index, %error, "an append to the internal topic failed");
        }
        result.map(|_| ())
    }

    async fn load(&mut self) {
        let begin = Instant::now();
        let mut offset = 0;
        loop {
            let read = self.log.read(self.index, offset).await;
            match read.and_then(|bytes| bytes.map(|bytes| self.replay(&bytes)).transpose()) {
                Ok(None) => break,
                Ok(Some(next)) if next > offset => offset = next,
                Ok(Some(_)) => self.wait_to_reload(offset, ErrorCode::CorruptMessage).await,
                Err(error) => self.wait_to_reload(offset, error).await,
            }
        }
        tracing::debug!(shard = self.index, offset, elapsed = ?begin.elapsed(), "loaded a coordinator shard");
    }

    /// Takes in whole batches; gives the offset behind them.
    fn replay(&mut self, bytes: &Bytes) -> Result<i64, ErrorCode> {
        let mut next = -1;
        for batch in batches(bytes) {
            // A batch that is cut short ends what was read; the next read begins with it.
            let Ok((header, batch)) = batch else {
                break;
            };
            if !header.is_control() {
                let open = OpenBatch::open(header, &batch, OPEN_BATCH_SIZE_MAX)
                    .map_err(|_| ErrorCode::CorruptMessage)?;
                for record in open.iter() {
                    let record = record.map_err(|_| ErrorCode::CorruptMessage)?;
                    if let Some(key) = &record.key {
                        self.machine.replay(key, record.value.as_ref());
                    }
                }
            }
            next = header.last_offset() + 1;
        }
        Ok(next)
    }

    /// Replayed records may be replayed again, so the load goes on where it stopped.
    async fn wait_to_reload(&mut self, offset: i64, error: ErrorCode) {
        tracing::error!(
            shard = self.index, offset, %error,
            "the internal topic can't be read; its groups are unavailable until it can, trying again"
        );
        sleep(RELOAD_DELAY).await;
    }
}

/// The first append, and those behind it that fit into one batch with it.
fn take_together<M>(appends: &mut VecDeque<Append<M>>) -> Vec<Append<M>> {
    let mut together = Vec::new();
    let mut size = 0;
    while let Some(append) = appends.pop_front() {
        let records = append.records.iter();
        size += records
            .map(|record| record.key.len() + record.value.as_ref().map_or(0, Bytes::len))
            .sum::<usize>();
        if size > SHARED_BATCH_SIZE_MAX && !together.is_empty() {
            appends.push_front(append);
            break;
        }
        together.push(append);
    }
    together
}

/// All their records in one batch; `None` where there are none.
fn batch_of<M>(together: &[Append<M>], timestamp: i64) -> Result<Option<Bytes>, ErrorCode> {
    let mut batch = BatchBuilder::new(BatchOptions::default());
    for record in together.iter().flat_map(|append| &append.records) {
        batch
            .push(timestamp, Some(&record.key), record.value.as_deref(), &[])
            .map_err(|_| ErrorCode::MessageTooLarge)?;
    }
    if batch.is_empty() {
        return Ok(None);
    }
    batch
        .finish()
        .map(Some)
        .map_err(|_| ErrorCode::MessageTooLarge)
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}
