//! Dashboards on a real cluster: a real Prometheus scrapes it, and each panel has data. And the monitors that the operator
//! makes. The alerts have a test of their own, `kube_alerts`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::kube::manifests::{MAIN, cluster};
use e2e::kube::prometheus::{Prometheus, chart, scraped};
use e2e::kube::{LEDGER, Scene, condition, is_true, operator, scene, until};
use e2e::ledger::Consuming;
use e2e::skip::skipped;
use e2e::suite::Suite;
use e2e::witness::Witnesses;
use serde_json::{Value, json};

const DATA_LIMIT: Duration = Duration::from_secs(60);
/// The operator looks once a minute which definitions are there.
const GONE_LIMIT: Duration = Duration::from_secs(90);

#[test]
fn panels_have_data_as_long_as_all_is_well() -> Result<()> {
    scene("monitoring", |scene| {
        let target = scene.three_brokers()?;
        let alerts = chart::alerts();
        let Some(prometheus) =
            Prometheus::start(&scene.kube, &scraped(scene)?, &alerts, scene.folder())?
        else {
            let why = "prometheus is not on the PATH; Debian has it in the package prometheus";
            return skipped("kube_monitoring", why);
        };
        let witnesses = Witnesses::begin(&target, scene.folder())?;
        let suite = Suite::installed("ledger-librdkafka")?.context("the witnesses' own")?;
        let member = Consuming::start_in_group(&suite, &target, scene.folder())?;
        let mut left = chart::panels(&scene.namespace, MAIN)?;
        left.retain(|panel| !panel.is_empty_when_well());
        until("each panel has data", DATA_LIMIT, || {
            let mut empty = Vec::new();
            for panel in &left {
                if prometheus.query(&panel.query)?.is_empty() {
                    empty.push(panel.clone());
                }
            }
            left = empty;
            ensure!(left.is_empty(), "no data: {left:#?}");
            Ok(())
        })?;
        drop(member);
        witnesses.end(&format!("{LEDGER} under Prometheus' eyes"))
    })
}

fn say(scene: &Scene, spec: &Value) -> Result<()> {
    scene.patch(&format!("kafkacluster/{MAIN}"), &json!({ "spec": spec }))
}

/// A definition that takes anything, in place of the Prometheus operator's.
fn definition(kind: &str) -> Value {
    let singular = kind.to_lowercase();
    let plural = format!("{singular}s");
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.monitoring.coreos.com")},
        "spec": {
            "group": "monitoring.coreos.com", "scope": "Namespaced",
            "names": {"kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": singular},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            }}}],
        },
    })
}

#[test]
fn monitors_are_made_where_their_definitions_are() -> Result<()> {
    const KINDS: [&str; 3] = ["PodMonitor", "ServiceMonitor", "PrometheusRule"];
    scene("monitors", |scene| {
        for kind in KINDS {
            let manifest = definition(kind).to_string();
            scene.kube.kubectl_with(&manifest, &["apply", "-f", "-"])?;
        }
        let made = are_made(scene);
        // Helm upgrades nothing of a release whose objects have lost their definitions.
        let without = "monitoring.serviceMonitor=Never,monitoring.rules=Never";
        operator::install(&scene.kube, &[without])?;
        for kind in KINDS {
            let name = format!("{}s.monitoring.coreos.com", kind.to_lowercase());
            scene
                .kube
                .kubectl(&["delete", "customresourcedefinition", &name])?;
        }
        operator::install(&scene.kube, &[])?;
        made?;
        does_without(scene)
    })
}

/// A spec of the time after the definitions is followed, and the cluster is not Degraded for want of a PodMonitor.
fn does_without(scene: &Scene) -> Result<()> {
    say(scene, &json!({"config": {"log.retention.hours": 7}}))?;
    scene
        .until_cluster("it does without", MAIN, GONE_LIMIT, |cluster| {
            is_true(cluster, "Available")?;
            let degraded = condition(cluster, "Degraded").context("it says whether it is")?;
            ensure!(degraded["status"] == "False", "{degraded}");
            Ok(())
        })
        .map(drop)
}

fn are_made(scene: &Scene) -> Result<()> {
    operator::install(&scene.kube, &[])?;
    for kind in ["servicemonitors", "prometheusrules"] {
        let get = ["-n", operator::NAMESPACE, "get", kind, operator::RELEASE];
        scene.kube.kubectl(&get)?;
    }
    scene.apply(&cluster(1))?;
    scene.until_available(MAIN)?;
    until("the cluster has its PodMonitor", DATA_LIMIT, || {
        let monitor = scene.get(&["podmonitors", MAIN])?;
        ensure!(
            monitor.to_string().contains("kafka_cluster"),
            "no label kafka_cluster: {monitor}"
        );
        Ok(())
    })
}
