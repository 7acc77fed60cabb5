//! A node that does not come back, and the volume on it: after an explicit word its broker is made anew on another node, from
//! the others' replicas.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::kube::manifests::{MAIN, cluster};
use e2e::kube::{Down, Scene, broker, list, scene, text, until};
use e2e::ledger::Target;
use e2e::witness::Witnesses;
use serde_json::{Value, json};

const BROKER: usize = 1;
/// Kubernetes lets go of the pod, and the scheduler tells of the next one that its volume is away.
const WAITS_LIMIT: Duration = Duration::from_secs(120);
/// The vote goes first, then the claim with its pod, and another node takes both.
const ANEW_LIMIT: Duration = Duration::from_secs(180);
/// The kubelet looks at what it has brought to a pod once in a minute or two.
const TOLD_LIMIT: Duration = Duration::from_secs(180);

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
        ensure!(broker["replaceWith"].is_string(), "{broker}");
        Ok(())
    })?;
    let broker = &cluster["status"]["brokers"][BROKER];
    println!("the status says {broker}");
    let uid = text(&claim(scene)?["metadata"]["uid"]).to_owned();
    let line = format!("replace: [{{brokerId: {BROKER}, claimUid: {uid}}}]");
    ensure!(broker["replaceWith"] == *line, "{broker} and not {line}");
    Ok(uid)
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
fn a_broker_whose_node_is_lost_is_made_anew_elsewhere_on_a_word() -> Result<()> {
    scene("lost-node", |scene| {
        let target = scene.cluster_with_ledger(&with_an_address_that_stays(scene)?)?;
        is_made_anew(scene, &target)
    })
}

#[test]
fn clients_outside_reach_the_brokers_that_are_left() -> Result<()> {
    scene("lost-address", |scene| {
        let target = scene.cluster_with_ledger(&cluster(3))?;
        until_told_their_own_nodes(scene, &target)?;
        is_made_anew(scene, &target)
    })
}

/// Waits until clients outside are told of each broker the address of its own node. No pod had one when they were made.
fn until_told_their_own_nodes(scene: &Scene, target: &Target) -> Result<()> {
    let begun = Instant::now();
    until("each broker is found at its own node", TOLD_LIMIT, || {
        let view = scene.view(target)?;
        for (id, pod) in (0..).zip(scene.pods(MAIN)?) {
            let (told, own) = (view.host(id), text(&pod["status"]["hostIP"]));
            ensure!(
                told.as_deref() == Some(own),
                "broker {id} on {own} is told at {told:?}"
            );
        }
        Ok(())
    })?;
    println!(
        "each is found at its own node after {:.1?}",
        begun.elapsed()
    );
    Ok(())
}

fn is_made_anew(scene: &Scene, target: &Target) -> Result<()> {
    let mut witnesses = Witnesses::begin(target, scene.folder())?;
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
    scene.until_in_sync(target)?;
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
