//! Real clients that write down what they were told of each record, and what they read, while brokers fail; and the
//! comparison of that with what is stored. `clients/python/ledger.py` has the lines that they print.

mod check;
mod gaps;
mod program;

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::suite::Suite;
pub use check::{Findings, Stored};
pub use gaps::longest;
use program::Program;

const LIBRDKAFKA: &str = "librdkafka";
/// Of [`Consuming::start_in_group`].
pub const GROUP: &str = "followers";
/// librdkafka dials a broker that it has lost again and again later each time, up to ten seconds, and forgets that after as
/// long; here faults come faster, and the gaps would be its pauses. Kafka's own client has this bound by default.
const RECONNECT_MAX_MS: &str = "1000";

/// Now, in microseconds, on the clock that the clients use as well.
pub fn now_us() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1_000
}

/// One acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// Where the record is.
    pub partition: i32,
    /// Negative where the client was not told: then it was a duplicate of one that is there.
    pub offset: i64,
    /// Which of the producer's records.
    pub number: u64,
    /// When the client was told.
    pub at_us: i64,
}

/// A topic, and where it is.
#[derive(Debug, Clone)]
pub struct Target {
    /// Brokers to ask first.
    pub bootstrap: String,
    /// The topic's name.
    pub topic: String,
    /// All its partitions are used.
    pub partitions: i32,
}

impl Target {
    fn arguments(&self, role: &str) -> Vec<String> {
        let partitions = self.partitions.to_string();
        vec![
            role.into(),
            self.bootstrap.clone(),
            self.topic.clone(),
            partitions,
        ]
    }
}

/// A client that produces with acks=all, idempotent, to all partitions in turn.
pub struct Producing {
    program: Program,
    /// The part of its records' keys before the number.
    pub name: String,
    /// So far.
    pub acks: Vec<Ack>,
    /// What it was told of records that are not stored, or may not be.
    pub failed: Vec<String>,
    sent: Option<u64>,
}

impl Producing {
    /// Starts a suite's producer of `rate` records a second.
    pub fn start(suite: &Suite, target: &Target, rate: u32, folder: &Path) -> Result<Self> {
        let name = suite.name().trim_start_matches("ledger-").to_owned();
        let mut arguments = target.arguments("produce");
        arguments.extend([name.clone(), rate.to_string()]);
        if name == LIBRDKAFKA {
            arguments.push(RECONNECT_MAX_MS.to_owned());
        }
        Ok(Self {
            program: Program::start(suite, &arguments, &folder.join(format!("{name}-produce")))?,
            name,
            acks: Vec::new(),
            failed: Vec::new(),
            sent: None,
        })
    }

    /// Reads what it has written down since.
    pub fn look(&mut self) -> Result<()> {
        for line in self.program.lines()? {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["ack", partition, offset, number, at_us] => self.acks.push(Ack {
                    partition: partition.parse()?,
                    offset: offset.parse()?,
                    number: number.parse()?,
                    at_us: at_us.parse()?,
                }),
                ["failed", ..] => self.failed.push(line),
                ["end", sent] => self.sent = Some(sent.parse()?),
                _ => bail!("{}: not a line of a ledger: {line}", self.name),
            }
        }
        Ok(())
    }

    /// Whether every partition has acknowledged a record that was acknowledged to this client after that time.
    pub fn has_all_since(&self, partitions: i32, since_us: i64) -> bool {
        let recent = self.acks.iter().rev();
        let recent = recent.take_while(|ack| ack.at_us > since_us);
        let mut seen = vec![false; partitions as usize];
        recent.for_each(|ack| seen[ack.partition as usize] = true);
        seen.iter().all(|seen| *seen)
    }

    /// Ends it, and waits until every record has its fate; how many it sent.
    pub fn finish(&mut self) -> Result<u64> {
        self.program.finish("")?;
        self.look()?;
        self.sent
            .with_context(|| format!("{} did not say how many it sent", self.name))
    }
}

/// A client that reads all partitions from the beginning, and must never be reset.
pub struct Consuming {
    program: Program,
    /// What it is called in reports.
    pub name: String,
    /// Partition, offset and key of all that it has read, in order.
    pub reads: Vec<(i32, i64, String)>,
    /// What it could not go on with.
    pub failed: Vec<String>,
}

impl Consuming {
    /// Starts a suite's consumer.
    pub fn start(suite: &Suite, target: &Target, folder: &Path) -> Result<Self> {
        Self::start_as("consume", suite, target, folder)
    }

    /// Starts librdkafka's consumer as the one member of the group [`GROUP`].
    pub fn start_in_group(suite: &Suite, target: &Target, folder: &Path) -> Result<Self> {
        Self::start_as("follow", suite, target, folder)
    }

    fn start_as(role: &str, suite: &Suite, target: &Target, folder: &Path) -> Result<Self> {
        let name = format!("{}-{role}", suite.name().trim_start_matches("ledger-"));
        let arguments = target.arguments(role);
        Ok(Self {
            program: Program::start(suite, &arguments, &folder.join(&name))?,
            name,
            reads: Vec::new(),
            failed: Vec::new(),
        })
    }

    /// Lets it read up to these offsets, one a partition, and end.
    pub fn finish(&mut self, ends: &[i64]) -> Result<()> {
        let ends: Vec<String> = ends.iter().map(ToString::to_string).collect();
        let ended = self.program.finish(&ends.join(" "));
        for line in self.program.lines()? {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["read", partition, offset, key] => {
                    self.reads
                        .push((partition.parse()?, offset.parse()?, key.to_owned()));
                }
                ["failed", ..] => self.failed.push(line),
                ["end"] => {}
                _ => bail!("{}: not a line of a ledger: {line}", self.name),
            }
        }
        // A failure that it has told is one of the ledger's findings.
        if self.failed.is_empty() {
            ended
        } else {
            Ok(())
        }
    }
}
