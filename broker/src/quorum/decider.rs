//! The quorum's leader decides: one command after the other, on an image that holds everything proposed before.
//!
//! One entry is under way at a time. The commands that come meanwhile are decided together, each on the image
//! that those before it leave, and share the next. A new leader first waits until all that its log held when it
//! was elected is applied; an entry of its own term is the last of that.

use std::sync::Arc;

use milena_metadata::{
    Command, ConfigRules, Decision, Image, Outcome, Record, Refusal, decide, founding_records,
};
use milena_protocol::ErrorCode;
use openraft::ServerState;
use openraft::error::RaftError;
use tokio::sync::{mpsc, oneshot};

use super::machine::Shown;
use super::topic_changes::TopicChanges;
use super::types::{Applied, ImportedAt, Proposal, Raft, Vote};
use crate::clock::Clock;
use crate::peer::Decided;

/// Commands that wait for the decider; whoever comes later waits to queue. The admin APIs are rare, and each
/// command may be as large as a request.
pub(super) const WAITING_MAX: usize = 1_024;

/// Commands decided for one entry.
const BATCH_COMMANDS_MAX: usize = 256;

/// Records after which an entry takes no further command, so that none waits long behind a large one.
const BATCH_RECORDS_MAX: usize = 10_000;

/// One command's records may make an entry of so many bytes: half of a frame between brokers.
const COMMAND_BYTES_MAX: usize = crate::peer::FRAME_BYTES_MAX / 2;

/// A command, and where its answer goes.
pub(super) struct Waiting {
    pub(super) command: Command,
    pub(super) answer: oneshot::Sender<Result<Decided, Undecided>>,
}

/// Why a command was not decided here.
#[derive(Debug)]
pub(super) enum Undecided {
    /// This member does not lead, or no longer.
    NotLeader,
    Refused(Refusal),
    /// It was decided on metadata that has changed before it could be kept. It may be tried again.
    Skipped(String),
    /// This member takes no part any more.
    Stopped(String),
}

/// Decides while this member leads.
pub(super) struct Decider {
    pub(super) raft: Raft,
    pub(super) shown: Arc<Shown>,
    pub(super) rules: Arc<dyn ConfigRules>,
    /// The cluster's id where it has none yet: whoever leads first says it.
    pub(super) new_cluster_id: Arc<str>,
    /// What an older store held.
    pub(super) import: Option<Image>,
}

impl Decider {
    pub(super) async fn run(mut self, mut waiting: mpsc::Receiver<Waiting>) {
        let mut changes = self.raft.server_metrics();
        loop {
            let office = tokio::select! {
                elected = changes.wait_for(|metrics| metrics.state == ServerState::Leader) => match elected {
                    Ok(metrics) => metrics.vote,
                    Err(_) => return,
                },
                command = waiting.recv() => match command {
                    Some(Waiting { answer, .. }) => {
                        // Who asked may have gone.
                        let _ = answer.send(Err(Undecided::NotLeader));
                        continue;
                    }
                    None => return,
                },
            };
            let left = |vote: Vote| vote != office;
            let ready = tokio::select! {
                ready = self.take_office() => ready,
                _ = changes.wait_for(|metrics| left(metrics.vote)) => false,
            };
            while ready && !left(changes.borrow().vote) {
                let first = tokio::select! {
                    first = waiting.recv() => first,
                    _ = changes.wait_for(|metrics| left(metrics.vote)) => break,
                };
                match first {
                    Some(first) => self.decide(first, &mut waiting).await,
                    None => return,
                }
            }
            if !ready && !left(changes.borrow().vote) {
                // It leads and can't: its store failed, or it is stopping.
                return;
            }
        }
    }

    /// Waits for all that was there before, and names a cluster that has no name. Whether it may decide.
    async fn take_office(&mut self) -> bool {
        let mut data = self.raft.data_metrics();
        // openraft tells of its log before it tells that it leads.
        let end = data.borrow().last_log;
        let applied = data.wait_for(|data| data.last_applied >= end);
        if applied.await.is_err() {
            return false;
        }
        let image = self.shown.image();
        if image.cluster_id().is_some() {
            return true;
        }
        let first = match self.import.take() {
            Some(import) => imported(&import),
            None => named(&image, self.new_cluster_id.clone()),
        };
        matches!(self.propose(first).await, Ok(()))
    }

    /// Decides the commands that wait, up to the bounds of an entry, and answers once that is applied.
    async fn decide(&self, first: Waiting, waiting: &mut mpsc::Receiver<Waiting>) {
        let mut batch = Batch::after(self.shown.image());
        let mut next = Some(first);
        while let Some(Waiting {
            mut command,
            answer,
        }) = next
        {
            // Who asked may have given up, and asked another leader.
            if !answer.is_closed() {
                command.stamp(Clock.now_ms());
                let result = batch.decide(&command, &*self.rules);
                batch.answers.push((answer, result));
            }
            next = match batch.is_full() {
                true => None,
                false => waiting.try_recv().ok(),
            };
        }
        let kept = match batch.records.is_empty() {
            true => Ok(()),
            false => self.propose(batch.proposal()).await,
        };
        batch.answer(kept);
    }

    async fn propose(&self, proposal: Proposal) -> Result<(), Undecided> {
        match self.raft.client_write(proposal).await {
            Ok(written) => match written.data {
                Applied::Done => Ok(()),
                Applied::Skipped(why) => Err(Undecided::Skipped(why)),
            },
            Err(RaftError::APIError(_)) => Err(Undecided::NotLeader),
            Err(RaftError::Fatal(fatal)) => Err(Undecided::Stopped(fatal.to_string())),
        }
    }
}

fn imported(image: &Image) -> Proposal {
    let position = image.position();
    let (epoch, offset) = (position.epoch, position.offset);
    Proposal {
        based_on: 0,
        imported: Some(ImportedAt { epoch, offset }),
        records: Arc::new(image.records().collect()),
    }
}

fn named(image: &Image, cluster_id: Arc<str>) -> Proposal {
    Proposal {
        based_on: image.position().offset,
        imported: None,
        records: Arc::new(founding_records(cluster_id)),
    }
}

type Answer = oneshot::Sender<Result<Decided, Undecided>>;

/// Commands decided and not yet kept.
struct Batch {
    image: Image,
    based_on: u64,
    records: Vec<Record>,
    answers: Vec<(Answer, Result<Outcome, Refusal>)>,
    topics: Vec<TopicChanges>,
}

impl Batch {
    fn after(image: Arc<Image>) -> Self {
        Self {
            based_on: image.position().offset,
            image: Image::clone(&image),
            records: Vec::new(),
            answers: Vec::new(),
            topics: Vec::new(),
        }
    }

    fn decide(&mut self, command: &Command, rules: &dyn ConfigRules) -> Result<Outcome, Refusal> {
        let Decision { records, outcome } = decide(&self.image, command, rules)?;
        check_size(&records)?;
        let (before, epoch) = (self.image.clone(), self.image.position().epoch);
        self.image
            .apply_entry(epoch, &records)
            .expect("a decision fits the image it was made on");
        self.records.extend(records);
        self.topics
            .extend(TopicChanges::of(command, &before, &self.image));
        Ok(outcome)
    }

    fn is_full(&self) -> bool {
        self.answers.len() >= BATCH_COMMANDS_MAX || self.records.len() >= BATCH_RECORDS_MAX
    }

    fn proposal(&mut self) -> Proposal {
        Proposal {
            based_on: self.based_on,
            imported: None,
            records: Arc::new(std::mem::take(&mut self.records)),
        }
    }

    /// Those who have gone need no answer.
    fn answer(self, kept: Result<(), Undecided>) {
        if kept.is_ok() {
            self.topics.iter().for_each(TopicChanges::tell);
        }
        let offset = self.image.position().offset;
        for (answer, result) in self.answers {
            let result = match (&kept, result) {
                (Ok(()), Ok(outcome)) => Ok(Decided { outcome, offset }),
                (Ok(()), Err(refusal)) => Err(Undecided::Refused(refusal)),
                // A refusal, too, was made on an image that has not come to be.
                (Err(Undecided::NotLeader | Undecided::Refused(_)), _) => Err(Undecided::NotLeader),
                (Err(Undecided::Skipped(why)), _) => Err(Undecided::Skipped(why.clone())),
                (Err(Undecided::Stopped(why)), _) => Err(Undecided::Stopped(why.clone())),
            };
            let _ = answer.send(result);
        }
    }
}

/// Refuses what would not fit into a frame. Only partitions with very many replicas come near.
fn check_size(records: &[Record]) -> Result<(), Refusal> {
    /// A record's own fields, generously.
    const RECORD_BYTES: usize = 1_024;
    /// A replica in a partition's three lists.
    const REPLICA_BYTES: usize = 100;
    let bytes = |record: &Record| match record {
        Record::Partition(partition) => RECORD_BYTES + REPLICA_BYTES * partition.replicas.len(),
        Record::Config(config) => {
            RECORD_BYTES + config.value.as_ref().map_or(0, |value| 2 * value.len())
        }
        _ => RECORD_BYTES,
    };
    match records.iter().map(bytes).sum::<usize>() <= COMMAND_BYTES_MAX {
        true => Ok(()),
        false => Err(Refusal::new(
            ErrorCode::PolicyViolation,
            "The request would change more metadata than one entry of the metadata log may hold: split it.",
        )),
    }
}
