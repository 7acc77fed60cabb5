//! Answers that are being taken: a task for each data directory, so that a disk that stalls holds up what lies on it and
//! nothing else.

use std::collections::HashMap;
use std::sync::Arc;

use milena_protocol::api::fetch::FetchPartitionResponse;
use tokio::task::JoinSet;

use super::copies::Key;
use super::take::{Taken, take};
use crate::partition::Partition;
use crate::partitions::Partitions;

/// A partition's part of an answer.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) key: Key,
    pub(super) replica: Arc<Partition>,
    /// In which the leader was asked.
    pub(super) epoch: i32,
    pub(super) answer: FetchPartitionResponse,
}

/// What came of the parts that lie in one directory.
#[derive(Debug)]
pub(super) struct TakenThere {
    pub(super) directory: usize,
    pub(super) parts: Vec<(Key, Taken)>,
}

/// At most one part of each partition is under way: whoever begins asks for no other meanwhile.
#[derive(Debug, Default)]
pub(super) struct Taking {
    tasks: JoinSet<TakenThere>,
    /// Tasks under way, by directory.
    counts: HashMap<usize, usize>,
}

impl Taking {
    /// Begins to take what lies in a directory. False where something of an earlier answer is still being taken there:
    /// the disk is slow.
    pub(super) fn begin(
        &mut self,
        partitions: &Arc<Partitions>,
        (directory, parts): (usize, Vec<Part>),
        now_ms: i64,
    ) -> bool {
        let count = self.counts.entry(directory).or_default();
        *count += 1;
        let is_alone = *count == 1;
        let partitions = partitions.clone();
        self.tasks
            .spawn(take_all(partitions, (directory, parts), now_ms));
        is_alone
    }

    /// The next that is taken, none where nothing is under way. Nothing is lost where the wait is given up.
    pub(super) async fn next(&mut self) -> Option<TakenThere> {
        loop {
            match self.tasks.join_next().await? {
                Ok(taken) => {
                    if let Some(count) = self.counts.get_mut(&taken.directory) {
                        *count -= 1;
                    }
                    return Some(taken);
                }
                // It panicked, which is a bug; nobody ends it otherwise.
                Err(error) => tracing::error!(%error, "taking an answer came to nothing"),
            }
        }
    }
}

/// Takes what lies in a directory. Of what was cut the recovery points are on file when it returns: nothing is appended
/// in its place before.
pub(super) async fn take_all(
    partitions: Arc<Partitions>,
    (directory, parts): (usize, Vec<Part>),
    now_ms: i64,
) -> TakenThere {
    let mut taken = Vec::with_capacity(parts.len());
    let mut cut = Vec::new();
    for part in parts {
        let what = take(&part.replica, part.epoch, part.answer, now_ms).await;
        if what == Taken::Cut {
            cut.push(part.replica);
        }
        taken.push((part.key, what));
    }
    if !cut.is_empty() {
        note_cuts(partitions, cut).await;
    }
    TakenThere {
        directory,
        parts: taken,
    }
}

/// The recovery points on file may lie beyond the ends of what was cut: a crash must not trust them. That the cuts
/// themselves are not on disk yet does no harm: a crash may only bring back what was cut off, which the leader has cut off
/// once more.
async fn note_cuts(partitions: Arc<Partitions>, cut: Vec<Arc<Partition>>) {
    let written = crate::blocking::spawn(move || partitions.checkpoint_cuts(&cut)).await;
    if let Ok(Err(error)) = written {
        tracing::error!(%error, "the recovery points could not be written after a log was cut");
    }
}

/// Parts by the directory that they lie in, in their order.
pub(super) fn by_directory(parts: impl Iterator<Item = Part>) -> Vec<(usize, Vec<Part>)> {
    let mut all: Vec<(usize, Vec<Part>)> = Vec::new();
    for part in parts {
        let directory = part.replica.directory();
        match all.iter_mut().find(|(there, _)| *there == directory) {
            Some((_, parts)) => parts.push(part),
            None => all.push((directory, vec![part])),
        }
    }
    all
}
