//! Brokers that all crash, or most of them, so that nobody is left to give a lease: the next manifest heals them.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::kube::manifests::{MAIN, cluster, topic};
use e2e::kube::{LEDGER, PARTITIONS, Scene, condition, holds, list, scene, text, uids, until};
use e2e::ledger::Stored;
use e2e::witness::Witnesses;
use milena_client::{Client, ClientOptions};
use serde_json::{Value, json};

/// Containers end at once, and are started again.
const CRASH_LIMIT: Duration = Duration::from_secs(90);
/// The operator looks every few seconds.
const NAMED_LIMIT: Duration = Duration::from_secs(30);

/// Several looks, in which a roll that goes on would stop the next broker.
const STOPS_FOR: Duration = Duration::from_secs(10);

/// Two settings that are good by themselves and end the broker at its start together.
fn crashes() -> Value {
    with_queue(1_000_000)
}

/// The same setting with a value that brokers can start with, so that all have to be restarted for it.
fn mended() -> Value {
    with_queue(200_000_000)
}

fn with_queue(bytes: u32) -> Value {
    let mut manifest = cluster(3);
    manifest["spec"]["config"] = json!({"queued.max.request.bytes": bytes});
    manifest
}

/// What the broker itself says of it, in the status.
const LAST_WORDS: &str = "below socket.request.max.bytes";

fn is_crashing(pod: &Value) -> bool {
    let container = &pod["status"]["containerStatuses"][0];
    container["restartCount"].as_u64() >= Some(1) && container["ready"] == false
}

/// Waits until exactly so many brokers crash.
fn until_crashing(scene: &Scene, brokers: usize) -> Result<()> {
    until("brokers crash", CRASH_LIMIT, || {
        let pods = scene.pods(MAIN)?;
        let crashing = pods.iter().filter(|pod| is_crashing(pod)).count();
        ensure!(crashing == brokers, "{crashing} crash");
        Ok(())
    })
}

#[test]
fn brokers_that_all_crash_at_the_first_install_heal_by_the_next_manifest() -> Result<()> {
    scene("crash-first", |scene| {
        scene.apply(&crashes())?;
        scene.apply(&topic(LEDGER, PARTITIONS, 3))?;
        until_crashing(scene, 3)?;
        scene.until_said(
            &["broker 0 is", "broker 1 is", "broker 2 is", LAST_WORDS],
            NAMED_LIMIT,
        )?;
        scene.apply(&cluster(3))?;
        scene.until_healed("three brokers that had never started")?;
        scene.until_topic(LEDGER)?;
        let target = scene.target(MAIN, LEDGER, PARTITIONS)?;
        Witnesses::begin(&target, scene.folder())?.end("a first install mended")
    })
}

#[test]
fn two_of_three_brokers_that_crash_heal_by_the_next_manifest_whose_roll_goes_on() -> Result<()> {
    crashing_after_the_install("crash-two", 2, |scene, before| {
        scene.apply(&mended())?;
        scene.until_healed("two of three brokers")?;
        let after = revisions(scene)?;
        let all_anew = after.len() == 1 && after.is_disjoint(before);
        ensure!(all_anew, "{before:?} became {after:?}");
        Ok(())
    })
}

#[test]
fn brokers_that_all_crash_after_a_roll_gone_wrong_heal_by_the_next_manifest() -> Result<()> {
    crashing_after_the_install("crash-all", 3, |scene, before| {
        scene.apply(&cluster(3))?;
        scene.until_healed("three of three brokers")?;
        let after = revisions(scene)?;
        ensure!(after == *before, "{before:?} became {after:?}");
        Ok(())
    })
}

/// What the pods were made after: one where a roll has come to its end.
fn revisions(scene: &Scene) -> Result<BTreeSet<String>> {
    let pods = scene.pods(MAIN)?;
    let revisions = pods.iter().map(|pod| {
        let annotations = &pod["metadata"]["annotations"];
        text(&annotations["milena.dev/revision"]).to_owned()
    });
    Ok(revisions.collect())
}

/// The roll to a broken manifest stops at the first broker; something else restarts others while it is broken. Whoever heals
/// them is told the revision before.
fn crashing_after_the_install(
    name: &str,
    brokers: usize,
    heal: impl FnOnce(&Scene, &BTreeSet<String>) -> Result<()>,
) -> Result<()> {
    scene(name, |scene| {
        let target = scene.three_brokers()?;
        Witnesses::begin(&target, scene.folder())?.end("before")?;
        let stored = Stored::read(Client::new(ClientOptions::new(&target.bootstrap)), &target)?;
        let (before, revision) = (uids(&scene.pods(MAIN)?), revisions(scene)?);
        scene.apply(&crashes())?;
        until_crashing(scene, 1)?;
        let healthy: Vec<Value> = scene
            .pods(MAIN)?
            .into_iter()
            .filter(|pod| !is_crashing(pod))
            .collect();
        holds("the roll stops at the first", STOPS_FOR, || {
            let now = uids(&scene.pods(MAIN)?);
            let restarted = now.iter().filter(|uid| !before.contains(uid)).count();
            ensure!(restarted == 1, "{restarted} of the pods are others");
            Ok(())
        })?;
        scene.until_said(&[LAST_WORDS], NAMED_LIMIT)?;
        for pod in &healthy[..brokers - 1] {
            let name = text(&pod["metadata"]["name"]);
            scene.kubectl(&["delete", "pod", name, "--grace-period=0", "--force"])?;
        }
        until_crashing(scene, brokers)?;
        let cluster_now =
            scene.until_cluster("it is not available", MAIN, NAMED_LIMIT, |cluster| {
                let available = condition(cluster, "Available").context("no such condition")?;
                ensure!(available["status"] == "False", "{available}");
                Ok(())
            })?;
        println!(
            "{brokers} crash: {}",
            conditions(&cluster_now["status"]["conditions"])
        );
        heal(scene, &revision)?;
        scene.until_in_sync(&target)?;
        let after = Stored::read(Client::new(ClientOptions::new(&target.bootstrap)), &target)?;
        ensure!(after == stored, "other records");
        Ok(())
    })
}

/// In a line each, those that say something.
fn conditions(all: &Value) -> String {
    let said = list(all).iter().filter(|one| one["message"] != "");
    let lines = said.map(|one| {
        let [kind, status, reason, message] =
            ["type", "status", "reason", "message"].map(|key| text(&one[key]));
        format!("{kind}={status} {reason}: {message}")
    });
    lines.collect::<Vec<_>>().join("; ")
}
