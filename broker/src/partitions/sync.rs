//! Brings what is hosted here to where the metadata is: opens, grows, leads, follows, configures and deletes.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use milena_metadata::{
    BrokerId, Elected, Image, Partition as State, PartitionChange, ResourceKind, Topic, TopicId,
    TopicName,
};

use super::hosted::Slot;
use super::open::{self, LogToOpen, OpenLog, progress};
use super::{GONE_MAX, HostedTopic, Partitions, topic_config};
use crate::config::BrokerConfig;
use crate::partition::Partition;

/// What a new image has meant for the partitions here.
#[derive(Debug, Default)]
pub struct Synced {
    pub gone: Vec<TopicName>,
    /// Partitions here that the metadata has changed; new ones among them.
    pub changed: Vec<Arc<Partition>>,
    /// Partitions that are here no more: those of deleted topics, and those that only other brokers have from now on.
    pub left: Vec<Arc<Partition>>,
}

impl Partitions {
    /// Opens what the image names for this broker, deletes what it does not, and has the others lead and follow as it
    /// says; what has not changed since the call before is not looked at. Calls come one after the other, with images
    /// in order. A partition whose log can't be opened is left out and logged; the others go on.
    pub async fn sync(self: &Arc<Self>, image: &Arc<Image>, config: &Arc<BrokerConfig>) -> Synced {
        let before = self.applied.lock().clone();
        let (gone, mut left) = self.remove_gone(image, &before).await;
        self.open(image, config).await;
        let changed = self.apply(image, &before).await;
        left.extend(self.leave(image, &before).await);
        self.reconfigure(image, &before, config);
        *self.applied.lock() = image.clone();
        Synced {
            gone,
            changed,
            left,
        }
    }

    /// Opens what the image names for this broker and is not here, and nothing else.
    pub async fn open(self: &Arc<Self>, image: &Arc<Image>, config: &Arc<BrokerConfig>) {
        let before = self.applied.lock().clone();
        let changed = image
            .changed_topics(&before)
            .filter_map(|change| change.after());
        let wanted: Vec<Arc<Topic>> = changed.filter(|topic| self.lacks(topic)).cloned().collect();
        if wanted.is_empty() {
            return;
        }
        let (this, image, config) = (self.clone(), image.clone(), config.clone());
        let opening = crate::blocking::spawn(move || this.open_topics(&wanted, &image, &config));
        if let Err(error) = progress::told_of(opening, &self.metrics).await {
            tracing::error!(%error, "opening partitions failed");
        }
    }

    /// Has the replicas here lead and follow as the image says.
    async fn apply(&self, image: &Image, before: &Image) -> Vec<Arc<Partition>> {
        let mut changed = Vec::new();
        for change in image.changed_partitions_of(before, self.node_id) {
            let Some(state) = change.change.after().filter(|p| p.hosts(self.node_id)) else {
                continue;
            };
            if let Some(partition) = self.here(&change.topic.name, change.partition.get()) {
                self.count(&change);
                partition.apply(self.node_id, state).await;
                changed.push(partition);
            }
        }
        changed
    }

    /// Counts what has happened to a partition that is led here.
    fn count(&self, change: &PartitionChange<'_>) {
        let Some(after) = change
            .change
            .after()
            .filter(|p| p.leader == Some(self.node_id))
        else {
            return;
        };
        if change.is_led_anew() {
            self.metrics.led_anew();
            if let Some(why) = may_lack(after.elected) {
                self.metrics.lossily_elected();
                tracing::warn!(
                    topic = %change.topic.name, partition = change.partition.get(),
                    epoch = after.leader_epoch, why,
                    "this replica leads although it may lack committed records: they may be lost"
                );
            }
        }
        if let Some(before) = change.change.before() {
            let lacks = |one: &State, other: &State| {
                let missing = one.isr.iter().filter(|id| !other.isr.contains(id));
                missing.count()
            };
            self.metrics
                .isr_changed(lacks(before, after), lacks(after, before));
        }
    }

    fn here(&self, topic: &TopicName, index: i32) -> Option<Arc<Partition>> {
        self.topic(topic.as_str())?.partition(index).cloned()
    }

    /// Whether a partition of the topic is to be opened, or the topic has grown.
    fn lacks(&self, topic: &Topic) -> bool {
        let Some(hosted) = self.topic(topic.name.as_str()) else {
            return true;
        };
        hosted.id != topic.id.0
            || hosted.slots.len() < topic.partition_count()
            || to_open(&hosted, topic, self.node_id).next().is_some()
    }

    fn open_topics(&self, wanted: &[Arc<Topic>], image: &Image, config: &Arc<BrokerConfig>) {
        // Before the namesake of a deleted topic gets its first record.
        self.checkpoint_if_anew(wanted);
        let mut logs = Vec::new();
        let mut hosted = Vec::with_capacity(wanted.len());
        for (place, topic) in wanted.iter().enumerate() {
            let mut known = self.begin(topic);
            known
                .slots
                .resize_with(topic.partition_count(), Slot::default);
            let topic_config = topic_config(image, config, &topic.name);
            let opened = to_open(&known, topic, self.node_id).map(|id| LogToOpen {
                place,
                topic: topic.clone(),
                id,
                config: topic_config.clone(),
            });
            logs.extend(opened);
            hosted.push(known);
        }
        let threads = usize::try_from(config.num_recovery_threads_per_data_dir).unwrap_or(1);
        let opened = open::open_all(self, config, logs, threads * self.dirs.len());
        let topics = wanted.iter().zip(hosted).zip(opened.by_place(wanted.len()));
        for ((topic, hosted), opened) in topics {
            self.publish(topic, hosted, opened);
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
            self.checkpoint_forgetting();
        }
    }

    fn checkpoint_forgetting(&self) {
        match self.checkpoint() {
            Ok(()) => self.gone.lock().clear(),
            Err(error) => tracing::error!(%error, "checkpoints could not be written"),
        }
    }

    /// The topic as it is hosted so far.
    fn begin(&self, topic: &Topic) -> HostedTopic {
        if let Some(hosted) = self.topic(topic.name.as_str()) {
            return HostedTopic::clone(&hosted);
        }
        let traffic = Arc::new(self.metrics.topic(topic.name.as_str()));
        HostedTopic {
            name: topic.name.clone(),
            id: topic.id.0,
            traffic,
            slots: Vec::new(),
        }
    }

    fn publish(&self, topic: &Topic, mut hosted: HostedTopic, opened: Vec<OpenLog>) {
        let failed: Vec<_> = to_open(&hosted, topic, self.node_id).collect();
        let unopened = failed.len().saturating_sub(opened.len());
        for id in failed {
            hosted.slots[id.index()] = Slot::Offline;
        }
        for log in opened {
            let id = log.id.get();
            let name = (hosted.name.clone(), TopicId(hosted.id), id);
            let partition = Partition::new(
                name,
                log.log,
                log.config,
                hosted.traffic.clone(),
                log.high_watermark,
                (
                    self.dirs[log.dir].appends.clone(),
                    self.flushes[log.dir].clone(),
                ),
            );
            if let Some(state) = topic.partition(id) {
                partition.apply_first(self.node_id, state);
            }
            hosted.slots[log.id.index()] = Slot::Here(Arc::new(partition));
        }
        self.put(hosted);
        self.unopened.fetch_add(unopened, Ordering::Relaxed);
    }

    fn put(&self, hosted: HostedTopic) {
        let hosted = Arc::new(hosted);
        let mut topics = self.topics.write();
        topics.by_id.insert(hosted.id, hosted.clone());
        topics.by_name.insert(hosted.name.clone(), hosted);
    }

    async fn remove_gone(
        self: &Arc<Self>,
        image: &Image,
        before: &Image,
    ) -> (Vec<TopicName>, Vec<Arc<Partition>>) {
        let removed = image
            .changed_topics(before)
            .filter(|change| change.after().is_none())
            .filter_map(|change| self.topic_by_id(change.before()?.id.0));
        let gone: Vec<Arc<HostedTopic>> = removed.collect();
        let mut partitions = Vec::new();
        for topic in &gone {
            self.forget(topic);
            self.metrics.topic_deleted(topic.name.as_str());
            self.moves.forget_preferred(&topic.name);
            partitions.extend(topic.partitions().cloned());
            self.gone.lock().insert(topic.name.clone());
        }
        self.discard_all(partitions.clone()).await;
        let names = gone.iter().map(|topic| topic.name.clone()).collect();
        (names, partitions)
    }

    /// Gives up the replicas that are other brokers' now. The image is committed: what it says is meant.
    async fn leave(self: &Arc<Self>, image: &Image, before: &Image) -> Vec<Arc<Partition>> {
        let (topics, left) = self.given_up(image, before);
        topics.into_iter().for_each(|topic| self.put(topic));
        if !left.is_empty() {
            self.discard_all(left.clone()).await;
            let this = self.clone();
            // Before a replica of the same partition could come back, and be taken for this one.
            let forgetting = crate::blocking::spawn(move || this.checkpoint_forgetting());
            if let Err(error) = forgetting.await {
                tracing::error!(%error, "writing checkpoints failed");
            }
        }
        left
    }

    /// The topics without the replicas that are other brokers' now, and those. A topic is copied once, however many of
    /// its partitions go.
    fn given_up(&self, image: &Image, before: &Image) -> (Vec<HostedTopic>, Vec<Arc<Partition>>) {
        let (mut topics, mut left) = (BTreeMap::new(), Vec::new());
        for change in image.changed_partitions_of(before, self.node_id) {
            let goes = |p: &&Arc<State>| !p.hosts(self.node_id);
            if change.change.after().filter(goes).is_none() {
                continue;
            }
            let topic = match topics.entry(&change.topic.name) {
                Entry::Occupied(copied) => copied.into_mut(),
                Entry::Vacant(place) => match self.topic(change.topic.name.as_str()) {
                    Some(topic) => place.insert(HostedTopic::clone(&topic)),
                    None => continue,
                },
            };
            if let Slot::Here(partition) =
                std::mem::take(&mut topic.slots[change.partition.index()])
            {
                tracing::info!(
                    topic = %partition.topic(), partition = partition.index(),
                    "other brokers have this partition now; its replica here is deleted"
                );
                left.push(partition);
            }
        }
        (topics.into_values().collect(), left)
    }

    async fn discard_all(self: &Arc<Self>, partitions: Vec<Arc<Partition>>) {
        partitions.iter().for_each(|partition| partition.retire());
        // Only now: a compaction that is under way notes nothing for what is retired.
        let keys = partitions
            .iter()
            .map(|partition| (partition.topic().to_string(), partition.index()));
        for key in keys {
            self.cleaned_to.lock().remove(&key);
            self.compaction.forget(&key);
        }
        if partitions.is_empty() {
            return;
        }
        let this = self.clone();
        let discarding = crate::blocking::spawn(move || this.discard(&partitions));
        if let Err(error) = discarding.await {
            tracing::error!(%error, "deleting partitions failed");
        }
    }

    /// Renames the partitions' folders, with one sync for all; the files go after `file.delete.delay.ms`.
    fn discard(&self, partitions: &[Arc<Partition>]) {
        let now_ms = self.clock.monotonic_ms();
        let mut touched = BTreeSet::new();
        for partition in partitions {
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

    /// Gives each partition whose configuration has changed the one that holds now.
    fn reconfigure(&self, image: &Image, before: &Image, config: &BrokerConfig) {
        let expiration_ms = config.producer_id_expiration_ms;
        let before_ms = self
            .producer_expiration_ms
            .swap(expiration_ms, Ordering::Relaxed);
        let all_logs = before_ms != 0 && before_ms != expiration_ms;
        let (brokers, topics): (Vec<_>, Vec<_>) = image
            .changed_configs(before)
            .filter(|(kind, ..)| matches!(kind, ResourceKind::Broker | ResourceKind::Topic))
            .partition(|(kind, ..)| *kind == ResourceKind::Broker);
        let touched: Vec<Arc<HostedTopic>> = match brokers.is_empty() && !all_logs {
            true => topics
                .iter()
                .filter_map(|(_, name, _)| self.topic(name))
                .collect(),
            false => self.topics(),
        };
        for topic in touched {
            let now = topic_config(image, config, &topic.name);
            for partition in topic.partitions() {
                if all_logs || *partition.config() != *now {
                    partition.set_config(now.clone(), config);
                }
            }
        }
    }
}

/// Why a leader may lack records that were committed, if it may.
fn may_lack(elected: Elected) -> Option<&'static str> {
    match elected {
        Elected::InSync | Elected::Eligible => None,
        Elected::LastKnown => Some(
            "everybody in sync has ended uncleanly, and this replica, which led last, is the first one back",
        ),
        Elected::Unclean => Some(
            "nobody in sync was there, and unclean.leader.election.enable or a person's order had this replica elected",
        ),
    }
}

/// The partitions that this broker is to have a replica of, and has not tried to open yet.
fn to_open<'a>(
    hosted: &'a HostedTopic,
    topic: &'a Topic,
    me: BrokerId,
) -> impl Iterator<Item = milena_metadata::PartitionId> + 'a {
    let is_open = |index: usize| !matches!(hosted.slots.get(index), None | Some(Slot::Elsewhere));
    topic
        .partitions()
        .filter(move |(id, state)| state.hosts(me) && !is_open(id.index()))
        .map(|(id, _)| id)
}

#[cfg(test)]
mod tests;
