//! The charts on a real cluster: a cluster made by its chart, upgraded and rolled back; definitions that an upgrade mends; and
//! both charts uninstalled in either order and installed again, with every record there.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::kube::manifests::{MAIN, cluster};
use e2e::kube::{Scene, is_true, operator, repository, scene, text, until};
use e2e::ledger::{Stored, Target};
use e2e::load::block_on;
use milena_client::{Client, ClientOptions, Producer, ProducerOptions, Record};
use serde_json::{Value, json};

const TOPIC: &str = "orders";
const PARTITIONS: i32 = 3;
const DEFINITION: &str = "customresourcedefinition/kafkaclusters.milena.dev";
/// Brokers stop without the operator, too: their names are none any more.
const STOPPED_LIMIT: Duration = Duration::from_secs(180);
const CHANGED_LIMIT: Duration = Duration::from_secs(60);

fn chart() -> Result<String> {
    let path = repository().join("charts/milena-cluster");
    Ok(path.to_str().context("a path of UTF-8")?.to_owned())
}

/// Installs or upgrades the cluster's chart, with a topic that has these settings.
fn install(scene: &Scene, config: &Value) -> Result<()> {
    let chart = chart()?;
    let cluster = format!("cluster={}", cluster(3)["spec"]);
    let topic = json!({"partitions": PARTITIONS, "replicationFactor": 3, "config": config});
    let topics = format!("topics={}", json!({ TOPIC: topic }));
    let values = ["--set-json", &cluster, "--set-json", &topics];
    let upgrade = [
        "upgrade",
        "--install",
        MAIN,
        &*chart,
        "-n",
        &scene.namespace,
    ];
    scene.kube.helm(&[&upgrade[..], &values].concat()).map(drop)
}

fn helm(scene: &Scene, arguments: &[&str]) -> Result<()> {
    let namespaced = ["-n", &*scene.namespace];
    scene
        .kube
        .helm(&[arguments, &namespaced].concat())
        .map(drop)
}

/// Uninstalls the cluster's chart; its brokers stop, their volumes stay.
fn uninstall(scene: &Scene) -> Result<()> {
    helm(scene, &["uninstall", MAIN, "--wait", "--timeout=2m"])?;
    let begun = Instant::now();
    until("the brokers have stopped", STOPPED_LIMIT, || {
        let pods = scene.pods(MAIN)?;
        ensure!(pods.is_empty(), "{} pods", pods.len());
        Ok(())
    })?;
    println!("all brokers have stopped after {:.1?}", begun.elapsed());
    let topics = scene.kubectl(&["get", "topics.milena.dev", "-o", "name"])?;
    ensure!(topics.is_empty(), "{topics}");
    ensure!(scene.claims(MAIN)?.len() == 3, "claims are kept");
    Ok(())
}

/// Writes so many records from outside, each acknowledged by all in-sync replicas.
fn write(target: &Target, records: usize) -> Result<()> {
    block_on(async {
        let client = Client::new(ClientOptions::new(&target.bootstrap));
        let producer = Producer::start(client, ProducerOptions::default()).await?;
        for number in 0..records {
            let record = Record::new(TOPIC).key(format!("key-{number}"));
            producer.send(record.value("value")).await?.placed().await?;
        }
        anyhow::Ok(())
    })?
}

fn stored(target: &Target) -> Result<Stored> {
    Stored::read(Client::new(ClientOptions::new(&target.bootstrap)), target)
}

/// Waits until cluster and topic are there; the topic as clients outside reach it.
fn until_there(scene: &Scene) -> Result<Target> {
    scene.until_available(MAIN)?;
    scene.until_topic(TOPIC)?;
    let target = scene.target(MAIN, TOPIC, PARTITIONS)?;
    scene.until_in_sync(&target)?;
    Ok(target)
}

#[test]
fn charts_come_and_go_in_any_order_and_every_record_stays() -> Result<()> {
    scene("charts", |scene| {
        install(scene, &json!({}))?;
        let target = until_there(scene)?;
        write(&target, 300)?;
        let before = stored(&target)?;
        let id = scene.get(&["kafkacluster", MAIN])?["status"]["clusterId"].clone();
        let is_as_before = || -> Result<()> {
            let target = until_there(scene)?;
            let cluster = scene.get(&["kafkacluster", MAIN])?;
            ensure!(cluster["status"]["clusterId"] == id, "another cluster");
            ensure!(stored(&target)? == before, "other records");
            Ok(())
        };

        operator::uninstall(&scene.kube)?;
        let removed = uninstall(scene);
        let begun = Instant::now();
        // Other tests need it, however this one ends.
        operator::install(&scene.kube, &[])?;
        removed?;
        install(scene, &json!({}))?;
        until_there(scene)?;
        println!(
            "from `helm install` of both to a cluster that has all: {:.1?}",
            begun.elapsed()
        );
        is_as_before().context("the operator went first")?;

        uninstall(scene)?;
        operator::uninstall(&scene.kube)?;
        operator::install(&scene.kube, &[])?;
        install(scene, &json!({}))?;
        is_as_before().context("the cluster went first")?;
        // Its Services are new ones, and so are their ports on the nodes.
        write(&until_there(scene)?, 1)
    })
}

#[test]
fn a_record_is_acknowledged_soon_after_helm_install() -> Result<()> {
    scene("first-record", |scene| {
        operator::uninstall(&scene.kube)?;
        let begun = Instant::now();
        operator::install(&scene.kube, &[])?;
        println!("the operator is there after {:.1?}", begun.elapsed());
        install(scene, &json!({}))?;
        scene.until_available(MAIN)?;
        scene.until_topic(TOPIC)?;
        write(&scene.target(MAIN, TOPIC, PARTITIONS)?, 1)?;
        println!(
            "from `helm install` to the first acknowledged record: {:.1?}",
            begun.elapsed()
        );
        Ok(())
    })
}

#[test]
fn upgrades_and_rollbacks_follow_the_charts_and_restart_no_broker() -> Result<()> {
    scene("chart-upgrade", |scene| {
        install(scene, &json!({}))?;
        let target = until_there(scene)?;
        write(&target, 30)?;
        let (before, pods) = (stored(&target)?, scene.pods(MAIN)?);
        let retention = |wanted: &Value| -> Result<()> {
            until("the Topic is as its release", CHANGED_LIMIT, || {
                let topic = scene.get(&["topics.milena.dev", TOPIC])?;
                let found = &topic["spec"]["config"]["retentionMs"];
                ensure!(found == wanted, "{found} instead of {wanted}");
                is_true(&topic, "Synced")
            })
        };
        install(scene, &json!({"retentionMs": 3_600_000}))?;
        retention(&json!(3_600_000))?;
        helm(scene, &["rollback", MAIN, "1", "--wait"])?;
        retention(&Value::Null)?;

        definitions_are_mended(scene)?;
        let release = ["rollback", operator::RELEASE, "--wait", "--timeout=3m"];
        let namespaced = ["-n", operator::NAMESPACE];
        scene.kube.helm(&[&release[..], &namespaced].concat())?;
        scene.patch(
            &format!("kafkacluster/{MAIN}"),
            &json!({"spec": {"rollout": {"soakSeconds": 1}}}),
        )?;
        scene.until_healed("an operator that was rolled back")?;
        scene.are_the_same_pods(&pods)?;
        ensure!(stored(&target)? == before, "other records");
        Ok(())
    })
}

/// Definitions of another release, played by one without columns, are those of the chart after an upgrade.
fn definitions_are_mended(scene: &Scene) -> Result<()> {
    let columns = |definition: &Value| -> Vec<String> {
        let columns = &definition["spec"]["versions"][0]["additionalPrinterColumns"];
        let columns = e2e::kube::list(columns).iter();
        columns.map(|one| text(&one["name"]).to_owned()).collect()
    };
    let wanted = columns(&scene.kube.json(&["get", DEFINITION])?);
    ensure!(!wanted.is_empty(), "it has no columns");
    let path = "/spec/versions/0/additionalPrinterColumns";
    let less = json!([{"op": "remove", "path": path}]).to_string();
    let patch = ["patch", DEFINITION, "--type=json", "-p", &less];
    scene.kube.kubectl(&patch)?;
    operator::install(&scene.kube, &[])?;
    let found = columns(&scene.kube.json(&["get", DEFINITION])?);
    ensure!(found == wanted, "columns {found:?} instead of {wanted:?}");
    Ok(())
}
