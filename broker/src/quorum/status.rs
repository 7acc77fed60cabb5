//! What the quorum tells of itself: for DescribeQuorum, metrics and people.

use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::LogIdOptionExt;

use super::liveness::{FenceReason, hears_majority};
use super::member::Member;
use super::members::UNHEARD;
use super::types::{Node, NodeId};

/// The quorum as this member sees it.
#[derive(Debug, Clone)]
pub struct QuorumStatus {
    /// This member.
    pub id: NodeId,
    /// Who leads, as far as it knows.
    pub leader: Option<(NodeId, Node)>,
    pub term: u64,
    /// The last entry of its log; -1 where there is none.
    pub last_index: i64,
    /// The last entry that it has applied, and so the last that it knows to be committed; -1 where there is none.
    pub applied_index: i64,
    /// Whether that leader can decide, as far as this member hears: where it leads itself, a majority answers it; of another
    /// it has heard lately.
    pub is_led: bool,
    pub voters: Vec<MemberStatus>,
    /// Those that follow without a vote.
    pub learners: Vec<MemberStatus>,
    /// How many leaders this member has seen come since it started.
    pub elections: u64,
    /// How many brokers it has fenced since it started, while it led, and why.
    pub fenced: [(FenceReason, u64); FenceReason::ALL.len()],
}

/// One member, as the leader sees it.
#[derive(Debug, Clone)]
pub struct MemberStatus {
    pub id: NodeId,
    pub node: Node,
    /// The last entry known to be in its log; only the leader knows.
    pub matched_index: Option<i64>,
    /// How long ago it last answered; only the leader knows, and of itself it is zero.
    pub last_contact: Option<Duration>,
}

impl Member {
    pub(super) fn status(&self) -> QuorumStatus {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow().clone();
        let index = |index: Option<u64>| index.map_or(-1, |index| index as i64);
        let last_index = index(metrics.last_log_index);
        let leads = metrics.current_leader == Some(self.id);
        let status = |(id, node): (NodeId, Node)| {
            let replication = metrics.replication.as_ref();
            let matched = replication
                .and_then(|all| all.get(&id))
                .map(|matched| index(matched.index()));
            let is_me = leads && id == self.id;
            MemberStatus {
                id,
                node,
                matched_index: if is_me { Some(last_index) } else { matched },
                last_contact: match (is_me, leads) {
                    (true, _) => Some(Duration::ZERO),
                    (false, true) => self.contacts.since(id),
                    (false, false) => None,
                },
            }
        };
        let voters = self.voters();
        let votes = |id: NodeId| voters.iter().any(|(voter, _)| *voter == id);
        let learners = self.nodes().into_iter().filter(|(id, _)| !votes(*id));
        QuorumStatus {
            id: self.id,
            leader: self.leader(),
            term: metrics.current_term,
            last_index,
            applied_index: index(metrics.last_applied.index()),
            is_led: match leads {
                true => hears_majority(self),
                false => self.leader().is_some() && self.heard.unheard() < UNHEARD,
            },
            learners: learners.map(status).collect(),
            voters: voters.iter().cloned().map(status).collect(),
            elections: self.elections.load(Ordering::Relaxed),
            fenced: self.fencings.read(),
        }
    }
}
