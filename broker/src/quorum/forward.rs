//! A command's way to the quorum's leader, wherever that is, and back.

use std::time::Duration;

use milena_metadata::{Command, Outcome};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

use super::QuorumError;
use super::decider::{Undecided, Waiting};
use super::member::Member;
use super::types::{Node, NodeId};
use crate::peer::{Answer, Decided, Lane, Request};

/// Pause before a command is tried again.
const AGAIN: Duration = Duration::from_millis(20);
/// A leader that has heard from no majority for so long has lost it.
const MAJORITY_SILENT_MAX: Duration = Duration::from_secs(1);

/// Why an attempt gave no outcome, and whether there may be another.
enum Failed {
    Again(String, Option<(NodeId, Node)>),
    For(QuorumError),
}

fn again(why: impl ToString) -> Failed {
    Failed::Again(why.to_string(), None)
}

impl Member {
    /// Has a command decided. Answers once the image here holds it. What went to a leader that was lost before
    /// it answered is sent to the next: a command may so be decided twice, as with Kafka's own forwarding.
    pub(super) async fn request(&self, command: Command) -> Result<Outcome, QuorumError> {
        let deadline = Instant::now() + self.request_within;
        let request = Request::Command(command.clone());
        let mut hint = None;
        loop {
            let attempt = self
                .attempt(&command, &request, hint.take(), deadline)
                .await;
            let why = match attempt {
                Ok(decided) => {
                    self.catch_up(decided.offset, deadline).await;
                    return Ok(decided.outcome);
                }
                Err(Failed::For(error)) => return Err(error),
                Err(Failed::Again(why, leader)) => {
                    hint = leader;
                    why
                }
            };
            if Instant::now() + AGAIN >= deadline || self.ended().is_some() {
                return Err(self.trouble(why));
            }
            tracing::debug!(why, "the quorum is asked again");
            sleep(AGAIN).await;
        }
    }

    async fn attempt(
        &self,
        command: &Command,
        request: &Request,
        hint: Option<(NodeId, Node)>,
        deadline: Instant,
    ) -> Result<Decided, Failed> {
        if self.is_leader() {
            return self.ask_decider(command, deadline).await;
        }
        let leader = hint
            .filter(|(id, _)| *id != self.id)
            .or_else(|| self.leader());
        let (id, node) = leader.ok_or_else(|| again("no leader is known"))?;
        if id == self.id {
            return Err(again("this member leads no more"));
        }
        self.ask_leader(id, &node, request, deadline).await
    }

    /// Waits as long as the decider takes; it notices by itself that it leads no more.
    async fn ask_decider(&self, command: &Command, deadline: Instant) -> Result<Decided, Failed> {
        let decided = timeout_at(deadline, self.decide(command.clone())).await;
        match decided.map_err(|_| again("no majority of the voters has answered"))? {
            Ok(decided) => Ok(decided),
            Err(Undecided::Refused(refusal)) => Err(Failed::For(refusal.into())),
            Err(Undecided::NotLeader) => Err(again("the leader has changed")),
            Err(Undecided::Skipped(why)) => Err(again(why)),
            Err(Undecided::Stopped(why)) => Err(Failed::For(QuorumError::Failed(why))),
        }
    }

    /// Asks the decider of this member.
    pub(super) async fn decide(&self, command: Command) -> Result<Decided, Undecided> {
        let stopped = || Undecided::Stopped("the metadata quorum has stopped".into());
        let (answer, answered) = oneshot::channel();
        let waiting = Waiting { command, answer };
        self.commands.send(waiting).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    /// Asks the leader, until it is known that another one leads.
    async fn ask_leader(
        &self,
        id: NodeId,
        node: &Node,
        request: &Request,
        deadline: Instant,
    ) -> Result<Decided, Failed> {
        let within = deadline.saturating_duration_since(Instant::now());
        let mut changes = self.raft.server_metrics();
        let other = |leader: Option<NodeId>| leader.is_some_and(|leader| leader != id);
        let answer = tokio::select! {
            answer = self.peers.call(Lane::Bulk, (id, node), request, within) => answer.map_err(again)?,
            _ = changes.wait_for(|metrics| other(metrics.current_leader)) => {
                return Err(again("the leader has changed"));
            }
        };
        match answer {
            Answer::Decided(decided) => Ok(decided),
            Answer::Refused(refusal) => Err(Failed::For(refusal.into())),
            Answer::NotLeader(leader) => {
                Err(Failed::Again(format!("{node} leads no more"), leader))
            }
            Answer::Failed(why) => Err(again(why)),
            other => Err(again(format!("an unexpected answer: {other:?}"))),
        }
    }

    /// Waits until the image here is as far; where it does not get there in time, the outcome holds all the same.
    async fn catch_up(&self, offset: u64, deadline: Instant) {
        if self.ended().is_some() {
            return;
        }
        let mut images = self.shown.watch();
        let reached = images.wait_for(|image| image.position().offset >= offset);
        if timeout_at(deadline, reached).await.is_err() {
            tracing::debug!(
                offset,
                "this member has not caught up with what it asked for"
            );
        }
    }

    /// Why the quorum gives no answer.
    fn trouble(&self, why: String) -> QuorumError {
        if let Some(why) = self.ended() {
            return QuorumError::Failed(why);
        }
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let voters = self.voters().len();
        let majority = voters / 2 + 1;
        let silent =
            |ms: Option<u64>| ms.is_none_or(|ms| Duration::from_millis(ms) > MAJORITY_SILENT_MAX);
        let cut_off = self.is_leader() && voters > 1 && silent(metrics.millis_since_quorum_ack);
        let unreached = self
            .reached
            .voters()
            .is_some_and(|reached| reached < majority);
        if cut_off || unreached {
            return QuorumError::LostMajority { voters, why };
        }
        QuorumError::NoLeader { why }
    }
}
