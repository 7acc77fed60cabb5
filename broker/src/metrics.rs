//! Every metric in one place; handles are looked up once and kept by whoever counts.

use std::sync::Arc;

use milena_protocol::ErrorCode;
use parking_lot::Mutex;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry, TextEncoder,
};
use tokio::time::Instant;

use crate::api::ROUTES;
use crate::broker::Broker;

/// Seconds; from a tenth of a millisecond, below which the network is all that is seen, to ten seconds.
const LATENCY_BUCKETS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    10.0,
];
/// Topics with counters of their own; those beyond it share one row, so that the series stay bounded.
const TOPICS_MAX: usize = 1_000;
const OTHER_TOPICS: &str = "(other)";
/// Client software names and versions told apart; the names come from the network.
const SOFTWARE_MAX: usize = 100;

/// The counters that requests and appends move.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    apis: Vec<ApiCounters>,
    errors: IntCounterVec,
    bytes_in: IntCounterVec,
    records_in: IntCounterVec,
    bytes_out: IntCounterVec,
    connections_accepted: IntCounter,
    connections_refused: IntCounter,
    append_failures: IntCounter,
    software: IntCounterVec,
    software_seen: Mutex<std::collections::HashSet<(String, String)>>,
    topics_seen: Mutex<std::collections::HashSet<String>>,
}

#[derive(Debug)]
struct ApiCounters {
    key: i16,
    name: &'static str,
    requests: IntCounter,
    latency: prometheus::Histogram,
}

/// One topic's counters, shared by its partitions.
#[derive(Debug, Clone)]
pub struct TopicTraffic {
    bytes_in: IntCounter,
    records_in: IntCounter,
    bytes_out: IntCounter,
}

impl TopicTraffic {
    /// Counts an append.
    pub fn received(&self, bytes: u64, records: u64) {
        self.bytes_in.inc_by(bytes);
        self.records_in.inc_by(records);
    }

    /// Counts what was fetched.
    pub fn sent(&self, bytes: u64) {
        self.bytes_out.inc_by(bytes);
    }
}

impl Metrics {
    /// All metrics, registered. Fails only where two have one name, which the tests rule out.
    pub fn new() -> Result<Arc<Self>, prometheus::Error> {
        let registry = Registry::new();
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let requests = counters(
            "milena_requests_total",
            "Requests answered, by API.",
            &["api"],
        )?;
        let errors = counters(
            "milena_request_errors_total",
            "Requests whose answer tells an error, by API and the first error in it.",
            &["api", "error"],
        )?;
        let latency = HistogramVec::new(
            HistogramOpts::new(
                "milena_request_duration_seconds",
                "Time from a request's arrival to its answer, waits of Fetch and acks=all included.",
            )
            .buckets(LATENCY_BUCKETS.to_vec()),
            &["api"],
        )?;
        registry.register(Box::new(latency.clone()))?;
        let apis = ROUTES.iter().map(|route| ApiCounters {
            key: route.key,
            name: route.name,
            requests: requests.with_label_values(&[route.name]),
            latency: latency.with_label_values(&[route.name]),
        });
        Ok(Arc::new(Self {
            apis: apis.collect(),
            errors,
            bytes_in: counters(
                "milena_topic_bytes_in_total",
                "Bytes appended, by topic.",
                &["topic"],
            )?,
            records_in: counters(
                "milena_topic_records_in_total",
                "Records appended, by topic.",
                &["topic"],
            )?,
            bytes_out: counters(
                "milena_topic_bytes_out_total",
                "Bytes fetched, by topic.",
                &["topic"],
            )?,
            connections_accepted: counter(
                "milena_connections_accepted_total",
                "Connections accepted.",
            )?,
            connections_refused: counter(
                "milena_connections_refused_total",
                "Connections closed at once because max.connections or max.connections.per.ip was reached.",
            )?,
            append_failures: counter(
                "milena_append_failures_total",
                "Appends that the disk refused, or that arrived for a partition that is offline.",
            )?,
            software: counters(
                "milena_client_software_total",
                "Connections by what the client says of itself (KIP-511).",
                &["name", "version"],
            )?,
            software_seen: Mutex::default(),
            topics_seen: Mutex::default(),
            registry,
        }))
    }

    /// All metrics in Prometheus' text format; what is a state is read off the broker now.
    pub fn render(&self, broker: &Broker) -> Result<String, prometheus::Error> {
        let _ = broker;
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Counts an answered request.
    pub fn answered(&self, key: i16, error: ErrorCode, started: Instant) {
        let Some(api) = self.apis.iter().find(|api| api.key == key) else {
            return;
        };
        api.requests.inc();
        api.latency.observe(started.elapsed().as_secs_f64());
        if !error.is_none() {
            self.errors
                .with_label_values(&[api.name, &error.name()])
                .inc();
        }
    }

    /// Counts a connection by its client's software.
    pub fn client_seen(&self, name: &str, version: &str) {
        let mut seen = self.software_seen.lock();
        let pair = (name.to_owned(), version.to_owned());
        if seen.contains(&pair) || seen.len() < SOFTWARE_MAX {
            self.software.with_label_values(&[name, version]).inc();
            seen.insert(pair);
        }
    }

    /// Counts an accepted connection.
    pub fn connection_accepted(&self) {
        self.connections_accepted.inc();
    }

    /// Counts a refused connection.
    pub fn connection_refused(&self) {
        self.connections_refused.inc();
    }

    /// Counts an append that the disk refused.
    pub fn append_failed(&self) {
        self.append_failures.inc();
    }

    /// The counters of a topic, looked up once when the topic is opened.
    pub fn topic(&self, topic: &str) -> TopicTraffic {
        let mut seen = self.topics_seen.lock();
        let own = seen.contains(topic) || seen.len() < TOPICS_MAX;
        if own {
            seen.insert(topic.to_owned());
        }
        let label = if own { topic } else { OTHER_TOPICS };
        TopicTraffic {
            bytes_in: self.bytes_in.with_label_values(&[label]),
            records_in: self.records_in.with_label_values(&[label]),
            bytes_out: self.bytes_out.with_label_values(&[label]),
        }
    }

    /// Forgets a deleted topic's counters.
    pub fn topic_deleted(&self, topic: &str) {
        if self.topics_seen.lock().remove(topic) {
            for counters in [&self.bytes_in, &self.records_in, &self.bytes_out] {
                // It fails only for labels that are not there.
                let _ = counters.remove_label_values(&[topic]);
            }
        }
    }
}
