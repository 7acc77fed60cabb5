//! How fast replicas are added.

use serde_json::json;

use super::world::{World, cluster};
use crate::cluster::throttle::FOLLOWERS;
use crate::topic::brokers::Refusal;
use crate::topic::status::Kind;

#[tokio::test(start_paused = true)]
async fn replicas_are_added_at_the_pace_that_the_cluster_bounds() {
    for (drain, expected) in [
        (json!({}), Some("0:1,0:2")),
        (json!({ "drain": { "maxBytesPerSecond": "0" } }), None),
    ] {
        let world = World::new();
        world.set_cluster(Some(cluster(drain)));
        world.api.apply("t", json!({ "replicationFactor": 1 }));
        world.until_says("t", Kind::Synced, "True", "InSync").await;
        world.api.apply("t", json!({ "replicationFactor": 3 }));
        world
            .until_says("t", Kind::Reassigning, "True", "Copying")
            .await;
        let topic = world.kafka.topic("t").unwrap();
        let throttled = topic.configs.get(FOLLOWERS).map(String::as_str);
        assert_eq!(throttled, expected);
        let calls = world.kafka.lock().calls.clone();
        let at = |name: &str| calls.iter().position(|call| call == name);
        let bound = at("bound 52428800");
        assert_eq!(bound.is_some(), expected.is_some(), "{calls:?}");
        assert!(bound < at("replicate"), "{calls:?}");
        world.until_says("t", Kind::Synced, "True", "InSync").await;
    }
}

#[tokio::test(start_paused = true)]
async fn copies_of_many_topics_are_bounded_at_once_and_what_is_refused_stays_unbounded() {
    let world = World::new();
    world.set_cluster(Some(cluster(json!({}))));
    let names = ["a", "b", "c"];
    for name in names {
        world.api.apply(name, json!({ "replicationFactor": 1 }));
    }
    world
        .until("all are ready", |world| world.api.count(Kind::Ready) == 3)
        .await;
    let refusal = Refusal::No("b: too few brokers".into());
    world.kafka.lock().refusals.insert("b".into(), refusal);
    for name in names {
        world.api.apply(name, json!({ "replicationFactor": 3 }));
    }
    world
        .until("all are tried", |world| world.kafka.calls("replicate") == 3)
        .await;
    let bounded = |name: &str| {
        let topic = world.kafka.topic(name).unwrap();
        topic.configs.contains_key(FOLLOWERS)
    };
    assert_eq!(names.map(bounded), [true, false, true]);
    assert_eq!(world.kafka.calls("bound 52428800"), 1);
}
