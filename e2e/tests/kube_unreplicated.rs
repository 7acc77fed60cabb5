//! `rollout.unreplicated: Move`: partitions without a second replica are somewhere else while their broker restarts, and come
//! back. Clients see that leaders move, and no more.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::kube::manifests::{MAIN, cluster, topic};
use e2e::kube::{LEDGER, PARTITIONS, Scene, is_true, list, scene, text, uids};
use e2e::ledger::Target;
use e2e::witness::Witnesses;
use serde_json::{Value, json};

const BROKERS: [i32; 3] = [0, 1, 2];
/// The operator looks every few seconds.
const NAMED_LIMIT: Duration = Duration::from_secs(30);
/// Leaders move, as in any roll; a broker that takes its partitions along is away for about as long as this or longer.
const GAP_MAX: Duration = Duration::from_secs(5);

/// Three brokers and a topic that has one replica of each partition.
fn a_topic_with_one_replica(scene: &Scene) -> Result<Target> {
    let mut manifest = cluster(3);
    manifest["spec"]["rollout"]["unreplicated"] = json!("Move");
    scene.apply(&manifest)?;
    let mut lone = topic(LEDGER, PARTITIONS, 1);
    lone["spec"]["config"] = json!({"minInSyncReplicas": 1});
    scene.apply(&lone)?;
    scene.until_available(MAIN)?;
    scene.until_topic(LEDGER)?;
    scene.target(MAIN, LEDGER, PARTITIONS)
}

/// The brokers of each partition.
fn places(scene: &Scene, target: &Target) -> Result<Vec<Vec<i32>>> {
    let view = scene.view(target)?;
    let places = (0..PARTITIONS).map(|partition| view.replicas(LEDGER, partition));
    Ok(places.collect())
}

/// What the events of that reason say.
fn events(scene: &Scene, reason: &str) -> Result<Vec<String>> {
    let events = scene.get(&[
        "events",
        "--field-selector",
        &format!("involvedObject.name={MAIN},reason={reason}"),
    ])?;
    let said = |event: &Value| text(&event["message"]).to_owned();
    Ok(list(&events["items"]).iter().map(said).collect())
}

#[test]
fn partitions_without_a_second_replica_are_elsewhere_while_their_broker_restarts_and_come_back()
-> Result<()> {
    scene("unreplicated", |scene| {
        let target = a_topic_with_one_replica(scene)?;
        let before = places(scene, &target)?;
        for broker in BROKERS {
            ensure!(before.contains(&vec![broker]), "{before:?}");
        }
        let told = scene.until_said(&[LEDGER, "no more replicas than"], NAMED_LIMIT)?;
        is_true(&told, "UnsafeTopics")?;
        let old = uids(&scene.pods(MAIN)?);

        let witnesses = Witnesses::begin(&target, scene.folder())?;
        let restarts = json!({"spec": {"config": {"num.partitions": 5}}});
        scene.patch(&format!("kafkacluster/{MAIN}"), &restarts)?;
        scene.until_said(&["partitions to leave broker"], NAMED_LIMIT)?;
        scene.until_healed("a roll under a topic with one replica")?;

        let new = uids(&scene.pods(MAIN)?);
        ensure!(!new.iter().any(|uid| old.contains(uid)), "one was left out");
        let moved = events(scene, "PartitionsMove")?;
        for broker in BROKERS {
            let named = format!("to leave broker {broker} before it stops");
            ensure!(moved.iter().any(|said| said.contains(&named)), "{moved:?}");
        }
        let after = places(scene, &target)?;
        ensure!(after == before, "{before:?} became {after:?}");
        scene.until_in_sync(&target)?;
        witnesses.end_within("a roll under a topic with one replica", GAP_MAX)
    })
}
