//! `spec.config` reaches the brokers: without a restart where they take a setting over while they run, by a roll where they do
//! not, and back to the default where a setting is taken out.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::kube::manifests::MAIN;
use e2e::kube::{Scene, scene, text, uids, until};
use e2e::ledger::Target;
use e2e::load::block_on;
use e2e::witness::Witnesses;
use milena_client::admin::Resource;
use milena_client::{Client, ClientOptions};
use serde_json::{Value, json};

/// Running brokers take it over.
const LIVE: &str = "message.max.bytes";
/// Read when a broker starts.
const AT_START: &str = "num.partitions";
/// The operator looks at once, and changes it by one request.
const TAKEN_LIMIT: Duration = Duration::from_secs(30);

fn say(scene: &Scene, spec: &Value) -> Result<()> {
    scene.patch(&format!("kafkacluster/{MAIN}"), &json!({ "spec": spec }))
}

/// What each broker itself says of a setting.
fn told(target: &Target, name: &str) -> Result<Vec<String>> {
    let client = Client::new(ClientOptions::new(&target.bootstrap));
    block_on(async {
        let mut told = Vec::new();
        for broker in ["0", "1", "2"] {
            let configs = client.configs(Resource::Broker, &[broker]).await?;
            let mut configs = configs.values().flatten();
            let found = configs.find(|config| config.name == name);
            let value = found.and_then(|config| config.value.clone());
            told.push(value.with_context(|| format!("broker {broker} has no {name}"))?);
        }
        anyhow::Ok(told)
    })?
}

fn until_told(target: &Target, name: &str, value: &str) -> Result<()> {
    until(&format!("{name} is {value}"), TAKEN_LIMIT, || {
        let told = told(target, name)?;
        ensure!(told.iter().all(|one| one == value), "{told:?}");
        Ok(())
    })
}

#[test]
fn a_setting_restarts_brokers_only_where_they_can_not_take_it_over() -> Result<()> {
    scene("config", |scene| {
        let target = scene.three_brokers()?;
        let defaults = [told(&target, LIVE)?, told(&target, AT_START)?];
        let pods = scene.pods(MAIN)?;
        let witnesses = Witnesses::begin(&target, scene.folder())?;
        say(scene, &json!({"config": {LIVE: 2_000_000}}))?;
        until_told(&target, LIVE, "2000000")?;
        scene.until_healed("a setting that running brokers take over")?;
        scene.are_the_same_pods(&pods)?;

        say(scene, &json!({"config": {AT_START: 5}}))?;
        scene.until_said(&[AT_START, "restart"], TAKEN_LIMIT)?;
        scene.until_healed("a setting that takes a restart")?;
        let after = scene.pods(MAIN)?;
        ensure!(
            !uids(&after).iter().any(|uid| uids(&pods).contains(uid)),
            "{:?} were left out",
            after
                .iter()
                .map(|pod| text(&pod["metadata"]["name"]))
                .collect::<Vec<_>>()
        );
        until_told(&target, AT_START, "5")?;
        until_told(&target, LIVE, "2000000")?;

        say(scene, &json!({"config": null}))?;
        scene.until_healed("settings that were taken out")?;
        until_told(&target, LIVE, &defaults[0][0])?;
        until_told(&target, AT_START, &defaults[1][0])?;
        scene.until_in_sync(&target)?;
        witnesses.end("settings that change")
    })
}
