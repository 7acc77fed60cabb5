//! Thousands of Topics on one cluster: all are Ready soon, the operator stays small and rests, and its restart writes nothing
//! and asks the brokers little.
//! `E2E_TOPICS` says how many; 5,000 unless it does.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use e2e::kube::manifests::{MAIN, cluster, topic};
use e2e::kube::{Kube, Scene, holds, is_true, list, operator, scene, text, until};
use serde_json::{Value, json};

const TOPICS: usize = 5000;
/// From the last apply on.
const READY_LIMIT: Duration = Duration::from_secs(180);
/// Of the operator that leads, with so many topics.
const MEMORY_BYTES_MAX: u64 = 150 << 20;
/// Topics of a usual cluster, and of the operator that leads with those.
const FEW: usize = 100;
const MEMORY_OF_FEW_BYTES_MAX: u64 = 64 << 20;
/// Of the operator that leads, at rest: 20 thousandths of a core.
const CPU_NANOCORES_MAX: u64 = 20_000_000;
/// Kubelets measure every 10 to 15 s.
const CPU_WATCHED: Duration = Duration::from_secs(75);
/// To the brokers, for Topics, by an operator that has just begun.
const CALLS_MAX: f64 = 20.0;
/// What a cluster consists of; pods have their kubelets' word in them.
const CHILDREN: &str = "kafkaclusters,statefulsets,services,configmaps,secrets,serviceaccounts,poddisruptionbudgets,\
    networkpolicies";
/// Resources in one `kubectl create`, which sends one after the other.
const AT_ONCE: usize = 250;
/// Of those, side by side.
const SIDE_BY_SIDE: usize = 4;
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

fn create(scene: &Scene, topics: Range<usize>) -> Result<()> {
    let numbers: Vec<usize> = topics.collect();
    let create_some = |some: &[usize]| -> Result<()> {
        let items: Vec<Value> = some
            .iter()
            .map(|number| topic(&name(*number), 1, 1))
            .collect();
        let manifest = json!({"apiVersion": "v1", "kind": "List", "items": items});
        let create = ["-n", &scene.namespace, "create", "-f", "-"];
        let created = scene.kube.kubectl_with(&manifest.to_string(), &create);
        created.map(drop)
    };
    let share = numbers.len().div_ceil(SIDE_BY_SIDE).max(1);
    std::thread::scope(|scope| {
        let one = |share: &[usize]| share.chunks(AT_ONCE).try_for_each(create_some);
        let shares = numbers.chunks(share);
        let started: Vec<_> = shares
            .map(|share| scope.spawn(move || one(share)))
            .collect();
        let ended = started.into_iter().map(|thread| thread.join());
        ended
            .into_iter()
            .try_for_each(|ended| ended.unwrap_or_else(|_| bail!("a thread panicked")))
    })
}

fn topics(scene: &Scene) -> Result<Vec<Value>> {
    let found = scene.get(&["topics.milena.dev"])?;
    Ok(list(&found["items"]).to_vec())
}

/// What the kubelet counts of the operator that leads: `memory`, of which `workingSetBytes` can't be given back, and `cpu`.
fn counted(kube: &Kube) -> Result<Value> {
    let leader = operator::leader(kube)?;
    let pod = kube.json(&["-n", operator::NAMESPACE, "get", "pod", &leader])?;
    let node = text(&pod["spec"]["nodeName"]);
    let path = format!("/api/v1/nodes/{node}/proxy/stats/summary");
    let summary: Value = serde_json::from_str(&kube.kubectl(&["get", "--raw", &path])?)?;
    let mut of_node = list(&summary["pods"]).iter();
    let found = of_node.find(|one| one["podRef"]["uid"] == pod["metadata"]["uid"]);
    let found = found.with_context(|| format!("the kubelet of {node} does not know {leader}"))?;
    Ok(found["containers"][0].clone())
}

fn is_small(kube: &Kube, topics: usize, bytes_max: u64) -> Result<()> {
    let counted = counted(kube)?;
    let bytes = counted["memory"]["workingSetBytes"].as_u64();
    let bytes = bytes.with_context(|| format!("no memory: {counted}"))?;
    println!("with {topics} topics the operator that leads has {bytes} bytes");
    ensure!(
        bytes <= bytes_max,
        "{bytes} bytes, {bytes_max} is the bound"
    );
    Ok(())
}

/// The mean of what the kubelet measured of it for a while, in billionths of a core.
fn rests(kube: &Kube) -> Result<()> {
    let mut seen = BTreeSet::new();
    holds("its CPU is measured", CPU_WATCHED, || {
        let cpu = &counted(kube)?["cpu"];
        let used = cpu["usageNanoCores"].as_u64();
        let used = used.with_context(|| format!("no CPU: {cpu}"))?;
        seen.insert((text(&cpu["time"]).to_owned(), used));
        Ok(())
    })?;
    // The first is of a time that may have begun before the rest.
    seen.pop_first();
    let all: u64 = seen.iter().map(|(_, used)| used).sum();
    let mean = all / seen.len().max(1) as u64;
    println!(
        "at rest it uses {mean} billionths of a core, by {} measures",
        seen.len()
    );
    ensure!(
        seen.len() >= 3 && mean <= CPU_NANOCORES_MAX,
        "{mean} billionths of a core by {seen:?}; {CPU_NANOCORES_MAX} is the bound"
    );
    Ok(())
}

/// The sum of the leader's series of this name that have all these words.
fn measured(kube: &Kube, name: &str, words: &[&str]) -> Result<f64> {
    let (leader, namespace) = (operator::leader(kube)?, operator::NAMESPACE);
    let path = format!("/api/v1/namespaces/{namespace}/pods/{leader}:8080/proxy/metrics");
    let page = kube.kubectl(&["get", "--raw", &path])?;
    let series = page.lines().filter(|line| {
        line.starts_with(&format!("{name}{{")) && words.iter().all(|word| line.contains(word))
    });
    let values = series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Ok(values.sum())
}

#[test]
fn thousands_of_topics_are_ready_soon_and_the_operator_stays_small() -> Result<()> {
    scene("many-topics", |scene| {
        let wanted = count()?;
        scene.apply(&cluster(3))?;
        scene.until_available(MAIN)?;
        let few = FEW.min(wanted);
        create(scene, 0..few)?;
        until_all_ready(scene, few)?;
        is_small(&scene.kube, few, MEMORY_OF_FEW_BYTES_MAX)?;
        let begun = Instant::now();
        create(scene, few..wanted)?;
        println!("{wanted} topics applied in {:.0?}", begun.elapsed());
        until_all_ready(scene, wanted)?;
        is_small(&scene.kube, wanted, MEMORY_BYTES_MAX)?;
        rests(&scene.kube)?;
        a_restart_writes_nothing(scene, wanted)
    })
}

fn until_all_ready(scene: &Scene, wanted: usize) -> Result<()> {
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
    println!(
        "all {wanted} ready {:.0?} after the last apply",
        begun.elapsed()
    );
    Ok(())
}

/// What tells whether an object was written to, by its name.
fn versions(objects: &[Value]) -> Vec<(Value, Value)> {
    let version = |object: &Value| {
        let meta = &object["metadata"];
        (meta["name"].clone(), meta["resourceVersion"].clone())
    };
    objects.iter().map(version).collect()
}

fn children(scene: &Scene) -> Result<Vec<(Value, Value)>> {
    Ok(versions(list(&scene.get(&[CHILDREN])?["items"])))
}

fn a_restart_writes_nothing(scene: &Scene, wanted: usize) -> Result<()> {
    let before = (versions(&topics(scene)?), children(scene)?);
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
    until("the new leader knows all topics", REST_LIMIT, || {
        let ready = measured(&scene.kube, "milena_operator_topics", &["state=\"ready\""])?;
        ensure!(ready == wanted as f64, "it knows {ready}");
        Ok(())
    })?;
    let calls = measured(&scene.kube, "milena_operator_topic_calls_total", &[])?;
    println!("it asked the brokers {calls} times");
    ensure!(
        calls <= CALLS_MAX,
        "{calls} calls, {CALLS_MAX} is the bound"
    );
    let children = children(scene)?;
    ensure!(children == before.1, "{children:?} after {:?}", before.1);
    // A topic made afterwards is ready only when the new leader has looked at all that were there.
    scene.apply(&topic("afterwards", 1, 1))?;
    until("the new leader works", REST_LIMIT, || {
        is_true(&scene.get(&["topics.milena.dev", "afterwards"])?, "Ready")
    })?;
    scene.kubectl(&["delete", "topics.milena.dev", "afterwards", "--timeout=60s"])?;
    ensure!(
        versions(&topics(scene)?) == before.0,
        "a topic was written to"
    );
    Ok(())
}
