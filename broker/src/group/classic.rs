//! One group of the classic protocol (JoinGroup, SyncGroup, Heartbeat, LeaveGroup) as a state machine:
//! time, randomness and the outcome of writes come from outside; what is to be written goes out.
//!
//! ```text
//!            join                    all joined, or time is up
//!   Empty ─────────▶ PreparingRebalance ──────────────▶ CompletingRebalance
//!     ▲                 ▲      │ nobody left                    │ leader's sync is written
//!     └─────────────────│──────┘                                ▼
//!                       └──── join, leave, expiry ───────────Stable
//! ```
//!
//! What Kafka's group coordinator does (KIP-62 rebalance timeout, KIP-134 initial delay, KIP-345 static
//! members, KIP-394 member ids, KIP-389 group size, KIP-814 static leader) is kept answer for answer.
//! Eager and cooperative assignors differ only in their subscriptions, which are opaque here.

use std::collections::{BTreeMap, BTreeSet};

use milena_protocol::ErrorCode;
use milena_protocol::api::join_group::JoinGroupResponse;
use milena_protocol::api::sync_group::SyncGroupResponse;
use tokio::sync::oneshot;

use super::record::GroupMetadata;

mod expire;
mod join;
mod leave;
mod member;
mod rebalance;
mod recorded;
mod sync;

pub use join::Join;
pub use leave::Leaving;
pub use member::{Member, Protocol};
pub use sync::Syncing;

/// The protocol type of consumers, whose subscriptions the coordinator reads.
pub const CONSUMER: &str = "consumer";

/// How long a new member may wait for its first generation; then it is taken for gone, as it can't send
/// heartbeats yet and a lost connection is not noticed (Kafka's NewMemberJoinTimeoutMs).
const NEW_MEMBER_JOIN_TIMEOUT_MS: u64 = 5 * 60 * 1000;

/// Member ids that were given out and not yet used, per group: real groups have a handful at a time, and
/// without a bound a client that never comes back would fill the memory.
const PENDING_MEMBERS_MAX: usize = 10_000;

/// A moment on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds since 1970: for what is recorded.
    pub wall_ms: i64,
    /// Milliseconds of a clock that never jumps and stands still while nobody listens: for timeouts.
    pub tick_ms: u64,
}

impl Now {
    fn after(self, timeout_ms: i32) -> u64 {
        self.tick_ms + u64::try_from(timeout_ms).unwrap_or(0)
    }
}

/// What the broker's configuration says about groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `group.max.size`.
    pub size_max: usize,
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay_ms: i32,
}

/// Kafka's names for a group's states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum GroupState {
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
    /// Not there: what DescribeGroups up to version 5 says of an unknown group.
    Dead,
}

impl GroupState {
    /// As it stands in responses, such as `PreparingRebalance`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

/// Where a waiting member's JoinGroup is answered.
pub type JoinReply = oneshot::Sender<JoinGroupResponse>;
/// Where a waiting member's SyncGroup is answered.
pub type SyncReply = oneshot::Sender<SyncGroupResponse>;

/// A change that takes effect once [`ClassicGroup::metadata_for`] it is in the log; then, or when that
/// failed, [`ClassicGroup::written`] must be called before anything else.
#[derive(Debug)]
pub enum Write {
    /// The last member is gone.
    Empty,
    /// The leader's assignments, by member.
    Assignments(BTreeMap<String, bytes::Bytes>),
    /// A static member is back under a new id, and the generation goes on.
    StaticMember(Box<join::Replaced>),
}

/// A group: its members, and how far they are with agreeing on who consumes what.
#[derive(Debug)]
pub struct ClassicGroup {
    limits: Limits,
    state: GroupState,
    previous: GroupState,
    /// Since when, ms since 1970; `None` where an old record did not say.
    since_ms: Option<i64>,
    generation: i32,
    protocol_type: Option<String>,
    protocol: Option<String>,
    leader: Option<String>,
    members: BTreeMap<String, Member>,
    /// Member id by instance id.
    static_members: BTreeMap<String, String>,
    /// Ids given out for a second JoinGroup (KIP-394), each until its tick.
    pending: BTreeMap<String, u64>,
    /// Members of this generation that have not sent SyncGroup.
    awaiting_sync: BTreeSet<String>,
    sync_deadline: Option<u64>,
    join_timer: Option<JoinTimer>,
    /// Whether someone joined during the initial delay, which extends it.
    new_member_added: bool,
    /// `None` where they can't be known.
    subscribed: Option<BTreeSet<String>>,
}

/// When the joining phase ends at the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JoinTimer {
    /// A new group's: may be extended within what remains of the rebalance timeout.
    Initial {
        at: u64,
        delay_ms: i32,
        remaining_ms: i32,
    },
    Rebalance {
        at: u64,
    },
}

impl JoinTimer {
    fn at(self) -> u64 {
        match self {
            Self::Initial { at, .. } | Self::Rebalance { at } => at,
        }
    }
}

impl ClassicGroup {
    /// A group without members: new, or known only by its offsets.
    pub fn new(now: Now, limits: Limits) -> Self {
        Self::since(Some(now.wall_ms), limits)
    }

    fn since(since_ms: Option<i64>, limits: Limits) -> Self {
        Self {
            limits,
            state: GroupState::Empty,
            previous: GroupState::Dead,
            since_ms,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending: BTreeMap::new(),
            awaiting_sync: BTreeSet::new(),
            sync_deadline: None,
            join_timer: None,
            new_member_added: false,
            subscribed: None,
        }
    }

    /// Confirms that a member lives. Errors: UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION,
    /// and REBALANCE_IN_PROGRESS, which tells it to join again.
    pub fn heartbeat(
        &mut self,
        now: Now,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        self.check_member(member_id, instance_id)?;
        if generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        self.keep_alive(now, member_id);
        match self.state {
            GroupState::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// Whether this member may commit offsets now; a commit is also a sign of life.
    pub fn check_commit(
        &mut self,
        now: Now,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        if generation < 0 && self.state == GroupState::Empty {
            // An administrator, or a consumer that manages its partitions itself.
            return Ok(());
        }
        if generation < 0 && member_id.is_empty() && instance_id.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.check_member(member_id, instance_id)?;
        if generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        if self.state == GroupState::CompletingRebalance {
            return Err(ErrorCode::RebalanceInProgress);
        }
        self.keep_alive(now, member_id);
        Ok(())
    }

    /// Whether offsets of `topic` may be deleted: nobody subscribes to it.
    pub fn check_offset_delete(&self) -> Result<(), ErrorCode> {
        match self.state {
            GroupState::Empty | GroupState::Dead => Ok(()),
            _ if self.protocol_type.as_deref() == Some(CONSUMER) => Ok(()),
            _ => Err(ErrorCode::NonEmptyGroup),
        }
    }

    /// Whether the group may be deleted: it is Empty.
    pub fn check_delete(&self) -> Result<(), ErrorCode> {
        match self.state {
            GroupState::Empty => Ok(()),
            _ => Err(ErrorCode::NonEmptyGroup),
        }
    }

    /// Whether a member consumes `topic`; taken for true where the subscriptions can't be read.
    pub fn is_subscribed(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.protocol_type.as_deref() == Some(CONSUMER),
        }
    }

    pub fn knows_subscriptions(&self) -> bool {
        self.subscribed.is_some()
    }

    pub fn state(&self) -> GroupState {
        self.state
    }

    /// Since when it is in its state, ms since 1970.
    pub fn since_ms(&self) -> Option<i64> {
        self.since_ms
    }

    #[cfg(test)]
    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// Such as `consumer`; `None` where the group only stores offsets.
    pub fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    /// The chosen assignor.
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// Whether ids were given out that nobody has joined with yet.
    pub fn has_pending_members(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Answers everybody who waits, before the group is dropped.
    pub fn close(mut self, error: ErrorCode) {
        for member in self.members.values_mut() {
            let member_id = member.id.as_str().into();
            member.answer_join(JoinGroupResponse {
                member_id,
                error_code: error,
                ..Default::default()
            });
            member.answer_sync(SyncGroupResponse {
                error_code: error,
                ..Default::default()
            });
        }
    }

    /// What is to be recorded for `write`.
    pub fn metadata_for(&self, write: &Write) -> GroupMetadata {
        match write {
            Write::Assignments(assignments) => {
                self.metadata(|member| assignments.get(&member.id).cloned().unwrap_or_default())
            }
            Write::Empty | Write::StaticMember(_) => {
                self.metadata(|member| member.assignment.clone())
            }
        }
    }

    /// Ends `write`: it is in the log, or `result` says why not.
    pub fn written(
        &mut self,
        now: Now,
        write: Write,
        result: Result<(), ErrorCode>,
    ) -> Option<Write> {
        match write {
            Write::Empty => None,
            Write::Assignments(assignments) => self.assigned(now, assignments, result),
            Write::StaticMember(replaced) => {
                self.static_member_written(now, *replaced, result);
                None
            }
        }
    }

    fn move_to(&mut self, state: GroupState, now: Now) {
        self.previous = self.state;
        self.state = state;
        self.since_ms = Some(now.wall_ms);
    }

    fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    fn keep_alive(&mut self, now: Now, member_id: &str) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.keep_alive(now);
        }
    }

    fn check_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if current != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        match self.members.contains_key(member_id) {
            true => Ok(()),
            false => Err(ErrorCode::UnknownMemberId),
        }
    }
}

/// The error that a member sees when the group could not be recorded.
fn error_of_write(error: ErrorCode) -> ErrorCode {
    super::error_of_write(error, ErrorCode::UnknownServerError)
}

#[cfg(test)]
mod property;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod script;
#[cfg(test)]
mod static_scenarios;
