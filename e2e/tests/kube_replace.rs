//! A broker whose volume is given up by an explicit word is rebuilt on a new one from the others' replicas; what only it
//! has is not given up without being named.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::kube::manifests::{MAIN, cluster, topic};
use e2e::kube::{LEDGER, PARTITIONS, Scene, holds, scene, text, uids, until};
use e2e::ledger::Target;
use e2e::load::block_on;
use e2e::witness::Witnesses;
use milena_client::{Client, ClientOptions, Producer, ProducerOptions, Record};
use serde_json::{Value, json};

const BROKER: usize = 1;
/// The vote goes first, then the claim with its pod.
const ANEW_LIMIT: Duration = Duration::from_secs(150);
const NAMED_LIMIT: Duration = Duration::from_secs(30);
/// Several looks, in which a broker that needs no lease would be stopped.
const HELD: Duration = Duration::from_secs(15);
/// All replicas of its partition have to be in sync, so that none of them may stop.
const STRICT: &str = "strict";

fn claim(scene: &Scene) -> Result<Value> {
    scene.get(&[
        "persistentvolumeclaim",
        &format!("data-{MAIN}-broker-{BROKER}"),
    ])
}

fn replace(scene: &Scene, claim_uid: &str, accept_loss: bool) -> Result<()> {
    let word = json!({"brokerId": BROKER, "claimUid": claim_uid, "acceptLoss": accept_loss});
    let resource = format!("kafkacluster/{MAIN}");
    scene.patch(&resource, &json!({"spec": {"replace": [word]}}))
}

/// Waits until the broker's claim is another one, bound, and all is well.
fn until_anew(scene: &Scene, old: &str) -> Result<String> {
    let uid = until("the volume is another one", ANEW_LIMIT, || {
        let claim = claim(scene)?;
        let uid = text(&claim["metadata"]["uid"]);
        ensure!(uid != old && claim["status"]["phase"] == "Bound", "{claim}");
        Ok(uid.to_owned())
    })?;
    scene.until_healed("a broker on a new volume")?;
    scene.until_voters(MAIN, 3, ANEW_LIMIT)?;
    Ok(uid)
}

#[test]
fn a_replaced_broker_has_a_new_volume_and_all_its_records_from_the_others() -> Result<()> {
    scene("replace", |scene| {
        let target = scene.three_brokers()?;
        let witnesses = Witnesses::begin(&target, scene.folder())?;
        let old = text(&claim(scene)?["metadata"]["uid"]).to_owned();
        replace(scene, &old, false)?;
        let new = until_anew(scene, &old)?;
        scene.until_in_sync(&target)?;
        // The word is still in the manifest, and names a claim that is gone.
        scene.patch(
            &format!("kafkacluster/{MAIN}"),
            &json!({"spec": {"rollout": {"soakSeconds": 1}}}),
        )?;
        scene.until_settled(MAIN)?;
        ensure!(claim(scene)?["metadata"]["uid"] == new, "replaced again");
        witnesses.end("a broker replaced")
    })
}

fn strict(in_sync_min: i32) -> Value {
    let mut manifest = topic(STRICT, 1, 3);
    manifest["spec"]["config"] = json!({"minInSyncReplicas": in_sync_min});
    manifest
}

#[test]
fn a_broker_that_lives_is_replaced_with_its_stop_lease_alone() -> Result<()> {
    scene("replace-lease", |scene| {
        let mut manifest = cluster(3);
        manifest["spec"]["rollout"]["unreplicated"] = json!("Wait");
        let target = scene.cluster_with_ledger(&manifest)?;
        scene.apply(&strict(3))?;
        scene.until_topic(STRICT)?;
        let witnesses = Witnesses::begin(&target, scene.folder())?;
        let pods = scene.pods(MAIN)?;
        let old = text(&claim(scene)?["metadata"]["uid"]).to_owned();
        replace(scene, &old, false)?;
        let waits = scene.until_said(&[STRICT, "too few replicas for any"], NAMED_LIMIT)?;
        println!("it waits: {}", waits["status"]["rollout"]);
        holds("nothing of it goes", HELD, || {
            let gone = &claim(scene)?["metadata"]["deletionTimestamp"];
            ensure!(gone.is_null(), "its claim does");
            scene.are_the_same_pods(&pods)
        })?;
        scene.apply(&strict(2))?;
        until_anew(scene, &old)?;
        let (before, after) = (uids(&pods), uids(&scene.pods(MAIN)?));
        for (id, (before, after)) in before.iter().zip(&after).enumerate() {
            ensure!((before != after) == (id == BROKER), "broker {id}: {after}");
        }
        scene.until_in_sync(&target)?;
        witnesses.end("a broker that lives, replaced")
    })
}

/// Writes a record to each partition in turn.
fn write(target: &Target, records: usize) -> Result<()> {
    block_on(async {
        let client = Client::new(ClientOptions::new(&target.bootstrap));
        let producer = Producer::start(client, ProducerOptions::default()).await?;
        for number in 0..records {
            let record = Record::new(target.topic.as_str()).key(format!("key-{number}"));
            producer.send(record.value("value")).await?.placed().await?;
        }
        anyhow::Ok(())
    })?
}

#[test]
fn a_replacement_that_would_lose_records_waits_until_their_loss_is_accepted() -> Result<()> {
    scene("replace-loss", |scene| {
        scene.apply(&cluster(3))?;
        let mut alone = topic("alone", 3, 1);
        alone["spec"]["config"] = json!({"minInSyncReplicas": 1});
        scene.apply(&alone)?;
        scene.apply(&topic(LEDGER, PARTITIONS, 3))?;
        scene.until_available(MAIN)?;
        scene.until_topic("alone")?;
        scene.until_topic(LEDGER)?;
        let target = scene.target(MAIN, "alone", 3)?;
        write(&target, 30)?;
        let ledger = Target {
            topic: LEDGER.to_owned(),
            partitions: PARTITIONS,
            ..target.clone()
        };
        let witnesses = Witnesses::begin(&ledger, scene.folder())?;
        let old = claim(scene)?;
        let uid = text(&old["metadata"]["uid"]);
        let pods = scene.pods(MAIN)?;
        replace(scene, uid, false)?;
        let waits = scene.until_said(&["acceptLoss", "alone-"], NAMED_LIMIT)?;
        let waiting = waits["status"]["rollout"]["waitingFor"].as_str();
        println!("the rollout waits for {}", waiting.context("nothing")?);
        ensure!(
            claim(scene)?["metadata"]["deletionTimestamp"].is_null(),
            "the claim is on its way"
        );
        scene.are_the_same_pods(&pods)?;
        replace(scene, uid, true)?;
        until_anew(scene, uid)?;
        scene.until_in_sync(&ledger)?;
        // The partition whose records are given up takes new ones.
        write(&target, 30)?;
        witnesses.end("a broker replaced with a loss that was accepted")
    })
}
