//! The connections to all peers, opened when they are needed and kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::Mutex as Turn;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::client::{CallError, Connection};
use super::link::Links;
use super::{Answer, Hello, Request};
use crate::quorum::types::{Node, NodeId};

/// What shares a connection: a heartbeat must not wait behind a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Heartbeats, entries, votes.
    Raft,
    /// Everything else.
    Bulk,
}

type Slot = Arc<Turn<Option<Connection>>>;

/// The way to every peer.
pub struct Peers {
    me: NodeId,
    broker: i32,
    cluster: ArcSwapOption<String>,
    slots: Mutex<HashMap<(NodeId, Lane), Slot>>,
    links: Arc<Links>,
}

impl Peers {
    /// For the member that speaks.
    pub fn new(me: NodeId, broker: i32) -> Self {
        Self {
            me,
            broker,
            cluster: ArcSwapOption::empty(),
            slots: Mutex::default(),
            links: Arc::default(),
        }
    }

    /// How the connections to all members stand.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// Opens the connection for heartbeats where there is none; [`Peers::links`] tells what came of it.
    pub async fn dial(&self, id: NodeId, node: &Node) {
        if let Err(error) = self.connection(Lane::Raft, id, node).await {
            tracing::debug!(%node, %error, "a member can't be dialled");
        }
    }

    /// From now on it is of this cluster.
    pub fn set_cluster(&self, cluster: &str) {
        self.cluster.store(Some(Arc::new(cluster.to_owned())));
    }

    pub fn cluster(&self) -> Option<String> {
        self.cluster.load().as_deref().cloned()
    }

    /// How this member greets.
    pub fn hello(&self, to: Option<NodeId>) -> Hello {
        Hello {
            cluster: self.cluster(),
            from: self.me,
            broker: self.broker,
            to,
        }
    }

    /// Asks a member, and waits for the answer.
    pub async fn call(
        &self,
        lane: Lane,
        (id, node): (NodeId, &Node),
        request: &Request,
        within: Duration,
    ) -> Result<Answer, CallError> {
        let deadline = Instant::now() + within;
        let late = |_| CallError::TimedOut(within);
        let asked = timeout_at(deadline, self.send(lane, (id, node), request));
        let answered = asked.await.map_err(late)??;
        let answer = timeout_at(deadline, answered).await.map_err(late)?;
        answer.map_err(|_| CallError::Closed)
    }

    /// Asks a member, and hands out where the answer will come.
    pub async fn send(
        &self,
        lane: Lane,
        (id, node): (NodeId, &Node),
        request: &Request,
    ) -> Result<oneshot::Receiver<Answer>, CallError> {
        self.connection(lane, id, node).await?.send(request)
    }

    /// Asks whoever is at an address; also who that was.
    pub async fn call_address(
        &self,
        host: &str,
        port: u16,
        request: &Request,
        within: Duration,
    ) -> Result<(Hello, Answer), CallError> {
        let asked = async {
            let (connection, who) = Connection::open(host, port, self.hello(None)).await?;
            let answer = connection.send(request)?.await;
            answer
                .map(|answer| (who, answer))
                .map_err(|_| CallError::Closed)
        };
        let late = |_| CallError::TimedOut(within);
        tokio::time::timeout(within, asked).await.map_err(late)?
    }

    /// The lane's connection, opened anew where it has ended. Opening goes on where who waits for it has gone:
    /// a heartbeat waits for less than a connection may take.
    async fn connection(
        &self,
        lane: Lane,
        id: NodeId,
        node: &Node,
    ) -> Result<Connection, CallError> {
        let slot = self.slots.lock().entry((id, lane)).or_default().clone();
        let Ok(mut turn) = slot.clone().try_lock_owned() else {
            let opened = slot.lock().await.clone();
            return opened
                .filter(|open| !open.is_closed())
                .ok_or(CallError::Closed);
        };
        if let Some(open) = turn.as_ref().filter(|open| !open.is_closed()) {
            return Ok(open.clone());
        }
        let (hello, host, port) = (self.hello(Some(id)), node.host.clone(), node.port);
        let links = (lane == Lane::Raft).then(|| self.links.clone());
        let opening = tokio::spawn(async move {
            *turn = None;
            let opened = Connection::open(&host, port, hello).await;
            if let Some(links) = links {
                note(links, id, &opened);
            }
            let (connection, _) = opened?;
            *turn = Some(connection.clone());
            Ok(connection)
        });
        opening.await.unwrap_or(Err(CallError::Closed))
    }

    /// Forgets the connections to members that are none any more.
    pub fn keep(&self, is_member: impl Fn(NodeId) -> bool) {
        self.slots.lock().retain(|(id, _), _| is_member(*id));
        self.links.keep(is_member);
    }
}

/// Notes what came of a dial, and the connection's end when that comes.
fn note(links: Arc<Links>, id: NodeId, opened: &Result<(Connection, Hello), CallError>) {
    match opened {
        Ok((connection, _)) => {
            let (number, end) = (links.opened(id), connection.end());
            tokio::spawn(async move {
                let by_peer = end.by_peer().await;
                links.ended(id, number, by_peer);
            });
        }
        Err(error) => links.failed(id, error),
    }
}
