//! The Topics of one cluster as the API server has them, and which of them has which topic.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use super::metrics::{Metrics, State};
use super::wanted;
use crate::crd::Topic;

/// A Topic's place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicKey {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

/// A Topic as it was seen last.
#[derive(Clone, Debug)]
pub struct Declared {
    pub topic: Arc<Topic>,
    /// Why its spec can't be read; it is the default then.
    pub unreadable: Option<String>,
}

/// A resource's claim to a topic: the least one wins, which is the oldest. Times of creation are whole seconds: of one second,
/// whoever has had the topic keeps it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    created: Timestamp,
    is_new: bool,
    uid: String,
    pub key: TopicKey,
}

/// What a change of a Topic means for others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// The resource is another one than before, or is no more.
    pub replaced: bool,
    /// It says something new.
    pub changed: bool,
    /// Others that claim the same topic.
    pub rivals: Vec<TopicKey>,
}

/// All Topics of a cluster.
#[derive(Debug)]
pub struct Board {
    declared: HashMap<TopicKey, Declared>,
    /// By the topic's name in Kafka.
    claims: HashMap<String, BTreeSet<Claim>>,
    /// Those that have rules for their placement.
    placed: BTreeSet<TopicKey>,
    cluster: String,
    metrics: Arc<Metrics>,
}

impl TopicKey {
    /// The key of a Topic.
    #[cfg(test)]
    pub fn of(topic: &Topic) -> Self {
        let metadata = &topic.metadata;
        Self {
            namespace: metadata.namespace.as_deref().unwrap_or_default().into(),
            name: metadata.name.as_deref().unwrap_or_default().into(),
        }
    }
}

impl fmt::Display for TopicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Claim {
    fn of(key: &TopicKey, topic: &Topic) -> Self {
        let metadata = &topic.metadata;
        let created = metadata.creation_timestamp.as_ref();
        Self {
            // One without a time has only just been made.
            created: created.map_or(Timestamp::MAX, |time| time.0),
            is_new: topic
                .status
                .as_ref()
                .is_none_or(|status| status.topic_id.is_none()),
            uid: metadata.uid.clone().unwrap_or_default(),
            key: key.clone(),
        }
    }
}

impl Board {
    pub fn new(cluster: String, metrics: Arc<Metrics>) -> Self {
        Self {
            declared: HashMap::new(),
            claims: HashMap::new(),
            placed: BTreeSet::new(),
            cluster,
            metrics,
        }
    }

    pub fn get(&self, key: &TopicKey) -> Option<&Declared> {
        self.declared.get(key)
    }

    pub fn keys(&self) -> impl Iterator<Item = &TopicKey> {
        self.declared.keys()
    }

    /// Whether some have rules for their placement.
    pub fn has_placed(&self) -> bool {
        !self.placed.is_empty()
    }

    /// Those that have rules for their placement.
    pub fn placed(&self) -> impl Iterator<Item = &TopicKey> {
        self.placed.iter()
    }

    /// Who claims the topic of that name, the oldest first.
    pub fn claims(&self, name: &str) -> impl Iterator<Item = &Claim> {
        self.claims.get(name).into_iter().flatten()
    }

    /// Takes over what was seen of a Topic; what is older than what is known is passed over.
    pub fn put(&mut self, key: &TopicKey, new: Declared) -> Effect {
        let old = self.declared.get(key);
        // A name can't change, and a claim must never outlive its resource.
        let replaced = old.is_some_and(|old| {
            old.topic.metadata.uid != new.topic.metadata.uid
                || wanted::name(&old.topic) != wanted::name(&new.topic)
        });
        if let Some(old) = old
            && !replaced
            && version(&old.topic) > version(&new.topic)
        {
            return Effect::default();
        }
        let changed = old.is_none_or(|old| differs(old, &new));
        let mut rivals = Vec::new();
        let claim = Claim::of(key, &new.topic);
        if replaced || old.is_none_or(|old| Claim::of(key, &old.topic) != claim) {
            rivals = self.unclaim(key);
            let name = wanted::name(&new.topic).to_owned();
            rivals.extend(self.claims(&name).map(|claim| claim.key.clone()));
            self.claims.entry(name).or_default().insert(claim);
        }
        match new.topic.spec.placement {
            Some(_) => self.placed.insert(key.clone()),
            None => self.placed.remove(key),
        };
        self.count(State::of(&new.topic), 1);
        if let Some(old) = self.declared.insert(key.clone(), new) {
            self.count(State::of(&old.topic), -1);
        }
        Effect {
            replaced,
            changed,
            rivals,
        }
    }

    /// Forgets a Topic that is no more.
    pub fn remove(&mut self, key: &TopicKey) -> Effect {
        let rivals = self.unclaim(key);
        self.placed.remove(key);
        if let Some(old) = self.declared.remove(key) {
            self.count(State::of(&old.topic), -1);
        }
        Effect {
            replaced: true,
            changed: true,
            rivals,
        }
    }

    /// Takes a Topic's claim back, and returns who else has one.
    fn unclaim(&mut self, key: &TopicKey) -> Vec<TopicKey> {
        let Some(old) = self.declared.get(key) else {
            return Vec::new();
        };
        let name = wanted::name(&old.topic).to_owned();
        let Some(claims) = self.claims.get_mut(&name) else {
            return Vec::new();
        };
        claims.remove(&Claim::of(key, &old.topic));
        let rivals = claims.iter().map(|claim| claim.key.clone()).collect();
        if claims.is_empty() {
            self.claims.remove(&name);
        }
        rivals
    }

    fn count(&self, state: State, by: i64) {
        self.metrics.topics(&self.cluster, state, by);
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        for declared in self.declared.values() {
            self.count(State::of(&declared.topic), -1);
        }
    }
}

/// The API server's versions grow; one that is no number is taken for the newest.
fn version(topic: &Topic) -> u64 {
    let version = topic.metadata.resource_version.as_deref();
    version
        .and_then(|version| version.parse().ok())
        .unwrap_or(u64::MAX)
}

/// Whether there is anything new in it but its version.
fn differs(old: &Declared, new: &Declared) -> bool {
    let (was, is) = (&old.topic, &new.topic);
    was.metadata.generation != is.metadata.generation
        || was.metadata.deletion_timestamp != is.metadata.deletion_timestamp
        || was.metadata.finalizers != is.metadata.finalizers
        || was.metadata.uid != is.metadata.uid
        || was.status != is.status
        || was.spec != is.spec
        || old.unreadable != new.unreadable
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::crd::topic::TopicStatus;

    fn declared(name: &str, uid: &str, created: i64, version: &str) -> (TopicKey, Declared) {
        let mut topic = Topic::new(name, Default::default());
        topic.spec.topic_name = Some("orders".into());
        topic.metadata.namespace = Some("ns".into());
        topic.metadata.uid = Some(uid.into());
        topic.metadata.resource_version = Some(version.into());
        topic.metadata.creation_timestamp = Some(Time(Timestamp::from_second(created).unwrap()));
        let key = TopicKey::of(&topic);
        let topic = Arc::new(topic);
        (
            key,
            Declared {
                topic,
                unreadable: None,
            },
        )
    }

    fn board() -> Board {
        Board::new("ns/main".into(), Arc::new(Metrics::default()))
    }

    fn claimants(board: &Board) -> Vec<String> {
        board
            .claims("orders")
            .map(|claim| claim.key.to_string())
            .collect()
    }

    #[test]
    fn the_older_resource_has_the_topic_and_the_lesser_uid_where_both_are_of_one_second() {
        let mut board = board();
        for (name, uid, created) in [("young", "u1", 9), ("b", "u3", 5), ("a", "u2", 5)] {
            let (key, topic) = declared(name, uid, created, "1");
            board.put(&key, topic);
        }
        assert_eq!(claimants(&board), ["ns/a", "ns/b", "ns/young"]);
    }

    #[test]
    fn a_resource_keeps_the_topic_that_it_has_when_another_is_made_in_the_same_second() {
        let mut board = board();
        let (first, topic) = declared("first", "u2", 5, "1");
        board.put(&first, topic);
        let (_, mut has_it) = declared("first", "u2", 5, "2");
        Arc::make_mut(&mut has_it.topic).status = Some(TopicStatus {
            topic_id: Some("SWJMkG47RrOQqbnpg1689g".into()),
            ..TopicStatus::default()
        });
        board.put(&first, has_it);
        let (second, topic) = declared("second", "u1", 5, "3");
        let rivals = board.put(&second, topic).rivals;
        assert_eq!(rivals, std::slice::from_ref(&first));
        assert_eq!(claimants(&board), ["ns/first", "ns/second"]);
        assert_eq!(board.remove(&first).rivals, [second]);
        assert_eq!(claimants(&board), ["ns/second"]);
    }

    #[test]
    fn whoever_claims_the_same_topic_is_told_of_comings_and_goings() {
        let mut board = board();
        let (first, topic) = declared("first", "u1", 1, "1");
        assert_eq!(board.put(&first, topic).rivals, []);
        let (second, topic) = declared("second", "u2", 2, "1");
        assert_eq!(
            board.put(&second, topic).rivals,
            std::slice::from_ref(&first)
        );
        assert_eq!(board.remove(&first).rivals, [second]);
        assert_eq!(claimants(&board), ["ns/second"]);
    }

    #[test]
    fn an_older_view_is_passed_over_and_another_resource_of_the_name_is_not() {
        let mut board = board();
        let (key, topic) = declared("t", "u1", 1, "10");
        board.put(&key, topic);
        let (_, old) = declared("t", "u1", 1, "9");
        assert_eq!(board.put(&key, old), Effect::default());
        assert_eq!(
            board
                .get(&key)
                .unwrap()
                .topic
                .metadata
                .resource_version
                .as_deref(),
            Some("10")
        );
        let (_, other) = declared("t", "u2", 2, "3");
        let effect = board.put(&key, other);
        assert!(effect.replaced && effect.changed);
        assert_eq!(claimants(&board), ["ns/t"]);
    }

    #[test]
    fn a_new_version_of_the_same_content_is_no_change() {
        let mut board = board();
        let (key, topic) = declared("t", "u1", 1, "10");
        assert!(board.put(&key, topic).changed);
        let (_, same) = declared("t", "u1", 1, "11");
        assert!(!board.put(&key, same).changed);
    }
}
