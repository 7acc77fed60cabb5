//! How far members and partitions are: asked of whoever knows, be it this broker or a peer.

use std::sync::{Arc, Weak};
use std::time::Duration;

use milena_metadata::{BrokerId, DirectoryId, PartitionProgress};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::Quorum;
use super::member::Member;
use super::status::{MemberStatus, QuorumStatus};
use super::types::{Node, NodeId};
use crate::peer::server::Answers;
use crate::peer::{Answer, Door, Lane, Request, Watched};

/// A voter that has been silent for longer is not counted on.
pub const THERE_SILENT_MAX: Duration = Duration::from_secs(1);
/// Pause before whoever leads by now is asked.
const AGAIN: Duration = Duration::from_millis(20);

/// The quorum as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuorumProgress {
    pub leader: i32,
    pub term: u64,
    /// The last entry of its log; -1 where there is none.
    pub last_index: i64,
    /// The last entry that it knows to be committed; -1 where there is none.
    pub committed_index: i64,
    pub voters: Vec<MemberProgress>,
    /// Those that follow without a vote.
    pub learners: Vec<MemberProgress>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberProgress {
    pub broker: i32,
    /// Its metadata directory; older software does not say.
    #[serde(default)]
    pub directory: Option<DirectoryId>,
    /// The last entry known to be in its log.
    pub matched_index: Option<i64>,
    /// How long ago it last answered; zero for the leader.
    pub silent: Option<Duration>,
}

impl QuorumProgress {
    /// Whether so many voters answer the leader that changes are decided.
    pub fn has_majority(&self) -> bool {
        self.voters_there() > self.voters.len() / 2
    }

    /// How many voters answer, the leader being one.
    pub fn voters_there(&self) -> usize {
        let there = self.voters.iter().filter(|voter| voter.is_there());
        there.count()
    }
}

impl MemberProgress {
    /// Whether it has answered lately.
    pub fn is_there(&self) -> bool {
        self.silent.is_some_and(|silent| silent <= THERE_SILENT_MAX)
    }
}

impl From<QuorumStatus> for QuorumProgress {
    fn from(status: QuorumStatus) -> Self {
        let member = |member: MemberStatus| MemberProgress {
            broker: member.node.broker,
            directory: Some(member.node.directory),
            matched_index: member.matched_index,
            silent: member.last_contact,
        };
        Self {
            leader: status.leader.map_or(-1, |(_, node)| node.broker),
            term: status.term,
            last_index: status.last_index,
            committed_index: status.applied_index,
            voters: status.voters.into_iter().map(member).collect(),
            learners: status.learners.into_iter().map(member).collect(),
        }
    }
}

impl Member {
    /// To [`Request::Quorum`].
    pub(super) fn quorum_progress(&self) -> Answer {
        match self.is_leader() {
            true => Answer::Quorum(self.status().into()),
            false => self.not_leader(),
        }
    }

    /// To [`Request::Progress`].
    pub(super) async fn partitions_progress(&self, of: Watched) -> Answer {
        match self.door.get().and_then(Weak::upgrade) {
            Some(door) => Answer::Progress(door.progress(of).await),
            None => Answer::Failed("the broker has not started yet".into()),
        }
    }

    /// Asks a member, or itself.
    async fn ask(
        &self,
        (id, node): (NodeId, &Node),
        request: Request,
        within: Duration,
    ) -> Result<Answer, String> {
        if id == self.id {
            let answer = tokio::time::timeout(within, self.answer(id, request)).await;
            return answer.map_err(|_| format!("no answer within {within:?}"));
        }
        let asked = self.peers.call(Lane::Bulk, (id, node), &request, within);
        asked.await.map_err(|error| error.to_string())
    }

    async fn ask_quorum(&self, within: Duration) -> Result<QuorumProgress, String> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let why = match self.leader() {
                None => "the metadata quorum has no leader now".to_owned(),
                Some((id, node)) => match self.ask((id, &node), Request::Quorum, left).await {
                    Ok(Answer::Quorum(progress)) => return Ok(progress),
                    Ok(Answer::NotLeader(_)) => format!("{node} leads the quorum no more"),
                    Ok(other) => format!("an unexpected answer: {other:?}"),
                    Err(why) => why,
                },
            };
            if Instant::now() + AGAIN >= deadline {
                return Err(why);
            }
            sleep(AGAIN).await;
        }
    }

    async fn ask_broker(
        &self,
        broker: BrokerId,
        of: Watched,
        within: Duration,
    ) -> Result<Vec<PartitionProgress>, String> {
        let mut why = format!("broker {broker} is no member of the quorum");
        // A broker that has lost its disk may be known twice for a moment; only one of the two answers.
        for (id, node) in self.nodes() {
            if node.broker != broker.get() {
                continue;
            }
            match self.ask((id, &node), Request::Progress(of), within).await {
                Ok(Answer::Progress(progress)) => return Ok(progress),
                Ok(Answer::Failed(problem)) | Err(problem) => why = problem,
                Ok(other) => why = format!("an unexpected answer: {other:?}"),
            }
        }
        Err(why)
    }
}

impl Quorum {
    /// From now on peers that ask for partitions are answered by this broker. The first one stays.
    pub fn open_door(&self, door: Weak<dyn Door>) {
        let _ = self.member.door.set(door);
    }

    /// How far the members are, as their leader says within `within`; or why nobody says it.
    pub async fn progress(&self, within: Duration) -> Result<QuorumProgress, String> {
        let member = self.member.clone();
        self.on_control(async move { member.ask_quorum(within).await })
            .await
    }

    /// How far followers of partitions are that `leader` leads, as that says within `within`; or why it does not.
    pub async fn partitions_progress(
        &self,
        leader: BrokerId,
        of: Watched,
        within: Duration,
    ) -> Result<Vec<PartitionProgress>, String> {
        let member: Arc<Member> = self.member.clone();
        self.on_control(async move { member.ask_broker(leader, of, within).await })
            .await
    }

    async fn on_control<T: Send + 'static>(
        &self,
        asking: impl Future<Output = Result<T, String>> + Send + 'static,
    ) -> Result<T, String> {
        let asked = self.control.spawn(asking).await;
        asked.unwrap_or_else(|_| Err("the metadata quorum has stopped".into()))
    }
}
