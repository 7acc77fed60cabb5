//! What a shard of groups is asked, and what it answers.

use milena_protocol::ErrorCode;
use milena_protocol::api::describe_groups::DescribedGroup;
use milena_protocol::api::join_group::JoinGroupResponse;
use milena_protocol::api::list_groups::ListedGroup;
use milena_protocol::api::sync_group::SyncGroupResponse;
use tokio::sync::oneshot;

use super::classic::{GroupState, Join, JoinReply, Leaving, SyncReply, Syncing};
use super::record::CommittedOffset;

/// Where a request is answered, or refused.
pub type Reply<T> = oneshot::Sender<Result<T, ErrorCode>>;

/// One request to a shard.
#[derive(Debug)]
#[allow(missing_docs)] // each is the API of its name
pub enum Request {
    Join {
        group: String,
        join: Join,
        reply: JoinReply,
    },
    Sync {
        group: String,
        sync: Syncing,
        reply: SyncReply,
    },
    Heartbeat {
        group: String,
        member: MemberOf,
        reply: Reply<()>,
    },
    Leave {
        group: String,
        leaving: Vec<Leaving>,
        reply: Reply<Vec<ErrorCode>>,
    },
    Commit {
        commit: Commit,
        reply: Reply<Vec<ErrorCode>>,
    },
    Fetch {
        group: String,
        wanted: Wanted,
        reply: Reply<Vec<TopicOffsets>>,
    },
    DeleteOffsets {
        group: String,
        partitions: Vec<(String, i32)>,
        reply: Reply<Vec<ErrorCode>>,
    },
    Delete {
        group: String,
        reply: Reply<()>,
    },
    Describe {
        group: String,
        reply: Reply<Option<DescribedGroup>>,
    },
    List {
        reply: Reply<Vec<ListedGroup>>,
    },
    Snapshot {
        reply: Reply<Vec<GroupSnapshot>>,
    },
    /// A topic is gone, and with it what was committed for it.
    TopicDeleted {
        topic: String,
        reply: Reply<()>,
    },
}

/// Who says so, and in which generation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct MemberOf {
    pub member_id: String,
    pub instance_id: Option<String>,
    /// -1 outside of the group protocol.
    pub generation: i32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    pub group: String,
    pub member: MemberOf,
    /// How long to keep them, ms; -1 leaves that to the broker.
    pub retention_ms: i64,
    /// Whether a missing group is GROUP_ID_NOT_FOUND (from version 9), or ILLEGAL_GENERATION.
    pub knows_group_not_found: bool,
    /// Topic, partition, offset. A commit timestamp of -1 stands for now; the expiry is filled in.
    pub offsets: Vec<(String, i32, CommittedOffset)>,
}

/// Topics and their partitions; `None` for all that there are.
pub type Wanted = Option<Vec<(String, Vec<i32>)>>;

/// One topic's committed offsets; `None` where there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct TopicOffsets {
    pub topic: String,
    pub partitions: Vec<(i32, Option<CommittedOffset>)>,
}

/// A group as metrics show it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct GroupSnapshot {
    pub group: String,
    pub state: GroupState,
    pub member_count: usize,
    /// Topic, partition, committed offset.
    pub offsets: Vec<(String, i32, i64)>,
}

/// Answers a request. Whoever asked may be gone with its connection: then nobody misses the answer.
pub fn answer<T>(reply: oneshot::Sender<T>, answer: T) {
    let _ = reply.send(answer);
}

impl Request {
    pub fn refuse(self, error: ErrorCode) {
        match self {
            Self::Join { join, reply, .. } => {
                let member_id = join.member_id.into();
                answer(
                    reply,
                    JoinGroupResponse {
                        member_id,
                        error_code: error,
                        ..Default::default()
                    },
                );
            }
            Self::Sync { reply, .. } => {
                answer(
                    reply,
                    SyncGroupResponse {
                        error_code: error,
                        ..Default::default()
                    },
                );
            }
            Self::Heartbeat { reply, .. } | Self::Delete { reply, .. } => answer(reply, Err(error)),
            Self::TopicDeleted { reply, .. } => answer(reply, Err(error)),
            Self::Leave { reply, .. }
            | Self::Commit { reply, .. }
            | Self::DeleteOffsets { reply, .. } => answer(reply, Err(error)),
            Self::Fetch { reply, .. } => answer(reply, Err(error)),
            Self::Describe { reply, .. } => answer(reply, Err(error)),
            Self::List { reply } => answer(reply, Err(error)),
            Self::Snapshot { reply } => answer(reply, Err(error)),
        }
    }

    /// Whether its answer does not depend on other such requests whose records are being appended.
    pub fn shares_append(&self) -> bool {
        match self {
            Self::Heartbeat { .. }
            | Self::Commit { .. }
            | Self::Fetch { .. }
            | Self::Describe { .. }
            | Self::List { .. }
            | Self::Snapshot { .. } => true,
            Self::Join { .. }
            | Self::Sync { .. }
            | Self::Leave { .. }
            | Self::DeleteOffsets { .. }
            | Self::Delete { .. }
            | Self::TopicDeleted { .. } => false,
        }
    }
}
