//! A replica hosted here: append, read, high watermark.
//!
//! The log's writing half is behind an asynchronous lock, in whose queue a producer waits without
//! holding a thread; what readers need goes around it: the log's reading half, and offsets as atomics.

mod durability;
pub mod flushes;
pub mod intake;
mod lane;
pub mod large;
pub mod leadership;
mod lookup;
pub mod progress;
mod replica;
pub mod room;
mod settings;
pub mod waiters;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use milena_log::{
    AppendError, BatchToAppend, Log, LogConfig, LogFlusher, LogReader, SequenceCheck,
    SequenceError, Stamp,
};
use milena_metadata::{TopicId, TopicName};
use milena_protocol::ErrorCode;
use tokio::sync::futures::Notified;
use tokio::sync::{Mutex, MutexGuard, Notify};

use crate::clock::Clock;
use crate::config::{BrokerConfig, TimestampType, TopicConfig};
use crate::metrics::TopicTraffic;
use crate::rule::is_broken;
use durability::FlushState;
use flushes::FlushQueue;
use lane::Lane;
pub use replica::Following;
use replica::Role;
use room::AppendRoom;
use waiters::Waiters;

/// The epoch of a partition that was removed from this broker.
const RETIRED_EPOCH: i32 = -1;
/// The epoch before the metadata has named one.
const NO_EPOCH: i32 = -2;

/// Where an append stands on its way to being committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// The high watermark has passed it.
    Done,
    /// Replicas still lack it, or their disks.
    Waiting,
    /// It is not this broker's to commit any more.
    Lost(ErrorCode),
}

/// What an append was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The first record's offset; that of the first time for a duplicate, and -1 for one that is too old for that.
    pub base_offset: i64,
    pub last_offset: i64,
    /// The log append time in ms; -1 where records carry the producer's.
    pub log_append_time_ms: i64,
    pub log_start_offset: i64,
    pub leader_epoch: i32,
}

/// One partition of a topic, on this broker. Shared by handle; owns its log.
#[derive(Debug)]
pub struct Partition {
    topic: TopicName,
    topic_id: TopicId,
    index: i32,
    log: Mutex<Log>,
    /// Appends that wait for the log.
    queued: AtomicUsize,
    reader: LogReader,
    flusher: LogFlusher,
    lane: ArcSwap<Lane>,
    /// Held while segments are written beside the log, as by a compaction, and while the log goes to another directory.
    rewriting: parking_lot::Mutex<()>,
    flush_state: FlushState,
    config: ArcSwap<TopicConfig>,
    /// What the log is to be told of the configuration, while an append keeps it.
    log_config: parking_lot::Mutex<Option<LogConfig>>,
    traffic: Arc<TopicTraffic>,
    role: parking_lot::Mutex<Role>,
    // What the role says, for those who need no more. Changed only while the log is held.
    leads: AtomicBool,
    leader_epoch: AtomicI32,
    min_isr_max: AtomicI32,
    /// The in-sync replicas that may commit: none while replicas out of sync may be elected (KIP-966).
    committing_replicas: AtomicI32,
    // Moved forward only under the role's lock: a proposal must know what is committed while it is made.
    high_watermark: AtomicI64,
    moved: Notify,
    waiters: Waiters,
}

impl Partition {
    /// A replica over an opened log, of which all below `high_watermark` is known to be committed. It neither leads nor
    /// follows before [`Partition::apply`].
    pub fn new(
        (topic, topic_id, index): (TopicName, TopicId, i32),
        log: Log,
        config: Arc<TopicConfig>,
        traffic: Arc<TopicTraffic>,
        high_watermark: i64,
        (appends, flushes): (Arc<AppendRoom>, Arc<FlushQueue>),
    ) -> Self {
        let reader = log.reader();
        Self {
            flusher: log.flusher(),
            lane: ArcSwap::from_pointee(Lane { appends, flushes }),
            rewriting: parking_lot::Mutex::default(),
            flush_state: FlushState::default(),
            topic,
            topic_id,
            index,
            high_watermark: AtomicI64::new(high_watermark),
            log: Mutex::new(log),
            queued: AtomicUsize::new(0),
            reader,
            config: ArcSwap::new(config),
            log_config: parking_lot::Mutex::default(),
            traffic,
            role: parking_lot::Mutex::new(Role::Follower {
                leader: None,
                in_sync: false,
                is_added: false,
            }),
            leads: AtomicBool::new(false),
            leader_epoch: AtomicI32::new(NO_EPOCH),
            min_isr_max: AtomicI32::new(0),
            committing_replicas: AtomicI32::new(0),
            moved: Notify::new(),
            waiters: Waiters::default(),
        }
    }

    pub fn topic(&self) -> &TopicName {
        &self.topic
    }

    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    pub fn index(&self) -> i32 {
        self.index
    }

    /// Which data directory it lies in: the same number for those that share one.
    pub fn directory(&self) -> usize {
        Arc::as_ptr(&self.lane.load().appends).addr()
    }

    /// What keeps a compaction and a move to another directory apart: who holds it does either.
    pub fn rewriting(&self) -> &parking_lot::Mutex<()> {
        &self.rewriting
    }

    /// The log lies in another data directory from now on, as whoever holds it says.
    pub fn moved(&self, _log: &Log, (appends, flushes): (Arc<AppendRoom>, Arc<FlushQueue>)) {
        self.lane.store(Arc::new(Lane { appends, flushes }));
    }

    /// The log's reading half.
    pub fn reader(&self) -> &LogReader {
        &self.reader
    }

    /// The topic's configuration as it is now.
    pub fn config(&self) -> Arc<TopicConfig> {
        self.config.load_full()
    }

    /// The topic's byte and record counters.
    pub fn traffic(&self) -> &TopicTraffic {
        &self.traffic
    }

    pub fn waiters(&self) -> &Waiters {
        &self.waiters
    }

    /// The epoch that this replica leads in.
    pub fn leader_epoch(&self) -> i32 {
        self.leader_epoch.load(Ordering::Acquire)
    }

    /// The offset below which all in-sync replicas hold everything.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark.load(Ordering::Acquire)
    }

    /// The offset below which no transaction is open: the high watermark until transactions exist.
    pub fn last_stable_offset(&self) -> i64 {
        self.high_watermark()
    }

    /// The next move of the high watermark or the leadership.
    pub fn high_watermark_moved(&self) -> Notified<'_> {
        self.moved.notified()
    }

    /// The log's writing half, for what the housekeeping does to it. Appends wait meanwhile.
    pub async fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().await
    }

    /// The same from a thread that may block.
    pub fn log_blocking(&self) -> MutexGuard<'_, Log> {
        crate::blocking::lock(&self.log)
    }

    /// The same, unless an append keeps it for longer than this.
    pub fn log_within(&self, wait_max: Duration) -> Option<MutexGuard<'_, Log>> {
        crate::blocking::lock_within(&self.log, wait_max)
    }

    /// Whether what was appended at `last_offset` in `leader_epoch` is committed.
    pub fn commit(&self, last_offset: i64, leader_epoch: i32) -> Commit {
        // The epoch is read last: where it still holds, the high watermark was moved in it. Read the other way round, it
        // may be a later leader's, behind a cut that has taken what was appended.
        let high_watermark = self.high_watermark();
        if self.leader_epoch() != leader_epoch {
            Commit::Lost(ErrorCode::NotLeaderOrFollower)
        } else if high_watermark > last_offset {
            Commit::Done
        } else if self.claimed_end() <= last_offset {
            self.unstored()
        } else {
            Commit::Waiting
        }
    }

    /// Checks that this replica leads, in the epoch that a client believes in; -1 is a client that does not say.
    pub fn check_leads(&self, claimed: i32) -> Result<(), ErrorCode> {
        self.check_epoch(claimed)?;
        match self.leads() {
            true => Ok(()),
            false => Err(ErrorCode::NotLeaderOrFollower),
        }
    }

    /// Checks that this replica leads or follows, in the epoch that a client believes in.
    pub fn check_hosts(&self, claimed: i32) -> Result<(), ErrorCode> {
        if self.is_retired() {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        self.check_epoch(claimed)
    }

    fn check_epoch(&self, claimed: i32) -> Result<(), ErrorCode> {
        match claimed.cmp(&self.leader_epoch()) {
            std::cmp::Ordering::Less if claimed >= 0 => Err(ErrorCode::FencedLeaderEpoch),
            std::cmp::Ordering::Greater => Err(ErrorCode::UnknownLeaderEpoch),
            _ => Ok(()),
        }
    }

    /// Appends validated batches, in one write. The producers' sequences are checked under the same lock.
    pub async fn append(
        self: &Arc<Self>,
        batches: Vec<BatchToAppend>,
        acks: i16,
        now_ms: i64,
    ) -> Result<Appended, Refused> {
        let config = self.config.load();
        if acks == -1 && !self.has_in_sync(config.min_insync_replicas) {
            return Err(Refused::Code(ErrorCode::NotEnoughReplicas));
        }
        room::let_woken_run().await;
        let mut log = self.log_to_append().await;
        // Taken behind the lock, so that whoever waits for a partition takes no room.
        let lane = self.lane.load_full();
        let room = lane.appends.enter().await;
        if !self.leads() {
            return Err(Refused::Code(ErrorCode::NotLeaderOrFollower));
        }
        let leader_epoch = self.leader_epoch();
        if let Some(duplicate) = check_producers(&mut log, &batches)? {
            let log_start_offset = self.reader.log_start_offset();
            let last_offset = match is_broken!(DuplicateAcknowledgedEarly) {
                true => -1,
                false => duplicate.last_offset,
            };
            return Ok(Appended {
                last_offset,
                log_start_offset,
                leader_epoch,
                ..duplicate
            });
        }
        let log_append_time = config.message_timestamp_type == TimestampType::LogAppendTime;
        let stamp = Stamp {
            leader_epoch,
            now_ms,
            log_append_time,
        };
        let appended = self.append_as_leader(&mut log, &batches, stamp)?;
        if self.queued.load(Ordering::Relaxed) > 0 || lane.appends.is_full() {
            room::note_woken();
        }
        drop((log, room));
        self.flush_if_wanted(&config);
        let records = batches
            .iter()
            .map(|batch| u64::from(batch.header.record_count.unsigned_abs()))
            .sum();
        self.traffic.received(appended.bytes, records);
        Ok(Appended {
            base_offset: appended.first_offset,
            last_offset: appended.last_offset,
            log_append_time_ms: if log_append_time { now_ms } else { -1 },
            log_start_offset: self.reader.log_start_offset(),
            leader_epoch,
        })
    }

    /// Whether `min.insync.replicas` are in sync, or all of them where they are fewer.
    pub fn has_enough_in_sync(&self) -> bool {
        self.has_in_sync(self.config.load().min_insync_replicas)
    }

    /// Whether so many replicas are in sync, or all of them where they are fewer (KIP-966). Those that a reassignment
    /// adds must not stop the writes of a partition that had fewer. Where the quorum asks for more than this broker's
    /// configuration does, what it asks for holds: it keeps replicas that may be elected until then.
    fn has_in_sync(&self, min: i32) -> bool {
        if is_broken!(WatermarkCountsFenced) {
            return true;
        }
        let min = min.min(self.min_isr_max.load(Ordering::Acquire));
        self.committing_replicas.load(Ordering::Acquire) >= min
    }

    async fn log_to_append(&self) -> MutexGuard<'_, Log> {
        if let Ok(log) = self.log.try_lock() {
            return log;
        }
        let _queued = Queued::at(&self.queued);
        self.log.lock().await
    }

    /// Appends, and moves the high watermark where no other replica is waited for.
    fn append_as_leader(
        &self,
        log: &mut Log,
        batches: &[BatchToAppend],
        stamp: Stamp,
    ) -> Result<milena_log::Appended, AppendError> {
        let end_before = self.reader.log_end_offset();
        let appended = log.append(batches, stamp).inspect_err(|_| {
            // Those before it that wait for this disk wait in vain, where it has failed.
            self.moved.notify_waiters();
        })?;
        let bytes = i64::try_from(appended.bytes).unwrap_or(i64::MAX);
        let now_ms = Clock.monotonic_ms();
        let moved = self.advance_by(|leadership| leadership.appending(end_before, now_ms));
        if self.high_watermark() > appended.last_offset {
            self.waiters.arrived(bytes);
        } else {
            self.waiters.appended(bytes);
            if moved {
                self.waiters.committed();
            }
        }
        Ok(appended)
    }

    /// Takes over what the topic's configuration says now. Nobody waits for an append that is under way: the log has it
    /// before the next one.
    pub fn set_config(self: &Arc<Self>, config: Arc<TopicConfig>, broker: &BrokerConfig) {
        let wanted = config.log_config(broker);
        let is_awaited = self.log_config.lock().replace(wanted).is_some();
        self.config.store(config);
        self.advance();
        if let Ok(mut log) = self.log.try_lock() {
            self.configure(&mut log);
        } else if !is_awaited {
            let this = self.clone();
            tokio::spawn(async move { this.configure(&mut *this.log.lock().await) });
        }
    }

    fn configure(&self, log: &mut Log) {
        if let Some(config) = self.log_config.lock().take() {
            log.set_config(config);
        }
    }

    /// Whether the partition was removed from this broker.
    pub fn is_retired(&self) -> bool {
        self.leader_epoch() == RETIRED_EPOCH
    }

    /// Wakes everyone who waits here: the partition is being removed.
    pub fn retire(&self) {
        self.leads.store(false, Ordering::Release);
        self.leader_epoch.store(RETIRED_EPOCH, Ordering::Release);
        self.moved.notify_waiters();
        self.waiters.wake_all();
    }
}

/// Counts an append while it waits for the log, also where the wait is given up.
struct Queued<'a>(&'a AtomicUsize);

impl<'a> Queued<'a> {
    fn at(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why an append was refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// For a reason that Kafka has a code for.
    #[error("{0}")]
    Code(ErrorCode),
    /// A producer's sequence or epoch is not the next.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// The log could not take it.
    #[error(transparent)]
    Log(#[from] AppendError),
}

impl Refused {
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Code(code) => *code,
            Self::Sequence(SequenceError::OutOfOrder { .. }) => ErrorCode::OutOfOrderSequenceNumber,
            Self::Sequence(SequenceError::InvalidEpoch { .. }) => ErrorCode::InvalidProducerEpoch,
            Self::Log(AppendError::Storage(_)) => ErrorCode::KafkaStorageError,
            Self::Log(AppendError::TooLarge { .. }) => ErrorCode::RecordListTooLarge,
            Self::Log(_) => ErrorCode::UnknownServerError,
        }
    }
}

/// Fails on a gap or an old epoch; a duplicate is answered with its first offsets.
fn check_producers(log: &mut Log, batches: &[BatchToAppend]) -> Result<Option<Appended>, Refused> {
    for batch in batches.iter().filter(|batch| batch.header.producer_id >= 0) {
        let (first_offset, last_offset) = match log.check_producer(&batch.header)? {
            SequenceCheck::New => continue,
            SequenceCheck::Past { last_offset } => (-1, last_offset),
            SequenceCheck::Duplicate {
                first_offset,
                last_offset,
                ..
            } => (first_offset, last_offset),
        };
        let (log_append_time_ms, log_start_offset, leader_epoch) = (-1, -1, -1);
        let duplicate = Appended {
            base_offset: first_offset,
            last_offset,
            log_append_time_ms,
            log_start_offset,
            leader_epoch,
        };
        return Ok(Some(duplicate));
    }
    Ok(None)
}
