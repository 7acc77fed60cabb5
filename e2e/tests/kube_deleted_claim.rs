//! A claim that somebody deletes stays while its pod runs, and its volume goes with the pod: the broker is then rebuilt on a
//! new one.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::kube::manifests::MAIN;
use e2e::kube::{Scene, scene, text, uids, until};
use e2e::witness::Witnesses;
use serde_json::Value;

const BROKER: usize = 1;
const NAMED_LIMIT: Duration = Duration::from_secs(30);
/// The pod stops with the others' leave, its volume goes, and another one is made and filled.
const ANEW_LIMIT: Duration = Duration::from_secs(150);

fn name() -> String {
    format!("data-{MAIN}-broker-{BROKER}")
}

/// Deletes the broker's claim, which then waits for the pod to go; the claim as it was.
fn delete_claim(scene: &Scene) -> Result<Value> {
    let claim = scene.get(&["persistentvolumeclaim", &name()])?;
    scene.kubectl(&["delete", "persistentvolumeclaim", &name(), "--wait=false"])?;
    Ok(claim)
}

#[test]
fn a_deleted_claim_is_named_and_its_broker_runs_on() -> Result<()> {
    scene("claim-named", |scene| {
        let target = scene.three_brokers()?;
        let mut witnesses = Witnesses::begin(&target, scene.folder())?;
        let pods = scene.pods(MAIN)?;
        delete_claim(scene)?;
        scene.until_said(&[&name()], NAMED_LIMIT)?;
        witnesses.until_flowing()?;
        scene.are_the_same_pods(&pods)?;
        witnesses.end("a deleted claim")
    })
}

#[test]
fn a_broker_whose_claim_was_deleted_is_rebuilt_from_the_others_when_it_restarts() -> Result<()> {
    scene("claim-deleted", |scene| {
        let target = scene.three_brokers()?;
        let witnesses = Witnesses::begin(&target, scene.folder())?;
        let pods = scene.pods(MAIN)?;
        let old = delete_claim(scene)?;
        let pod = text(&pods[BROKER]["metadata"]["name"]);
        // Its preStop asks for the brokers' lease.
        scene.kubectl(&["delete", "pod", pod, "--wait=false"])?;
        let begun = Instant::now();
        until("the broker has another volume", ANEW_LIMIT, || {
            let claim = scene.get(&["persistentvolumeclaim", &name()])?;
            ensure!(
                claim["metadata"]["uid"] != old["metadata"]["uid"]
                    && claim["status"]["phase"] == "Bound",
                "{claim}"
            );
            Ok(())
        })?;
        println!("another volume after {:.1?}", begun.elapsed());
        scene.until_healed("a broker without its volume")?;
        scene.until_voters(MAIN, 3, ANEW_LIMIT)?;
        scene.until_in_sync(&target)?;
        let after = uids(&scene.pods(MAIN)?);
        ensure!(
            after[0] == uids(&pods)[0] && after[2] == uids(&pods)[2],
            "another broker was restarted"
        );
        witnesses.end("a deleted claim and its broker's restart")
    })
}
