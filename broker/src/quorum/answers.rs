//! What this member answers its peers.

use milena_metadata::Image;
use openraft::raft::{AppendEntriesResponse, VoteRequest};
use openraft::storage::Snapshot;

use super::decider::Undecided;
use super::election::LEASE;
use super::member::Member;
use super::receive::Receiving;
use super::types::{NodeId, TypeConfig, Vote};
use crate::peer::server::Answers;
use crate::peer::{Answer, Hello, Probed, Promise, Promised, Request, SnapshotPart, WouldVote};
use crate::rule::is_broken;

impl Answers for Member {
    fn hello(&self, hello: &Hello) -> Result<Hello, String> {
        let directory = &self.me.directory;
        if let Some(to) = hello.to.filter(|&to| to != self.id) {
            return Err(format!(
                "here is broker {} with the metadata directory {directory}, member {}, and not member {to}",
                self.me.broker, self.id
            ));
        }
        match (&hello.cluster, self.peers.cluster()) {
            (Some(theirs), Some(ours)) if *theirs != ours => Err(format!(
                "broker {} here is of cluster {ours}, and broker {} is of cluster {theirs}",
                self.me.broker, hello.broker
            )),
            _ => {
                if self.keeps(hello) {
                    self.peers.links().heard_from(hello.from);
                }
                Ok(self.peers.hello(Some(hello.from)))
            }
        }
    }

    async fn answer(&self, from: NodeId, request: Request) -> Answer {
        match request {
            Request::Hello(_) => Answer::Failed("a second greeting".into()),
            Request::Append(rpc) => {
                self.note_leader(from, &rpc.vote);
                let appended = self.raft.append_entries(rpc).await;
                if let Ok(AppendEntriesResponse::Success) = appended {
                    self.heard_again(from);
                }
                appended.map_or_else(failed, Answer::Append)
            }
            Request::Vote(rpc) => self.give_vote(rpc).await,
            Request::WouldVote(candidate) => Answer::WouldVote(self.would_vote(&candidate)),
            Request::Promise(promise) => Answer::Promise(self.promise(&promise).await),
            Request::Snapshot(part) => self.take_part(from, part).await,
            Request::Probe => Answer::Probe(self.probed()),
            Request::Join(joining) => self.let_join(joining).await,
            Request::Voters(change) => self.change_voters(change).await,
            Request::Quorum => self.quorum_progress(),
            Request::Progress(watched) => self.partitions_progress(watched).await,
            Request::Command(command) => match self.decide(command).await {
                Ok(decided) => Answer::Decided(decided),
                Err(Undecided::Refused(refusal)) => Answer::Refused(refusal),
                Err(Undecided::NotLeader) => self.not_leader(),
                Err(Undecided::Skipped(why) | Undecided::Stopped(why)) => Answer::Failed(why),
            },
        }
    }

    fn closed(&self, hello: &Hello, by_peer: bool) {
        if by_peer {
            self.heard.closed(hello.from);
            if self.keeps(hello) {
                self.peers.links().closed_there(hello.from);
            }
        }
    }
}

impl Member {
    /// Whether such a connection is one that a member keeps open: who looks for nobody asks one thing, and leaves.
    fn keeps(&self, hello: &Hello) -> bool {
        hello.to.is_some() && self.node(hello.from).is_some()
    }

    /// Who leads, as far as this member knows.
    pub(super) fn not_leader(&self) -> Answer {
        Answer::NotLeader(self.leader().filter(|(id, _)| *id != self.id))
    }

    /// What it knows of the cluster.
    pub(super) fn probed(&self) -> Probed {
        Probed {
            id: self.id,
            node: self.me.clone(),
            empty: self.is_empty(),
            voters: self.voters_told.clone(),
        }
    }

    /// A heartbeat that openraft will take, unless it knows of a later leader by then.
    fn note_leader(&self, from: NodeId, vote: &Vote) {
        let metrics = self.raft.server_metrics();
        let known = metrics.borrow().vote;
        if vote.leader_id().voted_for() == Some(from) && *vote >= known {
            self.heard.note(from);
        }
    }

    /// The entries were taken, and openraft's own lease starts only now.
    fn heard_again(&self, from: NodeId) {
        if self.heard.closed_by() != Some(from) {
            self.heard.note(from);
        }
    }

    async fn give_vote(&self, rpc: VoteRequest<NodeId>) -> Answer {
        let voted = self.raft.vote(rpc).await;
        if voted.as_ref().is_ok_and(|response| response.vote_granted) {
            self.heard.voted();
        }
        voted.map_or_else(failed, Answer::Vote)
    }

    fn would_vote(&self, candidate: &WouldVote) -> bool {
        if is_broken!(WipedVoterVotes) && self.nodes().is_empty() {
            return true;
        }
        // Who does not vote, or has forgotten that it does, says nothing for others to count on.
        self.is_voter()
            && !self.is_leader()
            && self.heard.silence() >= LEASE
            && candidate.last_log >= self.last_log()
    }

    /// Whether the vote that it is about to be asked for is on disk; see `election.rs`.
    async fn promise(&self, promise: &Promise) -> Promised {
        if !self.would_vote(&promise.candidate) {
            return Promised::Refused;
        }
        if promise.vote <= self.vote() {
            return Promised::Behind;
        }
        self.heard.promised();
        match self.log.promise(promise.vote).await {
            Ok(true) => Promised::Kept,
            // An earlier promise, to one who has not led, is of a later term.
            Ok(false) => Promised::Behind,
            Err(error) => {
                tracing::error!(%error, "a vote can't be kept, and is not promised");
                Promised::Refused
            }
        }
    }

    async fn take_part(&self, from: NodeId, part: SnapshotPart) -> Answer {
        self.note_leader(from, &part.vote);
        let whole = Receiving::take(&mut self.receiving.lock(), from, &part);
        let bytes = match whole {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Answer::Snapshot(part.vote),
            Err(why) => return Answer::Failed(why),
        };
        let snapshot = Snapshot::<TypeConfig> {
            meta: part.meta,
            snapshot: Box::new(bytes),
        };
        let installed = self.raft.install_full_snapshot(part.vote, snapshot).await;
        installed.map_or_else(failed, |response| Answer::Snapshot(response.vote))
    }

    /// The cluster that this member is of, as soon as it is known.
    pub(super) fn learn_cluster(&self, image: &Image) {
        if let Some(id) = image.cluster_id() {
            self.peers.set_cluster(id);
        }
    }
}

fn failed(error: impl std::fmt::Display) -> Answer {
    Answer::Failed(error.to_string())
}
