//! Surroundings that don't let a cluster be: each is named in the status within seconds, and all heals by itself when the
//! cause goes. The manifest stays as it is.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::kube::manifests::{MAIN, cluster, topic};
use e2e::kube::{Kube, LEDGER, Scene, Undone, condition, list, scene, text, until};
use e2e::witness::Witnesses;
use serde_json::{Value, json};

/// Kubernetes says why within seconds, and the operator looks every few.
const NAMED_LIMIT: Duration = Duration::from_secs(30);
/// The controller of StatefulSets tries again after ever longer times.
const MADE_LIMIT: Duration = Duration::from_secs(180);
/// The node label that a cluster's brokers ask for.
const LABEL: &str = "milena.dev/e2e-spread";

#[test]
fn a_storage_class_that_does_not_exist_is_named_and_brokers_start_once_it_does() -> Result<()> {
    scene("no-class", |scene| {
        let class = scene.namespace.clone();
        let mut manifest = cluster(3);
        manifest["spec"]["pools"][0]["volumes"][0]["className"] = json!(class);
        scene.apply(&manifest)?;
        scene.until_said(
            &["broker 0 is", &format!("StorageClass {class}")],
            NAMED_LIMIT,
        )?;
        let _class = Undone::by(&scene.kube, &["delete", "storageclass", &class]);
        scene.kube.kubectl_with(
            &json!({
                "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": class},
                "provisioner": "rancher.io/local-path", "volumeBindingMode": "WaitForFirstConsumer",
            })
            .to_string(),
            &["apply", "-f", "-"],
        )?;
        scene.until_healed("a StorageClass that was missing")?;
        Ok(())
    })
}

fn label(kube: &Kube, node: &Value, value: &str) -> Result<()> {
    let name = text(&node["metadata"]["name"]);
    let label = format!("{LABEL}={value}");
    kube.kubectl(&["label", "node", name, &label, "--overwrite"])
        .map(drop)
}

#[test]
fn too_few_nodes_for_required_spread_are_named_and_one_more_is_enough() -> Result<()> {
    scene("few-nodes", |scene| {
        let workers = scene.kube.json(&[
            "get",
            "nodes",
            "-l",
            "!node-role.kubernetes.io/control-plane",
        ])?;
        let workers = list(&workers["items"]);
        let forget = format!("{LABEL}-");
        let _labels = Undone::by(&scene.kube, &["label", "nodes", "--all", &forget]);
        for node in &workers[..2] {
            label(&scene.kube, node, &scene.namespace)?;
        }
        let mut manifest = cluster(3);
        manifest["spec"]["placement"] = json!({"nodeSpread": "Required"});
        manifest["spec"]["pools"][0]["podTemplate"] =
            json!({"nodeSelector": {LABEL: scene.namespace}});
        scene.apply(&manifest)?;
        scene.until_said(&["is Unschedulable", "nodes are available"], NAMED_LIMIT)?;
        label(&scene.kube, &workers[2], &scene.namespace)?;
        scene.until_healed("a node more")?;
        Ok(())
    })
}

#[test]
fn a_quota_that_has_no_room_for_a_broker_is_named_and_nothing_is_lost() -> Result<()> {
    scene("quota", |scene| {
        let target = scene.three_brokers()?;
        let mut witnesses = Witnesses::begin(&target, scene.folder())?;
        scene.apply(&json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"},
            "spec": {"hard": {"pods": "3"}},
        }))?;
        // A fourth broker has no room; the three that are there go on.
        scene.apply(&cluster(4))?;
        scene.until_said(
            &["broker 3 is Missing", "exceeded quota: small"],
            NAMED_LIMIT,
        )?;
        witnesses.until_flowing()?;
        scene.kubectl(&["delete", "resourcequota", "small"])?;
        let begun = Instant::now();
        until("the fourth broker is there", MADE_LIMIT, || {
            let pods = scene.pods(MAIN)?;
            ensure!(pods.len() == 4, "{} pods", pods.len());
            Ok(())
        })?;
        println!(
            "its pod was made {:.1?} after the quota went",
            begun.elapsed()
        );
        scene.until_healed("a quota that went")?;
        scene.until_in_sync(&target)?;
        witnesses.end("a quota in the namespace")
    })
}

#[test]
fn a_topic_whose_cluster_is_not_there_says_so_and_is_made_once_it_is() -> Result<()> {
    scene("no-cluster", |scene| {
        scene.apply(&topic(LEDGER, 1, 3))?;
        until_not_ready(scene, &[MAIN])?;
        scene.apply(&cluster(3))?;
        scene.until_available(MAIN)?;
        scene.until_topic(LEDGER)?;
        Ok(())
    })
}

#[test]
fn a_topic_in_a_namespace_that_may_not_see_the_cluster_says_so_and_is_made_once_it_may()
-> Result<()> {
    scene("not-let-in", |scene| {
        let elsewhere = format!("{}-elsewhere", scene.namespace);
        scene.kube.kubectl(&["create", "namespace", &elsewhere])?;
        let _namespace = Undone::by(&scene.kube, &["delete", "namespace", &elsewhere]);
        let mut foreign = topic("foreign", 1, 3);
        foreign["metadata"]["namespace"] = json!(elsewhere);
        foreign["spec"]["clusterRef"]["namespace"] = json!(scene.namespace);
        let apply = ["apply", "-f", "-"];
        scene.kube.kubectl_with(&foreign.to_string(), &apply)?;
        scene.apply(&cluster(3))?;
        scene.until_available(MAIN)?;
        let get = ["-n", &elsewhere, "get", "topics.milena.dev", "foreign"];
        let begun = Instant::now();
        let refused = until("it is not let in", NAMED_LIMIT, || {
            let found = scene.kube.json(&get)?;
            let refused = condition(&found, "NotPermitted")
                .context("no such condition")?
                .clone();
            ensure!(refused["status"] == "True", "{refused}");
            Ok(refused)
        })?;
        println!(
            "named after {:.1?}: {}",
            begun.elapsed(),
            text(&refused["message"])
        );
        scene.patch(
            &format!("kafkacluster/{MAIN}"),
            &json!({"spec": {"topicAccess": [{"namespaces": {"names": [scene.namespace, elsewhere]}}]}}),
        )?;
        until("it is made", NAMED_LIMIT, || {
            let found = scene.kube.json(&get)?;
            let ready = condition(&found, "Ready").context("no such condition")?;
            ensure!(ready["status"] == "True", "{ready}");
            Ok(())
        })?;
        let gone = ["-n", &elsewhere, "delete", "topics.milena.dev", "foreign"];
        scene.kube.kubectl(&gone).map(drop)
    })
}

/// Waits until the topic is not ready, for a reason with these words.
fn until_not_ready(scene: &Scene, words: &[&str]) -> Result<()> {
    let begun = Instant::now();
    let said = until("the topic says why", NAMED_LIMIT, || {
        let found = scene.get(&["topics.milena.dev", LEDGER])?;
        let ready = condition(&found, "Ready")
            .context("no such condition")?
            .clone();
        let message = text(&ready["message"]);
        let named = words.iter().all(|word| message.contains(word));
        ensure!(ready["status"] == "False" && named, "{ready}");
        Ok(ready)
    })?;
    println!(
        "named after {:.1?}: {} {}",
        begun.elapsed(),
        text(&said["reason"]),
        text(&said["message"])
    );
    Ok(())
}
