//! What befalls one pod of a cluster and no node: it is evicted, or its broker is there and says nothing.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::kube::manifests::MAIN;
use e2e::kube::{broker, scene, text, until};
use e2e::witness::Witnesses;
use serde_json::json;

const BACK_LIMIT: Duration = Duration::from_secs(120);
/// Longer than broker.session.timeout.ms, shorter than the liveness probe's patience.
const SILENCE: Duration = Duration::from_secs(10);

#[test]
fn an_eviction_by_the_api_is_admitted_where_the_cluster_can_bear_it() -> Result<()> {
    scene("evict", |scene| {
        let target = scene.three_brokers()?;
        let witnesses = Witnesses::begin(&target, scene.folder())?;
        let victim = scene.pods(MAIN)?.swap_remove(2);
        let (name, uid) = (
            text(&victim["metadata"]["name"]),
            &victim["metadata"]["uid"],
        );
        let path = format!(
            "/api/v1/namespaces/{}/pods/{name}/eviction",
            scene.namespace
        );
        let eviction = json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": name, "namespace": scene.namespace},
        });
        // 429 while the budget has no room.
        until("the eviction is admitted", BACK_LIMIT, || {
            scene.kube.kubectl_with(
                &eviction.to_string(),
                &["create", "--raw", &path, "-f", "-"],
            )
        })?;
        until("another pod takes its place", BACK_LIMIT, || {
            let pod = scene.get(&["pod", name])?;
            ensure!(pod["metadata"]["uid"] != *uid, "the same pod");
            let ready = &pod["status"]["containerStatuses"][0]["ready"];
            ensure!(*ready == true, "{}", pod["status"]);
            Ok(())
        })?;
        scene.until_in_sync(&target)?;
        witnesses.end("an eviction")
    })
}

#[test]
fn a_broker_that_is_silent_for_a_while_is_led_around() -> Result<()> {
    scene("silent", |scene| {
        let target = scene.three_brokers()?;
        let mut witnesses = Witnesses::begin(&target, scene.folder())?;
        let victim = scene.pods(MAIN)?.swap_remove(0);
        broker::signal(&scene.kube, &victim, "STOP")?;
        // The silence has a length of its own: it is the fault. What clients have sent to it they wait for, by themselves
        // for a minute and more.
        std::thread::sleep(SILENCE);
        broker::signal(&scene.kube, &victim, "CONT")?;
        witnesses.until_flowing()?;
        scene.until_settled(MAIN)?;
        scene.until_in_sync(&target)?;
        witnesses.end("SIGSTOP for 10 s")
    })
}
