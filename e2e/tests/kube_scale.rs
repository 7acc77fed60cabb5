//! Brokers come and go by number: nothing acknowledged is lost, and who is taken away is emptied first.

use anyhow::{Result, ensure};
use e2e::kube::manifests::{MAIN, cluster, topic};
use e2e::kube::{Scene, list, scene, text};
use e2e::ledger::Target;
use e2e::witness::Witnesses;
use serde_json::{Value, json};

const PARTITIONS: i32 = 8;

/// So many brokers, and a topic that has replicas on each of them.
fn brokers_with_a_topic(scene: &Scene, brokers: i32) -> Result<Target> {
    scene.apply(&cluster(brokers))?;
    scene.until_available(MAIN)?;
    scene.apply(&topic("ledger", PARTITIONS, 3))?;
    scene.until_topic("ledger")?;
    scene.target(MAIN, "ledger", PARTITIONS)
}

/// Says how many brokers there are to be. Pools are a list, and a merge replaces it whole.
fn scale(scene: &Scene, brokers: i32) -> Result<()> {
    let pools = cluster(brokers)["spec"]["pools"].clone();
    scene.patch(
        &format!("kafkacluster/{MAIN}"),
        &json!({"spec": {"pools": pools}}),
    )
}

fn names(pods: &[Value]) -> Vec<&str> {
    pods.iter()
        .map(|pod| text(&pod["metadata"]["name"]))
        .collect()
}

#[test]
fn a_broker_that_is_added_joins() -> Result<()> {
    scene("scale-up", |scene| {
        let target = brokers_with_a_topic(scene, 3)?;
        let witnesses = Witnesses::begin(&target, scene.folder())?;
        scale(scene, 4)?;
        let after = scene.until_settled(MAIN)?;
        let pods = scene.pods(MAIN)?;
        ensure!(pods.len() == 4, "{:?}", names(&pods));
        ensure!(
            list(&after["status"]["brokers"]).len() == 4,
            "{}",
            after["status"]
        );
        scene.until_in_sync(&target)?;
        witnesses.end("a fourth broker")
    })
}

#[test]
fn a_broker_that_is_taken_away_is_emptied_first() -> Result<()> {
    scene("scale-down", |scene| {
        let target = brokers_with_a_topic(scene, 4)?;
        let witnesses = Witnesses::begin(&target, scene.folder())?;
        scale(scene, 3)?;
        let after = scene.until_settled(MAIN)?;
        let pods = scene.pods(MAIN)?;
        ensure!(
            names(&pods) == ["main-broker-0", "main-broker-1", "main-broker-2"],
            "the highest number goes: {:?}",
            names(&pods)
        );
        ensure!(
            list(&after["status"]["brokers"]).len() == 3,
            "{}",
            after["status"]
        );
        ensure!(scene.claims(MAIN)?.len() == 4, "onScaleDown is Retain");
        scene.until_in_sync(&target)?;
        witnesses.end("a broker taken away")
    })
}

#[test]
fn a_scale_down_that_is_cancelled_stops_no_broker() -> Result<()> {
    scene("scale-cancel", |scene| {
        let target = brokers_with_a_topic(scene, 4)?;
        let before = scene.pods(MAIN)?;
        let witnesses = Witnesses::begin(&target, scene.folder())?;
        scale(scene, 3)?;
        scale(scene, 4)?;
        scene.until_settled(MAIN)?;
        let uids = |pods: &[Value]| -> Vec<Value> {
            pods.iter()
                .map(|pod| pod["metadata"]["uid"].clone())
                .collect()
        };
        ensure!(
            uids(&scene.pods(MAIN)?) == uids(&before),
            "a pod was made anew"
        );
        scene.until_in_sync(&target)?;
        witnesses.end("a scale-down cancelled")
    })
}
