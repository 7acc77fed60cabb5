//! Compaction of the logs that ask for it, one after the other, at a bounded pace; given up where the broker stops.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_log::{Checkpoint, CleaningIo, LogError, StorageError};
use tokio_util::sync::CancellationToken;

use super::Partitions;
use super::housekeeping::{free_log, is_online};
use crate::config::BrokerConfig;
use crate::metrics::{Care, Metrics};
use crate::partition::Partition;

/// How long a compaction that is slowed down may take to see that the broker stops.
const STOP_SEEN_MAX: Duration = Duration::from_millis(100);

/// What compaction may take.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    /// Memory for the table of keys.
    pub map_bytes: usize,
    /// Reads and writes together; not positive is no bound.
    pub bytes_per_second: f64,
}

impl Allowance {
    pub fn of(config: &BrokerConfig) -> Self {
        let map_bytes = usize::try_from(config.log_cleaner_dedupe_buffer_size);
        Self {
            map_bytes: map_bytes.unwrap_or(usize::MAX),
            bytes_per_second: config.log_cleaner_io_max_bytes_per_second,
        }
    }
}

impl Partitions {
    /// Compacts the logs that are dirty enough. Where the memory is too little for a log's keys, the others have their
    /// turn before it goes on.
    pub fn compact(&self, allowance: Allowance, stopping: &CancellationToken) {
        let is_due = |partition: &Arc<Partition>| {
            is_online(partition) && partition.config().cleanup_policy.compact
        };
        let mut due: Vec<Arc<Partition>> = self.all().into_iter().filter(is_due).collect();
        let mut pace = Pace::new(allowance.bytes_per_second, stopping, &self.metrics);
        while !due.is_empty() && !stopping.is_cancelled() {
            due.retain(|partition| {
                let compacted = self.compact_one(partition, allowance.map_bytes, &mut pace);
                compacted.unwrap_or_else(|error| {
                    self.tell_failed(partition, &error);
                    false
                })
            });
        }
    }

    fn tell_failed(&self, partition: &Partition, error: &LogError) {
        self.metrics.care_failed(Care::Compaction);
        tracing::error!(topic = %partition.topic(), partition = partition.index(), %error, "compaction failed");
        partition.distrust_if_offline();
        partition.reader().note_failure(error);
    }

    /// One run; whether another one is due at once.
    fn compact_one(
        &self,
        partition: &Partition,
        map_bytes: usize,
        pace: &mut Pace<'_>,
    ) -> Result<bool, LogError> {
        // While its log goes to another directory, it is compacted in a later round.
        let Some(_alone) = partition.rewriting().try_lock() else {
            return Ok(false);
        };
        let key = (partition.topic().to_string(), partition.index());
        let from = self.cleaned_to.lock().get(&key).copied().unwrap_or(0);
        let now_ms = self.clock.now_ms();
        let Some(log) = free_log(partition) else {
            return Ok(false);
        };
        let plan = log.cleaning_plan(from, partition.high_watermark(), now_ms)?;
        drop(log);
        let Some(plan) = plan else { return Ok(false) };
        pace.begin(plan.bytes());
        let cleaned = plan.clean(map_bytes, &mut |io| pace.after(io));
        pace.end();
        let Some(cleaned) = cleaned? else {
            return Ok(false);
        };
        let (before, after, has_more) = (
            cleaned.bytes_before(),
            cleaned.bytes_after(),
            cleaned.has_more(),
        );
        let mut log = partition.log_blocking();
        let installed = self.deleting(|trash| log.install(cleaned, trash))?;
        drop(log);
        let Some(offset) = installed else {
            return Ok(false);
        };
        self.metrics.compacted(before, after);
        let mut cleaned_to = self.cleaned_to.lock();
        if partition.is_retired() {
            return Ok(false);
        }
        cleaned_to.insert(key, offset);
        drop(cleaned_to);
        self.checkpoint_cleaned_of(partition)?;
        tracing::info!(
            topic = %partition.topic(), partition = partition.index(), up_to = offset,
            bytes_before = before, bytes_after = after, "the log was compacted"
        );
        Ok(has_more)
    }

    /// Writes up to where each log is compacted, and was not cut since.
    pub(super) fn checkpoint_cleaned(&self) -> Result<(), StorageError> {
        let dirs = 0..self.dirs.len();
        let written = dirs.map(|dir| self.checkpoint_cleaned_in(dir));
        written.fold(Ok(()), Result::and)
    }

    /// The same where this log is: other directories may be on disks that refuse.
    fn checkpoint_cleaned_of(&self, partition: &Partition) -> Result<(), StorageError> {
        let dirs = self.dirs_of(partition).into_iter();
        let written = dirs.map(|dir| self.checkpoint_cleaned_in(dir));
        written.fold(Ok(()), Result::and)
    }

    fn checkpoint_cleaned_in(&self, dir: usize) -> Result<(), StorageError> {
        self.write_in(dir, Checkpoint::Cleaner, &|partition: &Partition| {
            let key = (partition.topic().to_string(), partition.index());
            let offset = *self.cleaned_to.lock().get(&key)?;
            Some(partition.reader().cleaned_to(offset))
        })
    }
}

/// Slows compaction down to its allowance, counts what it has read, and gives it up where the broker stops.
struct Pace<'a> {
    bytes_per_second: f64,
    stopping: &'a CancellationToken,
    metrics: &'a Metrics,
    begun: Instant,
    /// Bytes since then.
    bytes: u64,
    /// Still to be read of the log at hand.
    left: u64,
}

impl<'a> Pace<'a> {
    fn new(bytes_per_second: f64, stopping: &'a CancellationToken, metrics: &'a Metrics) -> Self {
        Self {
            bytes_per_second,
            stopping,
            metrics,
            begun: Instant::now(),
            bytes: 0,
            left: 0,
        }
    }

    fn begin(&mut self, bytes: u64) {
        self.left = bytes;
        self.metrics.compacting(self.left);
    }

    fn end(&mut self) {
        self.metrics.compacting(0);
    }

    fn after(&mut self, io: CleaningIo) -> ControlFlow<()> {
        let (CleaningIo::Read(bytes) | CleaningIo::Written(bytes)) = io;
        self.bytes += bytes;
        if let CleaningIo::Read(bytes) = io {
            self.left = self.left.saturating_sub(bytes);
            self.metrics.compaction_read(bytes, self.left);
        }
        while let Some(early) = self.due().checked_sub(self.begun.elapsed()) {
            if early.is_zero() || self.stopping.is_cancelled() {
                break;
            }
            std::thread::sleep(early.min(STOP_SEEN_MAX));
        }
        match self.stopping.is_cancelled() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// When so many bytes are allowed, from the beginning on.
    fn due(&self) -> Duration {
        if self.bytes_per_second <= 0.0 {
            return Duration::ZERO;
        }
        let seconds = self.bytes as f64 / self.bytes_per_second;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}
