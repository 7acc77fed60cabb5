//! Opening many logs on a few threads.

mod placement;
pub(super) mod progress;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use milena_log::{Checkpoint, Log, LogError, Offsets, Opening, Recovery, StorageError, unopened};
use milena_metadata::{DirectoryId, PartitionId, Replica, Topic};
use parking_lot::Mutex;

use super::holders::{Ambiguous, Holder, choose};
use super::{DataDir, Partitions, report_offline};
use crate::config::{BrokerConfig, TopicConfig};
use placement::Placement;

/// What a directory's checkpoints said when the broker started.
#[derive(Debug, Default)]
pub struct Known {
    /// Whether its last life ended cleanly.
    pub clean_shutdown: bool,
    recovery_points: Offsets,
    high_watermarks: Offsets,
    log_starts: Offsets,
    cleaned_to: Offsets,
}

impl Known {
    /// Reads a directory's checkpoints.
    pub fn read(dir: &Path, clean_shutdown: bool) -> Result<Self, LogError> {
        let recovery_points = Checkpoint::RecoveryPoint.read(dir)?;
        let high_watermarks = Checkpoint::HighWatermark.read(dir)?;
        let log_starts = Checkpoint::LogStart.read(dir)?;
        let cleaned_to = Checkpoint::Cleaner.read(dir)?;
        Ok(Self {
            clean_shutdown,
            recovery_points,
            high_watermarks,
            log_starts,
            cleaned_to,
        })
    }

    pub fn offsets(&self, checkpoint: Checkpoint) -> &Offsets {
        match checkpoint {
            Checkpoint::RecoveryPoint => &self.recovery_points,
            Checkpoint::HighWatermark => &self.high_watermarks,
            Checkpoint::LogStart => &self.log_starts,
            Checkpoint::Cleaner => &self.cleaned_to,
        }
    }
}

/// A log to be opened; `place` says for which topic of the caller's list.
pub struct LogToOpen {
    pub place: usize,
    pub topic: Arc<Topic>,
    pub id: PartitionId,
    pub config: Arc<TopicConfig>,
}

pub struct OpenLog {
    /// The data directory that it is in, by its place among them.
    pub dir: usize,
    place: usize,
    pub id: PartitionId,
    pub log: Log,
    pub config: Arc<TopicConfig>,
    /// All below it was committed when the broker stopped, as far as is known.
    pub high_watermark: i64,
}

/// Those that could be opened.
pub struct Opened {
    logs: Vec<OpenLog>,
}

impl Opened {
    /// The logs of each topic of the caller's list, which has so many, in its order.
    pub fn by_place(self, topics: usize) -> Vec<Vec<OpenLog>> {
        let mut places: Vec<Vec<OpenLog>> = (0..topics).map(|_| Vec::new()).collect();
        for log in self.logs {
            let place = log.place;
            places[place].push(log);
        }
        places
    }
}

/// What the threads that open logs share.
struct Work<'a> {
    partitions: &'a Partitions,
    config: &'a BrokerConfig,
    now_ms: i64,
    /// Whether this life of the broker begins: what the directories say of the life before holds.
    is_start: bool,
    queue: Mutex<VecDeque<LogToOpen>>,
    opened: Mutex<Vec<OpenLog>>,
    /// Logs that may be in a directory that this life goes without, by directory.
    away: Mutex<BTreeMap<&'a Path, usize>>,
    placement: Mutex<Placement<'a>>,
}

/// Opens all, on so many threads; what can't be opened is logged and left out. Nothing is made for those that are
/// new: that they exist is in the metadata.
pub fn open_all(
    partitions: &Partitions,
    config: &BrokerConfig,
    logs: Vec<LogToOpen>,
    threads: usize,
) -> Opened {
    let threads = threads.clamp(1, logs.len().max(1));
    partitions.metrics.logs_to_open(logs.len());
    let work = Work {
        partitions,
        config,
        now_ms: partitions.clock.now_ms(),
        is_start: partitions.applied.lock().cluster_id().is_none(),
        queue: Mutex::new(VecDeque::from(logs)),
        opened: Mutex::default(),
        away: Mutex::default(),
        placement: Mutex::new(Placement::new(partitions)),
    };
    crate::blocking::on_threads(threads, || work.run());
    work.tell_of_away();
    Opened {
        logs: work.opened.into_inner(),
    }
}

impl<'a> Work<'a> {
    fn run(&self) {
        loop {
            let next = self.queue.lock().pop_front();
            let Some(wanted) = next else { return };
            if let Some(directory) = self.away_in(&wanted) {
                let mut away = self.away.lock();
                *away.entry(directory).or_default() += 1;
                self.partitions.metrics.log_opened();
                continue;
            }
            match self.open(&wanted) {
                Ok((dir, log)) => self.opened.lock().push(OpenLog {
                    dir,
                    place: wanted.place,
                    id: wanted.id,
                    high_watermark: self.high_watermark(dir, &wanted, &log),
                    log,
                    config: wanted.config,
                }),
                Err(error) => report_offline(&wanted.topic.name, wanted.id.get(), &error),
            }
            self.partitions.metrics.log_opened();
        }
    }

    /// The directory that a start goes without, where the log may be in one.
    fn away_in(&self, wanted: &LogToOpen) -> Option<&'a Path> {
        let index = wanted.id.get();
        let named = self.named(wanted);
        let away = |topic| self.partitions.away_in(topic, index, named);
        self.is_start.then(|| away(&wanted.topic)).flatten()
    }

    /// Once for each directory: there may be thousands of logs in it.
    fn tell_of_away(&self) {
        for (directory, partitions) in &*self.away.lock() {
            tracing::error!(
                directory = %directory.display(), partitions,
                "partitions are offline: they are in the data directory that can't be used"
            );
        }
    }

    fn high_watermark(&self, dir: usize, wanted: &LogToOpen, log: &Log) -> i64 {
        let key = (wanted.topic.name.to_string(), wanted.id.get());
        let known = self.partitions.dirs()[dir].known.high_watermarks.get(&key);
        let known = known.copied().unwrap_or(0);
        known.clamp(log.log_start_offset(), log.log_end_offset())
    }

    fn open(&self, wanted: &LogToOpen) -> Result<(usize, Log), LogError> {
        let (topic, index) = (wanted.topic.name.as_str(), wanted.id.get());
        if let Some(holder) = self.holder(wanted)? {
            match self.open_again(holder, wanted) {
                // A topic of this name was deleted while its folder could not be renamed.
                Err(error @ LogError::TopicId { .. }) => {
                    self.set_aside(holder, wanted, &error.to_string())?;
                }
                Err(error @ (LogError::Damaged { .. } | LogError::Malformed { .. }))
                    if self.is_start && self.is_led_elsewhere(wanted) =>
                {
                    self.give_up(holder, wanted, &error)?;
                }
                opened => return opened.map(|log| (holder, log)),
            }
        } else if self.is_start && self.had_log(topic, index) {
            // Somebody has taken it away, as one that was damaged: who trusts this replica would lose its records.
            self.partitions.were_cut.store(true, Ordering::Relaxed);
            tracing::warn!(
                topic,
                partition = index,
                "the log is not in its data directory any more, and begins anew"
            );
        }
        self.forget(wanted);
        let preferred = self
            .partitions
            .moves
            .take_preferred(&wanted.topic.name, index);
        let dir = match preferred {
            Some(dir) => dir,
            None => self.placement.lock().next()?,
        };
        self.open_in(dir, wanted, None).map(|log| (dir, log))
    }

    /// Opens a log that is there. Where that fails a note in its folder keeps how its last life ended: the directory's mark
    /// says nothing of it any more once this one has ended.
    fn open_again(&self, dir: usize, wanted: &LogToOpen) -> Result<Log, LogError> {
        let (topic, index) = (wanted.topic.name.as_str(), wanted.id.get());
        let DataDir {
            directory, known, ..
        } = &self.partitions.dirs()[dir];
        let folder = directory.partition_path(topic, index);
        let noted = unopened::was_closed(&folder)?;
        let was_closed = noted.unwrap_or(known.clean_shutdown);
        let opened = self.open_in(dir, wanted, Some(was_closed));
        match &opened {
            Ok(_) if noted.is_some() => unopened::forget(&folder)?,
            Err(_) if noted.is_none() => {
                if let Err(error) = unopened::note(&folder, was_closed) {
                    tracing::warn!(%error, "the next start will not know how this log ended when it was last open");
                }
            }
            _ => {}
        }
        opened
    }

    /// Has the checkpoints say nothing any more of a log of this name that is not there: what they say would count for the
    /// new one after a crash.
    fn forget(&self, wanted: &LogToOpen) {
        let key = (wanted.topic.name.to_string(), wanted.id.get());
        let was_cleaned = self.partitions.cleaned_to.lock().remove(&key).is_some();
        if was_cleaned || self.is_start && self.had_log(&key.0, key.1) {
            let mut gone = self.partitions.gone.lock();
            gone.insert(wanted.topic.name.clone());
        }
    }

    /// Whether a checkpoint knows of records that were here.
    fn had_log(&self, topic: &str, partition: i32) -> bool {
        let key = (topic.to_owned(), partition);
        let mut dirs = self.partitions.dirs().iter();
        dirs.any(|dir| {
            dir.known
                .recovery_points
                .get(&key)
                .is_some_and(|&point| point > 0)
        })
    }

    /// The directory that has the log; what others have in its place is set aside.
    fn holder(&self, wanted: &LogToOpen) -> Result<Option<usize>, LogError> {
        let (topic, index) = (wanted.topic.name.as_str(), wanted.id.get());
        let dirs = self.partitions.dirs();
        let folder = |dir: usize| dirs[dir].directory.partition_path(topic, index);
        let found: Vec<usize> = (0..dirs.len())
            .filter(|dir| folder(*dir).is_dir())
            .collect();
        if let [] | [_] = found[..] {
            let only = found.first().copied();
            only.inspect(|dir| self.recall_cleaned(*dir, wanted));
            return Ok(only);
        }
        let look = |&dir: &usize| {
            let id = DirectoryId(dirs[dir].directory.identity().directory_id);
            Holder::look(dir, Some(id), &folder(dir), wanted.topic.id)
        };
        let holders: Vec<Holder> = found.iter().map(look).collect();
        let chosen = choose(&holders, self.named(wanted));
        let chosen = chosen.map_err(|Ambiguous(one, other)| LogError::Malformed {
            path: folder(one),
            problem: format!(
                "{} has a log of this partition too, and the metadata does not say which counts; move the one that is \
                 not wanted out of its directory, and start again",
                folder(other).display()
            ),
        })?;
        for dir in found.into_iter().filter(|dir| Some(*dir) != chosen) {
            let why = "another directory has the log";
            if let Err(error) = self.set_aside(dir, wanted, why) {
                tracing::error!(topic, partition = index, %error, "a folder beside the log stays where it is");
            }
        }
        if let Some(dir) = chosen {
            self.recall_cleaned(dir, wanted);
        }
        Ok(chosen)
    }

    /// The directory that the metadata has for the replica here.
    fn named(&self, wanted: &LogToOpen) -> DirectoryId {
        let state = wanted.topic.partition(wanted.id.get());
        let mut replicas = state.iter().flat_map(|state| &state.replicas);
        let here = replicas.find(|replica| replica.broker == self.partitions.node_id);
        here.map_or(DirectoryId::UNASSIGNED, |replica| replica.directory)
    }

    /// Whether another broker leads the partition, as the metadata has it that this life was registered in: it has all
    /// that is committed.
    fn is_led_elsewhere(&self, wanted: &LogToOpen) -> bool {
        let state = wanted.topic.partition(wanted.id.get());
        let leader = state.and_then(|state| state.leader);
        leader.is_some_and(|leader| leader != self.partitions.node_id)
    }

    /// A damaged log makes room for a copy of its leader's. The broker leaves the in-sync replicas, as after records were
    /// cut: nobody takes the copy for the log before it is whole.
    fn give_up(
        &self,
        dir: usize,
        wanted: &LogToOpen,
        damage: &LogError,
    ) -> Result<(), StorageError> {
        let (topic, partition) = (wanted.topic.name.as_str(), wanted.id.get());
        tracing::error!(topic, partition, %damage, "the log is copied anew from the partition's leader");
        self.set_aside(dir, wanted, "it is damaged")?;
        self.partitions.were_cut.store(true, Ordering::Relaxed);
        // Its checkpoints say nothing of the copy.
        self.partitions
            .gone
            .lock()
            .insert(wanted.topic.name.clone());
        Ok(())
    }

    fn set_aside(&self, dir: usize, wanted: &LogToOpen, why: &str) -> Result<(), StorageError> {
        let (topic, partition) = (wanted.topic.name.as_str(), wanted.id.get());
        let directory = &self.partitions.dirs()[dir].directory;
        let folder = directory.partition_path(topic, partition);
        let aside = directory.rename_stray(topic, partition)?;
        tracing::warn!(
            folder = %folder.display(), aside = %aside.display(), why,
            "the folder is set aside, and removed in a week"
        );
        Ok(())
    }

    /// Of several directories' notes on what is compacted, those count that are beside the log: one that it was moved from
    /// may have refused to forget it.
    fn recall_cleaned(&self, dir: usize, wanted: &LogToOpen) {
        let key = (wanted.topic.name.to_string(), wanted.id.get());
        let noted = &self.partitions.dirs()[dir].known.cleaned_to;
        let mut cleaned_to = self.partitions.cleaned_to.lock();
        match noted.get(&key) {
            Some(&offset) => cleaned_to.insert(key, offset),
            None => cleaned_to.remove(&key),
        };
    }

    /// Whether no other broker has the partition, nor had it since the log's end was last on file: a replica that was cut
    /// by its leader notes its recovery point before it takes anything in place of what was cut, and so before it can be
    /// in sync and the others leave.
    fn is_only_replica(&self, wanted: &LogToOpen) -> bool {
        let state = wanted.topic.partition(wanted.id.get());
        let is_here = |replica: &Replica| replica.broker == self.partitions.node_id;
        state.is_some_and(|state| state.replicas.iter().all(is_here))
    }

    /// What lies below the recovery point had reached the disk: where a log ends before it, records are gone. After a
    /// clean stop that is damage, and where nobody else has the partition. Otherwise it may be a follower's log which was
    /// cut by its leader's, and killed before that was noted.
    fn end_due(&self, is_clean: bool, recovery_point: i64, wanted: &LogToOpen) -> i64 {
        match self.is_start && (is_clean || self.is_only_replica(wanted)) {
            true => recovery_point,
            false => 0,
        }
    }

    /// Tells of what the log may lack. Where its end does, nobody is to trust this broker before it has caught up.
    fn tell_of_lacks(
        &self,
        (log, recovery): (&Log, &Recovery),
        opening: &Opening,
        wanted: &LogToOpen,
    ) {
        let (topic, partition) = (wanted.topic.name.as_str(), wanted.id.get());
        let (start, end, due) = (
            log.log_start_offset(),
            log.log_end_offset(),
            opening.recovery_point,
        );
        if end < due && self.is_start {
            self.partitions.were_cut.store(true, Ordering::Relaxed);
            tracing::warn!(
                topic,
                partition,
                offset = end,
                on_disk_before = due,
                "the log ends before what had reached the disk: records are missing, unless its leader had them cut"
            );
        }
        if let Some(due) = recovery.missing_from {
            tracing::warn!(
                topic,
                partition,
                offset = start,
                on_file = due,
                "the log begins after the offset on file: its first records are missing, unless they were deleted just \
                 before the last stop"
            );
        }
    }

    /// `was_closed` says of a log that is there whether its last life ended cleanly.
    fn open_in(
        &self,
        dir: usize,
        wanted: &LogToOpen,
        was_closed: Option<bool>,
    ) -> Result<Log, LogError> {
        let (topic, index) = (wanted.topic.name.as_str(), wanted.id.get());
        let DataDir {
            directory, known, ..
        } = &self.partitions.dirs()[dir];
        let key = (topic.to_owned(), index);
        let offset = |offsets: &Offsets| match was_closed {
            Some(_) => offsets.get(&key).copied().unwrap_or(0),
            None => 0,
        };
        let recovery_point = offset(&known.recovery_points);
        let clean_shutdown = was_closed.unwrap_or(known.clean_shutdown);
        let opening = Opening {
            clean_shutdown,
            recovery_point,
            log_start_offset: offset(&known.log_starts),
            end_due: self.end_due(clean_shutdown, recovery_point, wanted),
            topic_id: wanted.topic.id.0,
            now_ms: self.now_ms,
        };
        let path = directory.partition_path(topic, index);
        let config = wanted.config.log_config(self.config);
        let walked = |bytes| self.partitions.metrics.recovery_walked(bytes);
        let (log, recovery) = Log::open_telling(&path, config, opening, &walked)?;
        self.partitions.metrics.recovered(&recovery);
        if let Some(due) = recovery.missing_from
            && self.is_start
            && self.is_led_elsewhere(wanted)
        {
            return Err(may_lack_start(&log, due));
        }
        self.tell_of_lacks((&log, &recovery), &opening, wanted);
        if let Some(offset) = recovery.cut_at_offset {
            self.partitions.were_cut.store(true, Ordering::Relaxed);
            tracing::warn!(
                topic,
                partition = index,
                offset,
                bytes = recovery.bytes_cut,
                "the log's end was not whole after the last stop, and was cut"
            );
        }
        // The opening itself counts as use once: with thousands of partitions, those at rest hold no descriptor.
        let reader = log.reader();
        reader.close_idle();
        reader.close_idle();
        Ok(log)
    }
}

/// A log that may have lost its first segments, where that can't be known for certain: it is not worth the doubt where the
/// leader has them all.
fn may_lack_start(log: &Log, due: i64) -> LogError {
    let start = log.log_start_offset();
    LogError::Malformed {
        path: log.reader().folder(),
        problem: format!(
            "the log begins at offset {start}, and began at offset {due} when that was noted last: records are missing, unless \
             they were deleted just before the last stop"
        ),
    }
}

#[cfg(test)]
mod tests;
