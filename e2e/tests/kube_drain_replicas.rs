//! A node that is cordoned for good: all replicas leave its broker where `drain.onCordon` or the node's annotation says so,
//! the status says how many are left, and an uncordon ends it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::cluster::View;
use e2e::kube::manifests::{MAIN, cluster, topic};
use e2e::kube::{
    Annotated, Cordoned, LEDGER, Scene, broker_told, condition, fill, holds, list, scene, text,
    uids, until,
};
use e2e::ledger::Target;
use e2e::witness::Witnesses;
use serde_json::{Value, json};

/// One more than there are replicas of a partition.
const BROKERS: i32 = 4;
/// The annotation of a node, and what it says.
const DRAIN: (&str, &str) = ("milena.dev/drain", "replicas");
/// Some 8 MiB: more than a minute at 100 KiB/s.
const RECORDS: usize = 8 * 1024;
/// Few records move.
const EMPTIED_LIMIT: Duration = Duration::from_secs(60);
/// A look takes seconds.
const SEEN_LIMIT: Duration = Duration::from_secs(30);
/// Several looks, in which nothing is begun.
const HELD: Duration = Duration::from_secs(15);
/// What is misplaced is repaired at most once a minute.
const REPAIRED_LIMIT: Duration = Duration::from_secs(90);

/// Over three zones, so that two brokers share one.
fn four_brokers(scene: &Scene, on_cordon: &str) -> Result<Target> {
    let mut manifest = cluster(BROKERS);
    manifest["spec"]["drain"] = json!({"onCordon": on_cordon});
    manifest["spec"]["placement"] = json!({"rackSpread": "Required"});
    scene.cluster_with_ledger(&manifest)
}

/// A broker that shares its rack with another, or one that does not; with its pod.
fn one_broker(scene: &Scene, shares: bool) -> Result<(i32, Value)> {
    let cluster = scene.until_cluster("brokers have racks", MAIN, SEEN_LIMIT, |cluster| {
        let brokers = list(&cluster["status"]["brokers"]);
        let all = brokers.len() == 4 && brokers.iter().all(|one| one["rack"].is_string());
        ensure!(all, "{brokers:?}");
        Ok(())
    })?;
    let brokers = list(&cluster["status"]["brokers"]);
    let in_rack = |one: &Value| {
        brokers
            .iter()
            .filter(|it| it["rack"] == one["rack"])
            .count()
    };
    let found = brokers.iter().find(|one| (in_rack(one) > 1) == shares);
    let found = found.with_context(|| format!("no such broker: {brokers:?}"))?;
    let id = found["id"].as_i64().context("an id")?;
    let pod = scene.get(&["pod", text(&found["pod"])])?;
    Ok((i32::try_from(id)?, pod))
}

/// Waits until the broker has no replica, and says why it is so.
fn until_emptied(scene: &Scene, id: i32) -> Result<()> {
    let emptied = scene.until_cluster("it is emptied", MAIN, EMPTIED_LIMIT, |cluster| {
        let told = broker_told(cluster, id)?;
        ensure!(told["replicas"] == 0 && told["leaders"] == 0, "{told}");
        let progressing = condition(cluster, "Progressing").context("no such condition")?;
        let message = text(&progressing["message"]);
        let waits = format!("broker {id} to be evicted from its node");
        ensure!(message.contains(&waits), "{progressing}");
        Ok(())
    })?;
    println!("{}", emptied["status"]["rollout"]);
    Ok(())
}

/// Waits until it takes replicas again, and nothing is left to do.
fn until_stays(scene: &Scene, id: i32) -> Result<()> {
    scene.until_settled(MAIN)?;
    let stays = |cluster: &Value| -> Result<()> {
        let told = broker_told(cluster, id)?;
        ensure!(told["state"] == "Running", "{told}");
        Ok(())
    };
    scene.until_cluster("it stays", MAIN, SEEN_LIMIT, stays)?;
    Ok(())
}

/// No partition has a replica there, as clients see it, and all have three.
fn holds_nothing(scene: &Scene, target: &Target, id: i32) -> Result<()> {
    scene.until_in_sync(target)?;
    let view = scene.view(target)?;
    ensure!(view.replicas_on(id) == 0, "{view}");
    for partition in 0..target.partitions {
        let replicas = view.replicas(LEDGER, partition);
        ensure!(replicas.len() == 3, "{partition} is on {replicas:?}");
    }
    Ok(())
}

#[test]
fn all_replicas_leave_the_broker_of_a_cordoned_node_where_the_spec_says_so() -> Result<()> {
    scene("drain-replicas", |scene| {
        let target = four_brokers(scene, "Replicas")?;
        let pods = uids(&scene.pods(MAIN)?);
        let (id, pod) = one_broker(scene, true)?;
        let witnesses = Witnesses::begin(&target, scene.folder())?;
        let cordoned = Cordoned::cordon(scene, &pod)?;
        until_emptied(scene, id)?;
        holds_nothing(scene, &target, id)?;
        cordoned.uncordon()?;
        until_stays(scene, id)?;
        // Each rack has a replica as it is: nothing is moved back.
        holds_nothing(scene, &target, id)?;
        ensure!(uids(&scene.pods(MAIN)?) == pods, "a pod is another");
        witnesses.end("replicas that leave a cordoned node")
    })
}

#[test]
fn an_uncordon_ends_what_a_cordon_began_while_replicas_still_move() -> Result<()> {
    scene("drain-cancel", |scene| {
        let target = four_brokers(scene, "Replicas")?;
        let pods = uids(&scene.pods(MAIN)?);
        let (id, pod) = one_broker(scene, true)?;
        fill(&target, RECORDS)?;
        let view = scene.view(&target)?;
        let replicas = |view: &View| -> Vec<Vec<i32>> {
            let numbers = 0..target.partitions;
            numbers.map(|one| view.replicas(LEDGER, one)).collect()
        };
        let before = replicas(&view);
        let cluster = format!("kafkacluster/{MAIN}");
        let slow = json!({"spec": {"drain": {"maxBytesPerSecond": "100Ki"}}});
        scene.patch(&cluster, &slow)?;
        let witnesses = Witnesses::begin(&target, scene.folder())?;
        let cordoned = Cordoned::cordon(scene, &pod)?;
        let leave = format!("to leave broker {id}, whose node is to go");
        let waits = scene.until_said(&[&leave], SEEN_LIMIT)?;
        let waiting = text(&waits["status"]["rollout"]["waitingFor"]);
        ensure!(waiting.contains(&leave), "the rollout waits for {waiting}");
        cordoned.uncordon()?;
        // What moves is cancelled: with the bound as it is it would take minutes.
        until_stays(scene, id)?;
        scene.until_in_sync(&target)?;
        let view = scene.view(&target)?;
        ensure!(replicas(&view) == before, "they were {before:?}: {view}");
        ensure!(uids(&scene.pods(MAIN)?) == pods, "a pod is another");
        witnesses.end("an uncordon while replicas move")
    })
}

#[test]
fn a_nodes_annotation_has_replicas_leave_it_whatever_the_spec_says() -> Result<()> {
    scene("drain-annotation", |scene| {
        let target = four_brokers(scene, "Nothing")?;
        let (id, pod) = one_broker(scene, false)?;
        let witnesses = Witnesses::begin(&target, scene.folder())?;
        let annotated = Annotated::with(&scene.kube, &pod, DRAIN.0, DRAIN.1)?;
        let cordoned = Cordoned::cordon(scene, &pod)?;
        until_emptied(scene, id)?;
        holds_nothing(scene, &target, id)?;
        cordoned.uncordon()?;
        drop(annotated);
        until_stays(scene, id)?;
        until("its rack has replicas again", REPAIRED_LIMIT, || {
            let view = scene.view(&target)?;
            ensure!(view.replicas_on(id) > 0, "{view}");
            Ok(())
        })?;
        scene.until_settled(MAIN)?;
        witnesses.end("replicas that leave an annotated node")
    })
}

#[test]
fn one_node_is_emptied_at_a_time_and_what_can_not_leave_is_named() -> Result<()> {
    scene("drain-two", |scene| {
        let target = four_brokers(scene, "Replicas")?;
        let (first, pod) = one_broker(scene, true)?;
        let (second, other) = one_broker(scene, false)?;
        let witnesses = Witnesses::begin(&target, scene.folder())?;
        let cordoned = Cordoned::cordon(scene, &pod)?;
        until_emptied(scene, first)?;
        let next = Cordoned::cordon(scene, &other)?;
        holds("the second keeps what it has", HELD, || {
            let view = scene.view(&target)?;
            ensure!(view.replicas_on(second) > 0, "{view}");
            Ok(())
        })?;
        cordoned.uncordon()?;
        until_emptied(scene, second)?;
        holds_nothing(scene, &target, second)?;
        next.uncordon()?;
        until_stays(scene, second)?;
        // All four brokers have it: there is no other for the one that is to leave.
        scene.apply(&topic("wide", 1, BROKERS))?;
        scene.until_topic("wide")?;
        let cordoned = Cordoned::cordon(scene, &pod)?;
        scene.until_said(&["can't move wide-0"], SEEN_LIMIT)?;
        cordoned.uncordon()?;
        until_stays(scene, first)?;
        witnesses.end("two nodes that replicas leave")
    })
}
