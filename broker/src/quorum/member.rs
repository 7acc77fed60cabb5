//! What the parts of a running member share.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use openraft::ServerState;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::decider::Waiting;
use super::election::Reached;
use super::heard::Heard;
use super::liveness::Fencings;
use super::log::Log;
use super::machine::Shown;
use super::members::ToldJoins;
use super::network::Contacts;
use super::receive::Receiving;
use super::types::{LogId, Node, NodeId, Raft, Vote};
use crate::peer::{Door, Peers};

/// A running member of the quorum, voter or learner.
pub(super) struct Member {
    pub(super) id: NodeId,
    /// Where its peers find it.
    pub(super) me: Node,
    pub(super) raft: Raft,
    pub(super) log: Log,
    pub(super) peers: Arc<Peers>,
    pub(super) shown: Arc<Shown>,
    pub(super) contacts: Arc<Contacts>,
    pub(super) heard: Heard,
    pub(super) reached: Reached,
    pub(super) fencings: Fencings,
    /// Leaders that it has seen come.
    pub(super) elections: AtomicU64,
    /// The way to the decider.
    pub(super) commands: mpsc::Sender<Waiting>,
    /// A snapshot on its way here.
    pub(super) receiving: Mutex<Option<Receiving>>,
    /// Since when another process has its broker's number, and what the leader said of it.
    pub(super) number_taken: Mutex<Option<(tokio::time::Instant, String)>>,
    pub(super) told_joins: Mutex<ToldJoins>,
    /// The brokers that it was told will vote.
    pub(super) voters_told: Vec<i32>,
    /// The broker behind it, once it serves.
    pub(super) door: OnceLock<Weak<dyn Door>>,
    /// See [`super::QuorumOptions::request_within`].
    pub(super) request_within: Duration,
}

impl Member {
    /// Whether it leads the quorum, as far as it knows.
    pub(super) fn is_leader(&self) -> bool {
        self.raft.server_metrics().borrow().state == ServerState::Leader
    }

    /// Waits until it votes and does not lead: until there may be an election for it to call.
    pub(super) async fn until_it_may_elect(&self) {
        let mut changes = self.raft.server_metrics();
        let may_elect = changes.wait_for(|now| {
            let mut voters = now.membership_config.membership().voter_ids();
            now.state != ServerState::Leader && voters.any(|id| id == self.id)
        });
        // The member stops; its tasks are ended with it.
        if may_elect.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The leader, as far as it knows, and where it is.
    pub(super) fn leader(&self) -> Option<(NodeId, Node)> {
        let leader = self.raft.server_metrics().borrow().current_leader?;
        Some((leader, self.node(leader)?))
    }

    pub(super) fn node(&self, id: NodeId) -> Option<Node> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow();
        metrics
            .membership_config
            .membership()
            .get_node(&id)
            .cloned()
    }

    pub(super) fn nodes(&self) -> Vec<(NodeId, Node)> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow();
        let nodes = metrics.membership_config.nodes();
        nodes.map(|(&id, node)| (id, node.clone())).collect()
    }

    pub(super) fn voters(&self) -> Vec<(NodeId, Node)> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow();
        let membership = metrics.membership_config.membership();
        let node = |id| Some((id, membership.get_node(&id)?.clone()));
        membership.voter_ids().filter_map(node).collect()
    }

    pub(super) fn other_voters(&self) -> Vec<(NodeId, Node)> {
        let mut voters = self.voters();
        voters.retain(|(id, _)| *id != self.id);
        voters
    }

    pub(super) fn is_voter(&self) -> bool {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow();
        metrics
            .membership_config
            .voter_ids()
            .any(|id| id == self.id)
    }

    /// Why openraft takes no further part, where it does not.
    pub(super) fn ended(&self) -> Option<String> {
        let metrics = self.raft.metrics();
        if let Err(fatal) = &metrics.borrow().running_state {
            return Some(fatal.to_string());
        }
        // What panics leaves the state as it was, and closes the channel.
        let closed = metrics.has_changed().is_err();
        closed.then(|| "its core has panicked".to_owned())
    }

    /// The vote that it has given last, or the leader's that it follows.
    pub(super) fn vote(&self) -> Vote {
        self.raft.server_metrics().borrow().vote
    }

    pub(super) fn last_log(&self) -> Option<LogId> {
        self.raft.data_metrics().borrow().last_log
    }

    /// Whether it knows of no cluster: it has no entry, and has given no vote.
    pub(super) fn is_empty(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        metrics.last_log_index.is_none()
            && metrics.current_term == 0
            && self.shown.image().cluster_id().is_none()
    }
}
