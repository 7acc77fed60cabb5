//! What every reconcile has at hand: the way to the API server, options, metrics, and what is only remembered to save
//! work. Nothing here is needed to be right: a new operator begins without.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clap::ValueEnum;
use kube::{Client, Resource, ResourceExt};
use tokio::time::Instant;

use crate::cluster::fetch::Topics;
use crate::cluster::growth::Refusals;
use crate::cluster::settings::Followed;
use crate::cluster::step::perform::{REPAIR_EVERY, UNTHROTTLE_AFTER};
use crate::cluster::validate::Operator;
use crate::door::Door;
use crate::leader::Leadership;
use crate::metrics::Metrics;
use crate::nodes::Nodes;

/// A resource by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Key {
    /// A resource's.
    pub fn of<K: Resource>(object: &K) -> Self {
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// How the operator finds brokers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum BrokerAddressBy {
    /// By the names of their headless Service.
    #[default]
    Dns,
    /// By their pods' addresses: where the operator runs outside, with a route to the pods.
    PodIp,
}

/// What was chosen at the start.
#[derive(Clone, Debug)]
pub struct Options {
    /// How brokers are found.
    pub broker_address_by: BrokerAddressBy,
    /// What this operator brings.
    pub operator: Operator,
}

/// What every reconcile has at hand.
pub struct Context {
    /// Its writes are refused once this operator does not lead any more.
    pub client: Client,
    /// Whether it leads.
    pub leadership: Leadership,
    /// What was chosen.
    pub options: Options,
    /// What is counted.
    pub metrics: Metrics,
    /// All nodes, where they may be read.
    pub nodes: Nodes,
    /// The CRD of PodMonitor exists.
    pub pod_monitors: AtomicBool,
    /// The ways to brokers.
    pub doors: Doors,
    /// What is remembered of each cluster.
    pub memories: Memories,
    /// Publishes events.
    pub recorder: kube::runtime::events::Recorder,
}

/// What is remembered of one cluster.
#[derive(Debug, Default)]
pub struct Memory {
    /// The uid of the resource that this is about.
    pub uid: String,
    /// Its topics.
    pub topics: Topics,
    /// When its status was written last.
    pub status_written: Option<Instant>,
    /// When misplaced partitions were looked at last.
    pub repaired: Option<Instant>,
    /// Topics that are still throttled though nothing moves, and since when, as this look has found them.
    pub idle: Option<(Instant, Vec<String>)>,
    /// The same of the look before.
    pub was_idle: Option<(Instant, Vec<String>)>,
    /// Since when brokers have not been ready.
    pub away_since: BTreeMap<i32, Instant>,
    /// The level of `milena.version`, and when it was read.
    pub level: Option<(i16, Instant)>,
    /// The settings that running brokers have taken over.
    pub settings: Option<Followed>,
    /// Claims that were not let grow.
    pub growth: Refusals,
    /// The last text of what is awaited, so that an event is told once.
    pub told: Option<String>,
}

impl Memory {
    /// Begins another look at the cluster.
    pub fn look(&mut self) {
        self.was_idle = self.idle.take();
    }

    /// Whether misplaced partitions, where there are any, may be moved again; they are at once.
    pub fn may_repair(&mut self, wished: bool) -> bool {
        let may = self.repaired.is_none_or(|at| at.elapsed() >= REPAIR_EVERY);
        if may && wished {
            self.repaired = Some(Instant::now());
        }
        may
    }

    /// Whether these topics, of which none moves, have been idle for long enough to be throttled no more. One that has
    /// just been throttled is about to move. After a look that did not ask, as one at a paused cluster, they begin anew:
    /// something may have moved meanwhile.
    pub fn may_unthrottle(&mut self, topics: &[String]) -> bool {
        let known = self.was_idle.take();
        let known = known.filter(|(_, known)| topics.iter().all(|topic| known.contains(topic)));
        let since = known.map_or_else(Instant::now, |(since, _)| since);
        if topics.is_empty() {
            return false;
        }
        self.idle = Some((since, topics.to_vec()));
        since.elapsed() >= UNTHROTTLE_AFTER
    }
}

/// Memories by cluster: each is taken out while its cluster is in hand.
#[derive(Debug, Default)]
pub struct Memories(Mutex<HashMap<Key, Memory>>);

impl Memories {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Memory>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a memory, or a fresh one: also for another resource of the same name.
    pub fn take(&self, key: &Key, uid: &str) -> Memory {
        let known = self.lock().remove(key).filter(|known| known.uid == uid);
        known.unwrap_or_else(|| Memory {
            uid: uid.to_owned(),
            ..Memory::default()
        })
    }

    /// Puts it back.
    pub fn put(&self, key: &Key, memory: Memory) {
        self.lock().insert(key.clone(), memory);
    }

    /// Forgets a cluster.
    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }
}

/// The ways to clusters' brokers, kept as long as addresses and token stay the same, so that connections are.
#[derive(Debug, Default)]
pub struct Doors {
    kept: Mutex<HashMap<Key, Kept>>,
    leadership: Leadership,
}

#[derive(Debug)]
struct Kept {
    made_of: Addresses,
    door: Arc<Door>,
}

/// Brokers' HTTP addresses, Kafka addresses, and the token.
type Addresses = (Vec<(i32, String)>, Vec<String>, Option<String>);

impl Doors {
    /// Changes through these doors are refused once `leadership` is over.
    pub fn new(leadership: Leadership) -> Self {
        Self {
            kept: Mutex::default(),
            leadership,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The door of a cluster: the same as last time, where nothing has changed.
    pub fn door(
        &self,
        key: &Key,
        http: Vec<(i32, String)>,
        kafka: Vec<String>,
        token: Option<String>,
    ) -> Arc<Door> {
        let made_of = (http, kafka, token);
        let mut kept = self.lock();
        if let Some(known) = kept.get(key).filter(|known| known.made_of == made_of) {
            return known.door.clone();
        }
        let (http, kafka, token) = made_of.clone();
        let door = Door::new(http, kafka, token).guarded(self.leadership.clone());
        let door = Arc::new(door);
        let new = Kept {
            made_of,
            door: door.clone(),
        };
        kept.insert(key.clone(), new);
        door
    }

    /// All of them.
    pub fn all(&self) -> Vec<(Key, Arc<Door>)> {
        let kept = self.lock();
        let doors = kept.iter();
        doors
            .map(|(key, kept)| (key.clone(), kept.door.clone()))
            .collect()
    }

    /// The last door of a cluster that is gone.
    pub fn take(&self, key: &Key) -> Option<Arc<Door>> {
        self.lock().remove(key).map(|kept| kept.door)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn topics(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_topic_that_was_just_throttled_is_left_so_for_the_move_that_is_to_come() {
        let mut memory = Memory::default();
        let mut may = |names: &[&str]| {
            memory.look();
            memory.may_unthrottle(&topics(names))
        };
        assert!(!may(&["a"]));
        advance(UNTHROTTLE_AFTER).await;
        assert!(!may(&["a", "b"]), "b is new");
        advance(UNTHROTTLE_AFTER).await;
        assert!(may(&["a", "b"]));
        assert!(may(&["b"]));
        assert!(!may(&[]), "it moves, or is done");
        assert!(!may(&["b"]));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_pause_topics_are_idle_from_then_on() {
        let mut memory = Memory::default();
        memory.look();
        assert!(!memory.may_unthrottle(&topics(&["a"])));
        advance(UNTHROTTLE_AFTER).await;
        memory.look();
        // It is paused, and nobody asks.
        memory.look();
        assert!(!memory.may_unthrottle(&topics(&["a"])));
        advance(UNTHROTTLE_AFTER).await;
        memory.look();
        assert!(memory.may_unthrottle(&topics(&["a"])));
    }
}
