//! Whether the next broker may be taken away because this one is back: what `/healthz/ready` answers.
//!
//! It latches: once ready, a broker is ready until it stops, whatever becomes of the quorum, its leaders or its
//! replicas. Until then it waits, in this life, to be registered and unfenced and, all at one moment, for each of its
//! replicas:
//!
//! | replica | is waited for |
//! | --- | --- |
//! | in sync | no; a partition that is led here is, though nobody else has a copy |
//! | added by a reassignment that is under way | no: it may take hours, and nobody counts on it yet |
//! | out of sync, somebody leads | yes, for as long as it takes |
//! | out of sync, nobody leads | for [`LEADERLESS_WAIT`]: who can lead it may be starting as well, as after a loss of all power, and this broker has not what it has; who is not there by then may be gone for good |
//!
//! A broker that is draining joins no ISR: one with replicas left that starts then is ready when that is over.

mod watch;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use milena_metadata::{BrokerId, Image};
use parking_lot::Mutex;

use crate::server::{Standing, standing};
pub use watch::watch;

/// For how long, from when this life was first unfenced, a partition without a leader is waited for: brokers that are
/// started together come within seconds, and those that recover their logs longer are a second mishap.
pub const LEADERLESS_WAIT: Duration = Duration::from_secs(30);
/// So many partitions are named, for a line that people read.
const NAMED_MAX: usize = 2;

/// The latch, and what it waits for. The watch of this life sets it, HTTP reads it.
#[derive(Debug, Default)]
pub struct Readiness {
    ready: AtomicBool,
    awaits: Mutex<Awaits>,
}

impl Readiness {
    /// What is waited for; none once it is ready.
    pub fn awaits(&self) -> Option<Awaits> {
        match self.ready.load(Ordering::Acquire) {
            true => None,
            false => Some(self.awaits.lock().clone()),
        }
    }

    /// It is ready, and stays so.
    pub fn latch(&self) {
        self.ready.store(true, Ordering::Release);
    }

    fn wait_for(&self, awaits: Awaits) {
        *self.awaits.lock() = awaits;
    }
}

/// What a broker waits for before it is ready.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Awaits {
    /// Its metadata and its logs.
    #[default]
    Data,
    /// The quorum, which has it fenced.
    Quorum,
    Replicas(Lagging),
}

/// Replicas that are not in sync.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lagging {
    pub count: usize,
    /// The first few of their partitions.
    pub named: Vec<String>,
    /// How many have nobody to follow.
    pub leaderless: usize,
    /// Whether the broker is draining, and so joins no ISR.
    pub draining: bool,
}

impl fmt::Display for Awaits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data => f.write_str("starting, the data is still being opened"),
            Self::Quorum => f.write_str("waits to be unfenced by the metadata quorum"),
            Self::Replicas(lagging) => lagging.fmt(f),
        }
    }
}

impl fmt::Display for Lagging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = match self.count {
            1 => "partition",
            _ => "partitions",
        };
        let named = self.named.join(", ");
        write!(f, "waits for {} {noun} to be in sync: {named}", self.count)?;
        match self.count - self.named.len() {
            0 => {}
            more => write!(f, ", …and {more} more")?,
        }
        if self.leaderless > 0 {
            write!(f, "; {} without a leader", self.leaderless)?;
        }
        if self.draining {
            f.write_str("; this broker is draining and joins none until that is over")?;
        }
        Ok(())
    }
}

/// What a broker's life waits for on this image; none where all that has to be is at this moment. `leaderless` says
/// whether partitions that nobody leads are still waited for.
fn awaited(image: &Image, id: BrokerId, epoch: i64, leaderless: bool) -> Option<Awaits> {
    let life = match standing(image, id, epoch) {
        Standing::Serving => image.broker(id)?,
        Standing::Fenced | Standing::Over => return Some(Awaits::Quorum),
    };
    let mut lagging = Lagging {
        draining: life.draining,
        ..Lagging::default()
    };
    for (topic, number, partition) in image.out_of_sync(id) {
        let has_leader = partition.leader.is_some();
        if !has_leader && !leaderless {
            continue;
        }
        lagging.count += 1;
        lagging.leaderless += usize::from(!has_leader);
        if lagging.named.len() < NAMED_MAX {
            lagging.named.push(format!("{}-{number}", topic.name));
        }
    }
    (lagging.count > 0).then_some(Awaits::Replicas(lagging))
}

#[cfg(test)]
mod tests;
