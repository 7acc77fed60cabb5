//! Metrics of the topic controller.
//!
//! | metric | labels | counts |
//! | --- | --- | --- |
//! | `milena_operator_topics` | cluster, state | Topic resources |
//! | `milena_operator_topic_actions_total` | action, outcome | what was asked of brokers for topics, one by one |
//! | `milena_operator_topic_calls_total` | call | requests to brokers; one has many topics |
//! | `milena_operator_topic_writes_total` | kind | writes to the API server: status, finalizer, event |
//! | `milena_operator_topic_feed_up` | cluster | 1 while the cluster's feed of changes is heard |

use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

use super::status::{self, Kind};
use crate::crd::Topic;

/// The metrics, of all clusters.
#[derive(Debug)]
pub struct Metrics {
    topics: IntGaugeVec,
    actions: IntCounterVec,
    calls: IntCounterVec,
    writes: IntCounterVec,
    feed_up: IntGaugeVec,
}

/// What a Topic is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Deleting,
    Conflict,
    NotPermitted,
    NotReady,
    OutOfSync,
    Ready,
}

impl State {
    /// The first that holds.
    pub fn of(topic: &Topic) -> Self {
        let status = topic.status.as_ref();
        match () {
            () if topic.metadata.deletion_timestamp.is_some() => Self::Deleting,
            () if status::holds(status, Kind::Conflict) => Self::Conflict,
            () if status::holds(status, Kind::NotPermitted) => Self::NotPermitted,
            () if !status::holds(status, Kind::Ready) => Self::NotReady,
            () if !status::holds(status, Kind::Synced) => Self::OutOfSync,
            () => Self::Ready,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Deleting => "deleting",
            Self::Conflict => "conflict",
            Self::NotPermitted => "not_permitted",
            Self::NotReady => "not_ready",
            Self::OutOfSync => "out_of_sync",
            Self::Ready => "ready",
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            IntGaugeVec::new(Opts::new(name, help), labels).expect("the names are valid")
        };
        let counter = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).expect("the names are valid")
        };
        Self {
            topics: gauge(
                "milena_operator_topics",
                "Topic resources by cluster and state.",
                &["cluster", "state"],
            ),
            actions: counter(
                "milena_operator_topic_actions_total",
                "What was asked of brokers for topics, topic by topic.",
                &["action", "outcome"],
            ),
            calls: counter(
                "milena_operator_topic_calls_total",
                "Requests to brokers on behalf of topics.",
                &["call"],
            ),
            writes: counter(
                "milena_operator_topic_writes_total",
                "Writes to the API server on behalf of topics.",
                &["kind"],
            ),
            feed_up: gauge(
                "milena_operator_topic_feed_up",
                "1 while the cluster's feed of changes is heard.",
                &["cluster"],
            ),
        }
    }
}

impl Metrics {
    /// Metrics that are shown with the others of that registry.
    pub fn registered(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self::default();
        registry.register(Box::new(metrics.topics.clone()))?;
        registry.register(Box::new(metrics.actions.clone()))?;
        registry.register(Box::new(metrics.calls.clone()))?;
        registry.register(Box::new(metrics.writes.clone()))?;
        registry.register(Box::new(metrics.feed_up.clone()))?;
        Ok(metrics)
    }

    /// So many Topics more in that state.
    pub fn topics(&self, cluster: &str, state: State, by: i64) {
        self.topics
            .with_label_values(&[cluster, state.word()])
            .add(by);
    }

    /// One topic's part of a request came to that.
    pub fn action(&self, action: &str, outcome: &str) {
        self.actions.with_label_values(&[action, outcome]).inc();
    }

    /// A request.
    pub fn call(&self, call: &str) {
        self.calls.with_label_values(&[call]).inc();
    }

    /// A write.
    pub fn write(&self, kind: &str) {
        self.writes.with_label_values(&[kind]).inc();
    }

    /// Whether the feed is heard.
    pub fn feed(&self, cluster: &str, up: bool) {
        self.feed_up
            .with_label_values(&[cluster])
            .set(i64::from(up));
    }

    /// Forgets a cluster that nobody names any more.
    pub fn forget(&self, cluster: &str) {
        self.feed_up.remove_label_values(&[cluster]).ok();
    }

    /// How many requests there were in all.
    #[cfg(test)]
    pub fn calls_total(&self) -> u64 {
        use prometheus::core::Collector;
        let families = self.calls.collect();
        let metrics = families.iter().flat_map(|family| family.get_metric());
        metrics
            .map(|metric| metric.get_counter().get_value() as u64)
            .sum()
    }
}
