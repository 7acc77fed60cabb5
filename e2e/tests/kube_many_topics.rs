//! Thousands of Topics on one cluster: all are Ready soon, the operator stays small, and its restart writes nothing.
//! `E2E_TOPICS` says how many; 5,000 unless it does.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::kube::manifests::{MAIN, cluster, topic};
use e2e::kube::{Kube, Scene, is_true, list, operator, scene, text, until};
use serde_json::{Value, json};

const TOPICS: usize = 5000;
/// From the last apply on.
const READY_LIMIT: Duration = Duration::from_secs(180);
/// Of the operator that leads, with so many topics.
const MEMORY_BYTES_MAX: u64 = 150 << 20;
/// Resources in one `kubectl create`.
const AT_ONCE: usize = 500;
/// Until a restarted operator is at rest: as long as its lease, and a look at everything.
const REST_LIMIT: Duration = Duration::from_secs(120);

fn count() -> Result<usize> {
    match std::env::var("E2E_TOPICS") {
        Ok(count) => count.parse().context("E2E_TOPICS is a number"),
        Err(_) => Ok(TOPICS),
    }
}

fn name(number: usize) -> String {
    format!("topic-{number:05}")
}

fn create(scene: &Scene, topics: usize) -> Result<()> {
    let numbers: Vec<usize> = (0..topics).collect();
    for some in numbers.chunks(AT_ONCE) {
        let items: Vec<Value> = some
            .iter()
            .map(|number| topic(&name(*number), 1, 1))
            .collect();
        let manifest = json!({"apiVersion": "v1", "kind": "List", "items": items});
        let create = ["-n", &scene.namespace, "create", "-f", "-"];
        scene.kube.kubectl_with(&manifest.to_string(), &create)?;
    }
    Ok(())
}

fn topics(scene: &Scene) -> Result<Vec<Value>> {
    let found = scene.get(&["topics.milena.dev"])?;
    Ok(list(&found["items"]).to_vec())
}

/// Bytes of memory of the operator's pods, the larger one first, as the kubelets count what can't be given back.
fn operator_memory(kube: &Kube) -> Result<Vec<u64>> {
    let pods = kube.json(&["-n", operator::NAMESPACE, "get", "pods"])?;
    let mut bytes = Vec::new();
    for pod in list(&pods["items"]) {
        let node = text(&pod["spec"]["nodeName"]);
        let path = format!("/api/v1/nodes/{node}/proxy/stats/summary");
        let summary: Value = serde_json::from_str(&kube.kubectl(&["get", "--raw", &path])?)?;
        let mut of_node = list(&summary["pods"]).iter();
        let found = of_node.find(|one| one["podRef"]["uid"] == pod["metadata"]["uid"]);
        let memory = found.map(|one| &one["containers"][0]["memory"]["workingSetBytes"]);
        bytes.extend(memory.and_then(Value::as_u64));
    }
    bytes.sort_unstable_by(|a, b| b.cmp(a));
    Ok(bytes)
}

#[test]
fn thousands_of_topics_are_ready_soon_and_the_operator_stays_small() -> Result<()> {
    scene("many-topics", |scene| {
        let wanted = count()?;
        scene.apply(&cluster(3))?;
        scene.until_available(MAIN)?;
        let begun = Instant::now();
        create(scene, wanted)?;
        println!("{wanted} topics applied in {:.0?}", begun.elapsed());
        let begun = Instant::now();
        until("all topics are ready", READY_LIMIT, || {
            let topics = topics(scene)?;
            let left = topics
                .iter()
                .filter(|topic| is_true(topic, "Ready").is_err());
            let left = left.count();
            ensure!(
                topics.len() == wanted && left == 0,
                "{left} of {} are not",
                topics.len()
            );
            Ok(())
        })?;
        println!("all ready {:.0?} after the last apply", begun.elapsed());
        let memory = operator_memory(&scene.kube)?;
        println!("the operator's memory: {memory:?} bytes");
        ensure!(
            memory
                .first()
                .is_some_and(|bytes| *bytes <= MEMORY_BYTES_MAX),
            "{memory:?} bytes, {MEMORY_BYTES_MAX} is the bound"
        );
        a_restart_writes_nothing(scene)
    })
}

fn a_restart_writes_nothing(scene: &Scene) -> Result<()> {
    let versions = |topics: &[Value]| -> Vec<Value> {
        let versions = topics
            .iter()
            .map(|topic| topic["metadata"]["resourceVersion"].clone());
        versions.collect()
    };
    let before = versions(&topics(scene)?);
    let pods = [
        "-n",
        operator::NAMESPACE,
        "delete",
        "pods",
        "--all",
        "--wait",
    ];
    scene.kube.kubectl(&pods)?;
    let rollout = format!("deployment/{}", operator::RELEASE);
    let ready = [
        "-n",
        operator::NAMESPACE,
        "rollout",
        "status",
        &rollout,
        "--timeout=120s",
    ];
    scene.kube.kubectl(&ready)?;
    // A topic made afterwards is ready only when the new leader has looked at all that were there.
    scene.apply(&topic("afterwards", 1, 1))?;
    until("the new leader works", REST_LIMIT, || {
        is_true(&scene.get(&["topics.milena.dev", "afterwards"])?, "Ready")
    })?;
    scene.kubectl(&["delete", "topics.milena.dev", "afterwards", "--timeout=60s"])?;
    ensure!(
        versions(&topics(scene)?) == before,
        "a topic was written to"
    );
    Ok(())
}
