//! The quorum's leader decides: one command after the other, on an image that holds everything proposed before.
//!
//! One entry is under way at a time. The commands that come meanwhile are decided together, each on the image
//! that those before it leave, and share the next (`decider/batch.rs`). A new leader first waits until all that its log
//! held when it was elected is applied; an entry of its own term is the last of that.

mod batch;

use std::sync::Arc;

use milena_metadata::{Command, ConfigRules, Image, Refusal, founding_records};
use openraft::ServerState;
use openraft::error::RaftError;
use tokio::sync::mpsc;

use self::batch::{Answer, Batch};
use super::machine::Shown;
use super::types::{Applied, ImportedAt, Proposal, Raft, Vote};
use crate::clock::Clock;

/// Commands that wait for the decider; whoever comes later waits to queue. The admin APIs are rare, and each
/// command may be as large as a request.
pub(super) const WAITING_MAX: usize = 1_024;

/// With so many partitions a decision is made on a thread of its own: one that looks at all of them would hold up the
/// heartbeats.
const BESIDE_PARTITIONS_MIN: usize = 10_000;

/// A command, and where its answer goes.
pub(super) struct Waiting {
    pub(super) command: Command,
    pub(super) answer: Answer,
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
                    over = changes.wait_for(|metrics| left(metrics.vote)) => match over {
                        Ok(_) => break,
                        // openraft has ended, and says for ever that it leads.
                        Err(_) => return,
                    },
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

    /// Decides the commands that wait, up to the bounds of a batch, and answers once all of it is applied.
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
                batch = self.decide_one(batch, command, answer).await;
            }
            next = match batch.is_full() {
                true => None,
                false => waiting.try_recv().ok(),
            };
        }
        let kept = self.keep(batch.proposals()).await;
        batch.answer(kept);
    }

    async fn decide_one(&self, mut batch: Batch, command: Command, answer: Answer) -> Batch {
        if batch.partition_count() < BESIDE_PARTITIONS_MIN {
            batch.take(&command, &*self.rules, answer);
            return batch;
        }
        let rules = self.rules.clone();
        let decide = move || {
            batch.take(&command, &*rules, answer);
            batch
        };
        crate::blocking::run(decide).await
    }

    /// One after the other, up to the first that is not kept.
    async fn keep(&self, proposals: impl Iterator<Item = Proposal>) -> Result<(), Undecided> {
        for proposal in proposals {
            self.propose(proposal).await?;
        }
        Ok(())
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

/// What a command comes to on an image that nobody else changes: of a member that is stopped.
pub(super) fn decided_offline(
    image: Image,
    command: &Command,
    rules: &dyn ConfigRules,
) -> Vec<Proposal> {
    let mut batch = Batch::after(Arc::new(image));
    // Nobody waits for the answer.
    let (answer, _) = tokio::sync::oneshot::channel();
    batch.take(command, rules, answer);
    batch.proposals().collect()
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
