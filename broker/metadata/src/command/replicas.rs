//! What is asked about replicas: who is in sync, who leads, which brokers host them.

use serde::{Deserialize, Serialize};

use super::{ChangeBroker, Refusal};
use crate::names::{BrokerId, DirectoryId, PartitionId, TopicId};

/// Changes several brokers at once, each on its own, with one decision on who leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeBrokers {
    /// The changes.
    pub changes: Vec<ChangeBroker>,
}

/// Removes a broker that is stopped for good and hosts nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnregisterBroker {
    /// Which.
    pub id: BrokerId,
}

/// Leaders propose ISRs, each partition on its own (KIP-497, KIP-841).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlterPartition {
    /// The leader that proposes.
    pub broker: BrokerId,
    /// Its life.
    pub broker_epoch: i64,
    /// What it proposes.
    pub partitions: Vec<IsrProposal>,
}

/// One partition's new ISR. It is answered with the partition's state; where that names another leader, a
/// reassignment was completed by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsrProposal {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionId,
    /// The epoch it leads in.
    pub leader_epoch: i32,
    /// The partition epoch that the proposal was made on.
    pub partition_epoch: i32,
    /// All members, the leader included, each with the broker epoch that it fetches with.
    pub isr: Vec<(BrokerId, i64)>,
}

/// Starts, replaces and cancels reassignments, each partition on its own (KIP-455, KIP-860).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlterPartitionReassignments {
    /// What is wished for.
    pub partitions: Vec<WantedReplicas>,
    /// Whether the number of replicas may be another than before.
    pub allow_replication_factor_change: bool,
}

/// The brokers that one partition is to have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WantedReplicas {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The brokers, the preferred leader first; `None` cancels what is in progress.
    pub brokers: Option<Vec<i32>>,
}

/// Who is to be elected (KIP-460). The numbers are the wire's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ElectionKind {
    /// The first replica, if it is in sync.
    Preferred,
    /// Where nobody leads: anybody, be it with loss.
    Unclean,
}

impl ElectionKind {
    /// The kind behind the wire's number.
    pub const fn from_wire(number: i8) -> Option<Self> {
        match number {
            0 => Some(Self::Preferred),
            1 => Some(Self::Unclean),
            _ => None,
        }
    }
}

/// Elects leaders, each partition on its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElectLeaders {
    /// Who.
    pub kind: ElectionKind,
    /// Topics and partitions; `None` for all where an election changes something or is refused.
    pub partitions: Option<Vec<(String, i32)>>,
}

/// What became of one partition's election.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElectedLeader {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The leader now, or why it is as it was.
    pub result: Result<BrokerId, Refusal>,
}

/// A broker says which log directories its replicas are in, each replica on its own (KIP-858).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignDirectories {
    /// Whose replicas.
    pub broker: BrokerId,
    /// Its life.
    pub broker_epoch: i64,
    /// Topic, partition and directory.
    pub replicas: Vec<(TopicId, PartitionId, DirectoryId)>,
    /// Whether nothing can be read of those that are [`DirectoryId::LOST`]: nobody leads where no other could. Of the
    /// rest, whoever leads alone goes on.
    #[serde(default)]
    pub is_unopened: bool,
}
