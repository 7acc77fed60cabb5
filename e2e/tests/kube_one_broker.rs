//! A cluster of one broker can be installed, restarted and drained. Clients wait meanwhile: nobody can stand in for it, and the
//! status says so.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::kube::manifests::{MAIN, cluster, topic};
use e2e::kube::{Cordoned, LEDGER, PARTITIONS, Scene, scene, uids, until};
use e2e::ledger::Target;
use e2e::witness::Witnesses;
use serde_json::json;

const NAMED_LIMIT: Duration = Duration::from_secs(30);
const BACK_LIMIT: Duration = Duration::from_secs(120);

fn one_broker(scene: &Scene) -> Result<Target> {
    scene.apply(&cluster(1))?;
    scene.apply(&topic(LEDGER, PARTITIONS, 1))?;
    scene.until_available(MAIN)?;
    scene.until_topic(LEDGER)?;
    scene.target(MAIN, LEDGER, PARTITIONS)
}

#[test]
fn a_broker_alone_is_restarted_and_drained_and_loses_no_record() -> Result<()> {
    scene("one-broker", |scene| {
        let target = one_broker(scene)?;
        scene.until_said(
            &[LEDGER, "no broker of theirs can stop without a pause"],
            NAMED_LIMIT,
        )?;
        let mut witnesses = Witnesses::begin(&target, scene.folder())?;
        let first = scene.pods(MAIN)?;
        let restart = json!({"spec": {"restartedAt": "2026-01-02T03:04:05Z"}});
        scene.patch(&format!("kafkacluster/{MAIN}"), &restart)?;
        scene.until_healed("a broker alone that was restarted")?;
        let second = scene.pods(MAIN)?;
        ensure!(uids(&first) != uids(&second), "it was not restarted");
        witnesses.until_flowing()?;

        Cordoned::drain(scene, &second[0])?.uncordon()?;
        until("it is back with its node", BACK_LIMIT, || {
            let third = scene.pods(MAIN)?;
            let ready = &third[0]["status"]["containerStatuses"][0]["ready"];
            ensure!(
                third.len() == 1 && uids(&third) != uids(&second) && *ready == true,
                "{} pods, ready {ready}",
                third.len()
            );
            Ok(())
        })?;
        scene.until_settled(MAIN)?;
        witnesses.end("a broker alone, restarted and drained")
    })
}
