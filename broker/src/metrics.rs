//! Every metric in one place; handles are looked up once and kept by whoever counts.
//!
//! | file | what |
//! | --- | --- |
//! | `table.rs` | every metric's name, kind, labels and help |
//! | `state.rs` | what is a state, read off the broker when a scrape asks |
//! | `quorum.rs` | what the metadata quorum tells of itself |
//! | `process.rs` | what the system says of the process |
//! | `text.rs` | the format |
//! | `reference.rs` | `docs/metrics.md` |

mod process;
mod quorum;
pub mod reference;
mod replication;
mod state;
mod table;
mod text;

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use milena_log::{Recovery, Removed};
use milena_protocol::ErrorCode;
use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};
use tokio::time::Instant;

use crate::api;
use crate::broker::Broker;
use crate::group::GroupsSnapshot;
use crate::partition::Following;
use state::State;
use table::Metric;
use text::Page;

/// Seconds; from a tenth of a millisecond, below which the network is all that is seen, to ten seconds.
const LATENCY_BUCKETS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    10.0,
];
/// Topics with counters of their own; those beyond it share one row, so that the series stay bounded.
const TOPICS_MAX: usize = 1_000;
/// Client software names and versions told apart; the names come from the network.
const SOFTWARE_MAX: usize = 100;
/// What is beyond a bound.
const OTHER: &str = "(other)";
/// API keys below this have a place in the table of counters. Kafka's are below 100.
const API_KEYS_MAX: usize = 128;

/// The counters that requests, appends and the care of logs move.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    started: Instant,
    /// By API key; made by an API's first request, so that those never used have no series.
    apis: Vec<OnceLock<ApiCounters>>,
    requests: IntCounterVec,
    errors: IntCounterVec,
    latency: HistogramVec,
    bytes_in: IntCounterVec,
    records_in: IntCounterVec,
    bytes_out: IntCounterVec,
    records_out: IntCounterVec,
    connections_accepted: IntCounter,
    connections_refused: IntCounter,
    append_failures: IntCounter,
    isr_shrinks: IntCounter,
    isr_expansions: IntCounter,
    leaderships: IntCounter,
    lossy_elections: IntCounter,
    replication_bytes: IntCounter,
    catch_up_bytes: IntCounter,
    reassignment_bytes: IntCounter,
    software: IntCounterVec,
    software_seen: Mutex<HashSet<(String, String)>>,
    topics_seen: Mutex<HashSet<String>>,
    retention_segments: IntCounter,
    retention_bytes: IntCounter,
    compactions: IntCounter,
    compacted_bytes: IntCounter,
    compaction_left: IntGauge,
    reclaimed_bytes: IntCounter,
    care_failures: IntCounterVec,
    flushes: HistogramVec,
    logs_to_open: IntGauge,
    recovered_segments: IntCounter,
    recovered_batches: IntCounter,
    recovery_bytes: IntCounter,
    recovery_bytes_cut: IntCounter,
}

#[derive(Debug)]
struct ApiCounters {
    name: &'static str,
    requests: IntCounter,
    latency: Histogram,
}

/// Work that is done to logs in the background.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Care {
    /// Deleting what is old.
    Retention,
    /// Bringing to disk what `flush.ms` asks for.
    Flush,
    /// Keeping the last value of each key.
    Compaction,
}

impl Care {
    const ALL: [Self; 3] = [Self::Retention, Self::Flush, Self::Compaction];

    fn word(self) -> &'static str {
        match self {
            Self::Retention => "retention",
            Self::Flush => "flush",
            Self::Compaction => "compaction",
        }
    }
}

/// One topic's counters, shared by its partitions.
#[derive(Debug, Clone)]
pub struct TopicTraffic {
    bytes_in: IntCounter,
    records_in: IntCounter,
    bytes_out: IntCounter,
    records_out: IntCounter,
}

impl TopicTraffic {
    /// Counts an append.
    pub fn received(&self, bytes: u64, records: u64) {
        self.bytes_in.inc_by(bytes);
        self.records_in.inc_by(records);
    }

    /// Counts what was fetched.
    pub fn sent(&self, bytes: u64, records: u64) {
        self.bytes_out.inc_by(bytes);
        self.records_out.inc_by(records);
    }
}

/// Registers what the table says.
struct Registrar<'a>(&'a Registry);

impl Registrar<'_> {
    fn add<C: Collector + Clone + 'static>(&self, counter: C) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(counter.clone()))?;
        Ok(counter)
    }

    fn counter(&self, metric: &Metric) -> Result<IntCounter, prometheus::Error> {
        self.add(IntCounter::new(metric.name, metric.help)?)
    }

    fn gauge(&self, metric: &Metric) -> Result<IntGauge, prometheus::Error> {
        self.add(IntGauge::new(metric.name, metric.help)?)
    }

    fn counters(&self, metric: &Metric) -> Result<IntCounterVec, prometheus::Error> {
        let options = Opts::new(metric.name, metric.help);
        self.add(IntCounterVec::new(options, metric.labels)?)
    }

    fn histograms(
        &self,
        metric: &Metric,
        buckets: &[f64],
    ) -> Result<HistogramVec, prometheus::Error> {
        let options = HistogramOpts::new(metric.name, metric.help).buckets(buckets.to_vec());
        self.add(HistogramVec::new(options, metric.labels)?)
    }
}

impl Metrics {
    /// All metrics, registered. Fails only where two have one name, which the tests rule out.
    pub fn new() -> Result<Arc<Self>, prometheus::Error> {
        let registry = Registry::new();
        let registrar = Registrar(&registry);
        let isr_changes = registrar.counters(&table::ISR_CHANGES)?;
        let care_failures = registrar.counters(&table::CARE_FAILURES)?;
        // From the start on: Prometheus sees no increase in a counter that was not there before.
        for care in Care::ALL {
            care_failures.with_label_values(&[care.word()]);
        }
        Ok(Arc::new(Self {
            started: Instant::now(),
            apis: (0..API_KEYS_MAX).map(|_| OnceLock::new()).collect(),
            requests: registrar.counters(&table::REQUESTS)?,
            errors: registrar.counters(&table::REQUEST_ERRORS)?,
            latency: registrar.histograms(&table::REQUEST_DURATION, LATENCY_BUCKETS)?,
            bytes_in: registrar.counters(&table::BYTES_IN)?,
            records_in: registrar.counters(&table::RECORDS_IN)?,
            bytes_out: registrar.counters(&table::BYTES_OUT)?,
            records_out: registrar.counters(&table::RECORDS_OUT)?,
            connections_accepted: registrar.counter(&table::CONNECTIONS_ACCEPTED)?,
            connections_refused: registrar.counter(&table::CONNECTIONS_REFUSED)?,
            append_failures: registrar.counter(&table::APPEND_FAILURES)?,
            isr_shrinks: isr_changes.with_label_values(&["shrink"]),
            isr_expansions: isr_changes.with_label_values(&["expand"]),
            leaderships: registrar.counter(&table::LEADERSHIPS)?,
            lossy_elections: registrar.counter(&table::LOSSY_ELECTIONS)?,
            replication_bytes: registrar.counter(&table::REPLICATION_BYTES)?,
            catch_up_bytes: registrar.counter(&table::CATCH_UP_BYTES)?,
            reassignment_bytes: registrar.counter(&table::REASSIGNMENT_BYTES)?,
            software: registrar.counters(&table::CLIENT_SOFTWARE)?,
            software_seen: Mutex::default(),
            topics_seen: Mutex::default(),
            retention_segments: registrar.counter(&table::RETENTION_SEGMENTS)?,
            retention_bytes: registrar.counter(&table::RETENTION_BYTES)?,
            compactions: registrar.counter(&table::COMPACTIONS)?,
            compacted_bytes: registrar.counter(&table::COMPACTED_BYTES)?,
            compaction_left: registrar.gauge(&table::COMPACTION_LEFT)?,
            reclaimed_bytes: registrar.counter(&table::RECLAIMED_BYTES)?,
            care_failures,
            flushes: registrar.histograms(&table::FLUSH_DURATION, LATENCY_BUCKETS)?,
            logs_to_open: registrar.gauge(&table::LOGS_TO_OPEN)?,
            recovered_segments: registrar.counter(&table::RECOVERED_SEGMENTS)?,
            recovered_batches: registrar.counter(&table::RECOVERED_BATCHES)?,
            recovery_bytes: registrar.counter(&table::RECOVERY_BYTES)?,
            recovery_bytes_cut: registrar.counter(&table::RECOVERY_BYTES_CUT)?,
            registry,
        }))
    }

    /// All metrics in Prometheus' text format; what is a state is read off the broker now. Wants a thread that may
    /// block: the data directories' file systems are asked for their room.
    pub fn render(
        &self,
        broker: &Broker,
        groups: GroupsSnapshot,
    ) -> Result<String, prometheus::Error> {
        let begin = Instant::now();
        let mut page = Page::after(self.counted()?);
        State::read(broker, groups).write(&mut page);
        quorum::write(&broker.quorum().status(), &mut page);
        for (metric, value) in process::read() {
            page.one(metric, value);
        }
        page.one(&table::SCRAPE_DURATION, begin.elapsed().as_secs_f64());
        Ok(page.into_text())
    }

    /// What there is before there is a broker: how far the opening of its logs has come, and the process.
    pub fn render_starting(&self) -> Result<String, prometheus::Error> {
        let mut page = Page::after(self.counted()?);
        page.one(&table::UPTIME, self.uptime().as_secs_f64());
        for (metric, value) in process::read() {
            page.one(metric, value);
        }
        Ok(page.into_text())
    }

    /// The counters and histograms, in Prometheus' text format.
    fn counted(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }

    /// Since when there are counters.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    pub fn answered(&self, key: i16, error: ErrorCode, started: Instant) {
        let Some(api) = self.api(key) else {
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

    fn api(&self, key: i16) -> Option<&ApiCounters> {
        let place = self.apis.get(usize::try_from(key).ok()?)?;
        if let Some(api) = place.get() {
            return Some(api);
        }
        let name = api::route(key)?.name;
        Some(place.get_or_init(|| ApiCounters {
            name,
            requests: self.requests.with_label_values(&[name]),
            latency: self.latency.with_label_values(&[name]),
        }))
    }

    /// Counts a connection by its client's software.
    pub fn client_seen(&self, name: &str, version: &str) {
        let mut seen = self.software_seen.lock();
        let pair = (name.to_owned(), version.to_owned());
        let own = seen.contains(&pair) || seen.len() < SOFTWARE_MAX;
        if own {
            seen.insert(pair);
        }
        let labels = if own { [name, version] } else { [OTHER, OTHER] };
        self.software.with_label_values(&labels).inc();
    }

    pub fn connection_accepted(&self) {
        self.connections_accepted.inc();
    }

    pub fn connection_refused(&self) {
        self.connections_refused.inc();
    }

    /// Counts an append that the disk refused.
    pub fn append_failed(&self) {
        self.append_failures.inc();
    }

    /// Counts replicas that left or joined the in-sync replicas of a partition led here.
    pub fn isr_changed(&self, left: usize, joined: usize) {
        self.isr_shrinks.inc_by(left as u64);
        self.isr_expansions.inc_by(joined as u64);
    }

    /// Counts a leadership that begins here.
    pub fn led_anew(&self) {
        self.leaderships.inc();
    }

    /// Counts a leadership that begins here although this replica may lack committed records.
    pub fn lossily_elected(&self) {
        self.lossy_elections.inc();
    }

    /// Counts what a replica has copied from its leader.
    pub fn copied(&self, bytes: usize, replica: Following) {
        let bytes = bytes as u64;
        self.replication_bytes.inc_by(bytes);
        if !replica.in_sync {
            self.catch_up_bytes.inc_by(bytes);
            if replica.is_added {
                self.reassignment_bytes.inc_by(bytes);
            }
        }
    }

    pub fn retained(&self, removed: Removed) {
        self.retention_segments.inc_by(removed.segments as u64);
        self.retention_bytes.inc_by(removed.bytes);
    }

    /// Says that a compaction is under way which has so many bytes to read.
    pub fn compaction_begins(&self, bytes: u64) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.compaction_left.add(bytes);
    }

    /// Says that it is over, with so many of them unread.
    pub fn compaction_ends(&self, left: u64) {
        let left = i64::try_from(left).unwrap_or(i64::MAX);
        self.compaction_left.sub(left);
    }

    #[cfg(test)]
    pub fn is_compacting(&self) -> bool {
        self.compaction_left.get() > 0
    }

    /// Counts what it has read, and how much of that was left to read.
    pub fn compaction_read(&self, bytes: u64, of_left: u64) {
        self.compacted_bytes.inc_by(bytes);
        self.compaction_ends(of_left);
    }

    /// Counts a compaction that was brought to an end, of so many bytes before and after.
    pub fn compacted(&self, before: u64, after: u64) {
        self.compactions.inc();
        self.reclaimed_bytes.inc_by(before.saturating_sub(after));
    }

    /// Counts background work on a log that failed.
    pub fn care_failed(&self, care: Care) {
        self.care_failures.with_label_values(&[care.word()]).inc();
    }

    /// Notes a flush of a log that began then.
    pub fn flushed(&self, began: Instant) {
        let flushes = self.flushes.with_label_values::<&str>(&[]);
        flushes.observe(began.elapsed().as_secs_f64());
    }

    /// So many logs more are to be opened.
    pub fn logs_to_open(&self, logs: usize) {
        self.logs_to_open
            .add(i64::try_from(logs).unwrap_or(i64::MAX));
    }

    /// One of them is.
    pub fn log_opened(&self) {
        self.logs_to_open.dec();
    }

    /// So many are left.
    pub fn logs_left_to_open(&self) -> i64 {
        self.logs_to_open.get()
    }

    /// Counts what is read to find a log's end, while it is.
    pub fn recovery_walked(&self, bytes: u64) {
        self.recovery_bytes.inc_by(bytes);
    }

    /// All of it.
    pub fn recovery_bytes(&self) -> u64 {
        self.recovery_bytes.get()
    }

    /// Counts what opening a log took.
    pub fn recovered(&self, recovery: &Recovery) {
        self.recovered_segments
            .inc_by(recovery.segments_scanned as u64);
        self.recovered_batches.inc_by(recovery.batches_checked);
        self.recovery_bytes_cut.inc_by(recovery.bytes_cut);
    }

    /// What opening logs took, all together.
    pub fn recovery(&self) -> Recovery {
        Recovery {
            segments_scanned: self.recovered_segments.get() as usize,
            batches_checked: self.recovered_batches.get(),
            bytes_cut: self.recovery_bytes_cut.get(),
            ..Recovery::default()
        }
    }

    /// The counters of a topic, looked up once when the topic is opened.
    pub fn topic(&self, topic: &str) -> TopicTraffic {
        let mut seen = self.topics_seen.lock();
        let own = seen.contains(topic) || seen.len() < TOPICS_MAX;
        if own {
            seen.insert(topic.to_owned());
        }
        let label = if own { topic } else { OTHER };
        TopicTraffic {
            bytes_in: self.bytes_in.with_label_values(&[label]),
            records_in: self.records_in.with_label_values(&[label]),
            bytes_out: self.bytes_out.with_label_values(&[label]),
            records_out: self.records_out.with_label_values(&[label]),
        }
    }

    /// Forgets a deleted topic's counters.
    pub fn topic_deleted(&self, topic: &str) {
        if self.topics_seen.lock().remove(topic) {
            for counters in [
                &self.bytes_in,
                &self.records_in,
                &self.bytes_out,
                &self.records_out,
            ] {
                // It fails only for labels that are not there.
                let _ = counters.remove_label_values(&[topic]);
            }
        }
    }
}

#[cfg(test)]
mod tests;
