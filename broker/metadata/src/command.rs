//! What can be asked of the quorum, and what it answers. Both travel between brokers, so both are plain data.

mod lease;
mod replicas;

use std::collections::BTreeMap;
use std::sync::Arc;

use milena_protocol::ErrorCode;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::configs::ConfigResource;
use crate::features::Levels;
use crate::names::{BrokerId, DirectoryId, IncarnationId, TopicId, TopicName};
use crate::record::{Endpoint, LastEnd, LeaseRecord, PartitionRecord};

pub use lease::{
    BlockingFollower, BlockingPartition, ExpireLeases, GrantedLease, LeaseAnswer, LeaseRefusal,
    NeverSafe, NotStaying, PartitionProgress, QuorumBlocks, ReleaseLease, RequestLease, SeenLease,
    SetStopping, VoterProgress,
};
pub use replicas::{
    AlterPartition, AlterPartitionReassignments, AssignDirectories, ChangeBrokers, ElectLeaders,
    ElectedLeader, ElectionKind, IsrProposal, UnregisterBroker, WantedReplicas,
};

/// A refusal: Kafka's code for the client, a sentence for the person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What goes over the wire.
    #[serde(serialize_with = "code_to_i16", deserialize_with = "code_from_i16")]
    pub code: ErrorCode,
    /// What was wrong, and where.
    pub message: String,
}

impl Refusal {
    /// A refusal of that code and message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

fn code_to_i16<S: Serializer>(code: &ErrorCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i16(*code as i16)
}

fn code_from_i16<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ErrorCode, D::Error> {
    i16::deserialize(deserializer).map(ErrorCode::from)
}

/// Names a cluster that has no name yet. Asking again with the same id is answered as the first time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundCluster {
    /// As in `meta.properties`.
    pub cluster_id: Arc<str>,
}

/// Starts a broker's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterBroker {
    /// `node.id`.
    pub id: BrokerId,
    /// Drawn at each start of the process.
    pub incarnation: IncarnationId,
    /// Advertised listeners.
    pub endpoints: Vec<Endpoint>,
    /// The machine it runs on.
    pub node: Option<Arc<str>>,
    /// `broker.rack`.
    pub rack: Option<Arc<str>>,
    /// The pool it belongs to.
    pub pool: Option<Arc<str>>,
    /// Its log directories that are online.
    pub directories: Vec<DirectoryId>,
    /// Its software's version.
    pub software: Arc<str>,
    /// The levels of `milena.version` that its software knows.
    #[serde(default)]
    pub levels: Levels,
    /// How the life before this one ended.
    pub last_end: LastEnd,
    /// Whether it stays fenced until it has caught up with the metadata. A broker that is the whole quorum has.
    pub fenced: bool,
}

/// Fences, unfences, drains or begins to stop a broker in its present life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeBroker {
    /// Whose.
    pub id: BrokerId,
    /// The life it concerns.
    pub epoch: i64,
    /// The new state, or `None` to leave it.
    pub fenced: Option<bool>,
    /// The new state, or `None` to leave it. It outlasts this life: only this command ends it.
    pub draining: Option<bool>,
    /// The new state, or `None` to leave it. It ends with this life.
    pub stopping: Option<bool>,
}

/// Says that a broker is in another rack than it has registered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeRack {
    /// Whose.
    pub id: BrokerId,
    /// The life it concerns.
    pub epoch: i64,
    /// The rack it is in.
    pub rack: Arc<str>,
}

/// Says that a broker is reached elsewhere than it has registered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeEndpoints {
    /// Whose.
    pub id: BrokerId,
    /// The life it concerns.
    pub epoch: i64,
    /// All its advertised listeners.
    pub endpoints: Vec<Endpoint>,
}

/// One topic to create, as the client wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTopic {
    /// The name, checked by the decision.
    pub name: String,
    /// The id it gets: drawn by who asks, since decisions draw nothing.
    pub id: TopicId,
    /// The number of partitions; -1 for the default, or with an assignment.
    pub partitions: i32,
    /// The number of replicas; -1 for the default, or with an assignment.
    pub replication_factor: i16,
    /// Partition and its brokers, the preferred leader first; empty to have them placed.
    pub assignments: Vec<(i32, Vec<i32>)>,
    /// Keys and values. A null value is refused.
    pub configs: Vec<(String, Option<String>)>,
}

/// Creates topics, each on its own: a refusal of one is no refusal of the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateTopics {
    /// What to create.
    pub topics: Vec<NewTopic>,
    /// `num.partitions`.
    pub default_partitions: i32,
    /// `default.replication.factor`.
    pub default_replication_factor: i16,
    /// Whether to say only what would happen.
    pub validate_only: bool,
}

/// A topic by name or by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TopicReference {
    /// By its name.
    Name(String),
    /// By its id.
    Id(TopicId),
}

/// Deletes topics, each on its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteTopics {
    /// Which.
    pub topics: Vec<TopicReference>,
}

/// How many partitions one topic shall have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPartitions {
    /// The topic.
    pub topic: String,
    /// All its partitions, the present ones included.
    pub count: i32,
    /// The brokers of each new partition, in order; `None` to have them placed.
    pub assignments: Option<Vec<Vec<i32>>>,
}

/// Adds partitions to topics, each on its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatePartitions {
    /// What to add.
    pub topics: Vec<NewPartitions>,
    /// Whether to say only what would happen.
    pub validate_only: bool,
}

/// Keys and values; `None` is a key without a value.
pub type ConfigValues = Vec<(String, Option<String>)>;

/// Sets all of a resource's configs: what is not named falls back to its default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlterConfigs {
    /// Resources with their keys and values.
    pub resources: Vec<(ConfigResource, ConfigValues)>,
    /// Whether to say only what would happen.
    pub validate_only: bool,
}

/// What is done to one key (KIP-339). The numbers are the wire's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigOperation {
    /// Gives it the value.
    Set,
    /// Takes its value away: the default is back.
    Delete,
    /// Adds to a list what is not in it.
    Append,
    /// Takes from a list what is in it.
    Subtract,
}

impl ConfigOperation {
    /// The operation behind the wire's number.
    pub const fn from_wire(number: i8) -> Option<Self> {
        match number {
            0 => Some(Self::Set),
            1 => Some(Self::Delete),
            2 => Some(Self::Append),
            3 => Some(Self::Subtract),
            _ => None,
        }
    }
}

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigChange {
    /// The key.
    pub key: String,
    /// What is done.
    pub operation: ConfigOperation,
    /// The value; only `Delete` does without.
    pub value: Option<String>,
}

/// Changes some of a resource's configs, each resource on its own and whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncrementalAlterConfigs {
    /// Resources with their changes.
    pub resources: Vec<(ConfigResource, Vec<ConfigChange>)>,
    /// Whether to say only what would happen.
    pub validate_only: bool,
}

/// Asks for a block of producer ids that nobody else ever gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocateProducerIds {
    /// For whom.
    pub broker: BrokerId,
    /// The life of that broker.
    pub broker_epoch: i64,
}

/// Sets levels of features, all or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetFeatures {
    /// Names and levels; level 0 switches off.
    pub levels: Vec<(String, i16)>,
    /// Whether a lower level than today's is meant.
    pub downgrade: bool,
    /// Whether to say only what would happen.
    pub validate_only: bool,
}

/// Brings every partition to what configurations say now. A new leader of the quorum may have been started with other
/// defaults than the one before, and nothing else tells it of the partitions that those concern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettlePartitions {}

/// A broker's life has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// This life's epoch.
    pub epoch: i64,
}

/// A topic that was created, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedTopic {
    /// Its name.
    pub name: TopicName,
    /// Its id.
    pub id: TopicId,
    /// Its number of partitions.
    pub partitions: i32,
    /// Its number of replicas a partition.
    pub replication_factor: i16,
    /// What it sets itself.
    pub configs: BTreeMap<Arc<str>, Arc<str>>,
}

/// A topic that was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedTopic {
    /// Its name.
    pub name: TopicName,
    /// Its id.
    pub id: TopicId,
}

/// Producer ids for one broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerIdBlock {
    /// The first id.
    pub first: i64,
    /// How many.
    pub count: i32,
}

/// A command whose outcome's type is known: [`Command`] itself, and each of its kinds.
pub trait Request: Into<Command> {
    /// What it is answered with.
    type Outcome;

    /// This command's own answer; `None` where the answer is to another command.
    fn outcome(outcome: Outcome) -> Option<Self::Outcome>;
}

impl Request for Command {
    type Outcome = Outcome;

    fn outcome(outcome: Outcome) -> Option<Outcome> {
        Some(outcome)
    }
}

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident -> $outcome:ty;)*) => {
        /// Everything that can be asked of the quorum.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Command {
            $($(#[$doc])* $name($name),)*
        }

        /// What a command is answered with, under the command's name. Lists are in the order of the request.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Outcome {
            $($(#[$doc])* $name($outcome),)*
        }

        $(
            impl From<$name> for Command {
                fn from(command: $name) -> Self {
                    Self::$name(command)
                }
            }

            impl Request for $name {
                type Outcome = $outcome;

                fn outcome(outcome: Outcome) -> Option<$outcome> {
                    match outcome {
                        Outcome::$name(answer) => Some(answer),
                        _ => None,
                    }
                }
            }
        )*
    };
}

commands! {
    /// Names the cluster.
    FoundCluster -> ();
    /// Starts a broker's life.
    RegisterBroker -> Registered;
    /// Fences, unfences, drains or begins to stop a broker.
    ChangeBroker -> ();
    /// The same for several brokers.
    ChangeBrokers -> Vec<Result<(), Refusal>>;
    /// Says that a broker is in another rack.
    ChangeRack -> ();
    /// Says that a broker is reached elsewhere.
    ChangeEndpoints -> ();
    /// Removes a broker.
    UnregisterBroker -> ();
    /// Assigns replicas to log directories.
    AssignDirectories -> Vec<Result<(), Refusal>>;
    /// Proposes ISRs.
    AlterPartition -> Vec<Result<PartitionRecord, Refusal>>;
    /// Starts, replaces and cancels reassignments.
    AlterPartitionReassignments -> Vec<Result<(), Refusal>>;
    /// Elects leaders.
    ElectLeaders -> Vec<ElectedLeader>;
    /// Asks whether a broker may stop.
    RequestLease -> LeaseAnswer;
    /// Gives a stop lease back. Whether there was one.
    ReleaseLease -> bool;
    /// Ends the stop leases whose time is over, and says which.
    ExpireLeases -> Vec<LeaseRecord>;
    /// Marks the cluster as being stopped as a whole, or takes the mark back.
    SetStopping -> ();
    /// Creates topics.
    CreateTopics -> Vec<Result<CreatedTopic, Refusal>>;
    /// Deletes topics.
    DeleteTopics -> Vec<Result<DeletedTopic, Refusal>>;
    /// Adds partitions.
    CreatePartitions -> Vec<Result<(), Refusal>>;
    /// Sets all of a resource's configs.
    AlterConfigs -> Vec<Result<(), Refusal>>;
    /// Changes some of a resource's configs.
    IncrementalAlterConfigs -> Vec<Result<(), Refusal>>;
    /// Asks for producer ids.
    AllocateProducerIds -> ProducerIdBlock;
    /// Sets levels of features.
    SetFeatures -> ();
    /// Brings every partition to what configurations say now.
    SettlePartitions -> ();
}

impl Command {
    /// Sets the time of a command that carries one. The quorum's leader does so before it decides: another machine's
    /// clock may be hours ahead.
    pub fn stamp(&mut self, now_ms: i64) {
        match self {
            Self::RequestLease(ask) => ask.now_ms = now_ms,
            Self::ExpireLeases(ask) => ask.now_ms = now_ms,
            Self::SetStopping(ask) => ask.now_ms = now_ms,
            _ => {}
        }
    }
}
