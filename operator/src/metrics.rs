//! The operator's own metrics.
//!
//! | name | type | labels | says |
//! | --- | --- | --- | --- |
//! | `milena_operator_reconciles_total` | counter | kind, result | reconciles: `ok`, `invalid`, `conflict`, `error` |
//! | `milena_operator_reconcile_seconds` | histogram | kind | how long one took |
//! | `milena_operator_steps_total` | counter | step | what was done, refusals left out |
//! | `milena_operator_waiting` | gauge | namespace, name, for | 1 while a cluster waits for something |
//! | `milena_operator_condition` | gauge | namespace, name, type | 1 while a cluster's condition is True |
//! | `milena_operator_leader` | gauge | | 1 while this process leads |

use std::collections::BTreeSet;
use std::time::Duration;

use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::cluster::step::Waiting;
use crate::context::Key;

/// From a reconcile that only looks to one whose calls time out.
const SECONDS: [f64; 8] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

/// What is reconciled. Topics have metrics of their own.
const KIND: &str = "KafkaCluster";
/// What becomes of a reconcile.
const RESULTS: [&str; 4] = ["ok", "invalid", "conflict", "error"];

/// A kind of waiting for each word, so that each has its zero.
const WAITINGS: [Waiting; 7] = [
    Waiting::Roll,
    Waiting::ScaleDown,
    Waiting::Voters,
    Waiting::Volumes,
    Waiting::Replace,
    Waiting::Cordon,
    Waiting::Refused,
];

/// The operator's metrics. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    seconds: HistogramVec,
    steps: IntCounterVec,
    waiting: IntGaugeVec,
    conditions: IntGaugeVec,
    leader: IntGauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// # Panics
    /// Where a name is taken twice, which a test would see.
    pub fn new() -> Self {
        let opts = |name: &str, help: &str| Opts::new(format!("milena_operator_{name}"), help);
        let counters = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(opts(name, help), labels).expect("the name is valid")
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            IntGaugeVec::new(opts(name, help), labels).expect("the name is valid")
        };
        let seconds = HistogramOpts::new(
            "milena_operator_reconcile_seconds",
            "How long a reconcile took.",
        );
        let seconds = seconds.buckets(SECONDS.to_vec());
        let leader = opts("leader", "1 while this process leads.");
        let metrics = Self {
            registry: Registry::new(),
            reconciles: counters(
                "reconciles_total",
                "Reconciles by kind and result.",
                &["kind", "result"],
            ),
            seconds: HistogramVec::new(seconds, &["kind"]).expect("the name is valid"),
            steps: counters("steps_total", "Steps that were done.", &["step"]),
            waiting: gauges(
                "waiting",
                "1 while a cluster waits for something.",
                &["namespace", "name", "for"],
            ),
            conditions: gauges(
                "condition",
                "1 while a cluster's condition is True.",
                &["namespace", "name", "type"],
            ),
            leader: IntGauge::with_opts(leader).expect("the name is valid"),
        };
        // From the start on: Prometheus sees no increase in a counter that was not there before.
        for result in RESULTS {
            metrics.reconciles.with_label_values(&[KIND, result]);
        }
        metrics.register();
        metrics
    }

    fn register(&self) {
        let all: [Box<dyn prometheus::core::Collector>; 6] = [
            Box::new(self.reconciles.clone()),
            Box::new(self.seconds.clone()),
            Box::new(self.steps.clone()),
            Box::new(self.waiting.clone()),
            Box::new(self.conditions.clone()),
            Box::new(self.leader.clone()),
        ];
        for one in all {
            self.registry
                .register(one)
                .expect("every name is taken once");
        }
    }

    /// Where other parts of the operator register theirs.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// A reconcile ended.
    pub fn reconciled(&self, kind: &str, result: &str, took: Duration) {
        self.reconciles.with_label_values(&[kind, result]).inc();
        self.seconds
            .with_label_values(&[kind])
            .observe(took.as_secs_f64());
    }

    /// A step was done.
    pub fn step(&self, word: &str) {
        self.steps.with_label_values(&[word]).inc();
    }

    /// What a cluster waits for now.
    pub fn waits(&self, key: &Key, waits: &BTreeSet<Waiting>) {
        for waiting in WAITINGS {
            let gauge =
                self.waiting
                    .with_label_values(&[&*key.namespace, &*key.name, waiting.word()]);
            let is_awaited = waits.iter().any(|one| one.word() == waiting.word());
            gauge.set(i64::from(is_awaited));
        }
    }

    /// A cluster's condition.
    pub fn condition(&self, key: &Key, kind: &str, holds: bool) {
        let gauge = self
            .conditions
            .with_label_values(&[&*key.namespace, &*key.name, kind]);
        gauge.set(i64::from(holds));
    }

    /// A cluster is gone.
    pub fn forget(&self, key: &Key, conditions: &[&str]) {
        let of = [key.namespace.as_str(), key.name.as_str()];
        for waiting in WAITINGS {
            self.waiting
                .remove_label_values(&[of[0], of[1], waiting.word()])
                .ok();
        }
        for kind in conditions {
            self.conditions
                .remove_label_values(&[of[0], of[1], kind])
                .ok();
        }
    }

    /// Whether this process leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// The page that Prometheus reads.
    pub fn page(&self) -> Vec<u8> {
        let mut page = Vec::new();
        let families = self.registry.gather();
        if let Err(error) = TextEncoder::new().encode(&families, &mut page) {
            tracing::error!(%error, "metrics can't be written");
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_registered_once_and_told() {
        let metrics = Metrics::new();
        let key = Key {
            namespace: "kafka".to_owned(),
            name: "main".to_owned(),
        };
        metrics.reconciled("KafkaCluster", "ok", Duration::from_millis(20));
        metrics.step("restart");
        let waits = [Waiting::Roll, Waiting::VolumesRefused];
        metrics.waits(&key, &BTreeSet::from(waits));
        metrics.condition(&key, "Available", true);
        metrics.leads(true);
        let page = String::from_utf8(metrics.page()).unwrap();
        for line in [
            "milena_operator_reconciles_total{kind=\"KafkaCluster\",result=\"ok\"} 1",
            "milena_operator_reconciles_total{kind=\"KafkaCluster\",result=\"error\"} 0",
            "milena_operator_waiting{for=\"roll\",name=\"main\",namespace=\"kafka\"} 1",
            "milena_operator_waiting{for=\"volumes\",name=\"main\",namespace=\"kafka\"} 1",
            "milena_operator_waiting{for=\"voters\",name=\"main\",namespace=\"kafka\"} 0",
            "milena_operator_condition{name=\"main\",namespace=\"kafka\",type=\"Available\"} 1",
            "milena_operator_leader 1",
        ] {
            assert!(page.contains(line), "{line} in {page}");
        }
        metrics.forget(&key, &["Available"]);
        assert!(!String::from_utf8(metrics.page()).unwrap().contains("kafka"));
    }
}
