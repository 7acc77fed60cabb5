//! What is written: one fact a record, as one line of JSON.
//!
//! | `type` | `version` | says |
//! | --- | --- | --- |
//! | `cluster` | 1 | the cluster's id, once |
//! | `broker` | 1 | one life of a broker: epoch, incarnation, endpoints, node, rack, directories, levels |
//! | `broker_state` | 1 to 3 | that life is fenced, draining, or stopping; 2 where its rack is another, 3 where it is reached elsewhere |
//! | `broker_removed` | 1 | a broker is no longer part of the cluster, nor are its configs and lease |
//! | `topic` | 1 | a topic's name and id; its partitions follow, from 0 |
//! | `topic_removed` | 1 | a topic, its partitions and its configs are gone |
//! | `partition` | 1 to 3 | all of a partition: replicas, ISR, ELR, leader, epochs; 2 while it is reassigned, 3 while its log could not be opened |
//! | `config` | 1 | a value of a resource's config, or null where the default is back |
//! | `producer_ids` | 1 | the next producer id that nobody owns |
//! | `feature` | 1 | a feature's level in this cluster; 0 where it is off |
//! | `lease` | 1 | a broker may stop: for which life, until when |
//! | `lease_ended` | 1 | that life's lease is over |
//! | `cluster_state` | 1 | whether the cluster is being stopped as a whole |
//!
//! A reader skips fields that it doesn't know and refuses types and versions that it doesn't know: a field
//! that may be ignored is added, anything else is a new version. A record is written in the oldest version that
//! holds it. Every version ever written stays readable.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::configs::ConfigResource;
use crate::features::Levels;
use crate::names::{BrokerId, DirectoryId, IncarnationId, PartitionId, TopicId, TopicName};

/// The cluster's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterRecord {
    /// As in `meta.properties`.
    pub cluster_id: Arc<str>,
}

/// Where a broker is reached by one listener's clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The listener's name, such as `PLAINTEXT`.
    pub listener: Arc<str>,
    /// The advertised name or address.
    pub host: Arc<str>,
    /// The advertised port.
    pub port: u16,
    /// `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.
    pub security_protocol: Arc<str>,
}

/// How the life before this one ended, as the broker found its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LastEnd {
    /// There was none: the directories are new.
    None,
    /// It shut down in order.
    Clean,
    /// The process died; the kernel and its page cache lived on.
    Killed,
    /// Anything else: acknowledged records may be missing.
    Unclean,
}

/// One life of a broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerRecord {
    /// `node.id`.
    pub id: BrokerId,
    /// Greater in each life than in all before.
    pub epoch: i64,
    /// This life's own id.
    pub incarnation: IncarnationId,
    /// Every listener that clients or peers may use.
    pub endpoints: Vec<Endpoint>,
    /// The machine it runs on: no two replicas of a partition share one.
    pub node: Option<Arc<str>>,
    /// `broker.rack`.
    pub rack: Option<Arc<str>>,
    /// The pool it belongs to, which a placement's wish may name.
    #[serde(default)]
    pub pool: Option<Arc<str>>,
    /// Its log directories that are online.
    pub directories: Vec<DirectoryId>,
    /// Its software's version.
    pub software: Arc<str>,
    /// The levels of `milena.version` that its software knows.
    #[serde(default, skip_serializing_if = "Levels::are_unsaid")]
    pub levels: Levels,
    /// How the life before this one ended.
    pub last_end: LastEnd,
    /// Fenced: leads nothing and is in no ISR that can do without it.
    pub fenced: bool,
    /// Draining: takes no new replicas and no leadership. It outlasts this life.
    #[serde(default)]
    pub draining: bool,
    /// About to end this life in order: takes no leadership and joins no ISR.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stopping: bool,
}

impl BrokerRecord {
    /// Its address on the listener of that name.
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        let mut endpoints = self.endpoints.iter();
        endpoints.find(|endpoint| *endpoint.listener == *listener)
    }

    /// Whether a replica in that directory can be served; one whose directory is not known yet can.
    pub fn has_online(&self, directory: DirectoryId) -> bool {
        directory == DirectoryId::UNASSIGNED || self.directories.contains(&directory)
    }

    /// Whether leaders are to be elsewhere where they can.
    pub fn is_leaving(&self) -> bool {
        self.draining || self.stopping
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// A change within one life of a broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerStateRecord {
    /// Whose.
    pub id: BrokerId,
    /// The life it was decided on; a record for another is a mismatch.
    pub epoch: i64,
    /// See [`BrokerRecord::fenced`].
    pub fenced: bool,
    /// See [`BrokerRecord::draining`].
    pub draining: bool,
    /// See [`BrokerRecord::stopping`].
    #[serde(default, skip_serializing_if = "is_false")]
    pub stopping: bool,
    /// The log directories that are online now; `None` where they are as they were, as they are in all that is written
    /// today.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directories: Option<Vec<DirectoryId>>,
    /// The rack it is in from now on; `None` where it is as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<Arc<str>>,
    /// Where it is reached from now on, on all its listeners; `None` where that is as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Vec<Endpoint>>,
}

impl BrokerStateRecord {
    /// Software that knows no change of rack would place replicas by the old one; one that knows no change of endpoints
    /// would send clients to the old ones.
    fn version(&self) -> u16 {
        match (&self.endpoints, &self.rack) {
            (Some(_), _) => 3,
            (None, Some(_)) => 2,
            (None, None) => 1,
        }
    }
}

/// The end of a broker that will not come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerRemovedRecord {
    /// Whose.
    pub id: BrokerId,
    /// Its last life; a record for another is a mismatch.
    pub epoch: i64,
}

/// A topic; its partitions follow as records of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicRecord {
    /// Its id, never used before.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
}

/// The end of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicRemovedRecord {
    /// Which.
    pub id: TopicId,
}

/// One replica of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// The broker that hosts it.
    pub broker: BrokerId,
    /// The log directory there.
    pub directory: DirectoryId,
}

/// How a leader was found: what its log holds of the records that were committed before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Elected {
    /// From the ISR: all of them.
    #[default]
    InSync,
    /// From the ELR: all of them (KIP-966).
    Eligible,
    /// The last known leader, after an unclean end of everybody in sync: perhaps not all (KIP-966).
    LastKnown,
    /// `unclean.leader.election.enable`, or a person's order: perhaps not all.
    Unclean,
}

impl Elected {
    /// Whether committed records may be lost.
    pub fn may_lose(self) -> bool {
        matches!(self, Self::LastKnown | Self::Unclean)
    }

    fn is_in_sync(&self) -> bool {
        *self == Self::InSync
    }
}

/// A partition on its way from one set of brokers to another. Until it is there, all of both host it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reassignment {
    /// Its brokers before, the preferred leader first: what a cancelled reassignment goes back to.
    pub from: Vec<BrokerId>,
    /// Its brokers after, the preferred leader first.
    pub to: Vec<BrokerId>,
}

impl Reassignment {
    /// The brokers that join, in the order of the new set.
    pub fn adding(&self) -> impl Iterator<Item = BrokerId> {
        let joins = |id: &BrokerId| !self.from.contains(id);
        self.to.iter().copied().filter(joins)
    }

    /// The brokers that leave, in the order of the old set.
    pub fn removing(&self) -> impl Iterator<Item = BrokerId> {
        let leaves = |id: &BrokerId| !self.to.contains(id);
        self.from.iter().copied().filter(leaves)
    }
}

/// All of a partition's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionRecord {
    /// Its topic.
    pub topic: TopicId,
    /// Its number; new ones come in order, without a gap.
    pub partition: PartitionId,
    /// Its replicas, the preferred leader first; those that a reassignment adds come last.
    pub replicas: Vec<Replica>,
    /// Those in sync, in the order of the replicas. None of them is fenced while there is a leader. Empty only
    /// after an unclean end of the last.
    pub isr: Vec<BrokerId>,
    /// Those out of sync that hold every committed record (KIP-966). While there are any, the ISR is below
    /// `min.insync.replicas` and the high watermark must not advance.
    #[serde(default)]
    pub elr: Vec<BrokerId>,
    /// The leader, or none while nobody may lead.
    pub leader: Option<BrokerId>,
    /// Who led last.
    #[serde(default)]
    pub last_leader: Option<BrokerId>,
    /// Grows with each change of leader.
    pub leader_epoch: i32,
    /// Grows by one with each record of this partition.
    pub partition_epoch: i32,
    /// How the leader was found; while there is none, how the last one was.
    #[serde(default, skip_serializing_if = "Elected::is_in_sync")]
    pub elected: Elected,
    /// Replicas whose brokers could not open their logs when nobody else could lead: none of them is taken for a leader
    /// until its next life.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unopened: Vec<BrokerId>,
    /// Where it is going.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reassignment: Option<Reassignment>,
}

impl PartitionRecord {
    /// Software that knows no reassignments would take all replicas for wanted ones, and one that knows no unopened logs
    /// would have somebody lead who can't.
    fn version(&self) -> u16 {
        match (self.unopened.is_empty(), &self.reassignment) {
            (false, _) => 3,
            (true, Some(_)) => 2,
            (true, None) => 1,
        }
    }

    pub(crate) fn brokers(&self) -> impl Iterator<Item = BrokerId> {
        self.replicas.iter().map(|replica| replica.broker)
    }

    /// Whether a broker is among those of whom one leads, without an order to do so, once it is up.
    pub(crate) fn may_elect(&self, broker: BrokerId) -> bool {
        electable(&self.isr, &self.elr, self.last_leader).any(|id| id == broker)
    }

    pub(crate) fn hosts(&self, broker: BrokerId) -> bool {
        self.brokers().any(|replica| replica == broker)
    }
}

/// Who may be elected once it is up: those that have every committed record, and where nobody has, who led last.
pub(crate) fn electable<'a>(
    isr: &'a [BrokerId],
    elr: &'a [BrokerId],
    last_leader: Option<BrokerId>,
) -> impl Iterator<Item = BrokerId> + 'a {
    let nobody_has_all = isr.is_empty() && elr.is_empty();
    let last = last_leader.filter(|_| nobody_has_all);
    isr.iter().chain(elr).copied().chain(last)
}

/// One key of a resource's config.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigRecord {
    /// Whose.
    #[serde(flatten)]
    pub resource: ConfigResource,
    /// The key.
    pub key: Arc<str>,
    /// The value, or `None` to fall back to the default.
    pub value: Option<Arc<str>>,
}

/// A block of producer ids was given away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerIdsRecord {
    /// The broker that owns the block.
    pub broker: BrokerId,
    /// The life of that broker.
    pub broker_epoch: i64,
    /// The first id after the block.
    pub next: i64,
}

/// A feature's level (KIP-584).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureRecord {
    /// Its name.
    pub name: Arc<str>,
    /// Its level; 0 where it is off.
    pub level: i16,
}

/// A broker's life may end: the stop lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// Whose.
    pub broker: BrokerId,
    /// The life that may end.
    pub incarnation: IncarnationId,
    /// When it should be over, in milliseconds since 1970 by the clock of the leader that granted it. It is shown, and
    /// ends nobody's lease: clocks jump, and the next leader has another.
    pub expires_ms: i64,
    /// How long it lasts while the broker serves, in milliseconds; `None` in what older software wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<i64>,
}

/// The end of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseEndedRecord {
    /// Whose.
    pub broker: BrokerId,
    /// The life that it was for; a record for another is a mismatch.
    pub incarnation: IncarnationId,
}

/// The cluster is being stopped as a whole: every broker may stop at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopping {
    /// Lives of brokers with a greater epoch have begun after this.
    pub since: i64,
    /// When it is over by itself, in milliseconds since 1970.
    pub until_ms: i64,
}

/// What holds for the cluster as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStateRecord {
    /// None where it is to run.
    pub stopping: Option<Stopping>,
}

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Written by newer software.
    #[error(
        "a metadata record of type '{kind}', version {version}, is newer than this software ({software}): \
         start the version that wrote it, or a later one"
    )]
    Newer {
        /// The record's type.
        kind: String,
        /// The record's version.
        version: u16,
        /// This software's version.
        software: &'static str,
    },
    /// Not a record.
    #[error("a metadata record does not read: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// What every record starts with.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    version: u16,
}

#[derive(Serialize)]
struct Tagged<'a, T> {
    #[serde(rename = "type")]
    kind: &'static str,
    version: u16,
    #[serde(flatten)]
    body: &'a T,
}

/// The oldest version that holds the record: the newest, where the type does not say.
fn oldest<T>(body: &T, newest: u16, version: Option<fn(&T) -> u16>) -> u16 {
    version.map_or(newest, |version| version(body))
}

/// Reads a record whose type and version come first, as they are written.
struct InOrder;

fn named<'de, A: MapAccess<'de>, T: Deserialize<'de>>(
    map: &mut A,
    name: &'static str,
) -> Result<T, A::Error> {
    match map.next_key::<Cow<'_, str>>()? {
        Some(key) if key == name => map.next_value(),
        _ => Err(A::Error::missing_field(name)),
    }
}

/// As [`Record::from_json`], within something larger.
impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder)
    }
}

macro_rules! records {
    ($($(#[$doc:meta])* $variant:ident($body:ident) = $kind:literal, $newest:literal $(by $version:path)?;)*) => {
        /// One fact about the cluster.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Record {
            $($(#[$doc])* $variant($body),)*
        }

        impl Record {
            /// Appends the record as JSON: one line, without its end.
            pub fn write_json(&self, into: &mut Vec<u8>) {
                match self {
                    $(Self::$variant(body) => {
                        let version = oldest(body, $newest, None $(.or(Some($version as fn(&$body) -> u16)))?);
                        let tagged = Tagged { kind: $kind, version, body };
                        serde_json::to_writer(into, &tagged).expect("records have string keys only");
                    })*
                }
            }

            /// Reads what [`Record::write_json`] of this or an earlier version wrote.
            pub fn from_json(json: &[u8]) -> Result<Self, RecordError> {
                let Envelope { kind, version } = serde_json::from_slice(json)?;
                match (&*kind, version) {
                    $(($kind, 1..=$newest) => Ok(Self::$variant(serde_json::from_slice(json)?)),)*
                    _ => Err(RecordError::Newer {
                        kind: kind.into_owned(),
                        version,
                        software: crate::VERSION,
                    }),
                }
            }
        }

        /// As in [`Record::write_json`].
        impl Serialize for Record {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$variant(body) => {
                        let version = oldest(body, $newest, None $(.or(Some($version as fn(&$body) -> u16)))?);
                        Tagged { kind: $kind, version, body }.serialize(serializer)
                    })*
                }
            }
        }

        impl<'de> Visitor<'de> for InOrder {
            type Value = Record;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a metadata record that starts with its type and version")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Record, A::Error> {
                let kind: String = named(&mut map, "type")?;
                let version: u16 = named(&mut map, "version")?;
                match (kind.as_str(), version) {
                    $(($kind, 1..=$newest) => {
                        <$body>::deserialize(MapAccessDeserializer::new(map)).map(Record::$variant)
                    })*
                    _ => Err(A::Error::custom(RecordError::Newer {
                        kind,
                        version,
                        software: crate::VERSION,
                    })),
                }
            }
        }

        $(impl From<$body> for Record {
            fn from(body: $body) -> Self {
                Self::$variant(body)
            }
        })*
    };
}

records! {
    /// The cluster's id.
    Cluster(ClusterRecord) = "cluster", 1;
    /// One life of a broker.
    Broker(BrokerRecord) = "broker", 1;
    /// That life is fenced, draining, or stopping, in another rack, or reached elsewhere.
    BrokerState(BrokerStateRecord) = "broker_state", 3 by BrokerStateRecord::version;
    /// A broker is no longer part of the cluster.
    BrokerRemoved(BrokerRemovedRecord) = "broker_removed", 1;
    /// A topic.
    Topic(TopicRecord) = "topic", 1;
    /// The end of a topic.
    TopicRemoved(TopicRemovedRecord) = "topic_removed", 1;
    /// All of a partition's state.
    Partition(PartitionRecord) = "partition", 3 by PartitionRecord::version;
    /// One key of a resource's config.
    Config(ConfigRecord) = "config", 1;
    /// A block of producer ids was given away.
    ProducerIds(ProducerIdsRecord) = "producer_ids", 1;
    /// A feature's level.
    Feature(FeatureRecord) = "feature", 1;
    /// A broker may stop.
    Lease(LeaseRecord) = "lease", 1;
    /// A lease is over.
    LeaseEnded(LeaseEndedRecord) = "lease_ended", 1;
    /// Whether the cluster is being stopped as a whole.
    ClusterState(ClusterStateRecord) = "cluster_state", 1;
}
