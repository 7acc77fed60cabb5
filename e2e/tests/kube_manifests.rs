//! What can't be meant is refused when it is applied, by name; what only the cluster can know becomes a condition.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::kube::manifests::{MAIN, cluster, topic};
use e2e::kube::{Scene, scene, until};
use serde_json::{Value, json};

const NAMED_LIMIT: Duration = Duration::from_secs(30);

/// Sets the value at a path such as `/spec/pools/0/replicas`.
fn with(mut manifest: Value, path: &str, value: Value) -> Result<Value> {
    let (parent, name) = path.rsplit_once('/').context("a path")?;
    let parent = manifest
        .pointer_mut(parent)
        .with_context(|| format!("no {parent}"))?;
    parent[name] = value;
    Ok(manifest)
}

/// An error unless the manifest is refused with each of these words.
fn refused(scene: &Scene, manifest: &Value, words: &[&str]) -> Result<()> {
    let Err(error) = scene.apply(manifest) else {
        anyhow::bail!("taken: {manifest}");
    };
    let told = format!("{error:#}").to_lowercase();
    let missing = words
        .iter()
        .find(|word| !told.contains(&word.to_lowercase()));
    ensure!(missing.is_none(), "not a word of {missing:?}: {told}");
    Ok(())
}

#[test]
fn clusters_that_can_not_be_meant_are_refused_by_name() -> Result<()> {
    scene("bad-clusters", |scene| {
        let cases: [(&str, Value, &[&str]); 8] = [
            ("/spec/pools", json!([]), &["pools"]),
            ("/spec/pools/0/replicas", json!(-1), &["replicas"]),
            ("/spec/pools/0/name", json!("Not A Name"), &["name"]),
            ("/spec/pools/0/volumes", json!([]), &["volumes"]),
            (
                "/spec/pools/0/volums",
                json!([]),
                &["volums", "unknown field"],
            ),
            ("/spec/quorum", json!({"voters": 2}), &["voters"]),
            ("/spec/deletionPolicy", json!("Keep"), &["Keep", "Retain"]),
            ("/spec/listeners/0/port", json!(9091), &["9091"]),
        ];
        for (path, value, words) in cases {
            let manifest = with(cluster(3), path, value)?;
            refused(scene, &manifest, words).with_context(|| path.to_owned())?;
        }
        Ok(())
    })
}

#[test]
fn what_is_immutable_says_so() -> Result<()> {
    scene("immutable", |scene| {
        // Paused: nothing is made of it.
        let paused = with(cluster(3), "/spec/paused", json!(true))?;
        scene.apply(&paused)?;
        scene.apply(&topic("orders", 6, 3))?;
        let cases: [(&str, Value, &[&str]); 3] = [
            (
                "/spec/pools/0/firstBrokerId",
                json!(1000),
                &["firstBrokerId"],
            ),
            (
                "/spec/pools/0/volumes/0/className",
                json!("another"),
                &["className"],
            ),
            ("/spec/pools/0/volumes/0/size", json!("512Mi"), &["size"]),
        ];
        for (path, value, words) in cases {
            refused(scene, &with(paused.clone(), path, value)?, words)
                .with_context(|| path.to_owned())?;
        }
        let cases: [(&str, Value, &[&str]); 3] = [
            ("/spec/partitions", json!(3), &["partitions"]),
            ("/spec/topicName", json!("another"), &["topicName"]),
            ("/spec/clusterRef/name", json!("another"), &["clusterRef"]),
        ];
        for (path, value, words) in cases {
            let manifest = with(topic("orders", 6, 3), path, value)?;
            refused(scene, &manifest, words).with_context(|| path.to_owned())?;
        }
        Ok(())
    })
}

#[test]
fn what_only_the_cluster_can_know_becomes_a_condition() -> Result<()> {
    scene("conditions", |scene| {
        scene.apply(&with(
            topic("lost", 1, 1),
            "/spec/clusterRef/name",
            json!("nowhere"),
        )?)?;
        until_named(scene, "topics.milena.dev/lost", "nowhere")?;
        scene
            .apply(&with(cluster(3), "/spec/config", json!({"node.id": 7}))?)
            .or_else(|error| {
                let told = format!("{error:#}");
                ensure!(told.contains("node.id"), "{told}");
                Ok(())
            })?;
        let mut manifest = with(cluster(3), "/spec/config", json!({"log.retention.hour": 7}))?;
        manifest["metadata"]["name"] = json!("typo");
        scene.apply(&manifest)?;
        until_named(scene, "kafkacluster/typo", "log.retention.hours")?;
        let absent = with(
            cluster(3),
            "/spec/pools/0/volumes/0/className",
            json!("no-such-class"),
        )?;
        let mut absent = absent;
        absent["metadata"]["name"] = json!("classless");
        scene.apply(&absent)?;
        until_named(scene, "kafkacluster/classless", "no-such-class")
    })
}

/// Waits until a resource's status has this word; brokers are deleted with the namespace.
fn until_named(scene: &Scene, resource: &str, word: &str) -> Result<()> {
    until(
        &format!("{resource}'s status names {word}"),
        NAMED_LIMIT,
        || {
            let status = &scene.get(&[resource])?["status"];
            let conditions = status["conditions"].to_string();
            ensure!(conditions.contains(word), "{status}");
            Ok(())
        },
    )
}

#[test]
fn a_cluster_named_as_the_tests_is_found_by_its_short_name() -> Result<()> {
    scene("names", |scene| {
        scene.apply(&with(cluster(3), "/spec/paused", json!(true))?)?;
        let by_short_name = scene.kubectl(&["get", "mkc", MAIN, "-o", "name"])?;
        ensure!(
            by_short_name.trim() == format!("kafkacluster.milena.dev/{MAIN}"),
            "{by_short_name}"
        );
        let explained = scene.kubectl(&["explain", "kafkacluster.spec.pools"])?;
        ensure!(explained.contains("firstBrokerId"), "{explained}");
        Ok(())
    })
}
