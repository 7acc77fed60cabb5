//! Who the members are: learners join by themselves, voters are made and unmade (`members/voters.rs`).

mod voters;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use milena_metadata::Refusal;
use milena_protocol::ErrorCode;
use openraft::ChangeMembers;
use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};
use tokio::time::{Instant, sleep, timeout};

use super::member::Member;
use super::types::{Node, NodeId};
use crate::peer::{Answer, CallError, Joining, Lane, Request};
use crate::rule::is_broken;

pub(super) use voters::end_interrupted_changes;

/// A change of members needs a majority; who asked asks again.
const CHANGE_WITHIN: Duration = Duration::from_secs(5);
/// One question to one peer.
const ASK_WITHIN: Duration = Duration::from_secs(6);
/// How soon a member that is not known as it is says so again: each time twice as late, up to the bound, which a quorum
/// that can change nothing stands for ever.
const JOIN_AGAIN: Duration = Duration::from_millis(100);
const JOIN_AGAIN_MAX: Duration = Duration::from_secs(1);
/// Of one that asks again and again the leader's log tells once in so long.
const TELL_JOIN_AGAIN: Duration = Duration::from_secs(60);
/// What keeps it from being known is told once it has lasted so long: elections and starts do not.
const TELL_AFTER: Duration = Duration::from_secs(3);
/// How often it looks whether it is known.
const LOOK: Duration = Duration::from_millis(500);
/// A leader that knows of this member speaks far more often.
pub(super) const UNHEARD: Duration = Duration::from_secs(3);
/// A number that is taken for so long is not about to be free.
const TAKEN_FOR: Duration = Duration::from_secs(10);
/// A member that has answered so lately is alive.
const ALIVE: Duration = Duration::from_secs(1);

/// Where members may be found at a start: what was configured.
pub(super) type Addresses = Vec<(String, u16)>;

/// Keeps this member known to the cluster, with its address as it is.
pub(super) async fn announce(member: Arc<Member>, known: Addresses) {
    member.tell_of_strangers(&known).await;
    let mut since = Instant::now();
    let mut told = String::new();
    let mut pause = JOIN_AGAIN;
    loop {
        if member.node(member.id).as_ref() == Some(&member.me) {
            (since, told, pause) = (Instant::now(), String::new(), JOIN_AGAIN);
            sleep(LOOK).await;
            // Its own log may say so in an entry that was never committed, and the leader know nothing of it.
            if !member.is_leader() && member.heard.unheard() > UNHEARD && !is_broken!(JoinsOnce) {
                let joined = member.join(&known).await;
                tracing::debug!(
                    ?joined,
                    "no leader is heard; this member says again who it is"
                );
            }
            continue;
        }
        // Whoever knows of no cluster yet is not asked to join it: the first start finds that out.
        let joined = member.join(&known).await;
        member.note_number_taken(joined.as_ref().err());
        if let Err(Unjoined::Failed(why) | Unjoined::NumberTaken(why)) = joined
            && since.elapsed() > TELL_AFTER
            && why != told
        {
            tracing::warn!(
                why,
                "the metadata quorum does not take this broker as a member; trying on"
            );
            told = why;
        }
        sleep(pause).await;
        pause = (pause * 2).min(JOIN_AGAIN_MAX);
    }
}

/// Whom this member, as the leader, has told of lately as joining.
#[derive(Default)]
pub(super) struct ToldJoins(HashMap<NodeId, (Node, Instant)>);

impl ToldJoins {
    /// Whether there is something to tell; it counts as told.
    fn is_news(&mut self, id: NodeId, node: &Node, now: Instant) -> bool {
        let lately = |at: Instant| now.duration_since(at) < TELL_JOIN_AGAIN;
        self.0.retain(|_, (_, at)| lately(*at));
        if self.0.get(&id).is_some_and(|(known, _)| known == node) {
            return false;
        }
        self.0.insert(id, (node.clone(), now));
        true
    }
}

impl Member {
    /// Says who, of those that were named to it, is of another cluster than its own: it will not join them.
    async fn tell_of_strangers(&self, known: &Addresses) {
        let own = (self.me.host.as_str(), self.me.port);
        if self.peers.cluster().is_none() {
            return;
        }
        for (host, port) in known
            .iter()
            .filter(|(host, port)| (host.as_str(), *port) != own)
        {
            let asked = self
                .peers
                .call_address(host, *port, &Request::Probe, CHANGE_WITHIN);
            if let Err(CallError::Rejected { address, why }) = asked.await {
                tracing::error!(
                    address,
                    why,
                    "a member that was named to this broker will not have it: stop this broker, and mend \
                     controller.quorum.voters or controller.quorum.bootstrap.servers, or give it an empty data directory"
                );
            }
        }
    }

    /// Asks the leader to be a learner here, or to be known under its present address.
    async fn join(&self, known: &Addresses) -> Result<(), Unjoined> {
        let joining = Joining {
            id: self.id,
            node: self.me.clone(),
        };
        if self.is_leader() {
            return done(self.let_join(joining).await).map(drop);
        }
        let request = Request::Join(joining);
        let mut problem = Unjoined::Failed("no member is known".to_owned());
        // It may lead no more: who hears nothing goes on believing in the last leader that it heard.
        if let Some((id, node)) = self.leader().filter(|(id, _)| *id != self.id) {
            let asked = self
                .peers
                .call(Lane::Bulk, (id, &node), &request, ASK_WITHIN)
                .await;
            match self.join_by(asked, &request).await {
                Ok(()) => return Ok(()),
                Err(why) => problem = why,
            }
        }
        for (host, port) in known {
            let asked = self
                .peers
                .call_address(host, *port, &request, ASK_WITHIN)
                .await;
            match self
                .join_by(asked.map(|(_, answer)| answer), &request)
                .await
            {
                Ok(()) => return Ok(()),
                Err(why) => problem = why,
            }
        }
        Err(problem)
    }

    /// Takes a member's answer, and asks the leader that it names, where it is none itself.
    async fn join_by(
        &self,
        asked: Result<Answer, CallError>,
        request: &Request,
    ) -> Result<(), Unjoined> {
        let Some((id, node)) = done(asked?)? else {
            return Ok(());
        };
        let asked = self
            .peers
            .call(Lane::Bulk, (id, &node), request, ASK_WITHIN)
            .await;
        match done(asked?)? {
            None => Ok(()),
            Some(_) => Err(Unjoined::Failed("the leader is changing".into())),
        }
    }

    /// Notes since when another process has this broker's number, if one has.
    fn note_number_taken(&self, unjoined: Option<&Unjoined>) {
        let mut taken = self.number_taken.lock();
        match unjoined {
            Some(Unjoined::NumberTaken(why)) => {
                taken.get_or_insert_with(|| (Instant::now(), why.clone()));
            }
            _ => *taken = None,
        }
    }

    /// Says so where that has lasted: a broker that was replaced may take a moment to end.
    pub(super) fn number_is_taken(&self) -> Option<String> {
        let taken = self.number_taken.lock();
        let lasting = taken
            .as_ref()
            .filter(|(since, _)| since.elapsed() > TAKEN_FOR);
        lasting.map(|(_, why)| why.clone())
    }

    /// On the leader: takes a learner, or the new address of a member.
    pub(super) async fn let_join(&self, joining: Joining) -> Answer {
        if !self.is_leader() {
            return self.not_leader();
        }
        let Joining { id, node } = joining;
        // The same broker with another disk.
        let mut former = self.nodes();
        former.retain(|(other, known)| *other != id && known.broker == node.broker);
        if let Some((_, known)) = former
            .iter()
            .find(|(other, _)| *other == self.id || self.answers(*other))
        {
            let message = format!(
                "{known} runs with the metadata directory {}, and {node} with {}: two brokers have one number; stop \
                 one, or give it another node.id",
                known.directory, node.directory
            );
            return Answer::Refused(Refusal::new(
                ErrorCode::DuplicateBrokerRegistration,
                message,
            ));
        }
        let known = self.node(id);
        let joined = match known.as_ref() == Some(&node) {
            true => Answer::Done,
            false => self.take_member(id, node, known.is_some()).await,
        };
        let voters = self.voters();
        former.retain(|(id, _)| voters.iter().all(|(voter, _)| voter != id));
        match joined {
            Answer::Done if !former.is_empty() => {
                self.forget(former.iter().map(|(id, _)| *id).collect())
                    .await
            }
            answer => answer,
        }
    }

    /// A new member, or the new address of one.
    async fn take_member(&self, id: NodeId, node: Node, is_known: bool) -> Answer {
        let nodes = BTreeMap::from([(id, node.clone())]);
        let change = match is_known {
            true => ChangeMembers::SetNodes(nodes),
            false => ChangeMembers::AddNodes(nodes),
        };
        let is_news = self.told_joins.lock().is_news(id, &node, Instant::now());
        if is_news {
            tracing::info!(member = id, %node, directory = %node.directory, "a member joins, or has a new address");
        }
        self.change(change, true).await
    }

    /// Learners that no broker has the disk of any more. Who has joined asks no more, so this waits while others join.
    async fn forget(&self, gone: BTreeSet<NodeId>) -> Answer {
        let begun = Instant::now();
        loop {
            let change = ChangeMembers::RemoveNodes(gone.clone());
            let answer = self.change(change, true).await;
            if !matches!(answer, Answer::Failed(_)) || begun.elapsed() > CHANGE_WITHIN {
                return answer;
            }
            sleep(JOIN_AGAIN).await;
        }
    }

    /// Whether another member has answered lately.
    fn answers(&self, id: NodeId) -> bool {
        self.contacts.since(id).is_some_and(|since| since < ALIVE)
    }

    async fn change(&self, change: ChangeMembers<NodeId, Node>, retain: bool) -> Answer {
        match timeout(CHANGE_WITHIN, self.raft.change_membership(change, retain)).await {
            Ok(Ok(_)) => {
                let nodes = self.nodes();
                self.peers
                    .keep(|id| nodes.iter().any(|(member, _)| *member == id));
                Answer::Done
            }
            Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => self.not_leader(),
            Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
                ChangeMembershipError::InProgress(_),
            )))) => Answer::Failed("another change of members is under way".into()),
            Ok(Err(error)) => Answer::Failed(error.to_string()),
            Err(_) => Answer::Failed(format!("no majority within {CHANGE_WITHIN:?}")),
        }
    }
}

/// Why a member is not known to the leader yet.
#[derive(Debug)]
enum Unjoined {
    /// Another process is a broker of the same number.
    NumberTaken(String),
    /// Anything else, which may pass.
    Failed(String),
}

impl From<CallError> for Unjoined {
    fn from(error: CallError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// `None` where it is done, or who leads.
fn done(answer: Answer) -> Result<Option<(NodeId, Node)>, Unjoined> {
    match answer {
        Answer::Done => Ok(None),
        Answer::NotLeader(Some(leader)) => Ok(Some(leader)),
        Answer::NotLeader(None) => Err(Unjoined::Failed("no leader is known there".into())),
        Answer::Failed(why) => Err(Unjoined::Failed(why)),
        Answer::Refused(refusal) => Err(match refusal.code {
            ErrorCode::DuplicateBrokerRegistration => Unjoined::NumberTaken(refusal.message),
            _ => Unjoined::Failed(refusal.message),
        }),
        other => Err(Unjoined::Failed(format!("an unexpected answer: {other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_a_member_that_asks_again_and_again_the_leader_tells_once_a_minute() {
        let mut told = ToldJoins::default();
        let (at, moved) = (
            Node::default(),
            Node {
                port: 9091,
                ..Node::default()
            },
        );
        let mut count = 0;
        for _ in 0..=60 {
            count += usize::from(told.is_news(1, &at, Instant::now()));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(count, 2);
        assert!(told.is_news(2, &at, Instant::now()), "another member");
        assert!(told.is_news(1, &moved, Instant::now()), "another address");
        assert!(!told.is_news(1, &moved, Instant::now()));
    }
}
