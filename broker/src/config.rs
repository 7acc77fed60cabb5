//! The broker's configuration: one table, from which everything else is made.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `config/broker.rs`, `config/topic.rs` | the rows: each gives a typed field and its line in the table |
//! | `config/accepted.rs` | Kafka's settings that do nothing here, with the reason |
//! | `config/load.rs` | defaults, then file, environment and flags, into one [`BrokerConfig`] |
//! | `config/listeners.rs` | listeners and where clients find them |
//! | `config/quorum.rs` | who the cluster is made of |
//! | `config/alter.rs` | which changes a running broker takes |
//! | `config/describe.rs` | every value with where it comes from |
//! | `config/reference.rs` | the table as a page |
//!
//! A value has four layers, the upper ones counting first: the topic's own (topics only), this broker's and
//! the cluster's dynamic ones, those of the start, the default. [`BrokerConfig`] and [`TopicConfig`] are
//! immutable snapshots: a change makes a new one.

mod accepted;
mod alter;
mod broker;
pub mod describe;
pub mod listeners;
pub mod load;
mod quorum;
pub mod reference;
mod setting;
mod topic;
mod value;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

pub use broker::BrokerSettings;
pub use listeners::{Listener, SecurityProtocol};
pub use load::{LoadError, Sources};
pub use quorum::{QuorumConfig, Voter};
pub use setting::{Bounds, Effect, Importance, Setting, Type, Update};
pub use topic::TopicConfig;
pub use value::{CleanupPolicy, CompressionType, LogFormat, TimestampType};

/// Settings by name, as text.
pub type Values = BTreeMap<String, String>;

/// Everything a broker is told, typed and checked. It reads as its [`BrokerSettings`]:
/// `config.num_partitions`.
#[derive(Debug, Clone)]
pub struct BrokerConfig {
    settings: BrokerSettings,
    /// Where the broker listens; at least one.
    pub listeners: Vec<Listener>,
    /// Who the cluster is made of.
    pub quorum: QuorumConfig,
    /// What a topic without settings of its own has.
    pub topic_defaults: Arc<TopicConfig>,
    layers: Layers,
    /// What was read at the start.
    sources: Arc<Sources>,
}

impl Deref for BrokerConfig {
    type Target = BrokerSettings;

    fn deref(&self) -> &BrokerSettings {
        &self.settings
    }
}

impl BrokerConfig {
    /// The directories for data, the first also for the cluster's metadata unless
    /// [`BrokerConfig::metadata_dir`] says otherwise.
    pub fn data_dirs(&self) -> Vec<PathBuf> {
        self.log_dirs
            .as_ref()
            .unwrap_or(&self.log_dir)
            .iter()
            .map(PathBuf::from)
            .collect()
    }

    /// The directory for the cluster's metadata.
    pub fn metadata_dir(&self) -> PathBuf {
        match &self.metadata_log_dir {
            Some(dir) => PathBuf::from(dir),
            None => self.data_dirs().swap_remove(0),
        }
    }

    /// The listener on which brokers speak to each other; none where the clients' is the only one.
    pub fn peers_listener(&self) -> Option<&Listener> {
        quorum::peers_listener(&self.listeners)
    }

    /// The files that it was read from.
    pub fn files(&self) -> &[PathBuf] {
        &self.sources.files
    }

    /// The listeners by what the files say now; the environment and the flags are as they were.
    pub fn listeners_now(&self) -> Result<Vec<Listener>, LoadError> {
        Ok(self.sources.load()?.0.listeners)
    }

    /// Whether there are, or may come to be, other brokers.
    pub fn is_in_a_cluster(&self) -> bool {
        !self.quorum.known.is_empty()
    }

    /// The most connections from one address, by `max.connections.per.ip.overrides` where it is named
    /// there (as the text of the address).
    pub fn max_connections_from(&self, address: &str) -> u32 {
        let all = u32::try_from(self.max_connections_per_ip).unwrap_or(0);
        let overrides = setting::items(&self.max_connections_per_ip_overrides);
        let mut overrides = overrides.filter_map(listeners::connection_override);
        overrides
            .find(|(host, _)| *host == address)
            .map_or(all, |(_, count)| count)
    }

    /// The same start with other dynamic values: the cluster's and this broker's own. Those that this
    /// version does not know, allow or change while it runs are passed over.
    #[must_use]
    pub fn with_dynamic(&self, cluster: &Values, broker: &Values) -> Self {
        let usable = |values: &Values| {
            let usable = values.iter().filter_map(|(name, value)| {
                let setting = find(name).filter(|setting| setting.update != Update::ReadOnly)?;
                Some((name.clone(), setting.check(value).ok()?))
            });
            Arc::new(usable.collect())
        };
        let layers = Layers {
            start: self.layers.start.clone(),
            cluster: usable(cluster),
            broker: usable(broker),
        };
        let mut settings = layers.settings();
        settings.node_id = self.node_id;
        Self {
            settings,
            listeners: self.listeners.clone(),
            quorum: self.quorum.clone(),
            topic_defaults: Arc::new(TopicConfig::resolve(&layers, &Values::new())),
            layers,
            sources: self.sources.clone(),
        }
    }

    /// A topic's settings: its own values over this broker's. Values that this version does not know or
    /// allow are passed over.
    pub fn topic(&self, own: &Values) -> Arc<TopicConfig> {
        if own.is_empty() {
            return self.topic_defaults.clone();
        }
        Arc::new(TopicConfig::resolve(&self.layers, own))
    }
}

/// The broker's values by where they come from; each is checked and in its normal form.
#[derive(Debug, Clone, Default)]
struct Layers {
    start: Arc<Values>,
    cluster: Arc<Values>,
    broker: Arc<Values>,
}

impl Layers {
    /// The value that holds.
    fn get(&self, name: &str) -> Option<&str> {
        let given = [&self.broker, &self.cluster, &self.start]
            .into_iter()
            .find_map(|layer| layer.get(name));
        given.map(String::as_str).or_else(|| find(name)?.default)
    }

    fn settings(&self) -> BrokerSettings {
        BrokerSettings::read(|name| self.get(name).map(Into::into))
            .expect("each value was checked by its row")
    }
}

/// What is wrong between several settings, at the one that is easiest to change.
fn check_together(settings: &BrokerSettings) -> Vec<(&'static str, String)> {
    let mut problems = Vec::new();
    let mut need = |holds: bool, key, text: String| {
        if !holds {
            problems.push((key, text));
        }
    };
    let s = settings;
    need(
        s.group_min_session_timeout_ms <= s.group_max_session_timeout_ms,
        "group.min.session.timeout.ms",
        format!(
            "{} is above group.max.session.timeout.ms, {}",
            s.group_min_session_timeout_ms, s.group_max_session_timeout_ms
        ),
    );
    let queued = s.queued_max_request_bytes;
    need(
        queued == -1 || queued >= i64::from(s.socket_request_max_bytes),
        "queued.max.request.bytes",
        format!(
            "{queued} is below socket.request.max.bytes, {}: no such request could be taken",
            s.socket_request_max_bytes
        ),
    );
    need(
        s.log_cleaner_min_compaction_lag_ms <= s.log_cleaner_max_compaction_lag_ms,
        "log.cleaner.min.compaction.lag.ms",
        format!(
            "{} is above log.cleaner.max.compaction.lag.ms, {}",
            s.log_cleaner_min_compaction_lag_ms, s.log_cleaner_max_compaction_lag_ms
        ),
    );
    need(
        s.max_connections_per_ip > 0 || !s.max_connections_per_ip_overrides.is_empty(),
        "max.connections.per.ip",
        "0 with no max.connections.per.ip.overrides lets nobody connect".into(),
    );
    problems
}

/// The broker's rows: those with an effect first.
pub fn broker_settings() -> impl Iterator<Item = &'static Setting> {
    broker::BROKER.iter().chain(accepted::BROKER)
}

/// The topics' rows: those with an effect first.
pub fn topic_settings() -> impl Iterator<Item = &'static Setting> {
    topic::TOPIC.iter().chain(accepted::TOPIC)
}

/// The row of a broker setting.
fn find(name: &str) -> Option<&'static Setting> {
    broker_settings().find(|setting| setting.name == name)
}
