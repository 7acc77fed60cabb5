//! Brokers look after themselves while the operator is away, and of two operators that both think that they lead only one
//! acts.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::kube::manifests::MAIN;
use e2e::kube::{Cordoned, Scene, list, operator, scene, text, uids, until};
use e2e::witness::Witnesses;
use serde_json::{Value, json};

const BACK_LIMIT: Duration = Duration::from_secs(120);
/// A first broker of three is restarted.
const FIRST_LIMIT: Duration = Duration::from_secs(120);
/// The other operator waits 15 s after the last renewal.
const TAKEN_OVER_LIMIT: Duration = Duration::from_secs(60);
const ROLLED_LIMIT: Duration = Duration::from_secs(300);

#[test]
fn a_node_is_drained_without_the_operator_and_no_record_is_lost() -> Result<()> {
    scene("drain-alone", |scene| {
        let target = scene.three_brokers()?;
        let witnesses = Witnesses::begin(&target, scene.folder())?;
        let before = scene.pods(MAIN)?;
        let away = operator::Away::take(&scene.kube)?;
        Cordoned::drain(scene, &before[0])?.uncordon()?;
        until("the drained broker is ready again", BACK_LIMIT, || {
            let pod = scene.pods(MAIN)?.swap_remove(0);
            ensure!(
                pod["metadata"]["uid"] != before[0]["metadata"]["uid"],
                "the same pod"
            );
            ensure!(
                pod["status"]["containerStatuses"][0]["ready"] == true,
                "{}",
                pod["status"]
            );
            Ok(())
        })?;
        scene.until_in_sync(&target)?;
        drop(away);
        // So that what it says of this generation is new.
        scene.patch(
            &format!("kafkacluster/{MAIN}"),
            &json!({"spec": {"rollout": {"soakSeconds": 1}}}),
        )?;
        scene.until_healed("the operator that came back")?;
        let after = scene.pods(MAIN)?;
        ensure!(
            uids(&after[1..]) == uids(&before[1..]),
            "another broker was restarted"
        );
        witnesses.end("a drain without the operator")
    })
}

#[test]
fn an_operator_that_was_stopped_amid_a_roll_restarts_no_broker_again() -> Result<()> {
    scene("leader-stopped", |scene| {
        let target = scene.three_brokers()?;
        let before = uids(&scene.pods(MAIN)?);
        let witnesses = Witnesses::begin(&target, scene.folder())?;
        let mut seen: BTreeSet<String> = before.iter().cloned().collect();
        scene.patch(
            &format!("kafkacluster/{MAIN}"),
            &json!({"spec": {"restartedAt": "2026-01-02T03:04:05Z"}}),
        )?;
        until("the first broker is restarted", FIRST_LIMIT, || {
            seen.extend(uids(&scene.pods(MAIN)?));
            ensure!(seen.len() > 3, "none yet");
            Ok(())
        })?;
        let stopped = operator::Stopped::stop(&scene.kube)?;
        let begun = Instant::now();
        let old = text(&stopped.leader["metadata"]["name"]).to_owned();
        until("the other operator leads", TAKEN_OVER_LIMIT, || {
            seen.extend(uids(&scene.pods(MAIN)?));
            let leader = operator::leader(&scene.kube)?;
            ensure!(leader != old, "{old} still holds the lease");
            Ok(())
        })?;
        println!(
            "the other operator leads {:.1?} after the stop",
            begun.elapsed()
        );
        drop(stopped);
        until("every broker is restarted", ROLLED_LIMIT, || {
            let pods = uids(&scene.pods(MAIN)?);
            seen.extend(pods.iter().cloned());
            ensure!(
                pods.len() == 3 && pods.iter().all(|uid| !before.contains(uid)),
                "not yet"
            );
            Ok(())
        })?;
        scene.until_healed("the rest of the roll")?;
        seen.extend(uids(&scene.pods(MAIN)?));
        ensure!(seen.len() == 6, "{} pods of three brokers", seen.len());
        ensure!(
            operator::leader(&scene.kube)? != old,
            "{old} leads again without having let go"
        );
        println!("{old}: {}", ends(scene, &old)?);
        scene.until_in_sync(&target)?;
        witnesses.end("the operator's leader stopped and continued")
    })
}

/// How the container in an operator's pod has ended, if it has.
fn ends(scene: &Scene, pod: &str) -> Result<String> {
    let pod = scene
        .kube
        .json(&["-n", operator::NAMESPACE, "get", "pod", pod])?;
    let containers: &[Value] = list(&pod["status"]["containerStatuses"]);
    let told = containers
        .iter()
        .map(|one| format!("{} restarts, {}", one["restartCount"], one["lastState"]));
    Ok(told.collect::<Vec<_>>().join("; "))
}
