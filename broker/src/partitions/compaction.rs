//! Compaction of the logs that ask for it: in each data directory one after the other, in all at a bounded pace; given up
//! where the broker stops.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_log::{Checkpoint, Cleaned, CleaningIo, Installed, LogError, StorageError};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::Partitions;
use super::housekeeping::{free_log, is_online};
use crate::config::BrokerConfig;
use crate::metrics::{Care, Metrics};
use crate::partition::Partition;

/// How long a compaction that is slowed down may take to see that the broker stops.
const STOP_SEEN_MAX: Duration = Duration::from_millis(100);

/// How much longer a log whose compaction has failed again waits for its next turn: each reads what lies before the failure.
const FAILED_STEP_S: f64 = 15.0;
/// Within the quarter of an hour in which the alert looks for failures.
const FAILED_WAIT_MAX_S: f64 = 600.0;

/// What compaction may take, that of all data directories together.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    /// Memory for tables of keys, of which each directory has its share: one whose disk stalls keeps hold of it.
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
    /// Compacts the logs of a data directory that are dirty enough. Where the memory is too little for a log's keys, the
    /// others have their turn before it goes on.
    pub fn compact(
        &self,
        dir: usize,
        allowance: &dyn Fn() -> Allowance,
        stopping: &CancellationToken,
    ) {
        let is_due = |partition: &Arc<Partition>| {
            is_online(partition)
                && partition.config().cleanup_policy.compact
                && !self.compaction.waits(partition)
        };
        let mut due: Vec<Arc<Partition>> = self.all_in(dir).into_iter().filter(is_due).collect();
        let mut pace = Pace {
            allowance,
            all: &self.compaction,
            stopping,
            metrics: &self.metrics,
            left: 0,
        };
        while !due.is_empty() && !stopping.is_cancelled() {
            due.retain(|partition| match self.compact_one(partition, &mut pace) {
                Ok(Turn::Missed) => false,
                Ok(turn) => {
                    self.compaction.note(partition, true);
                    turn == Turn::DoneInPart
                }
                Err(error) => {
                    self.compaction.note(partition, false);
                    self.tell_failed(partition, &error);
                    false
                }
            });
        }
    }

    fn tell_failed(&self, partition: &Partition, error: &LogError) {
        self.metrics.care_failed(Care::Compaction);
        tracing::error!(topic = %partition.topic(), partition = partition.index(), %error, "compaction failed");
        partition.distrust_if_offline();
        partition.reader().note_failure(error);
    }

    fn compact_one(&self, partition: &Partition, pace: &mut Pace<'_>) -> Result<Turn, LogError> {
        // While its log goes to another directory, it is compacted in a later round.
        let Some(_alone) = partition.rewriting().try_lock() else {
            return Ok(Turn::Missed);
        };
        let key = key_of(partition);
        let from = self.cleaned_to.lock().get(&key).copied().unwrap_or(0);
        let now_ms = self.clock.now_ms();
        let max_lag_ms = partition.config().max_compaction_lag_ms;
        let max_lag_ms = u64::try_from(max_lag_ms).unwrap_or(u64::MAX);
        partition.reader().learn_ages(from, max_lag_ms)?;
        let Some(log) = free_log(partition) else {
            return Ok(Turn::Missed);
        };
        let plan = log.cleaning_plan(from, partition.high_watermark(), now_ms)?;
        drop(log);
        let Some(plan) = plan else {
            return Ok(Turn::Done);
        };
        let map_bytes = (pace.allowance)().map_bytes / self.dirs.len();
        pace.begin(plan.bytes());
        let cleaned = plan.clean(map_bytes, &mut |io| pace.after(io, partition));
        pace.end();
        let Some(mut cleaned) = cleaned? else {
            return Ok(Turn::Missed);
        };
        let Some(offset) = self.install(partition, &mut cleaned)? else {
            tracing::info!(
                topic = %partition.topic(), partition = partition.index(),
                "the log was cut while it was compacted: it is compacted anew"
            );
            return Ok(Turn::Missed);
        };
        let (before, after) = (cleaned.bytes_before(), cleaned.bytes_after());
        let has_more = cleaned.has_more();
        self.metrics.compacted(before, after);
        let mut cleaned_to = self.cleaned_to.lock();
        if partition.is_retired() {
            return Ok(Turn::Missed);
        }
        cleaned_to.insert(key, offset);
        drop(cleaned_to);
        self.checkpoint_cleaned_of(partition)?;
        tracing::info!(
            topic = %partition.topic(), partition = partition.index(), up_to = offset,
            bytes_before = before, bytes_after = after, "the log was compacted"
        );
        Ok(match has_more {
            true => Turn::DoneInPart,
            false => Turn::Done,
        })
    }

    /// Segment by segment, so that appends wait for the renames of one, and two syncs of the folder; `None` where the log
    /// has been cut meanwhile.
    fn install(
        &self,
        partition: &Partition,
        cleaned: &mut Cleaned,
    ) -> Result<Option<i64>, StorageError> {
        loop {
            let mut log = partition.log_blocking();
            match self.deleting(|trash| log.install_next(cleaned, trash))? {
                Installed::Part => {}
                Installed::All(offset) => return Ok(Some(offset)),
                Installed::Outdated => return Ok(None),
            }
        }
    }

    /// Writes up to where each log of a directory is compacted, and was not cut since.
    pub(super) fn checkpoint_cleaned(&self, dir: usize) -> Result<(), StorageError> {
        self.write_in(dir, Checkpoint::Cleaner, &|partition: &Partition| {
            let key = key_of(partition);
            let offset = *self.cleaned_to.lock().get(&key)?;
            Some(partition.reader().cleaned_to(offset))
        })
    }

    /// The same where this log is: other directories may be on disks that refuse.
    fn checkpoint_cleaned_of(&self, partition: &Partition) -> Result<(), StorageError> {
        let dirs = self.dirs_of(partition).into_iter();
        let written = dirs.map(|dir| self.checkpoint_cleaned(dir));
        written.fold(Ok(()), Result::and)
    }
}

/// What became of a log's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Something else was at the log, or has ended it.
    Missed,
    /// There is nothing to be done now.
    Done,
    /// The memory was too little for all keys: another turn is due at once.
    DoneInPart,
}

fn key_of(partition: &Partition) -> (String, i32) {
    (partition.topic().to_string(), partition.index())
}

/// What the compactions of all data directories have read and written so far.
#[derive(Debug)]
pub(super) struct Compaction {
    begun: Instant,
    due: Mutex<Due>,
    /// Logs whose last compaction has failed, by topic and number.
    failing: Mutex<BTreeMap<(String, i32), Failing>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Failing {
    times: i32,
    /// In seconds since the beginning.
    until_s: f64,
}

impl Failing {
    /// After the first failure it does not wait: that may have passed.
    fn once_more(self, now_s: f64) -> Self {
        let wait_s = FAILED_STEP_S * (2f64.powi(self.times) - 1.0);
        Self {
            times: self.times.saturating_add(1),
            until_s: now_s + wait_s.min(FAILED_WAIT_MAX_S),
        }
    }
}

/// When all of it is allowed.
#[derive(Debug, Default)]
struct Due {
    /// In seconds since the beginning.
    at_s: f64,
    /// What that was reckoned by.
    bytes_per_second: f64,
}

impl Default for Compaction {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            due: Mutex::default(),
            failing: Mutex::default(),
        }
    }
}

impl Compaction {
    fn now_s(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    /// Whether a log has failed so often that it is not its turn.
    fn waits(&self, partition: &Partition) -> bool {
        let failing = self.failing.lock();
        let failed = failing.get(&key_of(partition));
        failed.is_some_and(|failed| self.now_s() < failed.until_s)
    }

    /// What came of a log's turn.
    fn note(&self, partition: &Partition, is_well: bool) {
        let mut failing = self.failing.lock();
        if is_well {
            failing.remove(&key_of(partition));
            return;
        }
        // What is deleted is forgotten after it is retired.
        if partition.is_retired() {
            return;
        }
        let failed = failing.entry(key_of(partition)).or_default();
        *failed = failed.once_more(self.now_s());
    }

    /// The log is gone, and another one may come by its name.
    pub(super) fn forget(&self, key: &(String, i32)) {
        self.failing.lock().remove(key);
    }

    /// Adds so many bytes; when they are allowed, in seconds since the beginning. Time without any is not made up for, nor
    /// is what another rate has left to wait for.
    fn add(&self, bytes: u64, bytes_per_second: f64) -> f64 {
        let mut due = self.due.lock();
        if due.bytes_per_second != bytes_per_second {
            *due = Due {
                at_s: 0.0,
                bytes_per_second,
            };
        }
        due.at_s = due.at_s.max(self.now_s()) + bytes as f64 / bytes_per_second;
        due.at_s
    }
}

/// Slows compaction down to its allowance, counts what it has read, and gives it up where the broker stops.
struct Pace<'a> {
    /// As it is configured now: a rate that was set too low may be raised amid a log.
    allowance: &'a dyn Fn() -> Allowance,
    all: &'a Compaction,
    stopping: &'a CancellationToken,
    metrics: &'a Metrics,
    /// Still to be read of the log at hand.
    left: u64,
}

impl Pace<'_> {
    fn begin(&mut self, bytes: u64) {
        self.left = bytes;
        self.metrics.compaction_begins(bytes);
    }

    fn end(&mut self) {
        self.metrics.compaction_ends(self.left);
    }

    fn after(&mut self, io: CleaningIo, partition: &Partition) -> ControlFlow<()> {
        let (CleaningIo::Read(bytes) | CleaningIo::Written(bytes)) = io;
        if let CleaningIo::Read(bytes) = io {
            let of_left = bytes.min(self.left);
            self.left -= of_left;
            self.metrics.compaction_read(bytes, of_left);
        }
        let bytes_per_second = (self.allowance)().bytes_per_second;
        if bytes_per_second > 0.0 {
            self.wait_until(
                self.all.add(bytes, bytes_per_second),
                bytes_per_second,
                partition,
            );
        }
        match self.is_over(partition) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// What is deleted is to be removed, which nothing that is open is.
    fn is_over(&self, partition: &Partition) -> bool {
        self.stopping.is_cancelled() || partition.is_retired()
    }

    /// As long as the rate is what it was.
    fn wait_until(&self, due_s: f64, bytes_per_second: f64, partition: &Partition) {
        while !self.is_over(partition) && (self.allowance)().bytes_per_second == bytes_per_second {
            let early_s = due_s - self.all.now_s();
            if early_s <= 0.0 {
                break;
            }
            let early = Duration::try_from_secs_f64(early_s).unwrap_or(Duration::MAX);
            std::thread::sleep(early.min(STOP_SEEN_MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compactions_of_all_directories_keep_to_the_allowance_together() {
        let (all, bytes_per_second) = (Compaction::default(), 10.0);
        let due: Vec<f64> = (0..3).map(|_| all.add(1_000, bytes_per_second)).collect();
        assert!(due[0] >= 100.0, "{due:?}");
        assert!((due[2] - due[0] - 200.0).abs() < 1e-6, "{due:?}");
        // What was left to wait for at that rate is forgotten with it.
        let faster = all.add(1_000, 1_000.0);
        assert!(faster < 100.0, "{faster}");
    }

    #[test]
    fn a_log_whose_compaction_fails_again_and_again_is_tried_less_and_less_often() {
        let mut failed = Failing::default();
        let mut waits = Vec::new();
        for _ in 0..40 {
            failed = failed.once_more(100.0);
            waits.push(failed.until_s - 100.0);
        }
        assert_eq!(waits[..4], [0.0, 15.0, 45.0, 105.0]);
        assert_eq!(waits[39], FAILED_WAIT_MAX_S);
    }
}
