//! The promises that every change is held to on Kubernetes: install, a topic, clients inside and outside, a roll and a
//! killed broker under a ledger, and what deletion keeps or takes. `make e2e-smoke`.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::kube::manifests::{MAIN, cluster, topic};
use e2e::kube::{Scene, broker, inside, list, scene, text, until};
use e2e::ledger::{Stored, Target};
use e2e::load::block_on;
use e2e::witness::Witnesses;
use milena_client::{Client, ClientOptions, Producer, ProducerOptions, Record};
use serde_json::{Value, json};

/// Of the topics here.
const PARTITIONS: i32 = 6;
/// A killed container runs again after a back-off of 10 s at the most, the first time.
const BACK_LIMIT: Duration = Duration::from_secs(90);
/// After their cluster, pods and claims go.
const GONE_LIMIT: Duration = Duration::from_secs(120);

/// Three brokers and one topic; the topic as clients outside reach it.
fn three_brokers(scene: &Scene, name: &str) -> Result<Target> {
    three_brokers_as(scene, &cluster(3), name)
}

fn three_brokers_as(scene: &Scene, manifest: &Value, name: &str) -> Result<Target> {
    scene.apply(manifest)?;
    scene.apply(&topic(name, PARTITIONS, 3))?;
    scene.until_available(MAIN)?;
    scene.until_topic(name)?;
    scene.target(MAIN, name, PARTITIONS)
}

fn client(target: &Target) -> Client {
    Client::new(ClientOptions::new(&target.bootstrap))
}

/// Writes so many records from outside, each acknowledged by all in-sync replicas.
fn write(target: &Target, records: usize) -> Result<()> {
    block_on(async {
        let producer = Producer::start(client(target), ProducerOptions::default()).await?;
        for number in 0..records {
            let record = Record::new(target.topic.as_str()).key(format!("key-{number}"));
            producer.send(record.value("value")).await?.placed().await?;
        }
        anyhow::Ok(())
    })?
}

/// What tells one life of a pod from the next.
fn uids(pods: &[Value]) -> Vec<String> {
    let uids = pods
        .iter()
        .map(|pod| text(&pod["metadata"]["uid"]).to_owned());
    uids.collect()
}

#[test]
fn a_topic_is_written_and_read_from_inside_and_outside() -> Result<()> {
    scene("reach", |scene| {
        let begun = Instant::now();
        let mut apart = cluster(3);
        apart["spec"]["placement"] = json!({"nodeSpread": "Required", "rackSpread": "Required"});
        let target = three_brokers_as(scene, &apart, "orders")?;
        write(&target, 100)?;
        println!(
            "from the manifest to 100 acknowledged records: {:.1?}",
            begun.elapsed()
        );
        ensure!(
            Stored::read(client(&target), &target)?
                .ends()
                .iter()
                .sum::<i64>()
                == 100
        );

        scene.apply(&topic("notes", 1, 3))?;
        scene.until_topic("notes")?;
        let bootstrap = format!("{MAIN}-bootstrap.{}.svc:9092", scene.namespace);
        let read = inside(scene, &bootstrap, "notes", "tea\ncakes\n")?;
        ensure!(
            read.lines().collect::<Vec<_>>() == ["tea", "cakes"],
            "{read}"
        );
        stands_apart(scene, &target)
    })
}

/// Brokers are on different nodes in different zones, which they tell, and each has a replica of every partition.
fn stands_apart(scene: &Scene, target: &Target) -> Result<()> {
    let pods = scene.pods(MAIN)?;
    let mut nodes: Vec<&str> = pods.iter().map(broker::node).collect::<Result<_>>()?;
    nodes.sort_unstable();
    nodes.dedup();
    ensure!(nodes.len() == 3, "three brokers on {nodes:?}");
    let cluster = scene.until_cluster("the status names racks", MAIN, BACK_LIMIT, |cluster| {
        let brokers = list(&cluster["status"]["brokers"]);
        let mut racks: Vec<&str> = brokers.iter().map(|one| text(&one["rack"])).collect();
        racks.sort_unstable();
        ensure!(racks == ["zone-a", "zone-b", "zone-c"], "{racks:?}");
        Ok(())
    })?;
    let view = scene.view(target)?;
    for partition in 0..target.partitions {
        let mut replicas = view.replicas(&target.topic, partition);
        replicas.sort_unstable();
        ensure!(replicas == [0, 1, 2], "{partition} is on {replicas:?}");
    }
    println!("bootstrap addresses: {}", cluster["status"]["bootstrap"]);
    Ok(())
}

#[test]
fn a_roll_loses_no_acknowledged_record() -> Result<()> {
    scene("roll", |scene| {
        let target = three_brokers(scene, "ledger")?;
        let before = uids(&scene.pods(MAIN)?);
        let witnesses = Witnesses::begin(&target, scene.folder())?;
        let begun = Instant::now();
        let restart = json!({"spec": {"restartedAt": "2026-01-02T03:04:05Z"}});
        scene.patch(&format!("kafkacluster/{MAIN}"), &restart)?;
        scene.until_settled(MAIN)?;
        let took = begun.elapsed();
        let after = uids(&scene.pods(MAIN)?);
        ensure!(
            after.len() == 3 && !after.iter().any(|uid| before.contains(uid)),
            "not every pod is a new one: {before:?}, {after:?}"
        );
        scene.until_in_sync(&target)?;
        println!("a roll of three brokers: {took:.1?}");
        each_restart_is_told(scene)?;
        witnesses.end("a roll by the operator")
    })
}

/// Who asks for the events of the cluster reads of each broker that was restarted.
fn each_restart_is_told(scene: &Scene) -> Result<()> {
    let about = format!("involvedObject.kind=KafkaCluster,involvedObject.name={MAIN}");
    let events = scene.get(&["events", "--field-selector", &about])?;
    let notes: Vec<&str> = list(&events["items"])
        .iter()
        .map(|event| text(&event["message"]))
        .collect();
    for broker in 0..3 {
        let named = format!("Broker {broker} restarts");
        ensure!(notes.iter().any(|note| note.contains(&named)), "{notes:?}");
    }
    Ok(())
}

#[test]
fn a_killed_broker_comes_back_and_nothing_is_lost() -> Result<()> {
    scene("kill", |scene| {
        let target = three_brokers(scene, "ledger")?;
        let witnesses = Witnesses::begin(&target, scene.folder())?;
        let victim = scene.pods(MAIN)?.swap_remove(1);
        let name = text(&victim["metadata"]["name"]).to_owned();
        broker::kill9(&scene.kube, &victim)?;
        until("the killed broker is ready again", BACK_LIMIT, || {
            let pod = scene.get(&["pod", &name])?;
            let container = &pod["status"]["containerStatuses"][0];
            ensure!(
                container["restartCount"].as_u64() >= Some(1) && container["ready"] == true,
                "{container}"
            );
            Ok(())
        })?;
        scene.until_in_sync(&target)?;
        witnesses.end("kill -9 of a broker in its pod")
    })
}

#[test]
fn a_cluster_deleted_with_retain_is_the_same_when_applied_again() -> Result<()> {
    scene("retain", |scene| {
        let target = three_brokers(scene, "orders")?;
        let (before, topic_before) = (scene.until_available(MAIN)?, scene.until_topic("orders")?);
        write(&target, 200)?;
        let stored = Stored::read(client(&target), &target)?;

        scene.kubectl(&["delete", "kafkacluster", MAIN, "--timeout=60s"])?;
        until_no_pods(scene)?;
        ensure!(scene.claims(MAIN)?.len() == 3, "claims are kept");

        scene.apply(&cluster(3))?;
        let after = scene.until_available(MAIN)?;
        ensure!(
            after["status"]["clusterId"] == before["status"]["clusterId"],
            "another cluster: {} after {}",
            after["status"]["clusterId"],
            before["status"]["clusterId"]
        );
        let topic_after = scene.until_topic("orders")?;
        ensure!(
            topic_after["status"]["topicId"] == topic_before["status"]["topicId"],
            "another topic of that name"
        );
        let target = scene.target(MAIN, "orders", PARTITIONS)?;
        scene.until_in_sync(&target)?;
        ensure!(
            Stored::read(client(&target), &target)? == stored,
            "other records"
        );
        Ok(())
    })
}

#[test]
fn a_cluster_deleted_with_delete_leaves_no_volume() -> Result<()> {
    scene("delete", |scene| {
        let mut manifest = cluster(3);
        manifest["spec"]["deletionPolicy"] = json!("Delete");
        scene.apply(&manifest)?;
        scene.until_available(MAIN)?;
        ensure!(scene.claims(MAIN)?.len() == 3, "each broker has its claim");
        scene.kubectl(&["delete", "kafkacluster", MAIN, "--timeout=120s"])?;
        until_no_pods(scene)?;
        until("the claims are gone", GONE_LIMIT, || {
            let claims = scene.claims(MAIN)?;
            ensure!(claims.is_empty(), "{} claims", claims.len());
            Ok(())
        })
    })
}

fn until_no_pods(scene: &Scene) -> Result<()> {
    until("the pods are gone", GONE_LIMIT, || {
        let pods = scene.pods(MAIN)?;
        ensure!(pods.is_empty(), "{} pods", pods.len());
        Ok(())
    })
}
