//! What is written: one fact a record, as one line of JSON.
//!
//! | `type` | `version` | says |
//! | --- | --- | --- |
//! | `cluster` | 1 | the cluster's id, once |
//! | `broker` | 1 | one life of a broker: epoch, incarnation, endpoints, node, rack, directories |
//! | `broker_state` | 1 | that life is fenced, or draining |
//! | `topic` | 1 | a topic's name and id; its partitions follow, from 0 |
//! | `topic_removed` | 1 | a topic, its partitions and its configs are gone |
//! | `partition` | 1 | all of a partition: replicas, ISR, ELR, leader, epochs |
//! | `config` | 1 | a value of a resource's config, or null where the default is back |
//! | `producer_ids` | 1 | the next producer id that nobody owns |
//! | `feature` | 1 | a feature's level in this cluster; 0 where it is off |
//!
//! A reader skips fields that it doesn't know and refuses types and versions that it doesn't know: a field
//! that may be ignored is added, anything else is a new version. Every version ever written stays readable.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::configs::ConfigResource;
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
    /// How the life before this one ended.
    pub last_end: LastEnd,
    /// Fenced: leads nothing and is in no ISR that can do without it.
    pub fenced: bool,
    /// Draining: takes no new replicas and no leadership.
    #[serde(default)]
    pub draining: bool,
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

/// All of a partition's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionRecord {
    /// Its topic.
    pub topic: TopicId,
    /// Its number; new ones come in order, without a gap.
    pub partition: PartitionId,
    /// Its replicas, the preferred leader first.
    pub replicas: Vec<Replica>,
    /// Those in sync.
    pub isr: Vec<BrokerId>,
    /// Those out of sync that hold every committed record (KIP-966).
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

macro_rules! records {
    ($($(#[$doc:meta])* $variant:ident($body:ident) = $kind:literal, $version:literal;)*) => {
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
                        let tagged = Tagged { kind: $kind, version: $version, body };
                        serde_json::to_writer(into, &tagged).expect("records have string keys only");
                    })*
                }
            }

            /// Reads what [`Record::write_json`] of this or an earlier version wrote.
            pub fn from_json(json: &[u8]) -> Result<Self, RecordError> {
                let Envelope { kind, version } = serde_json::from_slice(json)?;
                match (&*kind, version) {
                    $(($kind, $version) => Ok(Self::$variant(serde_json::from_slice(json)?)),)*
                    _ => Err(RecordError::Newer {
                        kind: kind.into_owned(),
                        version,
                        software: env!("CARGO_PKG_VERSION"),
                    }),
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
    /// That life is fenced, or draining.
    BrokerState(BrokerStateRecord) = "broker_state", 1;
    /// A topic.
    Topic(TopicRecord) = "topic", 1;
    /// The end of a topic.
    TopicRemoved(TopicRemovedRecord) = "topic_removed", 1;
    /// All of a partition's state.
    Partition(PartitionRecord) = "partition", 1;
    /// One key of a resource's config.
    Config(ConfigRecord) = "config", 1;
    /// A block of producer ids was given away.
    ProducerIds(ProducerIdsRecord) = "producer_ids", 1;
    /// A feature's level.
    Feature(FeatureRecord) = "feature", 1;
}
