//! openraft's network over the connections between brokers.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::error::{
    Fatal, NetworkError, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable,
};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetwork, RaftNetworkFactory, Snapshot};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::types::{LogId, Node, NodeId, SnapshotMeta, TypeConfig, Vote};
use crate::peer::{Answer, CallError, Lane, Peers, Request, SnapshotPart};

/// Pauses between attempts to reach a member that is gone. Once it is back it must hear of its leader well
/// before it would call an election.
const BACKOFF: [Duration; 3] = [
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
];
/// Bytes of one part of a snapshot.
const PART_BYTES: usize = 1 << 20;
/// One part's way there and back; the last one's answer comes when the snapshot is installed.
const PART_WITHIN: Duration = Duration::from_secs(10);

/// When each member last answered this one.
#[derive(Default)]
pub(super) struct Contacts(Mutex<HashMap<NodeId, Instant>>);

impl Contacts {
    fn note(&self, id: NodeId) {
        self.0.lock().insert(id, Instant::now());
    }

    /// When that was.
    pub(super) fn at(&self, id: NodeId) -> Option<Instant> {
        self.0.lock().get(&id).copied()
    }

    /// How long ago that was.
    pub(super) fn since(&self, id: NodeId) -> Option<Duration> {
        self.at(id).map(|at| at.elapsed())
    }
}

/// Makes the clients.
pub(super) struct Network {
    pub(super) peers: Arc<Peers>,
    pub(super) contacts: Arc<Contacts>,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Client;

    async fn new_client(&mut self, id: NodeId, node: &Node) -> Client {
        Client {
            id,
            node: node.clone(),
            peers: self.peers.clone(),
            contacts: self.contacts.clone(),
            unanswered: None,
        }
    }
}

/// The way to one member.
pub(super) struct Client {
    id: NodeId,
    node: Node,
    peers: Arc<Peers>,
    contacts: Arc<Contacts>,
    unanswered: Option<Unanswered>,
}

/// Entries that were sent and not answered in openraft's time, one heartbeat interval. It will ask for the same
/// again, and must then be given that answer: sending them again could go on for ever.
struct Unanswered {
    key: AppendKey,
    answer: oneshot::Receiver<Answer>,
}

type AppendKey = (Vote, Option<LogId>, Option<LogId>);
type SnapshotError = StreamingError<TypeConfig, Fatal<NodeId>>;
type RpcError = RPCError<NodeId, Node, RaftError<NodeId>>;

impl Client {
    async fn call(&self, request: &Request, within: Duration) -> Result<Answer, CallError> {
        let to = (self.id, &self.node);
        let answer = self.peers.call(Lane::Raft, to, request, within).await?;
        self.contacts.note(self.id);
        Ok(answer)
    }

    async fn send_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
    ) -> Result<Answer, CallError> {
        let last = rpc.entries.last().map(|entry| entry.log_id);
        let key = (rpc.vote, rpc.prev_log_id, last);
        if self.unanswered.as_ref().is_none_or(|sent| sent.key != key) {
            let request = Request::Append(rpc);
            let to = (self.id, &self.node);
            let answer = self.peers.send(Lane::Raft, to, &request).await?;
            self.unanswered = Some(Unanswered { key, answer });
        }
        let Some(sent) = &mut self.unanswered else {
            return Err(CallError::Closed);
        };
        // openraft may drop this here, and ask again.
        let answer = (&mut sent.answer).await;
        self.unanswered = None;
        let answer = answer.map_err(|_| CallError::Closed)?;
        self.contacts.note(self.id);
        Ok(answer)
    }
}

impl RaftNetwork<TypeConfig> for Client {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeId>, RpcError> {
        let answer = match rpc.entries.is_empty() {
            true => self.call(&Request::Append(rpc), option.hard_ttl()).await,
            false => self.send_entries(rpc).await,
        };
        match answer.map_err(rpc_error)? {
            Answer::Append(response) => Ok(response),
            other => Err(unexpected(other)),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<NodeId>,
        option: RPCOption,
    ) -> Result<VoteResponse<NodeId>, RpcError> {
        let answer = self.call(&Request::Vote(rpc), option.hard_ttl()).await;
        match answer.map_err(rpc_error)? {
            Answer::Vote(response) => Ok(response),
            other => Err(unexpected(other)),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<TypeConfig>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<NodeId>, SnapshotError> {
        tokio::select! {
            sent = self.send_snapshot(vote, &snapshot.meta, &snapshot.snapshot) => sent,
            closed = cancel => Err(closed.into()),
        }
    }

    fn backoff(&self) -> Backoff {
        let [.., longest] = BACKOFF;
        Backoff::new(BACKOFF.into_iter().chain(std::iter::repeat(longest)))
    }
}

impl Client {
    async fn send_snapshot(
        &self,
        vote: Vote,
        meta: &SnapshotMeta,
        bytes: &Bytes,
    ) -> Result<SnapshotResponse<NodeId>, SnapshotError> {
        let mut start = 0;
        loop {
            let end = bytes.len().min(start + PART_BYTES);
            let last = end == bytes.len();
            let part = Request::Snapshot(SnapshotPart {
                vote,
                meta: meta.clone(),
                offset: start as u64,
                last,
                bytes: bytes.slice(start..end),
            });
            let to = (self.id, &self.node);
            let answer = self.peers.call(Lane::Bulk, to, &part, PART_WITHIN).await;
            let answer = answer.map_err(snapshot_error)?;
            // A long snapshot is not silence.
            self.contacts.note(self.id);
            match answer {
                Answer::Snapshot(there) if last || there > vote => {
                    return Ok(SnapshotResponse::new(there));
                }
                Answer::Snapshot(_) => start = end,
                other => return Err(Unreachable::new(&odd(other)).into()),
            }
        }
    }
}

fn rpc_error(error: CallError) -> RpcError {
    match error {
        CallError::Refused { .. } | CallError::Unreachable { .. } | CallError::Rejected { .. } => {
            Unreachable::new(&error).into()
        }
        _ => NetworkError::new(&error).into(),
    }
}

/// Whatever it was: openraft begins anew at once with all but who is unreachable, and would read the snapshot a
/// thousand times a second while a member is gone.
fn snapshot_error(error: CallError) -> SnapshotError {
    Unreachable::new(&error).into()
}

fn unexpected(answer: Answer) -> RpcError {
    // Not at once again: it has failed, or is of another version.
    Unreachable::new(&odd(answer)).into()
}

fn odd(answer: Answer) -> std::io::Error {
    std::io::Error::other(match answer {
        Answer::Failed(why) => why,
        other => format!("an unexpected answer: {other:?}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_that_does_not_arrive_is_not_sent_again_at_once() {
        let errors = [
            CallError::Refused {
                address: "a:1".into(),
            },
            CallError::Closed,
            CallError::TimedOut(PART_WITHIN),
        ];
        for error in errors {
            let error = snapshot_error(error);
            assert!(matches!(error, StreamingError::Unreachable(_)), "{error}");
        }
    }
}
