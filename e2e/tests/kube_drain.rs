//! Nodes are cordoned and drained as their administrators do it: no eviction waits for ever, and none of two takes a
//! partition's writes away. The volumes of kind are local, so a drained broker comes back with its node.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::kube::manifests::{MAIN, cluster, topic};
use e2e::kube::{Cordoned, Scene, scene, until};
use e2e::ledger::Target;
use e2e::witness::Witnesses;
use serde_json::Value;

const PARTITIONS: i32 = 6;
const BACK_LIMIT: Duration = Duration::from_secs(120);

fn three_brokers(scene: &Scene) -> Result<Target> {
    scene.apply(&cluster(3))?;
    scene.apply(&topic("ledger", PARTITIONS, 3))?;
    scene.until_available(MAIN)?;
    scene.until_topic("ledger")?;
    scene.target(MAIN, "ledger", PARTITIONS)
}

fn until_all_ready(scene: &Scene) -> Result<()> {
    until("all brokers are ready", BACK_LIMIT, || {
        let pods = scene.pods(MAIN)?;
        let is_ready = |pod: &Value| pod["status"]["containerStatuses"][0]["ready"] == true;
        ensure!(pods.len() == 3 && pods.iter().all(is_ready), "not all are");
        Ok(())
    })
}

#[test]
fn a_drained_node_costs_no_record_and_its_broker_comes_back_with_it() -> Result<()> {
    scene("drain", |scene| {
        let target = three_brokers(scene)?;
        let witnesses = Witnesses::begin(&target, scene.folder())?;
        let victim = scene.pods(MAIN)?.swap_remove(0);
        Cordoned::drain(scene, &victim)?.uncordon()?;
        until_all_ready(scene)?;
        scene.until_in_sync(&target)?;
        witnesses.end("a drained node")
    })
}

#[test]
fn two_nodes_drained_at_the_same_moment_go_one_after_the_other() -> Result<()> {
    scene("drain-two", |scene| {
        let target = three_brokers(scene)?;
        let witnesses = Witnesses::begin(&target, scene.folder())?;
        let pods = scene.pods(MAIN)?;
        let uncordoned = |pod: &Value| {
            let cordoned = Cordoned::drain(scene, pod)?;
            // The broker stays away while its node is cordoned; the other one can go only when it is back.
            cordoned.uncordon()
        };
        thread::scope(|scope| {
            let both = [0, 1].map(|at| {
                let pod = &pods[at];
                scope.spawn(move || uncordoned(pod))
            });
            both.into_iter()
                .try_for_each(|one| one.join().ok().context("a drain does not panic")?)
        })?;
        until_all_ready(scene)?;
        scene.until_in_sync(&target)?;
        witnesses.end("two nodes drained at once")
    })
}
