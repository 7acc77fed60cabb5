//! A node that does not come back, and the volume on it: after an explicit word its broker is made anew on another node, from
//! the others' replicas.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::kube::manifests::MAIN;
use e2e::kube::{Down, Scene, broker, list, scene, text, until};
use e2e::witness::Witnesses;
use serde_json::{Value, json};

const BROKER: usize = 1;
/// Kubernetes lets go of the pod, and the scheduler tells of the next one that its volume is away.
const WAITS_LIMIT: Duration = Duration::from_secs(120);
/// The vote goes first, then the claim with its pod, and another node takes both.
const ANEW_LIMIT: Duration = Duration::from_secs(180);

fn claim(scene: &Scene) -> Result<Value> {
    let name = format!("data-{MAIN}-broker-{BROKER}");
    scene.get(&["persistentvolumeclaim", &name])
}

/// Waits until the broker waits for the node, and says what would replace it; the uid of its claim.
fn until_it_waits(scene: &Scene) -> Result<String> {
    let cluster = scene.until_cluster("the broker waits", MAIN, WAITS_LIMIT, |cluster| {
        let brokers = list(&cluster["status"]["brokers"]);
        let broker = brokers.get(BROKER).context("there is such a broker")?;
        ensure!(broker["state"] == "WaitingForNode", "{broker}");
        Ok(())
    })?;
    println!("the status says {}", cluster["status"]["brokers"][BROKER]);
    Ok(text(&claim(scene)?["metadata"]["uid"]).to_owned())
}

#[test]
fn a_broker_whose_node_is_lost_is_made_anew_elsewhere_on_a_word() -> Result<()> {
    scene("lost-node", |scene| {
        let target = scene.three_brokers()?;
        let mut witnesses = Witnesses::begin(&target, scene.folder())?;
        let before = scene.pods(MAIN)?;
        let lost = broker::node(&before[BROKER])?;
        let mut down = Down::kill(&scene.kube, lost)?;
        down.until_missed()?;
        down.give_up()?;
        let old = until_it_waits(scene)?;
        witnesses.until_flowing()?;

        let word = json!({"brokerId": BROKER, "claimUid": old});
        scene.patch(
            &format!("kafkacluster/{MAIN}"),
            &json!({"spec": {"replace": [word]}}),
        )?;
        until("the broker has another volume", ANEW_LIMIT, || {
            let claim = claim(scene)?;
            ensure!(
                claim["metadata"]["uid"] != *old && claim["status"]["phase"] == "Bound",
                "{claim}"
            );
            Ok(())
        })?;
        scene.until_healed("a broker whose node was lost")?;
        scene.until_cluster("it votes again", MAIN, ANEW_LIMIT, |cluster| {
            let voters = list(&cluster["status"]["voters"]).len();
            ensure!(voters == 3, "{voters} voters");
            Ok(())
        })?;
        scene.until_in_sync(&target)?;
        let after = scene.pods(MAIN)?;
        ensure!(broker::node(&after[BROKER])? != lost, "it is on {lost}");
        for at in [0, 2] {
            let uid = "/metadata/uid";
            ensure!(
                after[at].pointer(uid) == before[at].pointer(uid),
                "broker {at} was restarted"
            );
        }
        down.start()?;
        down.until_back()?;
        witnesses.end("a lost node")
    })
}
