//! What can't run is named in the status, costs at most one broker, and heals by the next manifest.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::kube::manifests::{MAIN, cluster, topic};
use e2e::kube::{Scene, condition, holds, list, scene, text, uids, until};
use e2e::witness::Witnesses;
use serde_json::{Value, json};

const PARTITIONS: i32 = 6;
/// Of the image that is there.
const VERSION: &str = env!("CARGO_PKG_VERSION");
const NO_IMAGE: &str = "no-such-tag";
/// The kubelet tries to pull for some seconds before it says so.
const NAMED_LIMIT: Duration = Duration::from_secs(90);
/// Longer than a healthy roll needs for all of them.
const STOPPED: Duration = Duration::from_secs(40);

fn with_tag(tag: &str) -> Value {
    let mut manifest = cluster(3);
    manifest["spec"]["image"] = json!({"tag": tag});
    manifest
}

/// Waits until the message of some condition has this word.
fn until_named(scene: &Scene, word: &str) -> Result<()> {
    let what = format!("the status names {word}");
    let named = scene.until_cluster(&what, MAIN, NAMED_LIMIT, |cluster| {
        let conditions = list(&cluster["status"]["conditions"]).iter();
        let mut messages = conditions.map(|condition| text(&condition["message"]));
        ensure!(
            messages.any(|message| message.contains(word)),
            "{}",
            cluster["status"]
        );
        Ok(())
    })?;
    let kinds = ["Available", "Progressing", "Degraded"];
    let told: Vec<&str> = kinds
        .iter()
        .filter_map(|kind| Some(text(&condition(&named, kind)?["message"])))
        .collect();
    println!("the status says {told:?}");
    Ok(())
}

#[test]
fn a_wrong_image_at_the_first_install_is_named_and_mended() -> Result<()> {
    scene("wrong-image", |scene| {
        scene.apply(&with_tag(NO_IMAGE))?;
        until_named(scene, NO_IMAGE)?;
        scene.apply(&with_tag(VERSION))?;
        scene.until_available(MAIN)?;
        Ok(())
    })
}

#[test]
fn a_roll_to_an_image_that_is_not_there_stops_at_one_broker_and_heals() -> Result<()> {
    scene("wrong-roll", |scene| {
        scene.apply(&with_tag(VERSION))?;
        scene.apply(&topic("ledger", PARTITIONS, 3))?;
        scene.until_available(MAIN)?;
        scene.until_topic("ledger")?;
        let target = scene.target(MAIN, "ledger", PARTITIONS)?;
        let mut witnesses = Witnesses::begin(&target, scene.folder())?;
        scene.apply(&with_tag(NO_IMAGE))?;
        until_named(scene, NO_IMAGE)?;
        witnesses.until_flowing()?;
        let with_it = scene
            .pods(MAIN)?
            .iter()
            .filter(|pod| has_image(pod, NO_IMAGE))
            .count();
        ensure!(
            with_it == 1,
            "{with_it} brokers have the image that is not there"
        );
        scene.apply(&with_tag(VERSION))?;
        scene.until_settled(MAIN)?;
        scene.until_in_sync(&target)?;
        witnesses.end("a roll that stopped at one broker")
    })
}

fn has_image(pod: &Value, tag: &str) -> bool {
    text(&pod["spec"]["containers"][0]["image"]).ends_with(tag)
}

#[test]
fn memory_that_no_broker_can_start_with_stops_the_roll_at_one_and_heals() -> Result<()> {
    scene("wrong-memory", |scene| {
        scene.apply(&cluster(3))?;
        scene.apply(&topic("ledger", PARTITIONS, 3))?;
        scene.until_available(MAIN)?;
        scene.until_topic("ledger")?;
        let target = scene.target(MAIN, "ledger", PARTITIONS)?;
        let mut witnesses = Witnesses::begin(&target, scene.folder())?;
        let before = uids(&scene.pods(MAIN)?);
        // Memory that no broker can start with: no schema can know of it.
        let mut broken = cluster(3);
        broken["spec"]["pools"][0]["resources"] =
            json!({"requests": {"memory": "4Mi"}, "limits": {"memory": "4Mi"}});
        scene.apply(&broken)?;
        until("one broker does not come up", NAMED_LIMIT, || {
            let down = scene
                .pods(MAIN)?
                .iter()
                .filter(|pod| is_crashing(pod))
                .count();
            ensure!(down == 1, "{down} are down");
            Ok(())
        })?;
        holds("the roll stops there", STOPPED, || {
            let after = uids(&scene.pods(MAIN)?);
            let kept = after.iter().filter(|uid| before.contains(uid)).count();
            ensure!(kept == 2, "{kept} brokers are left alone");
            Ok(())
        })?;
        witnesses.until_flowing()?;
        scene.apply(&cluster(3))?;
        scene.until_settled(MAIN)?;
        scene.until_in_sync(&target)?;
        witnesses.end("memory that no broker can start with")
    })
}

fn is_crashing(pod: &Value) -> bool {
    let container = &pod["status"]["containerStatuses"][0];
    container["restartCount"].as_u64() >= Some(1) && container["ready"] == false
}
