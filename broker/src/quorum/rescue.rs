//! The majority of the voters is lost for good: a survivor goes on as the only voter, with what it has. Nobody else can
//! say whether the others had decided more; so a person decides, on a member that is stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use milena_metadata::{ChangeBroker, ChangeBrokers, Image, NoConfigRules};
use openraft::{CommittedLeaderId, EntryPayload};

use super::decider::decided_offline;
use super::snapshot;
use super::store::{Change, Store, StoreError};
use super::types::{Entry, LogId, Node, NodeId, Proposal, SnapshotMeta, Vote};
use crate::peer::{Answer, Peers, Request, network};

/// Bytes of entries that are looked through at once.
const READ_BYTES: usize = 4 << 20;
/// Dialling a voter takes no longer, and asking who it is as long again; all are dialled at once.
const DIAL_WITHIN: Duration = Duration::from_secs(1);

/// What a survivor has, and what going on with it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    pub broker: i32,
    pub last_entry: u64,
    pub last_term: u64,
    /// Up to here its entries are known to be decided; those after it may not be.
    pub known_decided: u64,
    /// The voters until now.
    pub voters: Vec<Node>,
}

/// What was found where a voter is that is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It takes connections: it may have decided more with others, and go on doing so.
    Answers,
    /// A member that knows of no cluster is there by now, as on a new disk.
    Replaced,
    /// Nobody takes a connection. A firewall looks the same.
    Silent,
    /// The metadata does not say where it is.
    Unknown,
}

/// Why it can't be done.
#[derive(Debug, thiserror::Error)]
pub enum RescueError {
    /// The store can't be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no metadata to go on with.
    #[error("{0} holds no metadata of a cluster: choose a broker that was a member")]
    Empty(String),
}

/// A stopped member's store, in `<metadata.log.dir>/quorum`.
pub struct Survivor {
    store: Store,
    id: NodeId,
    last: LogId,
    /// The snapshot's last entry, if there is a snapshot.
    snapshot: Option<LogId>,
    voters: BTreeSet<NodeId>,
    nodes: BTreeMap<NodeId, Node>,
}

impl Survivor {
    /// Opens what is there: nothing is made or changed. A member that runs holds the store's file.
    pub fn open(dir: &Path) -> Result<Self, RescueError> {
        let empty = || RescueError::Empty(dir.display().to_string());
        if !Store::is_in(dir) {
            return Err(empty());
        }
        let store = Store::open(dir)?;
        let identity = store.known_identity()?.ok_or_else(empty)?;
        let in_log = match store.last_entry()? {
            Some(entry) => Some(entry.log_id),
            None => store.purged()?,
        };
        let head = store.snapshot_head()?;
        let snapshot = head.as_ref().and_then(|head| head.meta.last_log_id);
        // By the index alone: what the log has at or below the snapshot is replaced by it, whatever its term.
        let ends = [in_log, snapshot].into_iter().flatten();
        let last = ends.max_by_key(|end| end.index).ok_or_else(empty)?;
        let (voters, nodes) = members(&store, head.map(|head| head.meta))?;
        if !nodes.contains_key(&identity.id) {
            return Err(empty());
        }
        Ok(Self {
            store,
            id: identity.id,
            last,
            snapshot,
            voters,
            nodes,
        })
    }

    /// What it has.
    pub fn survey(&self) -> Result<Survey, RescueError> {
        let voters = self.voters.iter().filter_map(|id| self.nodes.get(id));
        let known_decided = self.store.committed()?.max(self.snapshot);
        Ok(Survey {
            broker: self.nodes.get(&self.id).map_or(-1, |node| node.broker),
            last_entry: self.last.index,
            last_term: self.last.leader_id.term,
            known_decided: known_decided.map_or(0, |id| id.index),
            voters: voters.cloned().collect(),
        })
    }

    /// Looks for each voter that it would give up.
    pub async fn look(&self) -> Vec<(Node, Found)> {
        let mut looks = tokio::task::JoinSet::new();
        for id in self.voters.iter().copied().filter(|id| *id != self.id) {
            let node = self.nodes.get(&id).cloned().unwrap_or_default();
            let me = (self.id, self.nodes[&self.id].broker);
            looks.spawn(async move {
                let found = find(id, &node, me).await;
                (node, found)
            });
        }
        let mut found = looks.join_all().await;
        found.sort_by_key(|(node, _)| node.broker);
        found
    }

    /// Makes it the only voter, in a term of its own; the others become learners, who follow once they are back. All other
    /// brokers are fenced: this one, which starts again as they do, would be out of sync otherwise wherever those are
    /// thought to be up, and once they came with empty disks nobody would be in sync.
    pub fn go_on_alone(&self) -> Result<(), RescueError> {
        let voted = self.store.vote()?.map_or(0, |vote| vote.leader_id().term);
        let term = voted.max(self.last.leader_id.term) + 1;
        let log_id = LogId::new(CommittedLeaderId::new(term, self.id), self.last.index + 1);
        let alone = vec![BTreeSet::from([self.id])];
        let entry = Entry {
            log_id,
            payload: EntryPayload::Membership(openraft::Membership::new(alone, self.nodes.clone())),
        };
        let fencing = self.fencing()?.into_iter().zip(log_id.index + 1..);
        let fencing = fencing.map(|(proposal, index)| Entry {
            log_id: LogId::new(CommittedLeaderId::new(term, self.id), index),
            payload: EntryPayload::Normal(proposal),
        });
        let entries = std::iter::once(entry).chain(fencing).map(|entry| {
            let json = serde_json::to_vec(&entry).expect("an entry has string keys only");
            (entry.log_id.index, json)
        });
        let mut changes = vec![
            Change::Append(entries.collect()),
            Change::Vote(Vote::new(term, self.id)),
        ];
        // A crash may have come between a snapshot from the leader and the end of the entries that it replaces; behind
        // those there would be a gap.
        if self.snapshot == Some(self.last) {
            changes.push(Change::Purge(self.last));
        }
        Ok(self.store.change_offline(&changes)?)
    }
}

impl Survivor {
    /// That every other broker is fenced, as entries.
    fn fencing(&self) -> Result<Vec<Proposal>, RescueError> {
        let image = self.image()?;
        let own = self.nodes[&self.id].broker;
        let others = image
            .brokers()
            .filter(|broker| broker.id.get() != own && !broker.fenced);
        let changes = others.map(|broker| ChangeBroker {
            id: broker.id,
            epoch: broker.epoch,
            fenced: Some(true),
            draining: None,
            stopping: None,
        });
        let changes: Vec<ChangeBroker> = changes.collect();
        let command = ChangeBrokers { changes }.into();
        // Of the settings only those that the metadata holds are known here.
        Ok(decided_offline(image, &command, &NoConfigRules))
    }

    /// The metadata with all that it has, decided or not: all of it is, once it goes on alone.
    fn image(&self) -> Result<Image, RescueError> {
        let mut image = Image::default();
        if let Some((head, bytes)) = self.store.snapshot()? {
            let what = || format!("snapshot {}", head.number);
            let read = snapshot::read(&bytes);
            image = read.map_err(|error| self.store.damaged(what(), error))?;
        }
        each_entry(&self.store, self.snapshot, |Entry { log_id, payload }| {
            if let EntryPayload::Normal(proposal) = payload {
                // What is skipped here is skipped when it starts, too.
                proposal.apply(log_id.leader_id.term, &mut image);
            }
        })?;
        Ok(image)
    }
}

/// Who is where a voter was. Another member with metadata may be one that a living majority took in its place.
async fn find(id: NodeId, node: &Node, (me, broker): (NodeId, i32)) -> Found {
    if node.host.is_empty() {
        return Found::Unknown;
    }
    let dial = network::connect(&node.host, node.port);
    if !matches!(tokio::time::timeout(DIAL_WITHIN, dial).await, Ok(Ok(_))) {
        return Found::Silent;
    }
    let peers = Peers::new(me, broker);
    let asked = peers.call_address(&node.host, node.port, &Request::Probe, DIAL_WITHIN);
    match asked.await {
        Ok((_, Answer::Probe(there))) if there.id != id && there.empty => Found::Replaced,
        _ => Found::Answers,
    }
}

/// The voters and all members as of the last entry that says so; before the snapshot's last one none counts.
fn members(
    store: &Store,
    snapshot: Option<SnapshotMeta>,
) -> Result<(BTreeSet<NodeId>, BTreeMap<NodeId, Node>), StoreError> {
    let last = snapshot.as_ref().and_then(|snapshot| snapshot.last_log_id);
    let mut found = snapshot.map(|snapshot| snapshot.last_membership.membership().clone());
    each_entry(store, last, |entry| {
        if let EntryPayload::Membership(membership) = entry.payload {
            found = Some(membership);
        }
    })?;
    let found = found.unwrap_or_default();
    let nodes = found.nodes().map(|(id, node)| (*id, node.clone()));
    Ok((found.voter_ids().collect(), nodes.collect()))
}

/// All entries behind a snapshot, in order.
fn each_entry(
    store: &Store,
    snapshot: Option<LogId>,
    mut take: impl FnMut(Entry),
) -> Result<(), StoreError> {
    let mut next = snapshot.map_or(0, |last| last.index + 1);
    loop {
        let entries = store.entries(next.., READ_BYTES)?;
        let Some(last) = entries.last() else {
            return Ok(());
        };
        next = last.log_id.index + 1;
        entries.into_iter().for_each(&mut take);
    }
}
