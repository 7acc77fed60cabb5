//! Most voters of the metadata quorum lose their volumes at one moment. What they knew is gone; that they found a second
//! cluster under the first one's name would lose what the other still has, too.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::kube::manifests::MAIN;
use e2e::kube::{LEDGER, Scene, broker, condition, holds, scene, text, uids, until};
use e2e::witness::Witnesses;
use serde_json::Value;

/// Containers run again after a back-off of 10 s at the most, the first time.
const AGAIN_LIMIT: Duration = Duration::from_secs(60);
const NAMED_LIMIT: Duration = Duration::from_secs(60);
/// Three empty voters found a cluster within seconds.
const WATCHED: Duration = Duration::from_secs(60);

fn restarts(pod: &Value) -> u64 {
    let restarts = &pod["status"]["containerStatuses"][0]["restartCount"];
    restarts.as_u64().unwrap_or_default()
}

/// What a broker says at a path below `/v1`; none where it says nothing yet.
fn told(scene: &Scene, pod: &Value, path: &str) -> Option<Value> {
    let name = text(&pod["metadata"]["name"]);
    let path = format!(
        "/api/v1/namespaces/{}/pods/{name}:9404/proxy/v1/{path}",
        scene.namespace
    );
    let answer = scene.kube.kubectl(&["get", "--raw", &path]).ok()?;
    serde_json::from_str(&answer).ok()
}

/// An error where a broker of a new cluster is there: one that knows of a quorum that can decide.
fn nobody_decides(scene: &Scene, pods: &[Value]) -> Result<()> {
    for pod in pods {
        let cluster = told(scene, pod, "cluster").unwrap_or_default();
        let decides = cluster.is_object() && cluster["quorum_trouble"].is_null();
        ensure!(!decides, "{}: {cluster}", pod["metadata"]["name"]);
    }
    Ok(())
}

#[test]
fn two_of_three_wiped_voters_found_no_second_cluster() -> Result<()> {
    scene("wiped-voters", |scene| {
        let target = scene.three_brokers()?;
        Witnesses::begin(&target, scene.folder())?.end("before")?;
        let pods = scene.pods(MAIN)?;
        let kept = told(scene, &pods[0], "brokers/self").context("broker 0 answers")?;
        let claims = uids(&scene.claims(MAIN)?);
        let id = scene.get(&["kafkacluster", MAIN])?["status"]["clusterId"].clone();
        broker::wipe(scene, &pods[1..])?;
        until("both run again", AGAIN_LIMIT, || {
            let pods = scene.pods(MAIN)?;
            let count = pods.iter().filter(|pod| restarts(pod) > 0).count();
            ensure!(count == 2, "{count} were started again");
            Ok(())
        })?;
        let cluster =
            scene.until_cluster("the quorum is missed", MAIN, NAMED_LIMIT, |cluster| {
                let available = condition(cluster, "Available").context("no such condition")?;
                ensure!(
                    available["status"] == "False" && available["reason"] == "NoQuorum",
                    "{available}"
                );
                Ok(())
            })?;
        let available = condition(&cluster, "Available").context("it was there")?;
        println!("the status says {}", text(&available["message"]));

        holds("no second cluster appears", WATCHED, || {
            nobody_decides(scene, &pods)?;
            let cluster = scene.get(&["kafkacluster", MAIN])?;
            ensure!(cluster["status"]["clusterId"] == id, "another cluster's id");
            let available = condition(&cluster, "Available").context("no such condition")?;
            ensure!(available["status"] == "False", "{available}");
            Ok(())
        })?;
        ensure!(
            uids(&scene.claims(MAIN)?) == claims,
            "a claim was made anew"
        );
        let after = scene.pods(MAIN)?;
        ensure!(uids(&after) == uids(&pods), "a pod was made anew");
        has_its_records(scene, &after[0], &kept)
    })
}

/// The broker that was left alone is in its first life, with its volume, and has the topic there.
fn has_its_records(scene: &Scene, pod: &Value, before: &Value) -> Result<()> {
    ensure!(restarts(pod) == 0, "it was started again");
    let now = told(scene, pod, "brokers/self").context("it answers")?;
    for key in ["cluster_id", "directory_id", "incarnation"] {
        ensure!(now[key] == before[key], "{key}: {now} after {before}");
    }
    let folders = broker::folders(scene, pod)?;
    let partitions = folders
        .lines()
        .filter(|line| line.starts_with(&format!("{LEDGER}-")))
        .count();
    ensure!(
        partitions == e2e::kube::PARTITIONS as usize,
        "it has {folders}"
    );
    Ok(())
}
