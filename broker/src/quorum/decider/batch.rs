//! Commands decided one after the other and not yet kept, and the entries that they become.
//!
//! An entry is written, sent and applied as one, and the heartbeats wait for that: so it is of a bounded size. What is
//! decided for a broker may touch every partition that it hosts, and may need several. Those with the partitions go
//! first, each of which would be right by itself; the broker's own record comes with the last. While the others are
//! kept the broker is what it was, and who asked has no answer, so that a decision that ends halfway, with its
//! leader, is made again by the next one.

use std::io;
use std::sync::Arc;

use milena_metadata::{Command, ConfigRules, Decision, Image, Outcome, Record, Refusal, decide};
use milena_protocol::ErrorCode;
use tokio::sync::oneshot;

use super::Undecided;
use crate::peer::{Decided, FRAME_BYTES_MAX};
use crate::quorum::topic_changes::TopicChanges;
use crate::quorum::types::Proposal;

/// Commands decided together.
const COMMANDS_MAX: usize = 256;
/// Bytes of records in an entry, unless one command needs more: some 10,000 partitions of three replicas, and tens of
/// milliseconds for each who takes it.
pub(super) const ENTRY_BYTES_MAX: usize = 4 << 20;
/// Bytes of one command's records that have to be in one entry: it has to fit into a frame between brokers, beside
/// what else that holds.
const WHOLE_BYTES_MAX: usize = FRAME_BYTES_MAX / 2;

/// Where a command's answer goes.
pub(super) type Answer = oneshot::Sender<Result<Decided, Undecided>>;

pub(super) struct Batch {
    image: Image,
    based_on: u64,
    entries: Vec<Records>,
    answers: Vec<(Answer, Result<Outcome, Refusal>)>,
    topics: Vec<TopicChanges>,
}

/// Records of one entry.
#[derive(Default)]
struct Records {
    records: Vec<Record>,
    /// As they are written.
    bytes: usize,
}

impl Batch {
    pub(super) fn after(image: Arc<Image>) -> Self {
        Self {
            based_on: image.position().offset,
            image: Image::clone(&image),
            entries: Vec::new(),
            answers: Vec::new(),
            topics: Vec::new(),
        }
    }

    /// Decides a command on what those before it leave.
    pub(super) fn take(&mut self, command: &Command, rules: &dyn ConfigRules, answer: Answer) {
        let result = self.decide(command, rules);
        self.answers.push((answer, result));
    }

    fn decide(&mut self, command: &Command, rules: &dyn ConfigRules) -> Result<Outcome, Refusal> {
        let Decision { records, outcome } = decide(&self.image, command, rules)?;
        let parts = divided(command, records)?;
        let (before, epoch) = (self.image.clone(), self.image.position().epoch);
        for part in parts {
            self.image
                .apply_entry(epoch, &part.records)
                .expect("a decision fits the image it was made on");
            self.keep(part);
        }
        self.topics
            .extend(TopicChanges::of(command, &before, &self.image));
        Ok(outcome)
    }

    /// Small ones share an entry.
    fn keep(&mut self, part: Records) {
        match self.entries.last_mut() {
            _ if part.records.is_empty() => {}
            Some(last) if last.bytes + part.bytes <= ENTRY_BYTES_MAX => last.append(part),
            _ => self.entries.push(part),
        }
    }

    /// Whether the next command waits for the next batch.
    pub(super) fn is_full(&self) -> bool {
        let bytes = self.entries.iter().map(|entry| entry.bytes).sum::<usize>();
        self.answers.len() >= COMMANDS_MAX || bytes >= ENTRY_BYTES_MAX
    }

    /// How many partitions a decision may have to look at.
    pub(super) fn partition_count(&self) -> usize {
        self.image.partition_count()
    }

    /// What is to be kept, in order. Where one is not kept the others must not be.
    pub(super) fn proposals(&mut self) -> impl Iterator<Item = Proposal> + use<> {
        let mut based_on = self.based_on;
        let entries = std::mem::take(&mut self.entries).into_iter();
        entries.map(move |entry| {
            let proposal = Proposal {
                based_on,
                imported: None,
                records: Arc::new(entry.records),
            };
            based_on += proposal.records.len() as u64;
            proposal
        })
    }

    /// Those who have gone need no answer.
    pub(super) fn answer(self, kept: Result<(), Undecided>) {
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

impl Records {
    fn push(&mut self, (record, bytes): (Record, usize)) {
        self.records.push(record);
        self.bytes += bytes;
    }

    fn append(&mut self, other: Self) {
        self.records.extend(other.records);
        self.bytes += other.bytes;
    }
}

impl FromIterator<(Record, usize)> for Records {
    fn from_iter<I: IntoIterator<Item = (Record, usize)>>(sized: I) -> Self {
        let mut all = Self::default();
        sized.into_iter().for_each(|record| all.push(record));
        all
    }
}

/// A decision's records, in as many parts as it needs. What makes partitions is not divided: a topic must not be seen
/// with a few of them.
fn divided(command: &Command, records: Vec<Record>) -> Result<Vec<Records>, Refusal> {
    let size = |record| {
        let bytes = written(&record);
        (record, bytes)
    };
    let sized: Vec<(Record, usize)> = records.into_iter().map(size).collect();
    if sized.iter().map(|(_, bytes)| bytes).sum::<usize>() <= ENTRY_BYTES_MAX {
        return Ok(vec![sized.into_iter().collect()]);
    }
    let makes = matches!(
        command,
        Command::CreateTopics(_) | Command::CreatePartitions(_)
    );
    let is_apart = |(record, _): &_| !makes && matches!(record, Record::Partition(_));
    let (apart, whole): (Vec<_>, Vec<_>) = sized.into_iter().partition(is_apart);
    let whole: Records = whole.into_iter().collect();
    if whole.bytes > WHOLE_BYTES_MAX {
        return Err(Refusal::new(
            ErrorCode::PolicyViolation,
            format!(
                "The request would change {} bytes of metadata at once, of {WHOLE_BYTES_MAX} at the most: split it.",
                whole.bytes
            ),
        ));
    }
    let mut parts = vec![Records::default()];
    for (record, bytes) in apart {
        match parts.last_mut() {
            Some(last) if last.bytes + bytes <= ENTRY_BYTES_MAX => last.push((record, bytes)),
            _ => parts.push([(record, bytes)].into_iter().collect()),
        }
    }
    parts.push(whole);
    Ok(parts)
}

/// A record's bytes in its entry.
fn written(record: &Record) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    // And the comma behind it.
    let mut count = Count(1);
    serde_json::to_writer(&mut count, record).expect("records have string keys only");
    count.0
}

#[cfg(test)]
mod tests;
