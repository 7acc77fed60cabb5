//! What brokers say to each other: frames on the peers' listener, and nowhere else.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `peer/network.rs` | connecting; what a simulation replaces |
//! | `peer/frame.rs` | the layout of a frame |
//! | `peer/client.rs` | one connection to a peer: requests out, answers in |
//! | `peer/pool.rs` | the connections to all peers |
//! | `peer/link.rs` | how each of them stands |
//! | `peer/server.rs` | the peers' listener, and what asks on it |
//!
//! A connection starts with a [`Hello`], in which both ends say who they are, and whom they look for: an
//! address may by now be another member's, or the same broker's with an empty disk, and neither may be taken
//! for who was there before.

mod client;
mod frame;
mod link;
pub mod network;
mod pool;
pub mod server;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use milena_metadata::{BrokerId, Command, DirectoryId, Outcome, PartitionProgress, Refusal};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use openraft::{LogId, SnapshotMeta, Vote};
use serde::{Deserialize, Serialize};

pub use client::CallError;
pub use frame::FRAME_BYTES_MAX;
pub use link::Link;
pub use pool::{Lane, Peers};

use crate::quorum::QuorumProgress;
use crate::quorum::types::{Node, NodeId, TypeConfig};

/// Who speaks, and to whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The cluster of who speaks, if it has one.
    pub cluster: Option<String>,
    /// The member that speaks.
    pub from: NodeId,
    pub broker: i32,
    /// The member it looks for; none where it knows an address only.
    pub to: Option<NodeId>,
}

/// Everything that a broker may ask another.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Opens a connection.
    Hello(Hello),
    /// Entries of the metadata log, or none: a heartbeat.
    Append(AppendEntriesRequest<TypeConfig>),
    Vote(VoteRequest<NodeId>),
    /// Whether a vote would be given now; asking changes nothing.
    WouldVote(WouldVote),
    /// To have on disk the vote that will be asked for next.
    Promise(Promise),
    Snapshot(SnapshotPart),
    /// Whether there is a cluster already.
    Probe,
    /// Makes the member a learner, or says its new address.
    Join(Joining),
    /// A command for the quorum's leader.
    Command(Command),
    /// Changes who votes.
    Voters(VoterChange),
    /// How far the quorum's members are, for its leader.
    Quorum,
    /// How far the followers of partitions are that the broker leads.
    Progress(Watched),
}

impl Request {
    /// What goes behind the document.
    fn attachment(&self) -> &[u8] {
        match self {
            Self::Snapshot(part) => &part.bytes,
            _ => &[],
        }
    }

    fn attach(&mut self, attachment: Bytes) {
        if let Self::Snapshot(part) = self {
            part.bytes = attachment;
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// The connection is open; who answers.
    Hello(Hello),
    /// To [`Request::Append`].
    Append(AppendEntriesResponse<NodeId>),
    /// To [`Request::Vote`].
    Vote(VoteResponse<NodeId>),
    /// To [`Request::WouldVote`].
    WouldVote(bool),
    /// To [`Request::Promise`].
    Promise(Promised),
    /// To [`Request::Snapshot`]: the vote that holds there.
    Snapshot(Vote<NodeId>),
    /// To [`Request::Probe`].
    Probe(Probed),
    /// It is done: to [`Request::Join`] and [`Request::Voters`].
    Done,
    /// To [`Request::Command`].
    Decided(Decided),
    /// To [`Request::Quorum`].
    Quorum(QuorumProgress),
    /// To [`Request::Progress`].
    Progress(Vec<PartitionProgress>),
    /// Who was asked does not lead the quorum; who does, as far as it knows.
    NotLeader(Option<(NodeId, Node)>),
    Refused(Refusal),
    Failed(String),
}

/// A candidate-to-be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WouldVote {
    pub last_log: Option<LogId<NodeId>>,
}

/// A vote that a candidate-to-be will ask for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Promise {
    pub vote: Vote<NodeId>,
    pub candidate: WouldVote,
}

/// What became of a [`Promise`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Promised {
    /// The vote is on disk.
    Kept,
    /// A vote of a later term is known here, and who asks has to hear of it first: an election tells it.
    Behind,
    /// It would not be given.
    Refused,
}

/// A part of a snapshot; they come one after the other.
#[derive(Debug, Serialize, Deserialize)]
pub struct SnapshotPart {
    /// Of the leader that sends it.
    pub vote: Vote<NodeId>,
    /// What it is a snapshot of.
    pub meta: SnapshotMeta<NodeId, Node>,
    /// Bytes before this part.
    pub offset: u64,
    pub last: bool,
    /// The part itself, behind the document.
    #[serde(skip)]
    pub bytes: Bytes,
}

/// What a member knows of the cluster at its first start, and ever after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// Who answers.
    pub id: NodeId,
    pub node: Node,
    /// Whether it knows of no cluster.
    pub empty: bool,
    /// The brokers that it was told will vote.
    pub voters: Vec<i32>,
}

/// A member that wants to follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joining {
    pub id: NodeId,
    pub node: Node,
}

/// A change of the voters (KIP-853).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoterChange {
    pub broker: i32,
    /// Its metadata's directory: a broker with a new disk is another member.
    pub directory: DirectoryId,
    /// Whether it becomes a voter, or is one no more.
    pub votes: bool,
}

/// Partitions whose followers are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Watched {
    /// Those that a broker has a replica of. Followers in sync that have not come to the log's end of now are waited
    /// for, a little.
    HostedBy(BrokerId),
    /// Those that are reassigned, as they are.
    Reassigning,
}

/// The broker behind the quorum's member: what it answers peers.
pub trait Door: Send + Sync + 'static {
    /// How far the followers are of partitions that are led here.
    fn progress(self: Arc<Self>, of: Watched) -> Progressing;
}

/// An answer to [`Request::Progress`] on its way.
pub type Progressing = Pin<Box<dyn Future<Output = Vec<PartitionProgress>> + Send>>;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    pub outcome: Outcome,
    /// The metadata's offset that holds it.
    pub offset: u64,
}
