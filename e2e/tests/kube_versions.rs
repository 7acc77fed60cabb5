//! Brokers go to another version and back without losing a record, until they write what the former version can't read: then
//! the way back is refused. Both versions are built of these sources, with other stamps; `E2E_NEXT_VERSION` names the second
//! pair of images, which `e2e/kube/run.sh` builds.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::kube::manifests::MAIN;
use e2e::kube::{Kube, Scene, condition, operator, scene, text, uids};
use e2e::ledger::Target;
use e2e::load::block_on;
use e2e::skip::skipped;
use e2e::witness::Witnesses;
use milena_client::{Client, ClientOptions};
use serde_json::{Value, json};

/// Of the images that all tests use, as the charts have it.
const VERSION: &str = operator::VERSION;
/// What [`VERSION`] knows of the feature `milena.version`, and what the next one does.
const LEVELS: [&str; 2] = ["1", "2"];
/// The operator looks every few seconds; one that has just begun leads within 15 s.
const NAMED_LIMIT: Duration = Duration::from_secs(60);
/// The level is read again a minute later, at the most.
const RAISED_LIMIT: Duration = Duration::from_secs(90);

/// Merges this into the cluster's spec.
fn say(scene: &Scene, spec: &Value) -> Result<()> {
    scene.patch(&format!("kafkacluster/{MAIN}"), &json!({ "spec": spec }))
}

/// Waits until the spec is refused for this reason, as the newest spec; what is said.
fn until_refused(scene: &Scene, reason: &str) -> Result<String> {
    let what = format!("the spec is refused: {reason}");
    let resource = scene.until_cluster(&what, MAIN, NAMED_LIMIT, |cluster| {
        let degraded = condition(cluster, "Degraded").context("no such condition")?;
        let is_newest = degraded["observedGeneration"] == cluster["metadata"]["generation"];
        ensure!(
            is_newest && degraded["status"] == "True" && degraded["reason"] == reason,
            "{degraded}"
        );
        Ok(())
    })?;
    let degraded = condition(&resource, "Degraded").context("it was there")?;
    Ok(text(&degraded["message"]).to_owned())
}

/// Waits until what was said is done, and is an error unless all brokers are of this version and each was restarted once.
fn until_all_are(scene: &Scene, version: &str, before: &[Value]) -> Result<Vec<Value>> {
    let resource = scene.until_healed(&format!("brokers of version {version}"))?;
    let told = &resource["status"]["version"];
    ensure!(told == version, "the status says {told}");
    let (pods, old) = (scene.pods(MAIN)?, uids(before));
    let end = format!(":{version}");
    for pod in &pods {
        let image = text(&pod["spec"]["containers"][0]["image"]);
        ensure!(image.ends_with(&end), "{image} is not {version}");
    }
    ensure!(
        pods.len() == old.len() && !uids(&pods).iter().any(|uid| old.contains(uid)),
        "a broker was left out"
    );
    Ok(pods)
}

/// An error unless the status and the brokers themselves say that they write this level.
fn write_level(cluster: &Value, target: &Target, level: &str) -> Result<()> {
    let told = &cluster["status"]["metadataVersion"];
    ensure!(told == level, "the status says {told}");
    let client = Client::new(ClientOptions::new(&target.bootstrap));
    let features = block_on(async { client.features().await })??;
    let feature = features
        .iter()
        .find(|feature| feature.name == "milena.version");
    let written = feature.context("no milena.version")?.level.to_string();
    ensure!(written == level, "brokers write {written}");
    Ok(())
}

#[test]
fn brokers_go_to_the_next_version_and_back_until_they_write_what_it_can_not_read() -> Result<()> {
    let next = std::env::var("E2E_NEXT_VERSION").unwrap_or_default();
    if next.is_empty() {
        let why = "E2E_NEXT_VERSION names no second pair of images; e2e/kube/run.sh builds one";
        return skipped("kube versions", why);
    }
    scene("versions", |scene| {
        let target = scene.three_brokers()?;
        let pods = scene.pods(MAIN)?;
        let witnesses = Witnesses::begin(&target, scene.folder())?;
        the_operator_goes_first(scene, &next, &pods)?;
        let _upgraded = operator::Upgraded::to(&scene.kube, &next)?;
        an_operator_of_the_next_version_leaves_the_brokers(scene, &pods)?;

        say(scene, &json!({"version": next}))?;
        let newer = until_all_are(scene, &next, &pods)?;
        write_level(&scene.get(&["kafkacluster", MAIN])?, &target, LEVELS[0])?;
        say(scene, &json!({"version": VERSION}))?;
        let back = until_all_are(scene, VERSION, &newer)?;
        scene.until_in_sync(&target)?;

        say(
            scene,
            &json!({"version": next, "metadataVersion": LEVELS[1]}),
        )?;
        let newest = until_all_are(scene, &next, &back)?;
        let raised = |cluster: &Value| write_level(cluster, &target, LEVELS[1]);
        scene.until_cluster("brokers write the next level", MAIN, RAISED_LIMIT, raised)?;
        the_way_back_is_refused(scene, &newest)?;
        say(scene, &json!({"version": next}))?;
        scene.until_healed("the next version again")?;
        scene.are_the_same_pods(&newest)?;
        scene.until_in_sync(&target)?;
        witnesses.end("a version up, down and up")
    })
}

fn the_operator_goes_first(scene: &Scene, next: &str, pods: &[Value]) -> Result<()> {
    say(scene, &json!({"version": next}))?;
    let told = until_refused(scene, "UnsupportedVersion")?;
    let words = [next, VERSION, "upgrade the operator first"];
    ensure!(words.iter().all(|word| told.contains(word)), "{told}");
    say(scene, &json!({"version": null}))?;
    scene.until_healed("a version that was taken back")?;
    scene.are_the_same_pods(pods)
}

fn an_operator_of_the_next_version_leaves_the_brokers(scene: &Scene, pods: &[Value]) -> Result<()> {
    // So that what it says of this generation is new.
    say(scene, &json!({"rollout": {"soakSeconds": 1}}))?;
    let resource = scene.until_healed("another operator")?;
    let told = &resource["status"]["version"];
    ensure!(told == VERSION, "the version has become {told}");
    scene.are_the_same_pods(pods)
}

fn the_way_back_is_refused(scene: &Scene, pods: &[Value]) -> Result<()> {
    let expected = format!(
        "spec.version: {VERSION} reads what is written at level {} of milena.version, and the brokers write {}: there is \
         no way back to it",
        LEVELS[0], LEVELS[1]
    );
    say(scene, &json!({"version": VERSION}))?;
    let told = until_refused(scene, "DowngradeRefused")?;
    ensure!(told == expected, "{told}");
    println!("a version down: {told}");
    // An operator that has only just begun knows it as well.
    restart_the_operator(&scene.kube)?;
    say(scene, &json!({"rollout": {"soakSeconds": 2}}))?;
    let told = until_refused(scene, "DowngradeRefused")?;
    ensure!(told == expected, "{told}");
    let Err(refused) = say(scene, &json!({"metadataVersion": LEVELS[0]})) else {
        bail!("metadataVersion went down");
    };
    let refused = format!("{refused:#}");
    ensure!(
        refused.contains("metadataVersion can't go down"),
        "{refused}"
    );
    scene.are_the_same_pods(pods)
}

fn restart_the_operator(kube: &Kube) -> Result<()> {
    let pods = ["-n", operator::NAMESPACE, "delete", "pods", "--all"];
    kube.kubectl(&pods)?;
    operator::until_there(kube)
}
