//! Opening many logs on a few threads.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use milena_log::{Checkpoint, Log, LogError, Offsets, Opening};
use milena_metadata::{PartitionId, Topic};
use parking_lot::Mutex;

use super::{Partitions, report_offline};
use crate::config::{BrokerConfig, TopicConfig};

/// What a directory's checkpoints said when the broker started.
#[derive(Debug, Default)]
pub struct Known {
    /// Whether its last life ended cleanly.
    pub clean_shutdown: bool,
    recovery_points: Offsets,
    log_starts: Offsets,
    cleaned_to: Offsets,
}

impl Known {
    /// Reads a directory's checkpoints.
    pub fn read(dir: &Path, clean_shutdown: bool) -> Result<Self, LogError> {
        let recovery_points = Checkpoint::RecoveryPoint.read(dir)?;
        let log_starts = Checkpoint::LogStart.read(dir)?;
        let cleaned_to = Checkpoint::Cleaner.read(dir)?;
        Ok(Self {
            clean_shutdown,
            recovery_points,
            log_starts,
            cleaned_to,
        })
    }

    /// Up to where each log is compacted.
    pub fn cleaned_to(&self) -> &Offsets {
        &self.cleaned_to
    }
}

/// A log to be opened; `place` says for which topic of the caller's list.
pub struct LogToOpen {
    /// The topic's place.
    pub place: usize,
    /// The topic.
    pub topic: Arc<Topic>,
    /// The partition.
    pub id: PartitionId,
    /// Its configuration.
    pub config: Arc<TopicConfig>,
}

impl LogToOpen {
    fn leader_epoch(&self) -> i32 {
        self.topic
            .partition(self.id.get())
            .map_or(0, |partition| partition.leader_epoch)
    }
}

/// A log that was opened.
pub struct OpenLog {
    place: usize,
    /// The partition.
    pub id: PartitionId,
    /// Its log.
    pub log: Log,
    /// Its configuration.
    pub config: Arc<TopicConfig>,
    /// The epoch in which this broker leads it.
    pub leader_epoch: i32,
}

/// Those that could be opened.
pub struct Opened {
    logs: Vec<OpenLog>,
    places: usize,
}

impl Opened {
    /// The logs of each topic, in the order of the caller's list.
    pub fn by_place(self) -> Vec<Vec<OpenLog>> {
        let mut places: Vec<Vec<OpenLog>> = (0..self.places).map(|_| Vec::new()).collect();
        for log in self.logs {
            let place = log.place;
            places[place].push(log);
        }
        places
    }
}

/// Opens all; what can't be opened is logged and left out.
pub fn open_all(
    partitions: &Partitions,
    config: &BrokerConfig,
    logs: Vec<LogToOpen>,
    threads: usize,
) -> Opened {
    let now_ms = partitions.clock.now_ms();
    let places = logs.last().map_or(0, |log| log.place + 1);
    let threads = threads.clamp(1, logs.len().max(1));
    let queue = Mutex::new(VecDeque::from(logs));
    let opened = Mutex::new(Vec::new());
    let work = || {
        loop {
            let next = queue.lock().pop_front();
            let Some(wanted) = next else { return };
            match open_one(partitions, config, &wanted, now_ms) {
                Ok(log) => opened.lock().push(OpenLog {
                    place: wanted.place,
                    id: wanted.id,
                    log,
                    leader_epoch: wanted.leader_epoch(),
                    config: wanted.config,
                }),
                Err(error) => report_offline(&wanted.topic.name, wanted.id.get(), &error),
            }
        }
    };
    std::thread::scope(|scope| {
        (1..threads).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    Opened {
        logs: opened.into_inner(),
        places,
    }
}

fn open_one(
    partitions: &Partitions,
    config: &BrokerConfig,
    wanted: &LogToOpen,
    now_ms: i64,
) -> Result<Log, LogError> {
    let (topic, index) = (wanted.topic.name.as_str(), wanted.id.get());
    let dirs = partitions.dirs();
    let holder = dirs
        .iter()
        .find(|dir| dir.directory.partition_path(topic, index).is_dir());
    let dir = holder.unwrap_or_else(|| emptiest(dirs));
    let key = (topic.to_owned(), index);
    let offset = |offsets: &Offsets| offsets.get(&key).copied().unwrap_or(0);
    let opening = Opening {
        clean_shutdown: dir.known.clean_shutdown,
        recovery_point: offset(&dir.known.recovery_points),
        log_start_offset: if holder.is_some() {
            offset(&dir.known.log_starts)
        } else {
            0
        },
        topic_id: wanted.topic.id.0,
        now_ms,
    };
    let (mut log, recovery) = Log::open(
        &dir.directory.partition_path(topic, index),
        wanted.config.log_config(config),
        opening,
    )?;
    partitions.metrics.recovered(&recovery);
    if let Some(offset) = recovery.cut_at_offset {
        tracing::warn!(
            topic,
            partition = index,
            offset,
            bytes = recovery.bytes_cut,
            "the log's end was not whole after the last stop, and was cut"
        );
    }
    // The opening itself counts as use once: with thousands of partitions, those at rest hold no descriptor.
    log.close_idle();
    log.close_idle();
    Ok(log)
}

/// New partitions go where the fewest are.
fn emptiest(dirs: &[super::DataDir]) -> &super::DataDir {
    let entries = |dir: &super::DataDir| {
        std::fs::read_dir(dir.directory.path()).map_or(usize::MAX, Iterator::count)
    };
    match dirs {
        [only] => only,
        _ => dirs
            .iter()
            .min_by_key(|dir| entries(dir))
            .unwrap_or(&dirs[0]),
    }
}
