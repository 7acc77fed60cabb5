//! Topics follow their resources: created, grown, changed, corrected, deleted or kept, and refused with a reason.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::kube::manifests::{MAIN, cluster, topic};
use e2e::kube::{Scene, ask, condition, holds, is_true, scene, text, until};
use milena_client::admin::{NewTopic, Resource};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);
/// A change that is taken back is so within seconds.
const WATCHED: Duration = Duration::from_secs(15);

/// A cluster; where clients outside find it.
fn one_cluster(scene: &Scene) -> Result<String> {
    scene.apply(&cluster(3))?;
    scene.until_available(MAIN)?;
    scene.outside(MAIN, "external")
}

/// Partitions of a topic as the brokers tell it; `None` where there is none.
fn partitions(bootstrap: &str, name: &str) -> Result<Option<usize>> {
    let cluster = ask(bootstrap, async |client| client.refresh_all().await)?;
    Ok(cluster.topics.get(name).map(|topic| topic.partitions.len()))
}

/// Waits until a condition of a Topic has this status; its message.
fn until_condition(scene: &Scene, name: &str, kind: &str, status: &str) -> Result<String> {
    until(&format!("{kind} of {name} is {status}"), LIMIT, || {
        let resource = scene.get(&["topics.milena.dev", name])?;
        let found = condition(&resource, kind)
            .with_context(|| format!("no {kind}: {}", resource["status"]))?;
        ensure!(found["status"] == status, "{found}");
        Ok(text(&found["message"]).to_owned())
    })
}

fn spec(name: &str, change: &Value) -> Value {
    let mut manifest = topic(name, 3, 3);
    for (key, value) in change.as_object().into_iter().flatten() {
        manifest["spec"][key] = value.clone();
    }
    manifest
}

#[test]
fn a_topic_grows_and_goes_as_its_resource_does() -> Result<()> {
    scene("topics", |scene| {
        let bootstrap = one_cluster(scene)?;
        scene.apply(&spec("orders", &json!({})))?;
        scene.until_topic("orders")?;
        ensure!(partitions(&bootstrap, "orders")? == Some(3));
        scene.apply(&spec("orders", &json!({"partitions": 5})))?;
        scene.until_topic("orders")?;
        ensure!(partitions(&bootstrap, "orders")? == Some(5));
        scene.kubectl(&["delete", "topics.milena.dev", "orders", "--timeout=60s"])?;
        until("the topic is gone", LIMIT, || {
            let left = partitions(&bootstrap, "orders")?;
            ensure!(left.is_none(), "{left:?} partitions");
            Ok(())
        })
    })
}

#[test]
fn a_retained_topic_outlives_its_resource_and_is_adopted_again() -> Result<()> {
    scene("topic-retain", |scene| {
        let bootstrap = one_cluster(scene)?;
        let manifest = spec("orders", &json!({"deletionPolicy": "Retain"}));
        scene.apply(&manifest)?;
        let before = scene.until_topic("orders")?;
        scene.kubectl(&["delete", "topics.milena.dev", "orders", "--timeout=60s"])?;
        ensure!(partitions(&bootstrap, "orders")? == Some(3), "it is kept");
        scene.apply(&manifest)?;
        let after = scene.until_topic("orders")?;
        ensure!(
            after["status"]["topicId"] == before["status"]["topicId"],
            "another topic"
        );
        Ok(())
    })
}

#[test]
fn two_resources_for_one_topic_are_a_conflict_of_the_younger() -> Result<()> {
    scene("topic-conflict", |scene| {
        one_cluster(scene)?;
        scene.apply(&spec("first", &json!({"topicName": "orders"})))?;
        scene.until_topic("first")?;
        scene.apply(&spec("second", &json!({"topicName": "orders"})))?;
        let told = until_condition(scene, "second", "Conflict", "True")?;
        ensure!(told.contains("first"), "{told}");
        scene.until_topic("first").map(drop)
    })
}

#[test]
fn a_topic_that_exists_otherwise_is_taken_only_when_asked_for() -> Result<()> {
    scene("topic-adopt", |scene| {
        let bootstrap = one_cluster(scene)?;
        let by_hand = NewTopic {
            name: "orders".to_owned(),
            partitions: Some(2),
            replication_factor: Some(3),
            configs: Vec::new(),
        };
        ask(&bootstrap, async |client| {
            client.create_topic(&by_hand, false).await
        })?;
        scene.apply(&spec("orders", &json!({"adopt": "IfIdentical"})))?;
        let told = until_condition(scene, "orders", "Ready", "False")?;
        println!("of a topic that exists: {told}");
        ensure!(
            partitions(&bootstrap, "orders")? == Some(2),
            "it was changed"
        );
        scene.apply(&spec("orders", &json!({"adopt": "Always"})))?;
        scene.until_topic("orders")?;
        ensure!(partitions(&bootstrap, "orders")? == Some(3), "it is grown");
        Ok(())
    })
}

#[test]
fn a_change_made_elsewhere_is_taken_back() -> Result<()> {
    scene("topic-drift", |scene| {
        let bootstrap = one_cluster(scene)?;
        let config = json!({"config": {"retentionMs": 3_600_000}});
        scene.apply(&spec("orders", &config))?;
        scene.until_topic("orders")?;
        let retention = || -> Result<String> {
            let configs = ask(&bootstrap, async |client| {
                client.configs(Resource::Topic, &["orders"]).await
            })?;
            let mut configs = configs.values().flatten();
            let found = configs.find(|config| config.name == "retention.ms");
            Ok(found
                .and_then(|config| config.value.clone())
                .unwrap_or_default())
        };
        ensure!(retention()? == "3600000", "{}", retention()?);
        let changes = [("retention.ms".to_owned(), Some("7200000".to_owned()))];
        ask(&bootstrap, async |client| {
            let topic = Resource::Topic;
            client.alter_configs(topic, "orders", &changes, false).await
        })?;
        until("the change is taken back", LIMIT, || {
            let now = retention()?;
            ensure!(now == "3600000", "{now}");
            Ok(())
        })
    })
}

#[test]
fn a_topic_gets_and_gives_up_replicas_as_its_resource_says() -> Result<()> {
    scene("topic-replicas", |scene| {
        scene.apply(&cluster(3))?;
        scene.until_available(MAIN)?;
        let with = |replicas: i32| {
            let least = json!({"minInSyncReplicas": 1});
            spec(
                "orders",
                &json!({"replicationFactor": replicas, "config": least}),
            )
        };
        for replicas in [2, 3, 1] {
            scene.apply(&with(replicas))?;
            scene.until_topic("orders")?;
            let target = scene.target(MAIN, "orders", 3)?;
            until(&format!("it has {replicas} replicas"), LIMIT, || {
                let view = scene.view(&target)?;
                let counts = [0, 1, 2].map(|partition| view.replicas("orders", partition).len());
                ensure!(counts == [replicas as usize; 3], "{counts:?}");
                Ok(())
            })?;
            scene.until_in_sync(&target)?;
            until_condition(scene, "orders", "Synced", "True")?;
        }
        Ok(())
    })
}

#[test]
fn settings_that_are_not_the_resources_stay_and_a_topic_made_anew_is_nobodys() -> Result<()> {
    scene("topic-elsewhere", |scene| {
        let bootstrap = one_cluster(scene)?;
        let change = json!({"unmanagedConfig": ["retention.ms"], "driftPolicy": "Report"});
        scene.apply(&spec("orders", &change))?;
        scene.until_topic("orders")?;
        let by_hand = [("retention.ms".to_owned(), Some("7200000".to_owned()))];
        ask(&bootstrap, async |client| {
            let topic = Resource::Topic;
            client.alter_configs(topic, "orders", &by_hand, false).await
        })?;
        holds("it is left as it is", WATCHED, || {
            let topic = scene.get(&["topics.milena.dev", "orders"])?;
            is_true(&topic, "Synced")
        })?;

        // With Report it is not made again at once.
        ask(&bootstrap, async |client| {
            client.delete_topic("orders").await
        })?;
        until_condition(scene, "orders", "Ready", "False")?;
        let another = NewTopic {
            name: "orders".to_owned(),
            partitions: Some(3),
            replication_factor: Some(3),
            configs: Vec::new(),
        };
        ask(&bootstrap, async |client| {
            client.create_topic(&another, false).await
        })?;
        let told = until_condition(scene, "orders", "Conflict", "True")?;
        println!("of a topic made anew by hand: {told}");
        scene.kubectl(&["delete", "topics.milena.dev", "orders", "--timeout=60s"])?;
        ensure!(
            partitions(&bootstrap, "orders")? == Some(3),
            "a topic that was not the resource's was deleted"
        );
        Ok(())
    })
}
