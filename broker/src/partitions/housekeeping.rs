//! What is done to logs in the background, on threads that may block: retention, flushes, checkpoints, the removal of
//! deleted files. Each data directory has a thread for each of these: where its disk stalls, the others' go on, and its own
//! goes on where it was.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use milena_log::{
    Checkpoint, Log, LogError, Offsets, PartitionFolder, StorageError, Trash, is_log, unopened,
};
use rustix::process::{Resource, getrlimit};
use tokio::sync::MutexGuard;

use super::{DataDir, HostedTopic, Partitions};
use crate::metrics::Care;
use crate::partition::{Partition, flushes};
use crate::server::last_end;

/// How long retention and compaction wait for a log whose append is under way: then it is the others' turn, and this
/// one's in the next round.
const BUSY_MAX: Duration = Duration::from_secs(1);
/// Logs that a stop closes at once. Each waits for the disk several times, though there is little left to be written, and
/// a disk has as much work with one such request as with many.
const CLOSED_AT_ONCE: usize = 16;

impl Partitions {
    /// Deletes what retention lets go in a data directory, forgets silent producers, and closes idle files.
    pub fn enforce_retention(&self, dir: usize) {
        let now_ms = self.clock.now_ms();
        let mut partitions = self.all_in(dir);
        partitions.retain(is_online);
        for partition in &partitions {
            if let Err(error) = self.enforce_on(partition, now_ms) {
                self.metrics.care_failed(Care::Retention);
                tracing::error!(topic = %partition.topic(), partition = partition.index(), %error, "retention failed");
                partition.distrust_if_offline();
                partition.reader().note_failure(&error);
            }
        }
        self.close_idle_files(&partitions);
    }

    fn enforce_on(&self, partition: &Partition, now_ms: i64) -> Result<(), LogError> {
        let high_watermark = partition.high_watermark();
        let Some(mut log) = free_log(partition) else {
            return Ok(());
        };
        log.expire_producers(now_ms);
        let removed = self.deleting(|trash| log.retain(high_watermark, now_ms, trash))?;
        if removed.segments > 0 {
            self.metrics.retained(removed);
            partition.waiters().changed();
            tracing::info!(
                topic = %partition.topic(), partition = partition.index(), segments = removed.segments, bytes = removed.bytes,
                log_start_offset = log.log_start_offset(), "old segments were deleted"
            );
        }
        Ok(())
    }

    /// What `work` deletes goes to the trash, also where it fails half-way; nobody waits meanwhile.
    pub(super) fn deleting<T>(&self, work: impl FnOnce(&mut Trash) -> T) -> T {
        let mut deleted = Trash::default();
        let done = work(&mut deleted);
        let now_ms = self.clock.monotonic_ms();
        self.trash.lock().append(deleted, now_ms);
        done
    }

    /// Closes a data directory's idle files while logs hold more than `max` of them in all; without one, more than half of
    /// the descriptors that the process may have.
    pub fn close_idle(&self, dir: usize, max: Option<u64>) {
        let half = || getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) / 2;
        if milena_log::open_file_count() as u64 > max.unwrap_or_else(half) {
            self.close_idle_files(&self.all_in(dir));
        }
    }

    fn close_idle_files(&self, partitions: &[Arc<Partition>]) {
        for partition in partitions {
            self.report_flush(partition, partition.close_idle());
        }
    }

    /// Has the kernel write what was appended in a data directory, logs flushed that `flush.messages` and `flush.ms` ask
    /// for, and brings every segment to disk that gets no more batches.
    pub fn flush_due(&self, dir: usize) {
        let (now_ms, partitions) = (self.clock.now_ms(), self.all_in(dir));
        // For all before the first flush, which waits for its disk.
        self.begin_write_back(dir, &partitions);
        for partition in partitions {
            self.report_flush(&partition, partition.flush_due(now_ms));
        }
    }

    /// Brings the logs to disk that were recovered after a crash, so that the next one has not all of it to scan again.
    pub fn flush_recovered(&self) {
        let unclean = |dir: &usize| !self.dirs[*dir].known.clean_shutdown;
        let dirs: Vec<usize> = (0..self.dirs.len()).filter(unclean).collect();
        if dirs.is_empty() {
            return;
        }
        for dir in dirs {
            // One by one, thousands of logs would each wait for the disk several times.
            let hurried = self.hurry(dir);
            for partition in self.all_in(dir) {
                let flushed = match &hurried {
                    Ok(()) => partition.flush(),
                    Err(error) => partition.doubt(error.clone()),
                };
                self.report_flush(&partition, flushed);
            }
        }
        if let Err(error) = self.checkpoint() {
            tracing::error!(%error, "checkpoints could not be written");
        }
    }

    /// Has a data directory's disk take all that was written. Where something did not get there, the next life must not
    /// trust the page cache: of which file it was is not known, and that may have no descriptor to be told by.
    fn hurry(&self, dir: usize) -> Result<(), StorageError> {
        let directory = &self.dirs[dir].directory;
        directory.hurry().inspect_err(|error| {
            last_end::distrust(directory.path());
            tracing::error!(
                %error,
                "the disk has not taken all that was written since the start; what is not known to be on disk is checked \
                 at the next start"
            );
        })
    }

    fn report_flush(&self, partition: &Partition, flushed: Result<(), StorageError>) {
        if let Err(error) = flushed {
            flushes::report(&self.metrics, partition, &error);
        }
    }

    /// Looks after folders that no partition is in: deleted ones go, unknown ones are set aside. Only once the metadata is
    /// whole: an empty image says nothing about old data.
    pub fn sweep(&self) {
        for dir in &self.dirs {
            let folders = match dir.directory.partition_folders() {
                Ok(folders) => folders,
                Err(error) => {
                    tracing::error!(%error, "a data directory can't be listed");
                    continue;
                }
            };
            folders
                .into_iter()
                .for_each(|folder| self.sweep_one(dir, folder));
            if let Err(error) = dir.directory.sync() {
                tracing::error!(%error, "a data directory could not be synced");
            }
        }
    }

    fn sweep_one(&self, dir: &DataDir, folder: PartitionFolder) {
        let now_ms = self.clock.monotonic_ms();
        match folder {
            // A move to or from a directory that is not here may have left the log itself, whatever it is called.
            PartitionFolder::Deleted(_) | PartitionFolder::Future { .. }
                if !self.away.is_empty() => {}
            PartitionFolder::Deleted(path) => self.trash.lock().put(path, now_ms),
            // See `strays.rs`.
            PartitionFolder::Stray(_) => {}
            PartitionFolder::Future {
                topic,
                partition,
                path,
            } => self.begin_move_again((&topic, partition), dir, path),
            PartitionFolder::Log {
                topic,
                partition,
                path,
            } => {
                let belongs = self
                    .topic(&topic)
                    .is_some_and(|hosted| hosted.belongs_here(partition));
                // Without a log in it, it may be anybody's.
                if belongs || !is_log(&path).unwrap_or(false) {
                    return;
                }
                match dir.directory.rename_stray(&topic, partition) {
                    Ok(now) => tracing::warn!(
                        folder = %path.display(), now = %now.display(),
                        "the metadata knows no such partition here: its folder is set aside, and removed in a week"
                    ),
                    Err(error) => {
                        tracing::error!(%error, "a folder that the metadata does not know stays where it is")
                    }
                }
            }
        }
    }

    /// Writes all of them, as far as the disks take them; the first refusal.
    pub fn checkpoint(&self) -> Result<(), StorageError> {
        let written = (0..self.dirs.len()).map(|dir| self.checkpoint_in(dir));
        written.fold(Ok(()), Result::and)
    }

    /// The same in one directory, as all that follow.
    pub(super) fn checkpoint_in(&self, dir: usize) -> Result<(), StorageError> {
        let written = [
            self.checkpoint_cleaned(dir),
            self.checkpoint_recovery_points(dir),
            self.checkpoint_high_watermarks(dir),
            self.checkpoint_log_starts(dir),
        ];
        written.into_iter().fold(Ok(()), Result::and)
    }

    /// Writes from where each log is checked after a crash.
    pub fn checkpoint_recovery_points(&self, dir: usize) -> Result<(), StorageError> {
        self.write_in(dir, Checkpoint::RecoveryPoint, &|partition: &Partition| {
            Some(partition.reader().recovery_point())
        })
    }

    /// The same in the directories that have one of these logs, whose files may speak of what was cut off.
    pub fn checkpoint_cuts(&self, cut: &[Arc<Partition>]) -> Result<(), StorageError> {
        let dirs: BTreeSet<usize> = cut.iter().flat_map(|one| self.dirs_of(one)).collect();
        let written = dirs
            .into_iter()
            .map(|dir| self.checkpoint_recovery_points(dir));
        written.fold(Ok(()), Result::and)
    }

    /// Writes up to where each log is committed.
    pub fn checkpoint_high_watermarks(&self, dir: usize) -> Result<(), StorageError> {
        self.write_in(dir, Checkpoint::HighWatermark, &|partition: &Partition| {
            Some(partition.high_watermark())
        })
    }

    /// Writes where logs start. Also of those that start with a segment: a power loss may bring segments back.
    pub fn checkpoint_log_starts(&self, dir: usize) -> Result<(), StorageError> {
        self.write_in(dir, Checkpoint::LogStart, &|partition: &Partition| {
            let start = partition.reader().log_start_offset();
            (start > 0).then_some(start)
        })
    }

    pub(super) fn write_in(
        &self,
        dir: usize,
        checkpoint: Checkpoint,
        offset: &impl Fn(&Partition) -> Option<i64>,
    ) -> Result<(), StorageError> {
        let _one_at_a_time = self.checkpointing[dir].lock();
        let mut offsets = Offsets::new();
        for partition in self.all() {
            if let Some(offset) = offset(&partition)
                && self.dirs_of(&partition).contains(&dir)
            {
                let key = (partition.topic().to_string(), partition.index());
                offsets.insert(key, offset);
            }
        }
        // Of a log that could not be opened, what was known stays: without its recovery point the next start would
        // cut it at the damage, and without its start it would give deleted records back.
        let DataDir {
            directory, known, ..
        } = &self.dirs[dir];
        for topic in self.topics() {
            for index in topic.offline() {
                let key = (topic.name().to_string(), index);
                if let Some(offset) = known.offsets(checkpoint).get(&key) {
                    offsets.insert(key, *offset);
                }
            }
        }
        let written = checkpoint.write(directory.path(), &offsets);
        self.refusing[dir].store(written.is_err(), Ordering::Relaxed);
        written
    }

    /// Where a log is, and where it is about to be: there it must not be opened without its checkpoints.
    pub(super) fn dirs_of(&self, partition: &Partition) -> Vec<usize> {
        let target = self.moves.target_of(partition);
        let dir = self.dir_of(partition);
        target.into_iter().chain([dir]).collect()
    }

    /// A clean stop: every log on disk, checkpoints written, the directories marked.
    pub fn close(&self, broker_epoch: i64) -> bool {
        self.end_removals();
        let partitions = self.all();
        let mut clean = self.on_all(&partitions, |log| log.settle());
        for dir in 0..self.dirs.len() {
            // One by one, thousands of logs would each wait for the disk to write.
            clean &= self.hurry(dir).is_ok() && self.on_all(&self.all_in(dir), |log| log.close());
        }
        if let Err(error) = self.checkpoint() {
            tracing::error!(%error, "checkpoints could not be written");
            clean = false;
        }
        clean && !self.has_unchecked() && self.mark_clean(broker_epoch)
    }

    /// Whether there is a log whose end nobody has checked since a crash, as it could not be opened, and no note in its folder
    /// says so, or none that can be read: after a clean stop the next start would believe it.
    fn has_unchecked(&self) -> bool {
        let is_unchecked = |topic: &HostedTopic, index, dir: &DataDir| {
            let folder = dir.directory.partition_path(topic.name().as_str(), index);
            match unopened::was_closed(&folder) {
                Ok(Some(_)) => false,
                Ok(None) => !dir.known.clean_shutdown && !matches!(folder.try_exists(), Ok(false)),
                Err(_) => true,
            }
        };
        let has_unchecked = self.topics().iter().any(|topic| {
            let mut offline = topic.offline();
            offline.any(|index| self.dirs.iter().any(|dir| is_unchecked(topic, index, dir)))
        });
        if has_unchecked {
            tracing::warn!(
                "all that is open is on disk, but a log could neither be opened in this life nor marked as such, and its end may \
                 not have been checked since a crash: the next start checks the logs' ends once more"
            );
        }
        has_unchecked
    }

    /// Does one thing to all logs, several at once; whether it went well with each.
    fn on_all(
        &self,
        partitions: &[Arc<Partition>],
        work: impl Fn(&mut Log) -> Result<(), StorageError> + Sync,
    ) -> bool {
        let (next, well) = (AtomicUsize::new(0), AtomicBool::new(true));
        let go_on = || {
            while let Some(partition) = partitions.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = work(&mut partition.log_blocking()) {
                    tracing::error!(topic = %partition.topic(), partition = partition.index(), %error, "the log was not closed cleanly");
                    partition.distrust_if_offline();
                    well.store(false, Ordering::Relaxed);
                }
            }
        };
        crate::blocking::on_threads(CLOSED_AT_ONCE.min(partitions.len()), go_on);
        well.into_inner()
    }
}

impl Partitions {
    fn mark_clean(&self, broker_epoch: i64) -> bool {
        let marked = self
            .dirs
            .iter()
            .try_for_each(|dir| dir.directory.mark_clean_shutdown(broker_epoch));
        if let Err(error) = &marked {
            tracing::error!(%error, "the clean stop can't be marked; the next start checks the logs' ends");
        }
        marked.is_ok()
    }
}

/// Of a log that its disk has refused nothing is due, and that it is so was told: retention and compaction would fail in
/// each round.
pub(super) fn is_online(partition: &Arc<Partition>) -> bool {
    partition.reader().check_writable().is_ok()
}

pub(super) fn free_log(partition: &Partition) -> Option<MutexGuard<'_, Log>> {
    let log = partition.log_within(BUSY_MAX);
    if log.is_none() {
        tracing::debug!(
            topic = %partition.topic(), partition = partition.index(),
            "an append is under way for long: the log is looked after in the next round"
        );
    }
    log
}

/// Runs `work` every `period`, asked anew each time, on a thread that may block, until the broker stops.
pub async fn every(
    period: impl Fn() -> Duration,
    work: impl Fn() + Send + Sync + 'static,
    stopping: tokio_util::sync::CancellationToken,
) {
    let work = Arc::new(work);
    loop {
        tokio::select! {
            () = tokio::time::sleep(period()) => {}
            () = stopping.cancelled() => return,
        }
        let work = work.clone();
        if let Err(error) = crate::blocking::spawn(move || work()).await {
            tracing::error!(%error, "background work on the logs failed");
        }
    }
}
