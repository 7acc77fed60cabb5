//! What the handlers of all APIs share: one broker's state, by its owners.

mod offsets_topic;
mod on_demand;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use milena_metadata::{
    BrokerId, CreateTopics, Image, MIN_INSYNC_REPLICAS, NewTopic, Refusal, Request as Command,
    ResourceKind, TopicId, TopicName,
};
use milena_protocol::ErrorCode;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::api::fetch::session::FetchSessions;
use crate::clock::Clock;
use crate::config::{BrokerConfig, Values};
use crate::fetcher::News;
use crate::group::classic::Limits;
use crate::group::host::GroupHost;
use crate::group::storage::PartitionLog;
use crate::group::{Groups, OFFSETS_TOPIC, Settings};
use crate::isr::IsrWatch;
use crate::limits::Connections;
use crate::metrics::Metrics;
use crate::partition::{Partition, Refused};
use crate::partitions::{Partitions, Synced};
use crate::producer_ids::ProducerIds;
use crate::quorum::Quorum;
use crate::server::last_end;
use crate::suspects::Suspects;

/// Bytes of requests in hand where `queued.max.request.bytes` does not say: more than a few of the largest
/// requests at once would only wait for the disk in memory.
const IN_FLIGHT_DEFAULT: u32 = 256 * 1024 * 1024;

/// How long a request waits for topics that are created for it: old clients give up soon, and ask again.
const AUTO_CREATE_WITHIN: Duration = Duration::from_secs(1);

/// How long a start, and whoever needs the first group, waits for groups to be loaded.
const GROUPS_LOADED_WITHIN: Duration = Duration::from_secs(2);
const GROUPS_LOADED_CHECK: Duration = Duration::from_millis(2);

pub struct Broker {
    node_id: BrokerId,
    broker_epoch: i64,
    clock: Clock,
    /// As it was at the start; what is dynamic is laid over it.
    started_with: Arc<BrokerConfig>,
    config: ArcSwap<BrokerConfig>,
    quorum: Arc<Quorum>,
    partitions: Arc<Partitions>,
    groups: Arc<Groups>,
    fetch_sessions: FetchSessions,
    waits_ended: CancellationToken,
    producer_ids: ProducerIds,
    connections: Arc<Connections>,
    in_flight: Arc<Semaphore>,
    changed_replicas: News,
    suspects: Suspects,
    isr: IsrWatch,
    /// The metadata that was taken over last; none before the first time.
    taking_over: tokio::sync::Mutex<Option<Arc<Image>>>,
    in_flight_max: u32,
    metrics: Arc<Metrics>,
    too_few: offsets_topic::Teller,
}

/// The parts that a broker is put together from.
pub struct Parts {
    pub node_id: BrokerId,
    /// The epoch of its registration.
    pub broker_epoch: i64,
    pub config: Arc<BrokerConfig>,
    pub quorum: Arc<Quorum>,
    pub partitions: Arc<Partitions>,
    pub metrics: Arc<Metrics>,
}

impl Broker {
    /// Puts a broker together; nothing runs yet.
    pub fn new(parts: Parts) -> Arc<Self> {
        let slots =
            usize::try_from(parts.config.max_incremental_fetch_session_cache_slots).unwrap_or(0);
        let in_flight_max = in_flight_max(&parts.config);
        let groups = Arc::new(groups(&parts));
        Arc::new(Self {
            node_id: parts.node_id,
            broker_epoch: parts.broker_epoch,
            clock: Clock,
            config: ArcSwap::new(parts.config.clone()),
            started_with: parts.config,
            producer_ids: ProducerIds::new(parts.quorum.clone(), parts.node_id, parts.broker_epoch),
            groups,
            quorum: parts.quorum,
            partitions: parts.partitions,
            fetch_sessions: FetchSessions::new(slots),
            waits_ended: CancellationToken::new(),
            connections: Arc::default(),
            in_flight: Arc::new(Semaphore::new(in_flight_max as usize)),
            in_flight_max,
            changed_replicas: News::default(),
            suspects: Suspects::default(),
            isr: IsrWatch::default(),
            taking_over: tokio::sync::Mutex::default(),
            metrics: parts.metrics,
            too_few: offsets_topic::Teller::default(),
        })
    }

    pub fn node_id(&self) -> i32 {
        self.node_id.get()
    }

    /// The same, as the metadata has it.
    pub fn broker_id(&self) -> BrokerId {
        self.node_id
    }

    /// The epoch of this life's registration.
    pub fn broker_epoch(&self) -> i64 {
        self.broker_epoch
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    /// The configuration as it is now.
    pub fn config(&self) -> Arc<BrokerConfig> {
        self.config.load_full()
    }

    /// The cluster's metadata as it is now.
    pub fn image(&self) -> Arc<Image> {
        self.quorum.image()
    }

    pub fn quorum(&self) -> &Quorum {
        &self.quorum
    }

    pub fn partitions(&self) -> &Arc<Partitions> {
        &self.partitions
    }

    /// What the fetchers are to look at.
    pub fn changed_replicas(&self) -> &News {
        &self.changed_replicas
    }

    pub fn suspects(&self) -> &Suspects {
        &self.suspects
    }

    /// Where followers are reported that may be in sync again.
    pub fn isr(&self) -> &IsrWatch {
        &self.isr
    }

    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// Cancelled when the broker stops: a request that waits for more answers with what there is.
    pub fn waits_ended(&self) -> &CancellationToken {
        &self.waits_ended
    }

    pub fn fetch_sessions(&self) -> &FetchSessions {
        &self.fetch_sessions
    }

    pub fn producer_ids(&self) -> &ProducerIds {
        &self.producer_ids
    }

    pub fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// The bytes of requests that may be in hand, and how many they are.
    pub fn in_flight(&self) -> (Arc<Semaphore>, u32) {
        (self.in_flight.clone(), self.in_flight_max)
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Asks the quorum for a change, and answers when this broker has taken it over.
    pub async fn change<C: Command>(&self, command: C) -> Result<C::Outcome, Refusal> {
        let outcome = self.quorum.request(command).await.map_err(into_refusal)?;
        self.take_over().await;
        Ok(outcome)
    }

    /// Brings configuration, partitions, groups and fetchers to where the metadata is.
    pub async fn take_over(&self) {
        // One after the other, and the image is read in turn: an older one must never undo a newer.
        let mut taken = self.taking_over.lock().await;
        let image = self.image();
        if taken
            .as_ref()
            .is_some_and(|before| Arc::ptr_eq(before, &image))
        {
            return;
        }
        let config = self.reconfigure(&image, taken.as_deref());
        let synced = self.partitions.sync(&image, &config).await;
        self.hand_over_groups(&image, &synced);
        self.suspects.seen(&image);
        if taken
            .as_ref()
            .is_some_and(|before| may_join_anew(&image, before))
        {
            self.isr.look_at_all();
        }
        self.changed_replicas
            .changed(synced.changed.into_iter().chain(synced.left));
        *taken = Some(image);
    }

    /// Puts in force what the metadata says of the broker's settings.
    fn reconfigure(&self, image: &Image, before: Option<&Image>) -> Arc<BrokerConfig> {
        let own = self.node_id.get().to_string();
        let is_same = |before: &Image, name: &str| {
            let of = |image: &Image| image.configs(ResourceKind::Broker, name).cloned();
            of(before) == of(image)
        };
        if before.is_some_and(|before| is_same(before, "") && is_same(before, &own)) {
            return self.config();
        }
        let config = Arc::new(self.resolve(image));
        self.config.store(config.clone());
        config
    }

    /// Loads the groups whose partitions are led here from now on, gives up the others, and has those that stay forget
    /// topics that are gone.
    fn hand_over_groups(&self, image: &Image, synced: &Synced) {
        let gone = synced.gone.clone();
        if gone.iter().any(|topic| topic.as_str() == OFFSETS_TOPIC) {
            self.groups.lost();
        }
        if !gone.is_empty() {
            let groups = self.groups.clone();
            // Beside this: a group that waits for its append to be committed may wait for the very change of the ISR
            // that would come next here.
            tokio::spawn(async move { groups.topics_deleted(&gone).await });
        }
        let is_groups = |partition: &&Arc<Partition>| partition.topic().as_str() == OFFSETS_TOPIC;
        for partition in synced.changed.iter().filter(is_groups) {
            let (index, epoch) = (partition.index(), partition.leader_epoch());
            match partition.leads() {
                true => self.groups.elected(index, epoch),
                false => self.groups.resigned(index, epoch),
            }
        }
        for partition in synced.left.iter().filter(is_groups) {
            let index = partition.index();
            if let Some(state) = image.partition(OFFSETS_TOPIC, index) {
                self.groups.resigned(index, state.leader_epoch);
            }
        }
    }

    /// Waits until the groups here are loaded, within a bound: some clients take "still loading" as final.
    pub async fn groups_loaded(&self) {
        let deadline = tokio::time::Instant::now() + GROUPS_LOADED_WITHIN;
        while self.groups.loading_count() > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(GROUPS_LOADED_CHECK).await;
        }
    }

    /// Gives up all groups: whoever waits for one is told to look for the coordinator again.
    pub fn resign_groups(&self) {
        for partition in self
            .partitions
            .topic(OFFSETS_TOPIC)
            .iter()
            .flat_map(|topic| topic.partitions())
        {
            self.groups.resigned(
                partition.index(),
                partition.leader_epoch().saturating_add(1),
            );
        }
    }

    /// The start's configuration under the cluster's and this broker's dynamic values.
    fn resolve(&self, image: &Image) -> BrokerConfig {
        let values = |name: &str| -> Values {
            let configs = image.configs(ResourceKind::Broker, name);
            configs
                .map(|configs| {
                    configs
                        .iter()
                        .map(|(key, value)| (key.to_string(), value.to_string()))
                        .collect()
                })
                .unwrap_or_default()
        };
        let mut own = values(&self.node_id.get().to_string());
        // One that is left from when a broker could have its own: the quorum decides by the cluster's.
        own.remove(MIN_INSYNC_REPLICAS);
        self.started_with.with_dynamic(&values(""), &own)
    }

    /// Creates topics that a client asked for without creating them. LEADER_NOT_AVAILABLE makes the client ask
    /// again, which old ones do for no other code. It is also the answer where they are not here in time; their
    /// creation goes on then.
    pub async fn auto_create(self: &Arc<Self>, names: Vec<TopicName>) -> ErrorCode {
        let broker = self.clone();
        let creating = tokio::spawn(async move { broker.create_on_demand(names).await });
        match tokio::time::timeout(AUTO_CREATE_WITHIN, creating).await {
            Ok(Ok(outcome)) => outcome,
            _ => ErrorCode::LeaderNotAvailable,
        }
    }

    async fn create_on_demand(&self, names: Vec<TopicName>) -> ErrorCode {
        let config = self.config();
        let wish = |name: &TopicName| match name.as_str() {
            // Whoever asks for it first, the groups rely on its partitions and its policy.
            OFFSETS_TOPIC => self.offsets_topic(),
            name => Some(NewTopic {
                name: name.to_owned(),
                id: TopicId::random(),
                partitions: -1,
                replication_factor: -1,
                assignments: Vec::new(),
                configs: Vec::new(),
            }),
        };
        let topics: Vec<NewTopic> = names.iter().filter_map(wish).collect();
        let waits = topics.len() < names.len();
        let command = CreateTopics {
            topics,
            default_partitions: config.num_partitions,
            default_replication_factor: i16::try_from(config.default_replication_factor)
                .unwrap_or(i16::MAX),
            validate_only: false,
        };
        match self.change(command).await {
            Ok(outcomes) => {
                let refusals = outcomes.into_iter().filter_map(Result::err);
                let refused =
                    refusals.map(|refusal| on_demand::answer(refusal.code, &config, &self.image()));
                let mut refused = refused.filter(|code| *code != ErrorCode::TopicAlreadyExists);
                let waiting = waits.then_some(ErrorCode::LeaderNotAvailable);
                refused.next().or(waiting).unwrap_or_default()
            }
            Err(refusal) => {
                tracing::warn!(?names, %refusal, "topics could not be created on demand");
                ErrorCode::LeaderNotAvailable
            }
        }
    }

    /// What committed offsets are kept in; `None` while there are too few brokers for it, which the log says.
    fn offsets_topic(&self) -> Option<NewTopic> {
        let wanted = offsets_topic::wanted(&self.config(), &self.image());
        wanted.map_err(|few| self.too_few.tell(few)).ok()
    }

    /// Logs and counts what the disk refused; other refusals are the client's own.
    pub fn note_append_failure(&self, partition: &Partition, refused: &Refused) {
        if refused.code() == ErrorCode::KafkaStorageError {
            self.metrics.append_failed();
            // In a data directory of its own.
            if let Some(dir) = partition.reader().folder().parent() {
                last_end::distrust(dir);
            }
            tracing::error!(topic = %partition.topic(), partition = partition.index(), error = %refused, "append failed");
        }
    }
}

/// Whether a broker may be in sync that could not before, however far its fetches had come.
fn may_join_anew(image: &Image, before: &Image) -> bool {
    let may = |broker: &Arc<milena_metadata::Broker>| !broker.fenced && !broker.is_leaving();
    let mut changed = image.changed_brokers(before);
    changed.any(|(_, change)| change.after().is_some_and(may) && !change.before().is_some_and(may))
}

/// What clients are told where the quorum gave no outcome.
pub fn into_refusal(error: crate::quorum::QuorumError) -> Refusal {
    Refusal::new(error.code(), error.to_string())
}

/// A request of any allowed size must fit, or it would wait for ever.
fn in_flight_max(config: &BrokerConfig) -> u32 {
    let largest = u32::try_from(config.socket_request_max_bytes).unwrap_or(0);
    let wanted = u32::try_from(config.queued_max_request_bytes.min(i64::from(u32::MAX)));
    wanted.unwrap_or(IN_FLIGHT_DEFAULT).max(largest)
}

impl GroupHost for Broker {
    fn groups(&self) -> &Groups {
        &self.groups
    }

    fn image(&self) -> Arc<Image> {
        Self::image(self)
    }

    async fn ensure_offsets_topic(&self) -> Result<(), ErrorCode> {
        if self.image().topic(OFFSETS_TOPIC).is_some() {
            return Ok(());
        }
        let topic = self.offsets_topic();
        let topic = topic.ok_or(ErrorCode::CoordinatorNotAvailable)?;
        let (default_partitions, default_replication_factor) = (1, 1);
        let command = CreateTopics {
            topics: vec![topic],
            default_partitions,
            default_replication_factor,
            validate_only: false,
        };
        match self
            .change(command)
            .await
            .map(|mut outcomes| outcomes.pop())
        {
            Ok(Some(Ok(_))) => {
                self.groups_loaded().await;
                Ok(())
            }
            // Two clients asked at once.
            Ok(Some(Err(refusal))) if refusal.code == ErrorCode::TopicAlreadyExists => Ok(()),
            failed => {
                tracing::error!(
                    ?failed,
                    "__consumer_offsets could not be created, so groups can't be served"
                );
                Err(ErrorCode::CoordinatorNotAvailable)
            }
        }
    }
}

/// The groups, whose shards are as many as the topic's partitions, for ever.
fn groups(parts: &Parts) -> Groups {
    let config = &parts.config;
    let shards = match parts.quorum.image().topic(OFFSETS_TOPIC) {
        Some(topic) => topic.partition_count(),
        None => usize::try_from(config.offsets_topic_num_partitions).unwrap_or(1),
    };
    let settings = Settings {
        limits: Limits {
            size_max: usize::try_from(config.group_max_size).unwrap_or(usize::MAX),
            initial_rebalance_delay_ms: config.group_initial_rebalance_delay_ms,
        },
        session_timeout_ms: config.group_min_session_timeout_ms
            ..=config.group_max_session_timeout_ms,
        offset_metadata_size_max: usize::try_from(config.offset_metadata_max_bytes).unwrap_or(0),
        offsets_retention_ms: i64::from(config.offsets_retention_minutes) * 60_000,
        offsets_retention_check_interval_ms: u64::try_from(
            config.offsets_retention_check_interval_ms,
        )
        .unwrap_or(1),
    };
    let log = PartitionLog::new(parts.partitions.clone(), Clock);
    Groups::new(Arc::new(log), shards, settings)
}

#[cfg(test)]
pub(crate) mod tests;
