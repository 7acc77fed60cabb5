//! The partitions hosted here: opened, grown and deleted as the cluster's metadata says.

pub mod away;
pub mod compaction;
pub mod holders;
mod hosted;
pub mod housekeeping;
pub mod moves;
mod noted;
pub mod open;
mod removals;
pub mod strays;
mod sync;
mod write_back;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

use milena_log::{
    Checkpoint, DataDirectory, Log, LogError, Offsets, Recovery, StorageError, Trash,
    failed_log_count,
};
use milena_metadata::{BrokerId, DirectoryId, Image, ResourceKind, TopicName};
use milena_protocol::{ErrorCode, Uuid};
use parking_lot::{Mutex, RwLock};

use crate::clock::Clock;
use crate::config::{BrokerConfig, TopicConfig, Values};
use crate::metrics::Metrics;
use crate::partition::Partition;
use crate::partition::flushes::FlushQueue;
use crate::partition::room::AppendRoom;
use away::Away;
use compaction::Compaction;
pub use hosted::HostedTopic;
use moves::Moves;
pub use noted::Noted;
use open::Known;
use removals::Removals;
use strays::Begun;
pub use sync::Synced;
use write_back::WriteBack;

/// Names of deleted topics that are remembered before the checkpoints are written for their sake: a few hundred KiB.
const GONE_MAX: usize = 10_000;

#[derive(Debug, Default)]
struct Topics {
    by_name: HashMap<TopicName, Arc<HostedTopic>>,
    by_id: HashMap<Uuid, Arc<HostedTopic>>,
}

/// A data directory and what its checkpoints said at the start.
#[derive(Debug)]
pub struct DataDir {
    /// The directory, held against other processes.
    pub directory: DataDirectory,
    /// Whether it had no identity before this start: no life of a broker has used it.
    pub is_new: bool,
    pub known: Known,
    /// Appends that may be under way in it at once: each holds a thread while the disk stalls.
    pub appends: Arc<AppendRoom>,
}

/// Every partition of this broker.
#[derive(Debug)]
pub struct Partitions {
    node_id: BrokerId,
    dirs: Vec<DataDir>,
    away: Vec<Away>,
    /// Each directory's flushes that somebody waits for.
    flushes: Vec<Arc<FlushQueue>>,
    write_backs: Vec<Arc<WriteBack>>,
    removals: Vec<Arc<Removals>>,
    clock: Clock,
    metrics: Arc<Metrics>,
    topics: RwLock<Topics>,
    pub(crate) trash: Mutex<Trash>,
    cleaned_to: Mutex<Offsets>,
    compaction: Compaction,
    moves: Moves,
    /// Each directory's, held while a checkpoint file is written there: two writers at once would take each other's new
    /// file away, or leave the older offsets.
    checkpointing: Vec<Mutex<()>>,
    /// Whether each directory has refused the checkpoint that was written there last.
    refusing: Vec<AtomicBool>,
    /// Deleted topics that the checkpoint files may still speak of.
    gone: Mutex<BTreeSet<TopicName>>,
    /// The metadata as it was taken over last.
    applied: Mutex<Arc<Image>>,
    /// `producer.id.expiration.ms` as the logs have it: the one of the broker's own settings that is in theirs.
    /// 0 before the first.
    producer_expiration_ms: AtomicI32,
    /// Whether an opening found a log's end damaged.
    were_cut: AtomicBool,
    /// Logs that could not be opened so far.
    unopened: AtomicUsize,
    begun: Begun,
}

impl Partitions {
    /// No partitions yet; `sync` opens what the metadata names.
    pub fn new(node_id: BrokerId, dirs: Vec<DataDir>, clock: Clock, metrics: Arc<Metrics>) -> Self {
        let cleaned_to = dirs
            .iter()
            .flat_map(|dir| dir.known.offsets(Checkpoint::Cleaner).clone())
            .collect();
        let (topics, trash) = Default::default();
        let flushes = || Arc::new(FlushQueue::new(metrics.clone()));
        Self {
            node_id,
            flushes: dirs.iter().map(|_| flushes()).collect(),
            checkpointing: dirs.iter().map(|_| Mutex::default()).collect(),
            refusing: dirs.iter().map(|_| AtomicBool::default()).collect(),
            write_backs: dirs.iter().map(|_| Arc::default()).collect(),
            removals: dirs.iter().map(|_| Arc::default()).collect(),
            dirs,
            away: Vec::new(),
            clock,
            metrics,
            topics,
            trash,
            cleaned_to: Mutex::new(cleaned_to),
            compaction: Compaction::default(),
            moves: Moves::default(),
            gone: Mutex::default(),
            applied: Mutex::default(),
            producer_expiration_ms: AtomicI32::new(0),
            were_cut: AtomicBool::new(false),
            unopened: AtomicUsize::new(0),
            begun: Begun::now(clock),
        }
    }

    pub fn topic(&self, name: &str) -> Option<Arc<HostedTopic>> {
        self.topics.read().by_name.get(name).cloned()
    }

    pub fn topic_by_id(&self, id: Uuid) -> Option<Arc<HostedTopic>> {
        self.topics.read().by_id.get(&id).cloned()
    }

    /// A partition by its topic's name, or the error for a client that believes it is here.
    pub fn partition(&self, topic: &str, index: i32) -> Result<Arc<Partition>, ErrorCode> {
        let topic = self
            .topic(topic)
            .ok_or(ErrorCode::UnknownTopicOrPartition)?;
        topic.find(index).cloned()
    }

    pub fn topics(&self) -> Vec<Arc<HostedTopic>> {
        self.topics.read().by_name.values().cloned().collect()
    }

    pub fn all(&self) -> Vec<Arc<Partition>> {
        self.topics()
            .iter()
            .flat_map(|topic| topic.partitions().cloned().collect::<Vec<_>>())
            .collect()
    }

    /// Those whose logs lie in a data directory.
    fn all_in(&self, dir: usize) -> Vec<Arc<Partition>> {
        if self.dirs.len() == 1 {
            return self.all();
        }
        let appends = &self.dirs[dir].appends;
        let mut here = Vec::new();
        for topic in self.topics() {
            let partitions = topic.partitions();
            here.extend(partitions.filter(|one| one.is_in(appends)).cloned());
        }
        here
    }

    pub fn dirs(&self) -> &[DataDir] {
        &self.dirs
    }

    /// Whether records were missing at a log's end when it was opened.
    pub fn were_cut(&self) -> bool {
        self.were_cut.load(Ordering::Relaxed)
    }

    /// What was looked at and cut when logs were opened, in all.
    pub fn recovery(&self) -> Recovery {
        self.metrics.recovery()
    }

    pub fn appends_under_way(&self) -> usize {
        self.dirs.iter().map(|dir| dir.appends.used()).sum()
    }

    fn forget(&self, topic: &HostedTopic) {
        let mut topics = self.topics.write();
        topics.by_name.remove(topic.name.as_str());
        topics.by_id.remove(&topic.id);
    }

    /// Makes folders that were made or renamed last through a power loss.
    fn sync_dirs(&self, dirs: impl IntoIterator<Item = usize>) {
        for dir in dirs {
            if let Err(error) = self.dirs[dir].directory.sync() {
                tracing::error!(%error, "a data directory could not be synced");
            }
        }
    }

    fn rename_deleted(
        &self,
        partition: &Partition,
        log: &mut Log,
    ) -> Result<PathBuf, StorageError> {
        let dir = self.dir_of(partition);
        log.note_deleted();
        let folder = self.dirs[dir]
            .directory
            .rename_deleted(partition.topic().as_str(), partition.index())?;
        log.moved_to(&folder);
        Ok(folder)
    }

    /// The id of the directory that a partition lies in; `UNASSIGNED` while that is about to be another.
    pub fn directory_of(&self, partition: &Partition) -> DirectoryId {
        if self.moves.target_of(partition).is_some() {
            return DirectoryId::UNASSIGNED;
        }
        let directory = &self.dirs[self.dir_of(partition)].directory;
        DirectoryId(directory.identity().directory_id)
    }

    /// How many logs could not be opened, in this life of the broker.
    pub fn unopened_count(&self) -> usize {
        self.unopened.load(Ordering::Relaxed)
    }

    fn dir_of(&self, partition: &Partition) -> usize {
        let folder = partition.reader().folder();
        let holds = |dir: &DataDir| folder.parent() == Some(dir.directory.path());
        self.dirs.iter().position(holds).unwrap_or(0)
    }

    /// Whether each directory's disk has refused something: the checkpoint that was written last, or in this life a
    /// write or a read of a log that is there.
    fn have_refused(&self) -> Vec<bool> {
        let refusing = self.refusing.iter();
        let mut refused: Vec<bool> = refusing.map(|one| one.load(Ordering::Relaxed)).collect();
        if failed_log_count() > 0 {
            let all = self.all();
            let failed = all.iter().filter(|one| !housekeeping::is_online(one));
            failed.for_each(|one| refused[self.dir_of(one)] = true);
        }
        refused
    }

    /// Moves logs' starts forward, and answers with each; they hold across a crash, by one checkpoint for all that lie in
    /// a directory. Where a disk refuses it, only they fail.
    pub async fn delete_records_before(
        self: &Arc<Self>,
        wanted: Vec<(Arc<Partition>, i64)>,
    ) -> Vec<Result<i64, StorageError>> {
        let this = self.clone();
        let deleting = crate::blocking::spawn(move || {
            let delete = |(partition, offset): &(Arc<Partition>, i64)| {
                partition.log_blocking().delete_records_before(*offset)
            };
            let deleted: Vec<_> = wanted.iter().map(delete).collect();
            let dirs = wanted.iter().map(|(partition, _)| this.dirs_of(partition));
            let dirs: Vec<Vec<usize>> = dirs.collect();
            let all: BTreeSet<usize> = dirs.iter().flatten().copied().collect();
            let write = |dir| (dir, this.checkpoint_log_starts(dir));
            let written: BTreeMap<usize, _> = all.into_iter().map(write).collect();
            let answer = |((deleted, dirs), (partition, _)): ((_, Vec<usize>), &(Arc<_>, _))| {
                let on_file = dirs.iter().map(|dir| written[dir].clone());
                on_file.fold(deleted, Result::and)?;
                let partition: &Partition = partition;
                partition.waiters().changed();
                Ok(partition.reader().log_start_offset())
            };
            let each = deleted.into_iter().zip(dirs).zip(&wanted);
            each.map(answer).collect()
        });
        deleting
            .await
            .unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
    }
}

/// The topic's own values over the broker's.
pub fn topic_config(image: &Image, config: &BrokerConfig, topic: &str) -> Arc<TopicConfig> {
    let own: Values = image
        .configs(ResourceKind::Topic, topic)
        .map(|configs| {
            configs
                .iter()
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect()
        })
        .unwrap_or_default();
    config.topic(&own)
}

/// Logs a partition that can't be served.
fn report_offline(topic: &TopicName, index: i32, error: &LogError) {
    match error {
        LogError::Malformed { .. } => tracing::error!(
            %topic, partition = index, %error,
            "the partition is offline; stop the broker, and `milena log repair` says what can be done"
        ),
        error => tracing::error!(%topic, partition = index, %error, "the partition is offline"),
    }
}

#[cfg(test)]
mod tests;
