//! Brokers come and go by number: nothing acknowledged is lost, and who is taken away is emptied first.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::cluster::View;
use e2e::kube::manifests::{MAIN, cluster, topic};
use e2e::kube::{Scene, ask, broker_told, fill, is_true, list, names, scene, uids};
use e2e::ledger::Target;
use e2e::witness::Witnesses;
use serde_json::{Value, json};

const PARTITIONS: i32 = 8;
/// Some 8 MiB: more than a minute at 100 KiB/s.
const RECORDS: usize = 8 * 1024;
/// A change of the spec is seen at once, and a look takes seconds.
const BEGUN_LIMIT: Duration = Duration::from_secs(30);

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
        // So that what there is takes its time to move.
        fill(&target, RECORDS)?;
        scene.patch(
            &format!("kafkacluster/{MAIN}"),
            &json!({"spec": {"drain": {"maxBytesPerSecond": "100Ki"}}}),
        )?;
        let stood = replicas(&scene.view(&target)?);
        let witnesses = Witnesses::begin(&target, scene.folder())?;
        scale(scene, 3)?;
        let rebalances = |cluster: &Value| is_true(cluster, "Rebalancing");
        scene.until_cluster("broker 3 is emptied", MAIN, BEGUN_LIMIT, rebalances)?;
        ensure!(notes(scene)? == ["scale-down"], "{:?}", notes(scene)?);
        ensure!(!moves(&target)?.is_empty(), "all has moved already");
        scale(scene, 4)?;
        // What moves is cancelled: with the bound as it is it would take minutes, and clients write faster.
        scene.until_settled(MAIN)?;
        ensure!(
            uids(&scene.pods(MAIN)?) == uids(&before),
            "a pod was made anew"
        );
        let left = moves(&target)?;
        ensure!(left.is_empty(), "{left:?} still move");
        ensure!(notes(scene)?.is_empty(), "{:?}", notes(scene)?);
        let cluster = scene.get(&["kafkacluster", MAIN])?;
        let told = broker_told(&cluster, 3)?;
        ensure!(told["state"] == "Running", "{told}");
        scene.until_in_sync(&target)?;
        let view = scene.view(&target)?;
        ensure!(replicas(&view) == stood, "they were {stood:?}: {view}");
        witnesses.end("a scale-down cancelled")
    })
}

/// The partitions whose replicas move, as the brokers say.
fn moves(target: &Target) -> Result<Vec<(String, i32)>> {
    let moves = ask(&target.bootstrap, async |client| {
        client.list_partition_reassignments(None).await
    });
    Ok(moves?.into_keys().collect())
}

/// Of each partition, in turn.
fn replicas(view: &View) -> Vec<Vec<i32>> {
    (0..PARTITIONS)
        .map(|one| view.replicas("ledger", one))
        .collect()
}

/// What the operator has begun with brokers, as their claims say it.
fn notes(scene: &Scene) -> Result<Vec<String>> {
    let claims = scene.claims(MAIN)?;
    let notes = claims.iter().filter_map(|claim| {
        let annotations = &claim["metadata"]["annotations"];
        annotations["milena.dev/leaving"].as_str()
    });
    Ok(notes.map(str::to_owned).collect())
}
