//! A small world around an engine: an API server and a cluster in memory, which keep the rules that the engine rests on.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::super::super::board::{Declared, TopicKey};
use super::super::super::brokers::{
    Brokers, ConfigChanges, Each, Misplaced, Move, NewTopic, Open, Refusal, Trouble,
};
use super::super::super::inbox::Inbox;
use super::super::super::known::{Changes, GoneTopic, KnownTopic};
use super::super::super::metrics::Metrics;
use super::super::super::registry::{Note, Registry, WriteError};
use super::super::super::status::{self, Kind};
use super::super::Engine;
use crate::cluster::throttle::{Copies, FOLLOWERS};
use crate::crd::topic::TopicStatus;
use crate::crd::{KafkaCluster, Topic};
use crate::namespace::Fate;

/// How long a broker holds a request for changes.
const HELD: Duration = Duration::from_secs(15);
/// How long anything may take, in the tests' time.
const BOUND: Duration = Duration::from_secs(300);

/// Everything but the engine, which may be restarted.
pub struct World {
    pub api: Arc<Api>,
    pub kafka: Arc<Kafka>,
    pub metrics: Arc<Metrics>,
    engine: Option<JoinHandle<()>>,
}

/// The API server.
#[derive(Default)]
pub struct Api {
    state: Mutex<ApiState>,
}

#[derive(Default)]
struct ApiState {
    topics: HashMap<TopicKey, Topic>,
    version: u64,
    inbox: Arc<Inbox>,
    pub writes: Vec<String>,
    /// Of all namespaces; they stay where it is not said.
    pub fate: Option<Fate>,
    notes: Vec<(String, Note)>,
}

/// The cluster.
#[derive(Default)]
pub struct Kafka {
    state: Mutex<KafkaState>,
    changed: Notify,
}

#[derive(Default)]
pub struct KafkaState {
    pub topics: BTreeMap<String, KnownTopic>,
    offset: i64,
    log: Vec<(i64, Result<KnownTopic, GoneTopic>)>,
    /// Changes up to there are forgotten.
    pub forgotten: i64,
    ids: u64,
    pub calls: Vec<String>,
    /// Why a topic is refused.
    pub refusals: HashMap<String, Refusal>,
    pub down: bool,
    pub moves: Vec<Move>,
    pub misplaced: Vec<Misplaced>,
}

/// The way to the cluster.
pub struct Way(pub Arc<Kafka>);

impl Open for Way {
    type Brokers = Way;

    async fn open(&self, _: &KafkaCluster) -> Result<Way, Trouble> {
        Ok(Way(self.0.clone()))
    }
}

impl World {
    /// A world with a cluster and an engine.
    pub fn new() -> Self {
        let mut world = Self {
            api: Arc::default(),
            kafka: Arc::default(),
            metrics: Arc::default(),
            engine: None,
        };
        world.restart();
        world
    }

    /// Ends the engine, and starts another one that knows nothing.
    pub fn restart(&mut self) {
        self.stop();
        let inbox = Arc::new(Inbox::default());
        self.metrics = Arc::default();
        let engine = Engine::new(
            "ns/main".into(),
            self.api.clone(),
            Arc::new(Way(self.kafka.clone())),
            inbox.clone(),
            self.metrics.clone(),
        );
        self.api.attach(inbox);
        self.set_cluster(Some(cluster(json!({}))));
        self.engine = Some(tokio::spawn(engine.run()));
    }

    pub fn stop(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.abort();
        }
    }

    pub fn set_cluster(&self, cluster: Option<KafkaCluster>) {
        let inbox = self.api.lock().inbox.clone();
        inbox.tell(|news| news.cluster = Some(cluster.map(Arc::new)));
    }

    /// Waits until it holds.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waited = timeout(BOUND, async {
            while !holds(self) {
                sleep(Duration::from_millis(10)).await;
            }
        });
        if waited.await.is_err() {
            let some: Vec<_> = self.api.lock().topics.values().take(2).cloned().collect();
            let calls = self.kafka.lock().calls.clone();
            panic!("never: {what}; {some:#?}; {calls:?}");
        }
    }

    /// Waits until a condition of a topic has that status and reason.
    pub async fn until_says(&self, name: &str, kind: Kind, holds: &str, reason: &str) {
        let what = format!("{name}: {}={holds} {reason}", kind.name());
        self.until(&what, |world| {
            let topic = world.api.topic(name);
            let condition = status::condition(topic.status.as_ref(), kind);
            condition.is_some_and(|it| it.status == holds && it.reason == reason)
        })
        .await;
    }

    /// Lets so much time pass.
    pub async fn pass(&self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// The cluster with further fields of its spec.
pub fn cluster(spec: Value) -> KafkaCluster {
    let mut all = json!({ "pools": [] });
    if let (Some(all), Some(spec)) = (all.as_object_mut(), spec.as_object()) {
        all.extend(spec.clone());
    }
    let mut cluster = KafkaCluster::new("main", serde_json::from_value(all).unwrap());
    cluster.metadata.namespace = Some("ns".into());
    cluster.metadata.uid = Some("cluster".into());
    cluster
}

impl Api {
    fn lock(&self) -> MutexGuard<'_, ApiState> {
        self.state.lock().unwrap()
    }

    /// Tells a new engine of all there is.
    fn attach(&self, inbox: Arc<Inbox>) {
        let mut state = self.lock();
        state.inbox = inbox.clone();
        inbox.tell(|news| {
            for (key, topic) in &state.topics {
                news.topics.insert(key.clone(), Some(declared(topic)));
            }
        });
    }

    /// Applies a Topic; one that is there gets the next generation.
    pub fn apply(&self, name: &str, spec: Value) {
        let mut all = json!({ "clusterRef": { "name": "main" }, "partitions": 1 });
        if let (Some(all), Some(spec)) = (all.as_object_mut(), spec.as_object()) {
            all.extend(spec.clone());
        }
        let mut topic = Topic::new(name, serde_json::from_value(all).unwrap());
        topic.metadata.namespace = Some("ns".into());
        let key = TopicKey::of(&topic);
        let mut state = self.lock();
        match state.topics.get(&key) {
            Some(old) => {
                topic.metadata = old.metadata.clone();
                topic.status = old.status.clone();
                let generation = topic.metadata.generation.unwrap_or(0) + 1;
                topic.metadata.generation = Some(generation);
            }
            None => {
                let second = 1_000 + state.version as i64;
                topic.metadata.uid = Some(format!("uid-{name}-{second}"));
                topic.metadata.generation = Some(1);
                let created = Timestamp::from_second(second).unwrap();
                topic.metadata.creation_timestamp = Some(Time(created));
            }
        }
        state.store(key, topic);
    }

    /// Deletes a Topic, as far as its finalizers allow.
    pub fn delete(&self, name: &str) {
        let mut state = self.lock();
        let (key, mut topic) = state.find(name);
        topic.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        state.store(key, topic);
    }

    pub fn exists(&self, name: &str) -> bool {
        self.lock().topics.keys().any(|key| &*key.name == name)
    }

    pub fn topic(&self, name: &str) -> Topic {
        self.lock().find(name).1
    }

    /// How many there are of which a condition holds.
    pub fn count(&self, kind: Kind) -> usize {
        let state = self.lock();
        let topics = state.topics.values();
        topics
            .filter(|topic| status::holds(topic.status.as_ref(), kind))
            .count()
    }

    pub fn writes(&self) -> usize {
        self.lock().writes.len()
    }

    /// The reasons of a Topic's events, in order.
    pub fn reasons(&self, name: &str) -> Vec<&'static str> {
        let state = self.lock();
        let notes = state.notes.iter().filter(|(of, _)| of == name);
        notes.map(|(_, note)| note.reason).collect()
    }

    fn change(
        &self,
        seen: &Topic,
        change: impl FnOnce(&mut Topic),
    ) -> Result<Declared, WriteError> {
        let mut state = self.lock();
        let key = TopicKey::of(seen);
        let Some(mut topic) = state.topics.get(&key).cloned() else {
            return Err(WriteError::Gone);
        };
        if topic.metadata.resource_version != seen.metadata.resource_version
            || topic.metadata.uid != seen.metadata.uid
        {
            return Err(WriteError::Changed);
        }
        change(&mut topic);
        state.writes.push(key.to_string());
        Ok(declared(&state.store(key, topic)))
    }
}

impl ApiState {
    fn find(&self, name: &str) -> (TopicKey, Topic) {
        let found = self.topics.iter().find(|(key, _)| &*key.name == name);
        let (key, topic) = found.unwrap_or_else(|| panic!("no Topic {name}"));
        (key.clone(), topic.clone())
    }

    /// Keeps it under a new version, or lets it go, and tells the engine.
    fn store(&mut self, key: TopicKey, mut topic: Topic) -> Topic {
        self.version += 1;
        topic.metadata.resource_version = Some(self.version.to_string());
        let held = topic
            .metadata
            .finalizers
            .as_ref()
            .is_some_and(|all| !all.is_empty());
        let told = match topic.metadata.deletion_timestamp.is_some() && !held {
            true => {
                self.topics.remove(&key);
                None
            }
            false => {
                self.topics.insert(key.clone(), topic.clone());
                Some(declared(&topic))
            }
        };
        self.inbox.tell(|news| {
            news.topics.insert(key, told);
        });
        topic
    }
}

fn declared(topic: &Topic) -> Declared {
    Declared {
        topic: Arc::new(topic.clone()),
        unreadable: None,
    }
}

impl Api {
    /// What is said of all namespaces from now on.
    pub fn set_fate(&self, fate: Fate) {
        self.lock().fate = Some(fate);
    }
}

impl Registry for Api {
    async fn write_status(
        &self,
        topic: &Topic,
        status: &TopicStatus,
    ) -> Result<Declared, WriteError> {
        tokio::task::yield_now().await;
        self.change(topic, |topic| topic.status = Some(status.clone()))
    }

    async fn write_finalizers(
        &self,
        topic: &Topic,
        all: &[String],
    ) -> Result<Declared, WriteError> {
        tokio::task::yield_now().await;
        self.change(topic, |topic| {
            topic.metadata.finalizers = Some(all.to_vec())
        })
    }

    async fn fate(&self, _: &str) -> Fate {
        tokio::task::yield_now().await;
        self.lock().fate.unwrap_or(Fate::Stays)
    }

    fn tell(&self, topic: &Topic, note: Note) {
        let name = topic.metadata.name.clone().unwrap();
        self.lock().notes.push((name, note));
    }
}

impl Kafka {
    pub fn lock(&self) -> MutexGuard<'_, KafkaState> {
        self.state.lock().unwrap()
    }

    /// Changes a topic, or makes it.
    pub fn put(&self, name: &str, change: impl FnOnce(&mut KnownTopic)) -> String {
        let mut state = self.lock();
        let mut topic = match state.topics.get(name) {
            Some(topic) => topic.clone(),
            None => {
                state.ids += 1;
                KnownTopic {
                    name: name.to_owned(),
                    id: format!("id-{}", state.ids),
                    partitions: 1,
                    replication_factor: 1,
                    ..Default::default()
                }
            }
        };
        change(&mut topic);
        state.offset += 1;
        let entry = (state.offset, Ok(topic.clone()));
        state.log.push(entry);
        let id = topic.id.clone();
        state.topics.insert(name.to_owned(), topic);
        drop(state);
        self.changed.notify_waiters();
        id
    }

    pub fn remove(&self, name: &str) {
        let mut state = self.lock();
        if let Some(topic) = state.topics.remove(name) {
            state.offset += 1;
            let (name, id) = (topic.name, topic.id);
            let entry = (state.offset, Err(GoneTopic { name, id }));
            state.log.push(entry);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    pub fn topic(&self, name: &str) -> Option<KnownTopic> {
        self.lock().topics.get(name).cloned()
    }

    /// How many requests of that kind there were.
    pub fn calls(&self, call: &str) -> usize {
        self.lock()
            .calls
            .iter()
            .filter(|made| *made == call)
            .count()
    }

    fn call(&self, call: &str) -> Result<(), Trouble> {
        let mut state = self.lock();
        state.calls.push(call.to_owned());
        match state.down {
            true => Err(Trouble("nobody is there".into())),
            false => Ok(()),
        }
    }

    fn refused(&self, name: &str) -> Result<(), Refusal> {
        let refusal = self.lock().refusals.get(name).cloned();
        refusal.map_or(Ok(()), Err)
    }

    fn since(&self, since: Option<i64>) -> Option<Changes> {
        let state = self.lock();
        let offset = state.offset;
        match since {
            Some(since) if since >= state.forgotten => {
                let log = state.log.iter().filter(|(at, _)| *at > since);
                let mut changes = Changes {
                    offset,
                    ..Default::default()
                };
                for (_, change) in log {
                    match change {
                        Ok(topic) => changes.topics.push(topic.clone()),
                        Err(gone) => changes.deleted.push(gone.clone()),
                    }
                }
                (offset > since).then_some(changes)
            }
            _ => Some(Changes {
                offset,
                snapshot: true,
                topics: state.topics.values().cloned().collect(),
                deleted: Vec::new(),
            }),
        }
    }
}

impl Brokers for Way {
    async fn changes(&self, since: Option<i64>) -> Result<Changes, Trouble> {
        self.0.call("changes")?;
        let held = timeout(HELD, async {
            loop {
                let changed = self.0.changed.notified();
                if let Some(changes) = self.0.since(since) {
                    return changes;
                }
                changed.await;
            }
        });
        let changes = held.await.unwrap_or_else(|_| Changes {
            offset: since.unwrap_or(0),
            ..Default::default()
        });
        match self.0.lock().down {
            true => Err(Trouble("nobody is there".into())),
            false => Ok(changes),
        }
    }

    async fn create(&self, topics: &[NewTopic]) -> Each<String> {
        self.0.call("create")?;
        sleep(Duration::from_millis(20)).await;
        let create = |new: &NewTopic| {
            self.0.refused(&new.name)?;
            if self.0.topic(&new.name).is_some() {
                return Err(Refusal::Exists);
            }
            Ok(self.0.put(&new.name, |topic| {
                topic.partitions = new.partitions;
                topic.replication_factor = new.replication_factor.unwrap_or(1);
                topic.configs = new.configs.clone();
            }))
        };
        Ok(topics.iter().map(create).collect())
    }

    async fn alter(&self, topics: &[(String, ConfigChanges)]) -> Each<()> {
        self.0.call("alter")?;
        let alter = |(name, changes): &(String, ConfigChanges)| {
            self.0.refused(name)?;
            self.0.topic(name).ok_or(Refusal::Missing)?;
            self.0.put(name, |topic| {
                for (name, value) in changes {
                    match value {
                        Some(value) => topic.configs.insert(name.clone(), value.clone()),
                        None => topic.configs.remove(name),
                    };
                }
            });
            Ok(())
        };
        Ok(topics.iter().map(alter).collect())
    }

    async fn grow(&self, topics: &[(String, i32)]) -> Each<()> {
        self.0.call("grow")?;
        let grow = |(name, count): &(String, i32)| {
            self.0.refused(name)?;
            self.0.topic(name).ok_or(Refusal::Missing)?;
            self.0.put(name, |topic| topic.partitions = *count);
            Ok(())
        };
        Ok(topics.iter().map(grow).collect())
    }

    async fn delete(&self, ids: &[String]) -> Each<()> {
        self.0.call("delete")?;
        let delete = |id: &String| {
            let topics = self.0.lock().topics.clone();
            let found = topics.into_values().find(|topic| topic.id == *id);
            let topic = found.ok_or(Refusal::Missing)?;
            self.0.refused(&topic.name)?;
            self.0.remove(&topic.name);
            Ok(())
        };
        Ok(ids.iter().map(delete).collect())
    }

    async fn copies(&self, topic: &str, factor: i32) -> Result<Copies, Trouble> {
        self.0.call("copies")?;
        let mut copies = Copies::default();
        if let (Ok(()), Some(known)) = (self.0.refused(topic), self.0.topic(topic)) {
            let from: Vec<i32> = (0..known.replication_factor).collect();
            let to: Vec<i32> = (0..factor).collect();
            copies.add(topic, 0, &from, &to);
        }
        Ok(copies)
    }

    async fn bound(&self, copies: &Copies, bytes_per_second: u64) -> Result<(), Trouble> {
        self.0.call(&format!("bound {bytes_per_second}"))?;
        for (topic, items) in copies.lists() {
            let items = items.join(",");
            self.0.put(topic, |topic| {
                topic.configs.insert(FOLLOWERS.to_owned(), items);
            });
        }
        Ok(())
    }

    async fn replicate(&self, topic: &str, factor: i32) -> Result<Result<(), Refusal>, Trouble> {
        self.0.call("replicate")?;
        if let Err(refusal) = self.0.refused(topic) {
            return Ok(Err(refusal));
        }
        let moving = Move {
            topic: topic.to_owned(),
            bytes_left: Some(2_000_000),
        };
        self.0.lock().moves.push(moving);
        // The feed shows what a topic is asked to be.
        self.0.put(topic, |topic| topic.replication_factor = factor);
        Ok(Ok(()))
    }

    async fn moves(&self) -> Result<Vec<Move>, Trouble> {
        self.0.call("moves")?;
        Ok(self.0.lock().moves.clone())
    }

    async fn misplaced(&self) -> Result<Vec<Misplaced>, Trouble> {
        self.0.call("misplaced")?;
        Ok(self.0.lock().misplaced.clone())
    }
}
