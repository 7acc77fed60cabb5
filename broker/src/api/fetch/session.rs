//! Incremental fetch sessions (KIP-227): the partitions a client follows, remembered between its fetches.
//!
//! | session id | epoch | meaning |
//! | --- | --- | --- |
//! | 0 | -1 | a full fetch without a session |
//! | any | 0 | a full fetch that opens a new session, and closes that of the id |
//! | id | -1 | a full fetch, and the end of the session |
//! | id | n > 0 | what changed since the fetch of epoch n - 1 |

use std::collections::HashMap;
use std::time::Duration;

use milena_protocol::api::fetch::{FetchRequest, FetchTopic};
use milena_protocol::{ErrorCode, Str, Uuid};
use parking_lot::Mutex;
use tokio::time::Instant;

/// A session that was idle this long gives way to a new one.
const EVICTABLE_AFTER: Duration = Duration::from_secs(120);

/// A topic as the request names it: by name before version 13, by id from then on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TopicKey {
    /// Fetch 0 to 12.
    Name(Str),
    /// Fetch 13 and up.
    Id(Uuid),
}

/// What a client wants of one partition.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The partition's topic.
    pub topic: TopicKey,
    /// The partition's number.
    pub index: i32,
    /// The first offset wanted.
    pub offset: i64,
    /// Bytes wanted at the most.
    pub bytes_max: i32,
    /// The leader epoch that the client knows, or -1.
    pub leader_epoch: i32,
    /// What the session's last response said; `None` before the first.
    pub told: Option<Told>,
}

/// What a client knows of a partition from its session's last response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// The high watermark.
    pub high_watermark: i64,
    /// The log start offset.
    pub log_start_offset: i64,
}

/// What one fetch is about, taken out of the cache while it is being answered.
#[derive(Debug)]
pub struct Session {
    /// The session's id, 0 for a fetch without one.
    pub id: i32,
    /// Whether only changes are answered.
    pub incremental: bool,
    /// The partitions, those that were served least recently first.
    pub wanted: Vec<Wanted>,
    next_epoch: i32,
    index: HashMap<(TopicKey, i32), usize>,
    last_used: Instant,
}

impl Session {
    fn new(id: i32) -> Self {
        Self {
            id,
            incremental: false,
            wanted: Vec::new(),
            next_epoch: 1,
            index: HashMap::new(),
            last_used: Instant::now(),
        }
    }

    fn update(&mut self, request: &FetchRequest) {
        for topic in &request.forgotten_topics_data {
            let key = key(
                request_uses_ids(&topic.topic_id),
                &topic.topic,
                topic.topic_id,
            );
            for &index in &topic.partitions {
                self.forget(&(key.clone(), index));
            }
        }
        for topic in &request.topics {
            let key = key(
                request_uses_ids(&topic.topic_id),
                &topic.topic,
                topic.topic_id,
            );
            self.follow(topic, &key);
        }
    }

    fn follow(&mut self, topic: &FetchTopic, key: &TopicKey) {
        for partition in &topic.partitions {
            let place = (key.clone(), partition.partition);
            let at = *self.index.entry(place).or_insert(self.wanted.len());
            let told = self.wanted.get(at).and_then(|wanted| wanted.told);
            let wanted = Wanted {
                topic: key.clone(),
                index: partition.partition,
                offset: partition.fetch_offset,
                bytes_max: partition.partition_max_bytes,
                leader_epoch: partition.current_leader_epoch,
                told,
            };
            match self.wanted.get_mut(at) {
                Some(known) => *known = wanted,
                None => self.wanted.push(wanted),
            }
        }
    }

    fn forget(&mut self, place: &(TopicKey, i32)) {
        if let Some(at) = self.index.remove(place) {
            self.wanted.remove(at);
            self.reindex();
        }
    }

    /// Moves the first `served` partitions behind the others, so that each has its turn where the
    /// response's size does not hold all.
    pub fn rotate(&mut self, served: usize) {
        if self.id != 0 && served > 0 && served < self.wanted.len() {
            self.wanted.rotate_left(served);
            self.reindex();
        }
    }

    fn reindex(&mut self) {
        let places = self.wanted.iter().enumerate();
        self.index = places
            .map(|(at, wanted)| ((wanted.topic.clone(), wanted.index), at))
            .collect();
    }
}

fn request_uses_ids(id: &Uuid) -> bool {
    !id.is_zero()
}

fn key(by_id: bool, name: &Str, id: Uuid) -> TopicKey {
    // The session outlives the frame that the name lies in, so the name is copied.
    if by_id {
        TopicKey::Id(id)
    } else {
        TopicKey::Name(Str::from(name.as_str()))
    }
}

/// All sessions, bounded in number.
#[derive(Debug)]
pub struct FetchSessions {
    slots: usize,
    sessions: Mutex<HashMap<i32, Session>>,
}

impl FetchSessions {
    /// At most `slots` sessions (`max.incremental.fetch.session.cache.slots`).
    pub fn new(slots: usize) -> Self {
        Self {
            slots,
            sessions: Mutex::default(),
        }
    }

    /// How many sessions are kept.
    pub fn len(&self) -> usize {
        self.sessions.lock().len()
    }

    /// Whether no session is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What this request fetches. The session is out of the cache until [`FetchSessions::put_back`].
    pub fn take(&self, request: &FetchRequest, version: i16) -> Result<Session, ErrorCode> {
        let (id, epoch) = if version < 7 {
            (0, -1)
        } else {
            (request.session_id, request.session_epoch)
        };
        if epoch > 0 {
            return self.resume(id, epoch, request);
        }
        if id != 0 {
            self.sessions.lock().remove(&id);
        }
        let id = if epoch == 0 && version >= 7 {
            self.free_slot()
        } else {
            0
        };
        let mut session = Session::new(id);
        session.update(request);
        Ok(session)
    }

    fn resume(&self, id: i32, epoch: i32, request: &FetchRequest) -> Result<Session, ErrorCode> {
        let mut sessions = self.sessions.lock();
        let session = sessions.get(&id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.next_epoch != epoch {
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

    /// A new id, or 0 where all slots are taken by sessions in use.
    fn free_slot(&self) -> i32 {
        let mut sessions = self.sessions.lock();
        if sessions.len() >= self.slots {
            let oldest = sessions.values().min_by_key(|session| session.last_used);
            match oldest
                .filter(|session| session.last_used.elapsed() > EVICTABLE_AFTER)
                .map(|s| s.id)
            {
                Some(id) => sessions.remove(&id),
                None => return 0,
            };
        }
        loop {
            let id = rand::random_range(1..i32::MAX);
            if !sessions.contains_key(&id) {
                return id;
            }
        }
    }
}
