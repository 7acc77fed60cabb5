//! The partitions that are copied from one leader, and what its fetch session knows of them. Pure but for the
//! offsets that it reads from the partitions.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use milena_metadata::BrokerId;
use milena_protocol::Uuid;
use milena_protocol::api::fetch::{
    FetchForgottenTopic, FetchPartition, FetchReplicaState, FetchRequest, FetchTopic,
};
use tokio::time::Instant;

use crate::partition::{Following, Partition};

/// A partition that the leader refused is asked for again after this, twice as long each time: the leader may be
/// about to hear of what this broker knows already.
const RETRY_FIRST: Duration = Duration::from_millis(10);
/// Doublings of it; the setting's bound ends them earlier.
const RETRY_DOUBLINGS_MAX: u32 = 10;

/// A partition by its topic's id and its number.
pub(super) type Key = (Uuid, i32);

/// One partition that is copied.
#[derive(Debug)]
pub(super) struct Copy {
    pub(super) partition: Arc<Partition>,
    /// The leader's epoch, and whether this replica is in sync.
    pub(super) following: Following,
    /// The epoch that the session asks in; none while the session does not ask for it.
    asked: Option<i32>,
    /// The epoch of the last record here; none where it has to be looked up.
    last_epoch: Option<i32>,
    /// Whether the next request names it.
    due: bool,
    /// Whether a flush is waited for, with which it is due: what is asked for says what is on disk, where
    /// `flush.messages` wants that.
    flushing: bool,
    /// Whether its part of an answer is still being taken, while others go on: it is not asked for before it is.
    held: bool,
    /// Refusals one after the other.
    refusals: u32,
    not_before: Option<Instant>,
}

/// How a request is bounded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// `replica.fetch.wait.max.ms`.
    pub(super) wait_max_ms: i32,
    /// `replica.fetch.response.max.bytes`.
    pub(super) response_bytes_max: i32,
    /// `replica.fetch.max.bytes`.
    pub(super) partition_bytes_max: i32,
}

/// Everything that is copied from one leader.
#[derive(Debug)]
pub(super) struct Copies {
    leader: BrokerId,
    all: HashMap<Key, Copy>,
    /// Those to be named, in turn; a key that is in `all` no more, or not due, is passed over.
    due: VecDeque<Key>,
    /// Those that the session is to forget.
    forgotten: Vec<Key>,
    /// Those that wait until they may be asked for again.
    waiting: Vec<Key>,
    session: (i32, i32),
}

impl Copies {
    pub(super) fn of(leader: BrokerId) -> Self {
        Self {
            leader,
            all: HashMap::new(),
            due: VecDeque::new(),
            forgotten: Vec::new(),
            waiting: Vec::new(),
            session: (0, 0),
        }
    }

    /// As `note`, of each.
    pub(super) fn note_all(&mut self, partitions: &[Arc<Partition>]) {
        for partition in partitions {
            self.note(partition);
        }
    }

    /// Takes a partition that the metadata has changed, or lets go of it.
    pub(super) fn note(&mut self, partition: &Arc<Partition>) {
        let key = (partition.topic_id().0, partition.index());
        let known = self.all.get(&key);
        let follows = partition
            .following()
            .filter(|following| following.leader == self.leader && !partition.is_retired());
        let Some(following) = follows else {
            // A replica that was deleted says nothing about one that has its place by now.
            if known.is_some_and(|copy| Arc::ptr_eq(&copy.partition, partition)) {
                self.forget(key);
            }
            return;
        };
        let asked = known.and_then(|copy| copy.asked);
        let copy = Copy {
            partition: partition.clone(),
            following,
            asked,
            last_epoch: None,
            due: false,
            flushing: known.is_some_and(|copy| copy.flushing),
            held: known.is_some_and(|copy| copy.held),
            refusals: 0,
            not_before: None,
        };
        self.all.insert(key, copy);
        self.call(key);
    }

    /// A new connection: the leader knows nothing yet.
    pub(super) fn start_over(&mut self) {
        self.session = (0, 0);
        self.forgotten.clear();
        self.waiting.clear();
        self.due = self.all.keys().copied().collect();
        for copy in self.all.values_mut() {
            (copy.asked, copy.due, copy.not_before) = (None, !copy.held, None);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether the session has partitions, so that asking without naming any makes sense.
    pub(super) fn is_asking(&self) -> bool {
        self.all.values().any(|copy| copy.asked.is_some())
    }

    /// Whether the leader keeps a session.
    pub(super) fn has_session(&self) -> bool {
        self.session.0 != 0
    }

    /// Whether the next request names a partition.
    pub(super) fn has_due(&self) -> bool {
        let is_due = |key: &Key| self.all.get(key).is_some_and(|copy| copy.due);
        self.due.iter().any(is_due)
    }

    /// Whether the next request has something to say.
    pub(super) fn has_news(&self) -> bool {
        self.has_due() || !self.forgotten.is_empty()
    }

    /// When the first of those that wait may be asked for again.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        let waits = |key: &Key| self.all.get(key)?.not_before;
        self.waiting.iter().filter_map(waits).min()
    }

    /// Those whose wait is over, which may be asked for again.
    pub(super) fn retry(&mut self, now: Instant) -> Vec<Key> {
        let is_over = |copy: &Copy| copy.not_before.is_none_or(|at| at <= now);
        let over = |key: &Key| self.all.get(key).is_none_or(is_over);
        let (ready, waiting): (Vec<Key>, Vec<Key>) = self.waiting.iter().partition(|key| over(key));
        self.waiting = waiting;
        ready.iter().for_each(|key| self.call(*key));
        ready
    }

    pub(super) fn get(&self, key: Key) -> Option<&Copy> {
        self.all.get(&key)
    }

    /// The epoch that the leader was asked in for a partition of its answer.
    pub(super) fn asked(&self, key: Key) -> Option<(Arc<Partition>, i32)> {
        let copy = self.all.get(&key)?;
        Some((copy.partition.clone(), copy.asked?))
    }

    /// The partition has come on, its last record being of that epoch: the next request says so.
    pub(super) fn advanced(&mut self, key: Key, last_epoch: Option<i32>) {
        if let Some(copy) = self.all.get_mut(&key) {
            copy.last_epoch = last_epoch;
            copy.refusals = 0;
        }
        self.call(key);
    }

    /// Of those that are due, takes out those that can't claim yet what they have. They are due again once
    /// [`Copies::flushed`] says so; answers with those for which nobody waits yet.
    pub(super) fn hold_unflushed(&mut self) -> Vec<(Key, Arc<Partition>)> {
        let (mut held, all) = (Vec::new(), &mut self.all);
        self.due.retain(|key| {
            let Some(copy) = all.get_mut(key).filter(|copy| copy.due) else {
                return false;
            };
            if copy.partition.claimed_end() >= copy.partition.reader().log_end_offset() {
                return true;
            }
            copy.due = false;
            // Else each answer would bring again what is being flushed.
            if copy.asked.take().is_some() {
                self.forgotten.push(*key);
            }
            if !std::mem::replace(&mut copy.flushing, true) {
                held.push((*key, copy.partition.clone()));
            }
            false
        });
        held
    }

    /// What was waited for is on disk.
    pub(super) fn flushed(&mut self, key: Key) {
        if let Some(copy) = self.all.get_mut(&key) {
            copy.flushing = false;
        }
        self.call(key);
    }

    /// The disk refuses: asked for again after a while, as if the leader had refused.
    pub(super) fn unflushed(&mut self, key: Key, now: Instant, wait_max: Duration) {
        if let Some(copy) = self.all.get_mut(&key) {
            copy.flushing = false;
        }
        self.refused(key, now, wait_max);
    }

    /// Its part of an answer is still being taken: it is due again once [`Copies::release`] says so. Until then the
    /// session has it no more, or each answer would bring the same again.
    pub(super) fn hold(&mut self, key: Key) {
        let Some(copy) = self.all.get_mut(&key) else {
            return;
        };
        (copy.held, copy.due) = (true, false);
        if copy.asked.take().is_some() {
            self.forgotten.push(key);
        }
    }

    /// Its part of an answer is taken.
    pub(super) fn release(&mut self, key: Key) {
        let copy = self.all.get_mut(&key);
        if copy.is_some_and(|copy| std::mem::take(&mut copy.held)) {
            self.call(key);
        }
    }

    /// The partition is left in peace for so long.
    pub(super) fn pause(&mut self, key: Key, until: Instant) {
        let Some(copy) = self.all.get_mut(&key) else {
            return;
        };
        copy.due = false;
        copy.not_before = Some(until);
        if copy.asked.take().is_some() {
            self.forgotten.push(key);
        }
        self.waiting.push(key);
    }

    /// The leader refused it: asked again after a while, longer each time up to `wait_max`.
    pub(super) fn refused(&mut self, key: Key, now: Instant, wait_max: Duration) {
        let Some(copy) = self.all.get_mut(&key) else {
            return;
        };
        let doublings = copy.refusals.min(RETRY_DOUBLINGS_MAX);
        copy.refusals += 1;
        copy.last_epoch = None;
        let wait = RETRY_FIRST * 2u32.pow(doublings);
        self.pause(key, now + wait.min(wait_max));
    }

    /// Partitions whose last record's epoch has to be looked up before they can be named.
    pub(super) fn unknown_ends(&self) -> Vec<(Key, Arc<Partition>)> {
        let due = self.due.iter().filter_map(|key| {
            let copy = self.all.get(key)?;
            let unknown = copy.due && copy.last_epoch.is_none();
            unknown.then(|| (*key, copy.partition.clone()))
        });
        due.collect()
    }

    pub(super) fn set_last_epoch(&mut self, key: Key, epoch: i32) {
        if let Some(copy) = self.all.get_mut(&key) {
            copy.last_epoch = Some(epoch);
        }
    }

    /// The answer's session; 0 where the leader keeps none, so that every request names all.
    pub(super) fn answered(&mut self, session_id: i32) {
        match (self.session, session_id) {
            ((0, _), 0) => {
                let all: Vec<Key> = self.all.keys().copied().collect();
                all.into_iter().for_each(|key| self.call(key));
            }
            ((0, _), id) => self.session = (id, self.session.1),
            _ => {}
        }
    }

    /// The next request of the session.
    pub(super) fn request(&mut self, (me, epoch): (BrokerId, i64), bounds: Bounds) -> FetchRequest {
        let (session_id, session_epoch) = self.session;
        let topics = self.named(bounds.partition_bytes_max);
        let mut request = FetchRequest {
            replica_state: FetchReplicaState {
                replica_id: me.get(),
                replica_epoch: epoch,
            },
            max_wait_ms: bounds.wait_max_ms,
            min_bytes: 1,
            max_bytes: bounds.response_bytes_max,
            session_id,
            session_epoch,
            topics,
            ..Default::default()
        };
        for (topic_id, partition) in std::mem::take(&mut self.forgotten) {
            // Named anew meanwhile: then it is not forgotten.
            let is_back = |copy: &Copy| copy.asked.is_some();
            if session_id != 0 && !self.all.get(&(topic_id, partition)).is_some_and(is_back) {
                request.forgotten_topics_data.push(FetchForgottenTopic {
                    topic_id,
                    partitions: vec![partition],
                    ..Default::default()
                });
            }
        }
        self.session.1 = session_epoch.checked_add(1).unwrap_or(1);
        request
    }

    /// Those that are due, by topic.
    fn named(&mut self, bytes_max: i32) -> Vec<FetchTopic> {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for key in std::mem::take(&mut self.due) {
            let Some(copy) = self.all.get_mut(&key).filter(|copy| copy.due) else {
                continue;
            };
            copy.due = false;
            copy.asked = Some(copy.following.leader_epoch);
            let reader = copy.partition.reader();
            let partition = FetchPartition {
                partition: key.1,
                current_leader_epoch: copy.following.leader_epoch,
                fetch_offset: copy.partition.claimed_end(),
                last_fetched_epoch: copy.last_epoch.unwrap_or(-1),
                log_start_offset: reader.log_start_offset(),
                partition_max_bytes: bytes_max,
                high_watermark: copy.partition.high_watermark(),
                ..Default::default()
            };
            match topics.last_mut() {
                Some(topic) if topic.topic_id == key.0 => topic.partitions.push(partition),
                _ => topics.push(FetchTopic {
                    topic_id: key.0,
                    partitions: vec![partition],
                    ..Default::default()
                }),
            }
        }
        topics
    }

    fn call(&mut self, key: Key) {
        if let Some(copy) = self.all.get_mut(&key)
            && !copy.due
            && !copy.held
        {
            (copy.due, copy.not_before) = (true, None);
            self.due.push_back(key);
        }
    }

    fn forget(&mut self, key: Key) {
        let known = self.all.remove(&key);
        if known.is_some_and(|copy| copy.asked.is_some()) {
            self.forgotten.push(key);
        }
    }
}
