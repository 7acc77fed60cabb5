//! The stop lease: may this broker stop?

use serde::{Deserialize, Serialize};

use crate::names::{BrokerId, PartitionId, TopicId, TopicName};
use crate::record::LeaseRecord;

/// Asks for a broker's stop lease. What an image can't know comes with the question: how far followers and voters
/// are, each as somebody saw it after the question was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestLease {
    /// Which broker wants to stop, or is to.
    pub broker: BrokerId,
    /// The time, in milliseconds since 1970; see [`super::Command::stamp`].
    pub now_ms: i64,
    /// How long the broker may take to stop, in milliseconds; bounded by [`crate::LEASE_MS_MAX`].
    pub duration_ms: i64,
    /// How many leases may be out, this one included.
    pub max_unavailable: u32,
    /// What becomes of partitions that can never satisfy the rule.
    pub never_safe: NeverSafe,
    /// All voters of the quorum.
    pub voters: Vec<VoterProgress>,
    /// The partitions that the broker hosts, as their leaders see them. One that is missing, or is of another
    /// leader epoch, counts as one whose followers are not known to have caught up.
    pub partitions: Vec<PartitionProgress>,
}

/// What becomes of partitions with too few replicas for any of their brokers to stop: one replica, or no more than
/// `min.insync.replicas`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NeverSafe {
    /// They block the lease.
    Block,
    /// They block it until they are moved, which who asks will see to.
    Move,
    /// They may pause for the stop.
    Allow,
}

/// A voter of the quorum, as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoterProgress {
    /// Which.
    pub broker: BrokerId,
    /// It is there, and has the log as it was when the question was asked.
    pub caught_up: bool,
}

/// A partition, as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionProgress {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: PartitionId,
    /// The epoch in which the leader says so.
    pub leader_epoch: i32,
    /// Followers that fetched past the log end as it was when the question was asked.
    pub caught_up: Vec<BrokerId>,
    /// The others, with the bytes they are behind.
    pub behind: Vec<(BrokerId, u64)>,
    /// Bytes of the leader's log; `None` where its software does not tell.
    #[serde(default)]
    pub log_bytes: Option<u64>,
}

/// What a lease's request is answered with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseAnswer {
    /// The broker may stop.
    Granted(GrantedLease),
    /// Not now.
    Refused(LeaseRefusal),
}

/// A broker may stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantedLease {
    /// For which life, until when.
    pub lease: LeaseRecord,
    /// Partitions that pause, by the policy; the first of them.
    pub pausing: Vec<(TopicName, PartitionId)>,
    /// How many pause.
    pub pausing_count: usize,
    /// The quorum pauses, by the policy: it has two voters or fewer.
    pub quorum_pauses: bool,
    /// The reason is that the cluster is being stopped as a whole: nothing else was asked.
    #[serde(default)]
    pub cluster_stopping: bool,
}

/// Everything that blocks a lease. Lists hold the first; the counts say how many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRefusal {
    /// Brokers whose leases are out, where those are as many as may be.
    pub leases_out: Vec<BrokerId>,
    /// The voters that do not suffice.
    pub quorum: Option<QuorumBlocks>,
    /// Partitions that would have too few replicas in sync.
    pub blocking: Vec<BlockingPartition>,
    /// How many there are.
    pub blocking_count: usize,
    /// Partitions that can never satisfy the rule, where the policy is not to allow it.
    pub never_safe: Vec<(TopicName, PartitionId)>,
    /// How many there are.
    pub never_safe_count: usize,
}

impl LeaseRefusal {
    /// Whether nothing blocks.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Voters that would stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuorumBlocks {
    /// All voters.
    pub voters: usize,
    /// Those that stay up, are caught up, and hold no lease.
    pub staying: usize,
    /// Voters that are down or behind.
    pub behind: Vec<BrokerId>,
}

/// A partition that would have too few replicas in sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockingPartition {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionId,
    /// Replicas in sync that it needs without this broker.
    pub needed: usize,
    /// Those that it would have.
    pub staying: usize,
    /// The others, and why each does not count.
    pub followers: Vec<BlockingFollower>,
}

/// A replica that does not count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockingFollower {
    /// Its broker.
    pub broker: BrokerId,
    /// Why.
    pub reason: NotStaying,
    /// Bytes behind the leader, where its leader said.
    pub bytes_behind: Option<u64>,
}

/// Why a replica does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotStaying {
    /// Its broker is fenced, or its directory offline.
    Down,
    /// It is not in the ISR.
    OutOfSync,
    /// It is in the ISR, and has not reached the log end of when the question was asked.
    Behind,
    /// Its broker holds a lease.
    HoldsLease,
}

/// Marks the cluster as being stopped as a whole, or takes the mark back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetStopping {
    /// Whether it is being stopped.
    pub stopping: bool,
    /// The time, in milliseconds since 1970; see [`super::Command::stamp`].
    pub now_ms: i64,
}

/// Ends leases whose time is over while the broker serves, and so the mark of a cluster that is being stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpireLeases {
    /// The time, in milliseconds since 1970; see [`super::Command::stamp`]. For the mark alone.
    pub now_ms: i64,
    /// What no image can know: for how long each lease has been out before the eyes of the quorum's leader.
    #[serde(default)]
    pub seen: Vec<SeenLease>,
}

/// A lease, as the quorum's leader has watched it by a clock that never jumps. A new leader begins anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenLease {
    /// Which; one that was given back and granted again is another.
    pub lease: LeaseRecord,
    /// For how long, in milliseconds.
    pub seen_ms: i64,
}

/// Gives a lease back: the broker does not stop after all, or never comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseLease {
    /// Whose.
    pub broker: BrokerId,
}
