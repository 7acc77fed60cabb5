//! The partitions hosted here: opened, grown and deleted as the cluster's metadata says.

pub mod housekeeping;
pub mod open;

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use milena_log::{Checkpoint, DataDirectory, Log, LogError, Offsets, StorageError, Trash};
use milena_metadata::{BrokerId, Image, ResourceKind, Topic, TopicId, TopicName};
use milena_protocol::{ErrorCode, Uuid};
use parking_lot::{Mutex, RwLock};

use crate::clock::Clock;
use crate::config::{BrokerConfig, TopicConfig, Values};
use crate::metrics::{Metrics, TopicTraffic};
use crate::partition::Partition;
use crate::partition::room::AppendRoom;
use open::{Known, LogToOpen};

/// Names of deleted topics that are remembered before the checkpoints are written for their sake: a few hundred KiB.
const GONE_MAX: usize = 10_000;

/// A topic with partitions here.
#[derive(Debug)]
pub struct HostedTopic {
    name: TopicName,
    id: Uuid,
    traffic: Arc<TopicTraffic>,
    partitions: Vec<Option<Arc<Partition>>>,
}

impl HostedTopic {
    /// The topic's name.
    pub fn name(&self) -> &TopicName {
        &self.name
    }

    /// A partition that is hosted here.
    pub fn partition(&self, index: i32) -> Option<&Arc<Partition>> {
        self.partitions.get(usize::try_from(index).ok()?)?.as_ref()
    }

    /// The same, or the error for a client that believes it is here.
    pub fn find(&self, index: i32) -> Result<&Arc<Partition>, ErrorCode> {
        let place = usize::try_from(index).ok();
        match place.and_then(|index| self.partitions.get(index)) {
            Some(Some(partition)) => Ok(partition),
            // Its log could not be opened.
            Some(None) => Err(ErrorCode::KafkaStorageError),
            None => Err(ErrorCode::UnknownTopicOrPartition),
        }
    }

    /// The numbers of those, and of its partitions that other brokers have.
    pub fn offline(&self) -> impl Iterator<Item = i32> {
        let missing = self.partitions.iter().zip(0..);
        missing.filter_map(|(partition, index)| partition.is_none().then_some(index))
    }

    /// All partitions that are hosted here.
    pub fn partitions(&self) -> impl Iterator<Item = &Arc<Partition>> {
        self.partitions.iter().flatten()
    }
}

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
    /// What is known of the logs in it.
    pub known: Known,
    /// Appends that may be under way in it at once: each holds a thread while the disk stalls.
    pub appends: Arc<AppendRoom>,
}

/// Every partition of this broker.
#[derive(Debug)]
pub struct Partitions {
    node_id: BrokerId,
    dirs: Vec<DataDir>,
    clock: Clock,
    metrics: Arc<Metrics>,
    topics: RwLock<Topics>,
    trash: Mutex<Trash>,
    cleaned_to: Mutex<Offsets>,
    /// Deleted topics that the checkpoint files may still speak of.
    gone: Mutex<BTreeSet<TopicName>>,
    /// The metadata as it was taken over last.
    applied: Mutex<Arc<Image>>,
    /// `producer.id.expiration.ms` as the logs have it: the one of the broker's own settings that is in theirs.
    /// 0 before the first.
    producer_expiration_ms: AtomicI32,
}

impl Partitions {
    /// No partitions yet; `sync` opens what the metadata names.
    pub fn new(node_id: BrokerId, dirs: Vec<DataDir>, clock: Clock, metrics: Arc<Metrics>) -> Self {
        let cleaned_to = dirs
            .iter()
            .flat_map(|dir| dir.known.offsets(Checkpoint::Cleaner).clone())
            .collect();
        let (topics, trash) = Default::default();
        Self {
            node_id,
            dirs,
            clock,
            metrics,
            topics,
            trash,
            cleaned_to: Mutex::new(cleaned_to),
            gone: Mutex::default(),
            applied: Mutex::default(),
            producer_expiration_ms: AtomicI32::new(0),
        }
    }

    /// A topic by name.
    pub fn topic(&self, name: &str) -> Option<Arc<HostedTopic>> {
        self.topics.read().by_name.get(name).cloned()
    }

    /// A topic by id.
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

    /// All topics.
    pub fn topics(&self) -> Vec<Arc<HostedTopic>> {
        self.topics.read().by_name.values().cloned().collect()
    }

    /// All partitions.
    pub fn all(&self) -> Vec<Arc<Partition>> {
        self.topics()
            .iter()
            .flat_map(|topic| topic.partitions().cloned().collect::<Vec<_>>())
            .collect()
    }

    /// The data directories.
    pub fn dirs(&self) -> &[DataDir] {
        &self.dirs
    }

    /// How many appends are under way.
    pub fn appends_under_way(&self) -> usize {
        self.dirs.iter().map(|dir| dir.appends.used()).sum()
    }

    /// Opens what the image names and is not here, and deletes what is here and not in it; calls come one
    /// after the other, with images in order. A partition
    /// whose log can't be opened is left out and logged; the others go on.
    /// The topics that were deleted are returned.
    pub async fn sync(
        self: &Arc<Self>,
        image: &Arc<Image>,
        config: &Arc<BrokerConfig>,
    ) -> Vec<TopicName> {
        let gone = self.remove_gone(image).await;
        let wanted: Vec<Arc<Topic>> = image
            .topics()
            .filter(|topic| self.lacks(topic))
            .cloned()
            .collect();
        if !wanted.is_empty() {
            let (this, image, config) = (self.clone(), image.clone(), config.clone());
            let opening =
                tokio::task::spawn_blocking(move || this.open_topics(&wanted, &image, &config));
            if let Err(error) = opening.await {
                tracing::error!(%error, "opening partitions failed");
            }
        }
        self.apply(image).await;
        gone
    }

    /// Has the replicas here lead and follow as the image says; those that it has not changed are not looked at.
    async fn apply(&self, image: &Arc<Image>) {
        let before = std::mem::replace(&mut *self.applied.lock(), image.clone());
        let now_ms = self.clock.now_ms();
        for topic in image.topics() {
            let known = before.topic(topic.name.as_str());
            if known.is_some_and(|known| Arc::ptr_eq(known, topic)) {
                continue;
            }
            let Some(hosted) = self.topic(topic.name.as_str()) else {
                continue;
            };
            for (id, state) in topic.partitions() {
                let known = known.and_then(|known| known.partition(id.get()));
                if known.is_some_and(|known| Arc::ptr_eq(known, state)) {
                    continue;
                }
                if let Some(partition) = hosted.partition(id.get()) {
                    partition.apply(self.node_id, state, now_ms).await;
                }
            }
        }
    }

    fn lacks(&self, topic: &Topic) -> bool {
        match self.topic(topic.name.as_str()) {
            Some(hosted) => {
                hosted.id != topic.id.0 || hosted.partitions.len() < topic.partition_count()
            }
            None => true,
        }
    }

    fn open_topics(&self, wanted: &[Arc<Topic>], image: &Image, config: &Arc<BrokerConfig>) {
        let mut logs = Vec::new();
        let mut grown = Vec::with_capacity(wanted.len());
        for topic in wanted {
            let hosted = self.begin(topic);
            let topic_config = topic_config(image, config, &topic.name);
            for (id, partition) in topic.partitions().skip(hosted.partitions.len()) {
                if partition.brokers().any(|broker| broker == self.node_id) {
                    logs.push(LogToOpen {
                        place: grown.len(),
                        topic: topic.clone(),
                        id,
                        config: topic_config.clone(),
                    });
                }
            }
            grown.push((hosted, topic.partition_count()));
        }
        let threads = usize::try_from(config.num_recovery_threads_per_data_dir).unwrap_or(1);
        let opened = open::open_all(self, config, logs, threads * self.dirs.len());
        let topics = wanted.iter().zip(grown).zip(opened.by_place());
        for ((topic, (hosted, count)), opened) in topics {
            self.publish(topic, hosted, count, opened);
        }
        self.checkpoint_if_anew(wanted);
    }

    /// Has the checkpoint files forget a deleted topic before a crash could have them speak of its namesake.
    fn checkpoint_if_anew(&self, opened: &[Arc<Topic>]) {
        let is_due = {
            let gone = self.gone.lock();
            opened.iter().any(|topic| gone.contains(&topic.name)) || gone.len() > GONE_MAX
        };
        if is_due {
            match self.checkpoint() {
                Ok(()) => self.gone.lock().clear(),
                Err(error) => tracing::error!(%error, "checkpoints could not be written"),
            }
        }
    }

    /// The topic as it is hosted so far.
    fn begin(&self, topic: &Topic) -> HostedTopic {
        if let Some(hosted) = self.topic(topic.name.as_str()) {
            let (name, id, traffic) = (hosted.name.clone(), hosted.id, hosted.traffic.clone());
            return HostedTopic {
                name,
                id,
                traffic,
                partitions: hosted.partitions.clone(),
            };
        }
        let traffic = Arc::new(self.metrics.topic(topic.name.as_str()));
        HostedTopic {
            name: topic.name.clone(),
            id: topic.id.0,
            traffic,
            partitions: Vec::new(),
        }
    }

    fn publish(
        &self,
        topic: &Topic,
        mut hosted: HostedTopic,
        count: usize,
        opened: Vec<open::OpenLog>,
    ) {
        hosted.partitions.resize(count, None);
        let now_ms = self.clock.now_ms();
        for log in opened {
            let id = log.id.get();
            let name = (hosted.name.clone(), TopicId(hosted.id), id);
            let partition = Partition::new(
                name,
                log.log,
                log.config,
                hosted.traffic.clone(),
                log.high_watermark,
                self.dirs[log.dir].appends.clone(),
            );
            if let Some(state) = topic.partition(id) {
                partition.apply_first(self.node_id, state, now_ms);
            }
            hosted.partitions[log.id.index()] = Some(Arc::new(partition));
        }
        let hosted = Arc::new(hosted);
        let mut topics = self.topics.write();
        topics.by_id.insert(hosted.id, hosted.clone());
        topics.by_name.insert(hosted.name.clone(), hosted);
    }

    async fn remove_gone(self: &Arc<Self>, image: &Image) -> Vec<TopicName> {
        let gone = |topic: &Arc<HostedTopic>| {
            image
                .topic(topic.name.as_str())
                .is_none_or(|t| t.id.0 != topic.id)
        };
        let gone: Vec<_> = self.topics().into_iter().filter(gone).collect();
        for topic in &gone {
            self.forget(topic);
            self.metrics.topic_deleted(topic.name.as_str());
            topic.partitions().for_each(|partition| partition.retire());
            // Only now: a compaction that is under way notes nothing for what is retired.
            let is_kept = |key: &(String, i32)| key.0 != topic.name.as_str();
            self.cleaned_to.lock().retain(|key, _| is_kept(key));
            self.gone.lock().insert(topic.name.clone());
        }
        let names = gone.iter().map(|topic| topic.name.clone()).collect();
        if !gone.is_empty() {
            let this = self.clone();
            let discarding = tokio::task::spawn_blocking(move || this.discard(&gone));
            if let Err(error) = discarding.await {
                tracing::error!(%error, "deleting partitions failed");
            }
        }
        names
    }

    fn forget(&self, topic: &HostedTopic) {
        let mut topics = self.topics.write();
        topics.by_name.remove(topic.name.as_str());
        topics.by_id.remove(&topic.id);
    }

    /// Renames the deleted partitions' folders, with one sync for all; the files go after `file.delete.delay.ms`.
    fn discard(&self, topics: &[Arc<HostedTopic>]) {
        let now_ms = self.clock.now_ms();
        let mut touched = BTreeSet::new();
        for partition in topics.iter().flat_map(|topic| topic.partitions()) {
            let due_ms = now_ms.saturating_add(partition.config().file_delete_delay_ms);
            let mut log = partition.log_blocking();
            touched.insert(self.dir_of(partition));
            match self.rename_deleted(partition, &mut log) {
                Ok(folder) => self.trash.lock().put(folder, due_ms),
                Err(error) => tracing::error!(
                    topic = %partition.topic(), partition = partition.index(), %error,
                    "a deleted partition's folder could not be renamed; remove it by hand after a stop"
                ),
            }
        }
        self.sync_dirs(touched);
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
        let folder = self.dirs[dir]
            .directory
            .rename_deleted(partition.topic().as_str(), partition.index())?;
        log.moved_to(&folder);
        Ok(folder)
    }

    /// Which directory a partition lies in.
    fn dir_of(&self, partition: &Partition) -> usize {
        let folder = partition.reader().folder();
        let holds = |dir: &DataDir| folder.parent() == Some(dir.directory.path());
        self.dirs.iter().position(holds).unwrap_or(0)
    }

    /// Gives each partition the configuration that holds now.
    pub async fn reconfigure(&self, image: &Image, config: &BrokerConfig) {
        let expiration_ms = config.producer_id_expiration_ms;
        let before_ms = self
            .producer_expiration_ms
            .swap(expiration_ms, Ordering::Relaxed);
        let all = before_ms != 0 && before_ms != expiration_ms;
        for topic in self.topics() {
            let now = topic_config(image, config, &topic.name);
            for partition in topic.partitions() {
                if all || *partition.config() != *now {
                    partition.set_config(now.clone(), config).await;
                }
            }
        }
    }

    /// Moves logs' starts forward, and answers with each; they hold across a crash, by one checkpoint for all.
    pub async fn delete_records_before(
        self: &Arc<Self>,
        wanted: Vec<(Arc<Partition>, i64)>,
    ) -> Vec<Result<i64, StorageError>> {
        let this = self.clone();
        let deleting = tokio::task::spawn_blocking(move || {
            let delete = |(partition, offset): &(Arc<Partition>, i64)| {
                partition.log_blocking().delete_records_before(*offset)
            };
            let deleted: Vec<_> = wanted.iter().map(delete).collect();
            let written = this.checkpoint_log_starts();
            let answer = |(deleted, (partition, _)): (Result<_, _>, &(Arc<Partition>, _))| {
                deleted.and_then(|()| written.clone())?;
                partition.waiters().changed();
                Ok(partition.reader().log_start_offset())
            };
            deleted.into_iter().zip(&wanted).map(answer).collect()
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
    tracing::error!(%topic, partition = index, %error, "the partition is offline");
}

#[cfg(test)]
mod tests;
