//! Incremental fetch sessions (KIP-227): the partitions a client follows, remembered between its fetches.
//!
//! | session id | epoch | meaning |
//! | --- | --- | --- |
//! | 0 | -1 | a full fetch without a session |
//! | any | 0 | a full fetch that opens a new session, and closes that of the id |
//! | id | -1 | a full fetch, and the end of the session |
//! | id | n > 0 | what changed since the fetch of epoch n - 1 |

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use milena_protocol::api::fetch::{FetchPartition, FetchRequest};
use milena_protocol::{ErrorCode, Str, Uuid};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::partition::Partition;
use crate::partition::waiters::{Reads, Wakeup, Watch};
use crate::partitions::Partitions;

/// A session that was idle this long gives way to a new one.
const EVICTABLE_AFTER: Duration = Duration::from_secs(120);

/// Partitions that a session may follow: ten times what a follower of a large broker does, and some 30 MiB. One that
/// would follow more is closed, and its client asks in full.
const SESSION_PARTITIONS_MAX: usize = 100_000;

/// A topic as the request names it: by name before version 13, by id from then on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TopicKey {
    /// Fetch 0 to 12.
    Name(Str),
    /// Fetch 13 and up.
    Id(Uuid),
}

impl TopicKey {
    fn of(name: &Str, id: Uuid) -> Self {
        match id.is_zero() {
            // The session outlives the frame that the name lies in, so the name is copied.
            true => Self::Name(Str::from(name.as_str())),
            false => Self::Id(id),
        }
    }
}

/// What a client wants of one partition.
#[derive(Debug)]
pub struct Wanted {
    pub topic: TopicKey,
    pub index: i32,
    /// The first offset wanted.
    pub offset: i64,
    pub bytes_max: i32,
    /// The leader epoch that the client knows, or -1.
    pub leader_epoch: i32,
    /// The epoch of a follower's last record, or -1.
    pub last_fetched_epoch: i32,
    /// What the session's last response said; `None` before the first.
    pub told: Option<Told>,
    watch: Option<Watch>,
    ready: bool,
}

impl Wanted {
    /// Whether news of the partition would be heard.
    pub fn is_watched(&self) -> bool {
        self.watch.is_some()
    }

    /// The partition, found among those hosted here where it is not watched yet, or not any more.
    pub fn partition(&mut self, partitions: &Partitions) -> Result<Arc<Partition>, ErrorCode> {
        let watched = self.watch.as_ref().map(Watch::partition);
        if let Some(Some(partition)) = watched {
            return Ok(partition);
        }
        self.watch = None;
        let topic = match &self.topic {
            TopicKey::Name(name) => partitions
                .topic(name)
                .ok_or(ErrorCode::UnknownTopicOrPartition)?,
            TopicKey::Id(id) => partitions
                .topic_by_id(*id)
                .ok_or(ErrorCode::UnknownTopicId)?,
        };
        topic.find(self.index).cloned()
    }
}

/// What a client knows of a partition from its session's last response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    pub high_watermark: i64,
    pub log_start_offset: i64,
}

/// What one fetch is about, taken out of the cache while it is being answered.
///
/// A session may follow thousands of partitions; a fetch looks at those that are ready: named by the request, not
/// served to their end, or with news since they were last looked at.
#[derive(Debug)]
pub struct Session {
    /// The session's id, 0 for a fetch without one.
    pub id: i32,
    /// Whether only changes are answered.
    pub incremental: bool,
    reads: Reads,
    slots: Vec<Option<Wanted>>,
    free: Vec<u32>,
    index: HashMap<(TopicKey, i32), u32>,
    // In the order in which they are served.
    ready: VecDeque<u32>,
    wakeup: Arc<Wakeup>,
    next_epoch: i32,
    last_used: Instant,
    /// Its place among all sessions, held while it is kept and while it is in use.
    _place: Option<OwnedSemaphorePermit>,
}

impl Session {
    fn new(id: i32, place: Option<OwnedSemaphorePermit>, reads: Reads) -> Self {
        Self {
            id,
            _place: place,
            reads,
            incremental: false,
            slots: Vec::new(),
            free: Vec::new(),
            index: HashMap::new(),
            ready: VecDeque::new(),
            wakeup: Arc::default(),
            next_epoch: 1,
            last_used: Instant::now(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    pub fn names_several(&self) -> bool {
        self.index.len() > 1
    }

    pub fn wakeup(&self) -> &Arc<Wakeup> {
        &self.wakeup
    }

    /// What is wanted in a slot that [`Session::take_ready`] named.
    pub fn wanted(&mut self, slot: u32) -> Option<&mut Wanted> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// The slots to be looked at, those that were served least recently first.
    pub fn take_ready(&mut self) -> VecDeque<u32> {
        for slot in self.wakeup.take_news() {
            if let Some(watch) = self.wanted(slot).and_then(|wanted| wanted.watch.as_ref()) {
                watch.heard();
            }
            self.set_ready(slot);
        }
        std::mem::take(&mut self.ready)
    }

    /// Takes the slots back that the next look is to see again; those not in `ready` are seen at their next news.
    pub fn put_ready(&mut self, looked_at: &[u32], ready: VecDeque<u32>) {
        for &slot in looked_at {
            if let Some(wanted) = self.wanted(slot) {
                wanted.ready = false;
            }
        }
        for slot in ready {
            self.set_ready(slot);
        }
    }

    /// Moves slots behind all others that are ready, so that each has its turn where a response does not hold all.
    pub fn served(&mut self, slots: &[u32]) {
        let served: HashSet<u32> = slots.iter().copied().collect();
        self.ready.retain(|slot| !served.contains(slot));
        self.ready.extend(slots);
    }

    fn set_ready(&mut self, slot: u32) {
        let Some(wanted) = self.wanted(slot) else {
            return;
        };
        if !wanted.ready {
            wanted.ready = true;
            self.ready.push_back(slot);
        }
    }

    /// Registers at those ready partitions where it is not registered yet. What was registered is to be looked at
    /// (again): true where there is such.
    pub fn watch(&mut self, partitions: &Partitions) -> bool {
        let mut any = false;
        for at in 0..self.ready.len() {
            let slot = self.ready[at];
            let Some(wanted) = self.slots[slot as usize].as_mut() else {
                continue;
            };
            let partition = wanted.partition(partitions);
            if let (None, Ok(partition)) = (&wanted.watch, partition) {
                wanted.watch = Some(Watch::new(&partition, &self.wakeup, slot, self.reads));
                any = true;
            }
        }
        any
    }

    fn update(&mut self, request: &FetchRequest) {
        let mut forgotten = HashSet::new();
        for topic in &request.forgotten_topics_data {
            let key = TopicKey::of(&topic.topic, topic.topic_id);
            let places = topic.partitions.iter().map(|&index| (key.clone(), index));
            forgotten.extend(places.filter_map(|place| self.index.remove(&place)));
        }
        self.forget(forgotten);
        for topic in &request.topics {
            let key = TopicKey::of(&topic.topic, topic.topic_id);
            for partition in &topic.partitions {
                let slot = self.follow(partition, &key);
                self.set_ready(slot);
            }
        }
        if self.index.len() > SESSION_PARTITIONS_MAX {
            self.close();
        }
    }

    /// This fetch is its last: the answer's id of 0 tells the client.
    fn close(&mut self) {
        self.id = 0;
        self._place = None;
    }

    fn follow(&mut self, partition: &FetchPartition, key: &TopicKey) -> u32 {
        let place = (key.clone(), partition.partition);
        let slot = match self.index.get(&place) {
            Some(&slot) => slot,
            None => self.new_slot(place),
        };
        if let Some(wanted) = self.wanted(slot) {
            wanted.offset = partition.fetch_offset;
            wanted.bytes_max = partition.partition_max_bytes;
            wanted.leader_epoch = partition.current_leader_epoch;
            wanted.last_fetched_epoch = partition.last_fetched_epoch;
        }
        slot
    }

    fn new_slot(&mut self, place: (TopicKey, i32)) -> u32 {
        let wanted = Wanted {
            topic: place.0.clone(),
            index: place.1,
            offset: 0,
            bytes_max: 0,
            leader_epoch: -1,
            last_fetched_epoch: -1,
            told: None,
            watch: None,
            ready: false,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(wanted);
                slot
            }
            None => {
                self.slots.push(Some(wanted));
                self.slots.len() as u32 - 1
            }
        };
        self.index.insert(place, slot);
        slot
    }

    fn forget(&mut self, slots: HashSet<u32>) {
        self.ready.retain(|slot| !slots.contains(slot));
        for slot in slots {
            self.slots[slot as usize] = None;
            self.free.push(slot);
        }
    }
}

/// All sessions, bounded in number: those kept and those in use together.
#[derive(Debug)]
pub struct FetchSessions {
    slots: usize,
    places: Arc<Semaphore>,
    sessions: Mutex<HashMap<i32, Session>>,
}

impl FetchSessions {
    /// At most `slots` sessions (`max.incremental.fetch.session.cache.slots`).
    pub fn new(slots: usize) -> Self {
        let slots = slots.min(Semaphore::MAX_PERMITS);
        Self {
            slots,
            places: Arc::new(Semaphore::new(slots)),
            sessions: Mutex::default(),
        }
    }

    /// How many sessions there are, in use or kept for their next fetch.
    pub fn len(&self) -> usize {
        self.slots.saturating_sub(self.places.available_permits())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What this request fetches. The session is out of the cache until [`FetchSessions::put_back`].
    pub fn take(
        &self,
        request: &FetchRequest,
        version: i16,
        reads: Reads,
    ) -> Result<Session, ErrorCode> {
        let (id, epoch) = if version < 7 {
            (0, -1)
        } else {
            (request.session_id, request.session_epoch)
        };
        if epoch > 0 {
            return self.resume(id, epoch, request, reads);
        }
        if id != 0 {
            self.sessions.lock().remove(&id);
        }
        let place = (epoch == 0 && version >= 7).then(|| self.free_place());
        let mut session = match place.flatten() {
            Some((id, place)) => Session::new(id, Some(place), reads),
            None => Session::new(0, None, reads),
        };
        session.update(request);
        Ok(session)
    }

    fn resume(
        &self,
        id: i32,
        epoch: i32,
        request: &FetchRequest,
        reads: Reads,
    ) -> Result<Session, ErrorCode> {
        let mut sessions = self.sessions.lock();
        let session = sessions.get(&id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.next_epoch != epoch || session.reads != reads {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        let Some(mut session) = sessions.remove(&id) else {
            return Err(ErrorCode::FetchSessionIdNotFound);
        };
        drop(sessions);
        session.update(request);
        session.incremental = true;
        session.next_epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        Ok(session)
    }

    /// Keeps the session for the client's next fetch.
    pub fn put_back(&self, mut session: Session) {
        if session.id != 0 {
            session.last_used = Instant::now();
            self.sessions.lock().insert(session.id, session);
        }
    }

    /// A new id with its place; `None` where all are taken by sessions in use or used of late.
    fn free_place(&self) -> Option<(i32, OwnedSemaphorePermit)> {
        let mut sessions = self.sessions.lock();
        let place = match self.places.clone().try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                let oldest = sessions.values().min_by_key(|session| session.last_used)?;
                let evictable = oldest.last_used.elapsed() > EVICTABLE_AFTER;
                let id = evictable.then_some(oldest.id)?;
                // Its place is free when it is gone.
                drop(sessions.remove(&id));
                self.places.clone().try_acquire_owned().ok()?
            }
        };
        loop {
            let id = rand::random_range(1..i32::MAX);
            if !sessions.contains_key(&id) {
                return Some((id, place));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use milena_protocol::api::fetch::FetchTopic;

    use super::*;

    fn open(sessions: &FetchSessions) -> Session {
        let request = FetchRequest {
            session_epoch: 0,
            ..Default::default()
        };
        sessions.take(&request, 12, Reads::Committed).unwrap()
    }

    fn following(session: &Session, partitions: std::ops::Range<i32>) -> FetchRequest {
        let partitions = partitions.map(|partition| FetchPartition {
            partition,
            ..Default::default()
        });
        FetchRequest {
            session_id: session.id,
            session_epoch: session.next_epoch,
            topics: vec![FetchTopic {
                topic: Str::from("t"),
                partitions: partitions.collect(),
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    #[test]
    fn a_session_that_would_follow_more_than_its_bound_is_closed() {
        const MAX: i32 = SESSION_PARTITIONS_MAX as i32;
        let sessions = FetchSessions::new(2);
        let session = open(&sessions);
        let full = following(&session, 0..MAX);
        sessions.put_back(session);
        let session = sessions.take(&full, 12, Reads::Committed).unwrap();
        assert!(session.id != 0);
        let again = following(&session, 0..1);
        sessions.put_back(session);
        let session = sessions.take(&again, 12, Reads::Committed).unwrap();
        assert!(session.id != 0, "it follows no more than before");

        let more = following(&session, MAX..MAX + 1);
        sessions.put_back(session);
        let session = sessions.take(&more, 12, Reads::Committed).unwrap();
        assert_eq!((session.id, session.incremental), (0, true));
        assert_eq!(sessions.len(), 0, "its place is free");
        sessions.put_back(session);
        let gone = sessions.take(&more, 12, Reads::Committed);
        assert_eq!(gone.err(), Some(ErrorCode::FetchSessionIdNotFound));
    }

    #[tokio::test(start_paused = true)]
    async fn sessions_in_use_count_against_the_bound_until_they_end() {
        let sessions = FetchSessions::new(1);
        let first = open(&sessions);
        assert!(first.id != 0);
        assert_eq!(sessions.len(), 1);
        assert_eq!(open(&sessions).id, 0, "the only place is taken");
        // A client that leaves while its fetch waits leaves no session behind.
        drop(first);
        assert_eq!(sessions.len(), 0);
        let second = open(&sessions);
        assert!(second.id != 0);
        sessions.put_back(second);
        assert_eq!(open(&sessions).id, 0, "it was used just now");
        tokio::time::advance(EVICTABLE_AFTER * 2).await;
        assert!(open(&sessions).id != 0, "an idle one gives way");
    }
}
