//! A broker that runs and does not get ready: the roll stops at it and the status says why, until the cause goes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::kube::manifests::MAIN;
use e2e::kube::{LEDGER, PARTITIONS, Scene, ask, fill, holds, scene, text, uids, until};
use e2e::ledger::Target;
use e2e::witness::Witnesses;
use milena_client::admin::Resource;
use serde_json::json;

/// A broker stops, and starts on the same node.
const RESTARTED_LIMIT: Duration = Duration::from_secs(60);
/// The operator looks every few seconds.
const NAMED_LIMIT: Duration = Duration::from_secs(30);
/// Several looks, in which a roll that goes on would stop the next broker.
const STOPS_FOR: Duration = Duration::from_secs(15);
/// Some 8 MiB beyond what was there before.
const RECORDS: usize = 8 * 1024;
/// As Kafka's tools do it: so fast are these followers of the topic filled, each named.
const RATE: &str = "follower.replication.throttled.rate";
const REPLICAS: &str = "follower.replication.throttled.replicas";

/// All followers of the ledger's topic get one byte a second, or what they want.
fn throttle(target: &Target, on: bool) -> Result<()> {
    let all = (0..PARTITIONS).flat_map(|partition| (0..3).map(move |id| (partition, id)));
    let all: Vec<String> = all.map(|(one, id)| format!("{one}:{id}")).collect();
    let replicas = (REPLICAS.to_owned(), on.then(|| all.join(",")));
    let rate = (RATE.to_owned(), on.then(|| "1".to_owned()));
    ask(&target.bootstrap, async |client| {
        client
            .alter_configs(Resource::Topic, LEDGER, &[replicas], false)
            .await?;
        client
            .alter_configs(Resource::Broker, "", &[rate], false)
            .await
    })
}

/// The broker that was restarted, which is one.
fn restarted(scene: &Scene, before: &[String]) -> Result<i64> {
    let pods = scene.pods(MAIN)?;
    let others = pods.iter().filter(|pod| {
        let uid = text(&pod["metadata"]["uid"]);
        !before.iter().any(|known| known == uid)
    });
    let others: Vec<&str> = others.map(|pod| text(&pod["metadata"]["name"])).collect();
    let [one] = others[..] else {
        anyhow::bail!("{others:?} were restarted");
    };
    let id = one.rsplit('-').next().context("no id")?;
    Ok(id.parse()?)
}

#[test]
fn a_roll_stops_at_a_broker_that_runs_and_is_not_ready_and_goes_on_once_it_is() -> Result<()> {
    scene("never-ready", |scene| {
        let target = scene.three_brokers()?;
        let before = uids(&scene.pods(MAIN)?);
        throttle(&target, true)?;
        let witnesses = Witnesses::begin(&target, scene.folder())?;
        let restart = json!({"spec": {"restartedAt": "2026-01-02T03:04:05Z"}});
        scene.patch(&format!("kafkacluster/{MAIN}"), &restart)?;
        let id = until("a broker is restarted", RESTARTED_LIMIT, || {
            restarted(scene, &before)
        })?;
        fill(&target, RECORDS)?;
        let waits = format!("broker {id} to be ready");
        let said = scene.until_said(&[&waits, "replicas are not in sync yet"], NAMED_LIMIT)?;
        println!("{}", said["status"]["rollout"]);
        holds("the roll stops at it", STOPS_FOR, || {
            ensure!(restarted(scene, &before)? == id, "another one");
            Ok(())
        })?;
        throttle(&target, false)?;
        scene.until_healed("a broker that did not get ready")?;
        let after = uids(&scene.pods(MAIN)?);
        let left: Vec<&String> = before.iter().filter(|uid| after.contains(uid)).collect();
        ensure!(left.is_empty(), "the roll did not go on: {left:?}");
        scene.until_in_sync(&target)?;
        witnesses.end("a broker that did not get ready")
    })
}
