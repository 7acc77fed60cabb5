//! Voters are made and unmade, one at a time, by openraft's joint consensus (KIP-853).

use std::collections::BTreeSet;
use std::time::Duration;

use milena_metadata::{BrokerId, Refusal};
use milena_protocol::ErrorCode;
use openraft::metrics::RaftServerMetrics;
use openraft::{ChangeMembers, RaftMetrics};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{ALIVE, JOIN_AGAIN};
use crate::peer::{Answer, CallError, Lane, Request, VoterChange};
use crate::quorum::QuorumError;
use crate::quorum::member::Member;
use crate::quorum::types::{Node, NodeId};

/// A member that joined a moment ago gets so long to become a voter.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(4);
/// The second step of a change of voters follows its first at once: so long after it nobody is about to make it.
const JOINT_FOR: Duration = Duration::from_secs(2);
/// A voter-to-be may be so many entries behind: the quorum will wait for it.
const BEHIND_MAX: u64 = 100;

/// On the leader: ends changes of voters that were interrupted between their two steps, as by the death of the leader that
/// had begun them. Until then a majority of each set of voters is needed. Ends with the member.
pub(in crate::quorum) async fn end_interrupted_changes(member: &Member) {
    let mut changes = member.raft.server_metrics();
    loop {
        let joint = changes.wait_for(is_joint).await;
        let Ok(since) = joint.map(|now| *now.membership_config.log_id()) else {
            return;
        };
        let over = changes.wait_for(|now| *now.membership_config.log_id() != since);
        if timeout(JOINT_FOR, over).await.is_err() {
            let ended = member.end_joint().await;
            tracing::warn!(?ended, "a change of voters was interrupted, and is ended");
        }
    }
}

/// Whether two sets of voters have to agree: a change is between its two steps.
fn is_joint(now: &RaftServerMetrics<NodeId, Node>) -> bool {
    now.membership_config.membership().get_joint_config().len() > 1
}

impl Member {
    /// On the leader: makes a learner a voter, or a voter none (KIP-853). A learner whose broker is gone is forgotten.
    pub(in crate::quorum) async fn change_voters(&self, change: VoterChange) -> Answer {
        if !self.is_leader() {
            return self.not_leader();
        }
        if is_joint(&self.raft.server_metrics().borrow()) {
            match self.end_joint().await {
                Answer::Done => {}
                answer => return answer,
            }
            // It may be this very change that was interrupted.
            let mut voters = self.voters().into_iter();
            if voters.any(|(_, node)| is_of(&change, &node)) == change.votes {
                return Answer::Done;
            }
        }
        match self.checked(&change).await {
            Ok((change, retain)) => self.change(change, retain).await,
            Err(refusal) => Answer::Refused(refusal),
        }
    }

    /// Makes the second step of a change of voters: adds nobody to the new set.
    async fn end_joint(&self) -> Answer {
        let stays: BTreeSet<NodeId> = {
            let metrics = self.raft.server_metrics();
            let metrics = metrics.borrow();
            let sets = metrics.membership_config.membership().get_joint_config();
            sets.last().cloned().unwrap_or_default()
        };
        let voters = self.voters();
        let mut leaving = voters.iter().filter(|(id, _)| !stays.contains(id));
        let retain = !leaving.any(|(id, node)| self.is_replaced(*id, node));
        self.change(ChangeMembers::AddVoterIds(BTreeSet::new()), retain)
            .await
    }

    async fn checked(
        &self,
        change: &VoterChange,
    ) -> Result<(ChangeMembers<NodeId, Node>, bool), Refusal> {
        let (nodes, voters) = (self.nodes(), self.voters());
        let VoterChange {
            broker,
            directory,
            votes,
        } = change;
        let named = |node: &Node| is_of(change, node);
        let whom = format!("broker {broker} with the metadata directory {directory}");
        let voter = voters.iter().find(|(_, node)| named(node));
        match (votes, voter) {
            (true, Some(_)) => Err(Refusal::new(
                ErrorCode::DuplicateVoter,
                format!("{whom} is a voter already."),
            )),
            (true, None) => {
                let learner = nodes.iter().find(|(_, node)| named(node)).ok_or_else(|| {
                    let message = format!("{whom} is no member; start it, and it joins.");
                    Refusal::new(ErrorCode::VoterNotFound, message)
                })?;
                self.caught_up(learner.0, &whom).await?;
                Ok((
                    ChangeMembers::AddVoterIds(BTreeSet::from([learner.0])),
                    true,
                ))
            }
            (false, None) => {
                let learner = nodes.iter().find(|(_, node)| named(node));
                match learner.filter(|(id, node)| self.is_gone(*id, node)) {
                    Some((id, _)) => Ok((ChangeMembers::RemoveNodes(BTreeSet::from([*id])), true)),
                    None => Err(Refusal::new(
                        ErrorCode::VoterNotFound,
                        format!("{whom} is no voter."),
                    )),
                }
            }
            (false, Some(_)) if voters.len() == 1 => Err(Refusal::new(
                ErrorCode::InvalidRequest,
                format!("{whom} is the last voter; add another one first."),
            )),
            (false, Some((id, node))) => {
                self.majority_stays_without(*id, &whom).await?;
                Ok((
                    ChangeMembers::RemoveVoters(BTreeSet::from([*id])),
                    !self.is_replaced(*id, node),
                ))
            }
        }
    }

    /// Whether a member's broker has a new disk already. Any other goes on as a learner when it loses its vote.
    fn is_replaced(&self, id: NodeId, node: &Node) -> bool {
        let mut nodes = self.nodes().into_iter();
        nodes.any(|(other, known)| other != id && known.broker == node.broker)
    }

    /// Whether a member is of a broker that is no longer part of the cluster, and does not answer either.
    fn is_gone(&self, id: NodeId, node: &Node) -> bool {
        let image = self.shown.image();
        let is_registered = BrokerId::new(node.broker).is_ok_and(|id| image.broker(id).is_some());
        !is_registered && !self.answers(id)
    }

    /// A change that leaves voters without a majority is never decided, nor is anything after it. Who has just been
    /// elected may have to hear of them first.
    async fn majority_stays_without(&self, voter: NodeId, whom: &str) -> Result<(), Refusal> {
        let begun = Instant::now();
        loop {
            let mut staying = self.voters();
            staying.retain(|(id, _)| *id != voter);
            let silent = |(id, _): &&(NodeId, Node)| *id != self.id && !self.answers(*id);
            let silent: Vec<&(NodeId, Node)> = staying.iter().filter(silent).collect();
            if silent.len() * 2 < staying.len() {
                return Ok(());
            }
            if begun.elapsed() > ALIVE {
                let names: Vec<String> = silent.iter().map(|(_, node)| node.to_string()).collect();
                let message = format!(
                    "{whom} keeps its vote: of the {} voters that would be left these do not answer: {}. Without a \
                     majority nothing could be decided any more; bring them back, or take their votes first.",
                    staying.len(),
                    names.join(", "),
                );
                return Err(Refusal::new(ErrorCode::InvalidRequest, message));
            }
            sleep(JOIN_AGAIN).await;
        }
    }

    /// A voter that lags would hold up every change. One that has just joined is waited for.
    async fn caught_up(&self, id: NodeId, whom: &str) -> Result<(), Refusal> {
        let behind = |metrics: &RaftMetrics<NodeId, Node>| {
            let replication = metrics.replication.as_ref();
            let matched = replication.and_then(|all| all.get(&id).copied().flatten());
            let last = metrics.last_log_index.unwrap_or(0);
            matched.map_or(u64::MAX, |matched| last.saturating_sub(matched.index))
        };
        let mut metrics = self.raft.metrics();
        let near = metrics.wait_for(|metrics| behind(metrics) <= BEHIND_MAX);
        if let Ok(Ok(_)) = timeout(CATCH_UP_WITHIN, near).await {
            return Ok(());
        }
        let left = match behind(&self.raft.metrics().borrow()) {
            u64::MAX => "has none of the metadata log yet".to_owned(),
            left => format!("is {left} entries of the metadata log behind"),
        };
        let message = format!("{whom} {left}; try again when it has caught up.");
        Err(Refusal::new(ErrorCode::RequestTimedOut, message))
    }

    /// Has the leader change who votes; it is tried again while the leader changes, or another change is under way.
    pub(in crate::quorum) async fn ask_to_change_voters(
        &self,
        change: VoterChange,
    ) -> Result<(), QuorumError> {
        let deadline = Instant::now() + self.request_within;
        let mut why = String::from("no leader is known");
        loop {
            match timeout_at(deadline, self.ask_for_voters(&change, deadline)).await {
                Ok(Ok(Answer::Done)) => return Ok(()),
                Ok(Ok(Answer::Refused(refusal))) => return Err(refusal.into()),
                Ok(Ok(Answer::Failed(problem))) => why = problem,
                Ok(Ok(_)) => {}
                Ok(Err(error)) => why = error.to_string(),
                Err(_) => why = "no majority of the voters has answered".into(),
            }
            if self.ended().is_some() {
                return Err(QuorumError::Stopped);
            }
            if Instant::now() + JOIN_AGAIN >= deadline {
                return Err(QuorumError::NoLeader { why });
            }
            sleep(JOIN_AGAIN).await;
        }
    }

    async fn ask_for_voters(
        &self,
        change: &VoterChange,
        deadline: Instant,
    ) -> Result<Answer, CallError> {
        match self.leader() {
            _ if self.is_leader() => Ok(self.change_voters(change.clone()).await),
            Some((id, node)) if id != self.id => {
                let request = Request::Voters(change.clone());
                let within = deadline.saturating_duration_since(Instant::now());
                let to = (id, &node);
                self.peers.call(Lane::Bulk, to, &request, within).await
            }
            _ => Err(CallError::Closed),
        }
    }
}

/// Whether a change is about that member.
fn is_of(change: &VoterChange, node: &Node) -> bool {
    (node.broker, node.directory) == (change.broker, change.directory)
}
