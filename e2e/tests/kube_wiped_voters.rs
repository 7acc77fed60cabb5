//! Most voters of the metadata quorum lose their volumes at one moment. What they knew is gone; that they found a second
//! cluster under the first one's name would lose what the other still has, too.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::kube::manifests::{self, MAIN};
use e2e::kube::{LEDGER, Scene, broker, condition, holds, operator, scene, text, uids, until};
use e2e::ledger::Stored;
use e2e::witness::Witnesses;
use milena_client::{Client, ClientOptions};
use serde_json::{Value, json};

/// Containers run again after a back-off of 10 s at the most, the first time.
const AGAIN_LIMIT: Duration = Duration::from_secs(60);
const NAMED_LIMIT: Duration = Duration::from_secs(60);
/// Three empty voters found a cluster within seconds.
const WATCHED: Duration = Duration::from_secs(60);
/// Without a quorum brokers wait half a minute for its word before they stop.
const STOPPED_LIMIT: Duration = Duration::from_secs(120);
/// Two brokers copy all records, and get their votes one after the other.
const SETTLED_LIMIT: Duration = Duration::from_secs(180);

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
fn two_of_three_wiped_voters_found_no_second_cluster_and_a_rescue_goes_on_with_the_third()
-> Result<()> {
    scene("wiped-voters", |scene| {
        let target = scene.three_brokers()?;
        Witnesses::begin(&target, scene.folder())?.end("before")?;
        let pods = scene.pods(MAIN)?;
        let kept = told(scene, &pods[0], "brokers/self").context("broker 0 answers")?;
        let stored = Stored::read(Client::new(ClientOptions::new(&target.bootstrap)), &target)?;
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
        has_its_records(scene, &after[0], &kept)?;

        rescued(scene)?;
        let cluster = scene.until_healed("a quorum that was rescued")?;
        ensure!(cluster["status"]["clusterId"] == id, "another cluster's id");
        scene.until_voters(MAIN, 3, SETTLED_LIMIT)?;
        scene.until_in_sync(&target)?;
        let client = Client::new(ClientOptions::new(&target.bootstrap));
        ensure!(
            Stored::read(client, &target)? == stored,
            "other records than before"
        );
        Ok(())
    })
}

/// As docs/tasks/recover.md has it: nothing runs, the survivor's metadata is made to go on alone, and all start.
fn rescued(scene: &Scene) -> Result<()> {
    let paused = |paused: bool| {
        let spec = json!({"spec": {"paused": paused}});
        scene.patch(&format!("kafkacluster/{MAIN}"), &spec)
    };
    paused(true)?;
    scene.kubectl(&["scale", "statefulset/main-broker", "--replicas=0"])?;
    until("no broker runs", STOPPED_LIMIT, || {
        let left = scene.pods(MAIN)?.len();
        ensure!(left == 0, "{left} do");
        Ok(())
    })?;
    let told = rescue(scene, &[])?;
    ensure!(told.contains("nothing was changed"), "{told}");
    let told = rescue(scene, &["--apply"])?;
    println!("cluster rescue --apply says: {told}");
    paused(false)
}

/// `milena cluster rescue` in a pod with the volume of broker 0; what it says.
fn rescue(scene: &Scene, further: &[&str]) -> Result<String> {
    let (mut pod_security, security) = manifests::restricted();
    pod_security["fsGroup"] = json!(65532);
    let command = ["cluster", "rescue", "--data", "/var/lib/milena/data"];
    let arguments = [&command[..], further].concat();
    scene.apply(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "rescue"},
        "spec": {
            "restartPolicy": "Never",
            "securityContext": pod_security,
            "containers": [{
                "name": "rescue", "image": operator::broker_image(), "imagePullPolicy": "IfNotPresent",
                "args": arguments,
                "securityContext": security,
                "volumeMounts": [{"name": "data", "mountPath": "/var/lib/milena"}],
            }],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-main-broker-0"}}],
        },
    }))?;
    until("the rescue has ended", AGAIN_LIMIT, || {
        let pod = scene.get(&["pod", "rescue"])?;
        let phase = text(&pod["status"]["phase"]);
        ensure!(["Succeeded", "Failed"].contains(&phase), "it is {phase}");
        Ok(())
    })?;
    let told = scene.kubectl(&["logs", "rescue"])?;
    let phase = scene.get(&["pod", "rescue"])?["status"]["phase"].clone();
    scene.kubectl(&["delete", "pod", "rescue"])?;
    ensure!(phase == "Succeeded", "{told}");
    Ok(told)
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
