//! A node that does not come back, and the volume on it: after an explicit word its broker is made anew on another node, from
//! the others' replicas.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::kube::manifests::{MAIN, cluster};
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

/// Clients are told an address that outlives every node of a broker, as one that moves or a load balancer's would: that of
/// the control plane, whose node ports lead to the brokers, too.
fn with_an_address_that_stays(scene: &Scene) -> Result<Value> {
    let address = scene.kube.control_plane_address()?;
    let mut manifest = cluster(3);
    manifest["spec"]["listeners"][1]["advertisedHostTemplate"] = json!(address);
    Ok(manifest)
}

#[test]
#[ignore = "not seen to pass: with an address that outlives the node it has not been run; before, it failed as \
            clients_outside_reach_the_brokers_that_are_left tells"]
fn a_broker_whose_node_is_lost_is_made_anew_elsewhere_on_a_word() -> Result<()> {
    scene("lost-node", |scene| {
        is_made_anew(scene, &with_an_address_that_stays(scene)?)
    })
}

#[test]
#[ignore = "known to fail: a broker with a NodePort may be told the address of another broker's node (the operator's \
            cluster/build/advertised.rs); when that node is lost the operator writes down another address, but a broker \
            takes it over only at its next start, and until then clients outside reach none of its partitions"]
fn clients_outside_reach_the_brokers_that_are_left() -> Result<()> {
    scene("lost-address", |scene| is_made_anew(scene, &cluster(3)))
}

fn is_made_anew(scene: &Scene, manifest: &Value) -> Result<()> {
    let target = scene.cluster_with_ledger(manifest)?;
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
    scene.until_voters(MAIN, 3, ANEW_LIMIT)?;
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
}
