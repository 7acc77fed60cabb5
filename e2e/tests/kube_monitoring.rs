//! Alerts and dashboards on a real cluster: a real Prometheus scrapes it, each panel has data, and alerts fire and clear.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::kube::manifests::{MAIN, cluster, topic};
use e2e::kube::prometheus::{Prometheus, Scraped};
use e2e::kube::{
    Scene, broker, condition, is_true, list, operator, repository, scene, text, until,
};
use e2e::ledger::Consuming;
use e2e::skip::skipped;
use e2e::suite::Suite;
use e2e::witness::Witnesses;
use serde_json::{Value, json};

const PARTITIONS: i32 = 6;
const DATA_LIMIT: Duration = Duration::from_secs(60);
/// With [`HURRIED`] rules.
const FIRE_LIMIT: Duration = Duration::from_secs(45);
/// The operator looks again after 10 s, and replicas catch up.
const CLEAR_LIMIT: Duration = Duration::from_secs(90);
/// The operator looks once a minute which definitions are there.
const GONE_LIMIT: Duration = Duration::from_secs(90);
/// What panels may have no data of, as long as nothing is wrong.
const EMPTY_WHEN_WELL: &[&str] = &[
    "milena_request_errors_total",
    "milena_log_care_failures_total",
    "milena_broker_fenced_total",
    "milena_quorum_member_lag_entries",
    "milena_operator_waiting",
];

/// The alerts' rules, with every `for` of seconds instead of minutes.
fn hurried(scene: &Scene) -> Result<std::path::PathBuf> {
    let rules =
        std::fs::read_to_string(repository().join("charts/milena-operator/files/alerts.yaml"))?;
    let lines = rules.lines().map(|line| match line.trim_start() {
        rest if rest.starts_with("for: ") => {
            format!("{}for: 2s\n", &line[..line.len() - rest.len()])
        }
        _ => format!("{line}\n"),
    });
    let path = scene.folder().join("alerts.yaml");
    std::fs::write(&path, lines.collect::<String>())?;
    Ok(path)
}

fn scraped(scene: &Scene) -> Result<Vec<Scraped>> {
    let operators = scene
        .kube
        .json(&["-n", operator::NAMESPACE, "get", "pods"])?;
    let of = |pod: &Value, port, cluster: Option<&str>| Scraped {
        namespace: text(&pod["metadata"]["namespace"]).to_owned(),
        pod: text(&pod["metadata"]["name"]).to_owned(),
        port,
        cluster: cluster.map(str::to_owned),
    };
    let mut pods: Vec<Scraped> = scene
        .pods(MAIN)?
        .iter()
        .map(|pod| of(pod, 9404, Some(MAIN)))
        .collect();
    pods.extend(
        list(&operators["items"])
            .iter()
            .map(|pod| of(pod, 8080, None)),
    );
    Ok(pods)
}

/// Every query of the dashboards, as for this cluster.
fn queries(scene: &Scene) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(repository().join("charts/milena-operator/files/dashboards"))? {
        let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(entry?.path())?)?;
        for panel in list(&dashboard["panels"]) {
            for target in list(&panel["targets"]) {
                let query = text(&target["expr"])
                    .replace("$namespace", &scene.namespace)
                    .replace("$cluster", MAIN)
                    .replace("$topic", ".*")
                    .replace("$group", ".*")
                    .replace("$__rate_interval", "20s");
                found.push((text(&panel["title"]).to_owned(), query));
            }
        }
    }
    ensure!(found.len() > 30, "{} queries", found.len());
    Ok(found)
}

#[test]
fn panels_have_data_and_alerts_fire_and_clear() -> Result<()> {
    scene("monitoring", |scene| {
        scene.apply(&cluster(3))?;
        scene.apply(&topic("ledger", PARTITIONS, 3))?;
        // With a partition on each broker, of which it is the only replica.
        let mut alone = topic("alone", 3, 1);
        alone["spec"]["config"] = json!({"minInSyncReplicas": 1});
        scene.apply(&alone)?;
        scene.until_available(MAIN)?;
        scene.until_topic("ledger")?;
        scene.until_topic("alone")?;
        let target = scene.target(MAIN, "ledger", PARTITIONS)?;
        let rules = hurried(scene)?;
        let Some(prometheus) =
            Prometheus::start(&scene.kube, &scraped(scene)?, &rules, scene.folder())?
        else {
            let why = "prometheus is not on the PATH; Debian has it in the package prometheus";
            return skipped("kube_monitoring", why);
        };
        let witnesses = Witnesses::begin(&target, scene.folder())?;
        let suite = Suite::installed("ledger-librdkafka")?.context("the witnesses' own")?;
        let member = Consuming::start_in_group(&suite, &target, scene.folder())?;
        let mut asked = queries(scene)?;
        until("each panel has data", DATA_LIMIT, || {
            let mut left = Vec::new();
            for (panel, query) in &asked {
                let may_be_empty = EMPTY_WHEN_WELL.iter().any(|name| query.contains(name));
                if prometheus.query(query)?.is_empty() && !may_be_empty {
                    left.push((panel.clone(), query.clone()));
                }
            }
            asked = left;
            ensure!(asked.is_empty(), "no data: {asked:#?}");
            Ok(())
        })?;
        drop(member);
        for fault in FAULTS {
            raises_and_clears(scene, &prometheus, fault).context(fault.name)?;
            scene.until_in_sync(&target)?;
        }
        witnesses.end("faults under Prometheus' eyes")
    })
}

/// What is done to the cluster, and undone, and the alerts that it raises meanwhile.
struct Fault {
    name: &'static str,
    alerts: &'static [&'static str],
    begin: fn(&Scene) -> Result<()>,
    end: fn(&Scene) -> Result<()>,
}

/// Brokers that are stopped are continued within a minute: then their kubelet would end them.
const FAULTS: &[Fault] = &[
    Fault {
        name: "a silent broker",
        alerts: &[
            "MilenaPartitionsUnderReplicated",
            "MilenaPartitionsWithoutLeader",
            "MilenaClusterUnavailable",
        ],
        begin: |scene| signal(scene, &[2], "STOP"),
        end: |scene| signal(scene, &[2], "CONT"),
    },
    Fault {
        name: "a silent majority of voters",
        alerts: &["MilenaQuorumWithoutLeader"],
        begin: |scene| signal(scene, &[1, 2], "STOP"),
        end: |scene| signal(scene, &[1, 2], "CONT"),
    },
    Fault {
        name: "a second Topic for one topic",
        alerts: &["MilenaTopicsNotReady"],
        begin: |scene| {
            let mut second = topic("second", PARTITIONS, 3);
            second["spec"]["topicName"] = json!("ledger");
            scene.apply(&second)
        },
        end: |scene| {
            let delete = ["delete", "topics.milena.dev", "second", "--timeout=60s"];
            scene.kubectl(&delete).map(drop)
        },
    },
    Fault {
        name: "a setting that there is none of",
        alerts: &["MilenaClusterDegraded"],
        begin: |scene| say(scene, &json!({"config": {"log.retention.hour": 7}})),
        end: |scene| say(scene, &json!({"config": null})),
    },
    Fault {
        name: "a roll",
        alerts: &["MilenaClusterWaits"],
        begin: |scene| say(scene, &json!({"restartedAt": "2026-01-02T03:04:05Z"})),
        end: |scene| scene.until_settled(MAIN).map(drop),
    },
];

fn signal(scene: &Scene, brokers: &[usize], signal: &str) -> Result<()> {
    let pods = scene.pods(MAIN)?;
    let mut named = brokers.iter().map(|at| &pods[*at]);
    named.try_for_each(|pod| broker::signal(&scene.kube, pod, signal))
}

fn say(scene: &Scene, spec: &Value) -> Result<()> {
    scene.patch(&format!("kafkacluster/{MAIN}"), &json!({ "spec": spec }))
}

/// Each alert fires while its fault lasts, and clears behind it.
fn raises_and_clears(scene: &Scene, prometheus: &Prometheus, fault: &Fault) -> Result<()> {
    let firing = |wanted: bool| -> Result<()> {
        for alert in fault.alerts {
            let query = format!("ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}}");
            let fires = !prometheus.query(&query)?.is_empty();
            ensure!(fires == wanted, "{alert} fires: {fires}");
        }
        Ok(())
    };
    // What an earlier fault has raised besides takes as long to clear as what it was to raise.
    until("no alert fires before", CLEAR_LIMIT, || firing(false))?;
    (fault.begin)(scene)?;
    let fired = until("the alerts fire", FIRE_LIMIT, || firing(true));
    (fault.end)(scene)?;
    fired?;
    until("the alerts clear", CLEAR_LIMIT, || firing(false))?;
    println!(
        "{}: {} fired and cleared",
        fault.name,
        fault.alerts.join(", ")
    );
    Ok(())
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
