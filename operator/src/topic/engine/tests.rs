//! The engine in a small world: what it promises from outside.

mod throttled;
pub(in crate::topic) mod world;

use std::time::Duration;

use serde_json::json;

use super::super::brokers::{Misplaced, Refusal};
use super::super::status::Kind;
use super::link::DOWN_AFTER;
use crate::namespace::Fate;
use world::{World, cluster};

#[tokio::test(start_paused = true)]
async fn five_thousand_topics_are_made_in_batches_and_each_is_written_twice() {
    let world = World::new();
    for number in 0..5_000 {
        world
            .api
            .apply(&format!("t{number}"), json!({ "partitions": 3 }));
    }
    world
        .until("all are ready", |world| {
            world.api.count(Kind::Ready) == 5_000
        })
        .await;
    let creates = world.kafka.calls("create");
    assert!((50..=60).contains(&creates), "{creates} requests");
    assert_eq!(world.api.writes(), 10_000, "a finalizer and a status each");
    assert_eq!(world.kafka.lock().topics.len(), 5_000);
    let calls = world.kafka.lock().calls.len();
    assert!(calls < 400, "{calls} calls, those of the feed included");
}

#[tokio::test(start_paused = true)]
async fn large_topics_are_made_in_requests_that_the_brokers_take() {
    let world = World::new();
    for number in 0..50 {
        world
            .api
            .apply(&format!("t{number}"), json!({ "partitions": 300 }));
    }
    world.api.apply("huge", json!({ "partitions": 5_000 }));
    world
        .until("all are ready", |world| world.api.count(Kind::Ready) == 51)
        .await;
    let creates = world.kafka.calls("create");
    assert!((9..=12).contains(&creates), "{creates} requests");
}

#[tokio::test(start_paused = true)]
async fn a_restart_writes_nothing_and_asks_little() {
    let mut world = World::new();
    for number in 0..5_000 {
        world.api.apply(&format!("t{number}"), json!({}));
    }
    world.kafka.put("bad", |topic| topic.partitions = 9);
    world.api.apply("bad", json!({ "adopt": "Never" }));
    world
        .until("all are ready", |world| {
            world.api.count(Kind::Ready) == 5_000
        })
        .await;
    world
        .until_says("bad", Kind::Conflict, "True", "Exists")
        .await;
    let writes = world.api.writes();
    world.restart();
    world.kafka.lock().calls.clear();
    world.pass(Duration::from_secs(120)).await;
    assert_eq!(world.api.writes(), writes);
    let calls = world.kafka.lock().calls.clone();
    assert!(calls.len() <= 20, "{calls:?}");
    assert_eq!(world.metrics.calls_total() as usize, calls.len());
}

#[tokio::test(start_paused = true)]
async fn what_changed_in_a_gap_of_the_feed_is_found_in_the_snapshot() {
    let world = World::new();
    world
        .api
        .apply("t", json!({ "config": { "retentionMs": 7 } }));
    world.until_says("t", Kind::Synced, "True", "InSync").await;
    let id = world.api.topic("t").status.unwrap().topic_id;
    {
        // Changed and forgotten before anybody could hear of it.
        let mut state = world.kafka.lock();
        state
            .topics
            .get_mut("t")
            .unwrap()
            .configs
            .insert("flush.ms".into(), "1".into());
        state.forgotten = i64::MAX;
    }
    world.kafka.put("other", |_| {});
    world
        .until("it is set back", |world| {
            !world
                .kafka
                .topic("t")
                .unwrap()
                .configs
                .contains_key("flush.ms")
        })
        .await;
    assert_eq!(world.api.topic("t").status.unwrap().topic_id, id);
    assert_eq!(world.api.reasons("t"), ["Created", "DriftCorrected"]);
}

#[tokio::test(start_paused = true)]
async fn a_short_silence_of_the_brokers_changes_no_status_and_a_long_one_heals() {
    let world = World::new();
    world.api.apply("t", json!({}));
    world.until_says("t", Kind::Synced, "True", "InSync").await;
    let writes = world.api.writes();
    world.kafka.lock().down = true;
    world.pass(DOWN_AFTER / 2).await;
    world.kafka.lock().down = false;
    world.pass(DOWN_AFTER).await;
    assert_eq!(world.api.writes(), writes);
    world.kafka.lock().down = true;
    world
        .until_says("t", Kind::Synced, "Unknown", "ClusterUnreachable")
        .await;
    world.until_says("t", Kind::Ready, "True", "Ready").await;
    world.kafka.lock().down = false;
    world.until_says("t", Kind::Synced, "True", "InSync").await;
    assert_eq!(world.api.writes(), writes + 2);
}

#[tokio::test(start_paused = true)]
async fn a_topic_waits_for_its_cluster_and_heals_when_it_appears() {
    let world = World::new();
    world.set_cluster(None);
    world.api.apply("t", json!({}));
    world
        .until_says("t", Kind::Ready, "False", "ClusterNotFound")
        .await;
    assert_eq!(world.api.topic("t").metadata.finalizers, None);
    world.set_cluster(Some(cluster(json!({}))));
    world.until_says("t", Kind::Ready, "True", "Ready").await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_resource_takes_its_topic_along_by_id_and_a_retained_one_leaves_it() {
    let world = World::new();
    world.api.apply("gone", json!({}));
    world
        .api
        .apply("kept", json!({ "deletionPolicy": "Retain" }));
    world
        .until("both are there", |world| world.api.count(Kind::Ready) == 2)
        .await;
    assert_eq!(world.api.topic("kept").metadata.finalizers, None);
    world.api.delete("gone");
    world.api.delete("kept");
    world
        .until("it is deleted", |world| !world.api.exists("gone"))
        .await;
    assert_eq!(world.kafka.topic("gone"), None);
    assert!(world.kafka.topic("kept").is_some());
    assert_eq!(world.api.reasons("gone"), ["Created", "Deleted"]);
    assert_eq!(world.kafka.calls("delete"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_topic_stays_where_its_namespace_ends_or_that_is_not_known_though_no_watch_has_said_so() {
    let world = World::new();
    for name in ["ends", "unknown"] {
        world.api.apply(name, json!({}));
        world.until_says(name, Kind::Ready, "True", "Ready").await;
    }
    world.api.set_fate(Fate::Ends);
    world.api.delete("ends");
    world
        .until("it is let go", |world| !world.api.exists("ends"))
        .await;
    assert!(world.kafka.topic("ends").is_some());
    world.api.set_fate(Fate::Unknown);
    world.api.delete("unknown");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(world.api.exists("unknown") && world.kafka.topic("unknown").is_some());
    assert_eq!(world.kafka.calls("delete"), 0);
    world.api.set_fate(Fate::Stays);
    world
        .until("it is deleted", |world| !world.api.exists("unknown"))
        .await;
    assert_eq!(world.kafka.topic("unknown"), None);
}

#[tokio::test(start_paused = true)]
async fn the_policy_puts_the_finalizer_on_and_takes_it_off() {
    let world = World::new();
    let held = |world: &World| {
        let finalizers = world.api.topic("t").metadata.finalizers;
        finalizers.is_some_and(|all| all == ["milena.dev/topic"])
    };
    world.api.apply("t", json!({}));
    world.until("it is held", held).await;
    world.until_says("t", Kind::Ready, "True", "Ready").await;
    world.api.apply("t", json!({ "deletionPolicy": "Retain" }));
    world.until("it is let go", |world| !held(world)).await;
    world.api.apply("t", json!({ "deletionPolicy": "Delete" }));
    world.until("it is held again", held).await;
}

#[tokio::test(start_paused = true)]
async fn a_topic_made_anew_by_hand_is_a_conflict_and_survives_the_resource() {
    let world = World::new();
    world.api.apply("t", json!({}));
    world.until_says("t", Kind::Ready, "True", "Ready").await;
    {
        // Unseen until it is there again.
        let mut state = world.kafka.lock();
        state.topics.remove("t");
    }
    let id = world.kafka.put("t", |_| {});
    world
        .until_says("t", Kind::Conflict, "True", "MadeAnew")
        .await;
    world.api.delete("t");
    world
        .until("it is let go", |world| !world.api.exists("t"))
        .await;
    assert_eq!(world.kafka.topic("t").unwrap().id, id);
    assert_eq!(world.api.reasons("t"), ["Created", "Conflict", "TopicKept"]);
}

#[tokio::test(start_paused = true)]
async fn a_topic_deleted_by_hand_is_made_again_or_only_reported() {
    let world = World::new();
    world.api.apply("correct", json!({}));
    world
        .api
        .apply("report", json!({ "driftPolicy": "Report" }));
    world
        .until("both are there", |world| world.api.count(Kind::Ready) == 2)
        .await;
    let first = world.kafka.topic("correct").unwrap().id;
    world.kafka.remove("correct");
    world.kafka.remove("report");
    world
        .until_says("report", Kind::Ready, "False", "Missing")
        .await;
    world
        .until("it is made again", |world| {
            let topic = world.kafka.topic("correct");
            topic.is_some_and(|topic| topic.id != first)
        })
        .await;
    world
        .until_says("correct", Kind::Ready, "True", "Ready")
        .await;
    assert_eq!(world.kafka.topic("report"), None);
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_creation_and_status_leaves_nothing_in_doubt() {
    let mut world = World::new();
    world.api.apply("t", json!({ "adopt": "Never" }));
    world
        .until_says("t", Kind::Ready, "False", "Creating")
        .await;
    world.stop();
    if world.kafka.topic("t").is_none() {
        world.kafka.put("t", |_| {});
    }
    world.restart();
    world.until_says("t", Kind::Ready, "True", "Ready").await;
}

#[tokio::test(start_paused = true)]
async fn the_older_of_two_resources_has_the_topic_and_the_other_follows_when_it_goes() {
    let world = World::new();
    world.api.apply(
        "older",
        json!({ "topicName": "t", "deletionPolicy": "Retain" }),
    );
    world.api.apply("younger", json!({ "topicName": "t" }));
    world
        .until_says("older", Kind::Ready, "True", "Ready")
        .await;
    world
        .until_says("younger", Kind::Conflict, "True", "OlderResource")
        .await;
    world.api.delete("older");
    world
        .until_says("younger", Kind::Ready, "True", "Ready")
        .await;
    world
        .until_says("younger", Kind::Conflict, "False", "NoLonger")
        .await;
    assert_eq!(world.api.reasons("younger"), ["Conflict", "Adopted"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_in_the_status_and_the_next_spec_is_tried_at_once() {
    let world = World::new();
    let refusal = Refusal::No("t: too many replicas".into());
    world.kafka.lock().refusals.insert("t".into(), refusal);
    world.api.apply("t", json!({ "replicationFactor": 9 }));
    world.until_says("t", Kind::Ready, "False", "Refused").await;
    assert_eq!(world.api.reasons("t"), ["Refused"]);
    world.pass(Duration::from_secs(20)).await;
    assert_eq!(world.kafka.calls("create"), 1);
    world.kafka.lock().refusals.clear();
    world.api.apply("t", json!({ "replicationFactor": 1 }));
    world.until_says("t", Kind::Ready, "True", "Ready").await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_is_over_heals_by_itself() {
    let world = World::new();
    let refusal = Refusal::No("t: too few brokers".into());
    world.kafka.lock().refusals.insert("t".into(), refusal);
    world.api.apply("t", json!({}));
    world.until_says("t", Kind::Ready, "False", "Refused").await;
    world.kafka.lock().refusals.clear();
    world.until_says("t", Kind::Ready, "True", "Ready").await;
}

#[tokio::test(start_paused = true)]
async fn another_number_of_replicas_is_awaited_with_its_progress() {
    let world = World::new();
    world.api.apply("t", json!({ "replicationFactor": 1 }));
    world.until_says("t", Kind::Synced, "True", "InSync").await;
    world.api.apply("t", json!({ "replicationFactor": 3 }));
    world
        .until_says("t", Kind::Reassigning, "True", "Copying")
        .await;
    world.until_says("t", Kind::Synced, "True", "InSync").await;
    let left = world.api.topic("t").status.unwrap().reassignment.unwrap();
    assert_eq!(left.bytes_left, 2_000_000);
    world.kafka.lock().moves.clear();
    world
        .until_says("t", Kind::Reassigning, "False", "NoLonger")
        .await;
    assert_eq!(world.api.topic("t").status.unwrap().reassignment, None);
    assert_eq!(world.kafka.calls("replicate"), 1);
    let looks = world.kafka.calls("moves");
    world.pass(Duration::from_secs(60)).await;
    assert_eq!(world.kafka.calls("moves"), looks, "nobody asks any more");
}

#[tokio::test(start_paused = true)]
async fn settings_partitions_and_foreign_settings_follow_the_spec() {
    let world = World::new();
    world.api.apply(
        "t",
        json!({ "config": { "retentionMs": 5 }, "unmanagedConfig": ["segment.ms"] }),
    );
    world.until_says("t", Kind::Synced, "True", "InSync").await;
    world.kafka.put("t", |topic| {
        topic.configs.insert("segment.ms".into(), "9".into());
        topic.configs.insert("flush.ms".into(), "9".into());
    });
    world.api.apply(
        "t",
        json!({
            "partitions": 4, "config": { "retentionMs": 6 }, "unmanagedConfig": ["segment.ms"],
        }),
    );
    world
        .until("all is as wanted", |world| {
            let topic = world.kafka.topic("t").unwrap();
            let configs: Vec<_> = topic
                .configs
                .iter()
                .map(|(k, v)| format!("{k}={v}"))
                .collect();
            topic.partitions == 4 && configs == ["retention.ms=6", "segment.ms=9"]
        })
        .await;
    world.api.apply("t", json!({ "partitions": 2 }));
    world
        .until_says("t", Kind::Synced, "False", "PartitionsCannotShrink")
        .await;
    assert_eq!(world.kafka.topic("t").unwrap().partitions, 4);
}

#[tokio::test(start_paused = true)]
async fn misplaced_replicas_are_told_of_where_there_are_rules_and_asked_for_nowhere_else() {
    let world = World::new();
    world.api.apply("plain", json!({}));
    world
        .until_says("plain", Kind::Ready, "True", "Ready")
        .await;
    world.pass(Duration::from_secs(120)).await;
    assert_eq!(world.kafka.calls("misplaced"), 0);
    world
        .api
        .apply("placed", json!({ "placement": { "racks": ["a"] } }));
    world
        .until_says("placed", Kind::PlacementSatisfied, "True", "Satisfied")
        .await;
    world.kafka.lock().misplaced.push(Misplaced {
        topic: "placed".into(),
        partition: 0,
        breaches: vec!["brokers outside: 2".into()],
    });
    world
        .until_says("placed", Kind::PlacementSatisfied, "False", "Misplaced")
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_cluster_is_left_alone() {
    let world = World::new();
    world.api.apply("t", json!({}));
    world.until_says("t", Kind::Ready, "True", "Ready").await;
    world.set_cluster(Some(cluster(json!({ "paused": true }))));
    world.api.apply("t", json!({ "partitions": 2 }));
    world
        .until_says("t", Kind::Synced, "Unknown", "ClusterPaused")
        .await;
    assert_eq!(world.kafka.topic("t").unwrap().partitions, 1);
    world.set_cluster(Some(cluster(json!({}))));
    world.until_says("t", Kind::Synced, "True", "InSync").await;
    assert_eq!(world.kafka.topic("t").unwrap().partitions, 2);
}

#[tokio::test(start_paused = true)]
async fn withdrawn_access_keeps_the_topic_even_when_the_resource_is_deleted() {
    let world = World::new();
    world.api.apply("t", json!({}));
    world.until_says("t", Kind::Ready, "True", "Ready").await;
    world.set_cluster(Some(cluster(json!({ "topicAccess": [] }))));
    world
        .until_says("t", Kind::NotPermitted, "True", "TopicAccess")
        .await;
    world.api.delete("t");
    world
        .until("it is let go", |world| !world.api.exists("t"))
        .await;
    assert!(world.kafka.topic("t").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_resource_is_let_go_when_its_cluster_is_gone() {
    let world = World::new();
    world.api.apply("t", json!({}));
    world.until_says("t", Kind::Ready, "True", "Ready").await;
    world.set_cluster(None);
    world.api.delete("t");
    world
        .until("it is let go", |world| !world.api.exists("t"))
        .await;
    assert!(world.kafka.topic("t").is_some());
    assert_eq!(world.kafka.calls("delete"), 0);
}
