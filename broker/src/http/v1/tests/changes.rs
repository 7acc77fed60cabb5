//! Following the metadata.

use std::time::{Duration, Instant};

use milena_metadata::{
    ConfigChange, ConfigOperation, ConfigResource, DeleteTopics, IncrementalAlterConfigs,
    ResourceKind, TopicReference,
};

use super::*;

async fn configure(broker: &Broker, topic: &str, value: &str) {
    let resource = ConfigResource {
        kind: ResourceKind::Topic,
        name: topic.into(),
    };
    let change = ConfigChange {
        key: "retention.ms".to_owned(),
        operation: ConfigOperation::Set,
        value: Some(value.to_owned()),
    };
    let command = IncrementalAlterConfigs {
        resources: vec![(resource, vec![change])],
        validate_only: false,
    };
    broker.change(command).await.unwrap().remove(0).unwrap();
}

async fn delete(broker: &Broker, topic: &str) {
    let topics = vec![TopicReference::Name(topic.to_owned())];
    let deleted = broker.change(DeleteTopics { topics }).await.unwrap();
    deleted.into_iter().for_each(|one| drop(one.unwrap()));
}

async fn after(served: &Served, since: &Value, wait_ms: u64) -> Value {
    let ask = format!("GET /v1/metadata/changes?since={since}&wait_ms={wait_ms}");
    let (status, changes) = served.ask(&ask, "").await;
    assert_eq!(status, 200, "{changes}");
    changes
}

fn names(topics: &Value) -> Vec<&str> {
    let topics = topics.as_array().unwrap().iter();
    topics
        .map(|topic| topic["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn who_follows_gets_all_topics_first_and_then_what_changes() {
    let served = Served::new().await;
    create_with(&served.broker, "a", 3).await;
    create_with(&served.broker, "b", 1).await;
    configure(&served.broker, "b", "1000").await;
    let (status, all) = served.ask("GET /v1/metadata/changes", "").await;
    assert_eq!((status, &all["snapshot"]), (200, &json!(true)));
    assert_eq!(names(&all["topics"]), ["a", "b"]);
    let id = served.broker.image().topic("b").unwrap().id.to_string();
    let b = json!({
        "name": "b", "id": id, "partitions": 1, "replication_factor": 1, "internal": false,
        "configs": { "retention.ms": "1000" }
    });
    assert_eq!((&all["topics"][1], &all["deleted"]), (&b, &json!([])));

    let none = after(&served, &all["offset"], 0).await;
    assert_eq!(
        none,
        json!({ "offset": all["offset"], "snapshot": false, "topics": [], "deleted": [] })
    );
    configure(&served.broker, "a", "5").await;
    delete(&served.broker, "b").await;
    let changes = after(&served, &all["offset"], 0).await;
    assert_eq!(changes["snapshot"], false);
    assert_eq!(changes["topics"][0]["configs"]["retention.ms"], "5");
    assert_eq!(names(&changes["topics"]), ["a"]);
    assert_eq!(changes["deleted"], json!([{ "name": "b", "id": id }]));
}

#[tokio::test]
async fn a_poll_that_waits_is_answered_with_the_change() {
    let served = Served::new().await;
    let (_, all) = served.ask("GET /v1/metadata/changes", "").await;
    let begun = Instant::now();
    let (changes, ()) = tokio::join!(after(&served, &all["offset"], 30_000), async {
        create_with(&served.broker, "late", 1).await;
    });
    assert_eq!(names(&changes["topics"]), ["late"]);
    assert!(begun.elapsed() < Duration::from_secs(20), "it was woken");
    let begun = Instant::now();
    let none = after(&served, &changes["offset"], 200).await;
    assert_eq!(
        (&none["topics"], &none["offset"]),
        (&json!([]), &changes["offset"])
    );
    assert!(begun.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn an_offset_that_is_not_known_is_answered_with_all_topics() {
    let served = Served::new().await;
    create_with(&served.broker, "a", 1).await;
    for since in [0, 1_000_000] {
        let all = after(&served, &json!(since), 10).await;
        assert_eq!(
            (&all["snapshot"], names(&all["topics"])),
            (&json!(true), vec!["a"]),
            "since {since}"
        );
    }
    for (query, word) in [
        ("since=x", "since"),
        ("since=-1", "since"),
        ("wait_ms=30001", "30000"),
        ("until=1", "until"),
    ] {
        let ask = format!("GET /v1/metadata/changes?{query}");
        let (status, answer) = served.ask(&ask, "").await;
        let error = answer["error"].as_str().unwrap();
        assert!(status == 400 && error.contains(word), "{query}: {error}");
    }
}

#[tokio::test]
async fn so_many_may_wait_and_no_more_and_a_stop_ends_their_wait() {
    let served = Arc::new(Served::new().await);
    let (_, all) = served.ask("GET /v1/metadata/changes", "").await;
    let mut polls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let served = served.clone();
        let since = &all["offset"];
        let ask = format!("GET /v1/metadata/changes?since={since}&wait_ms=30000");
        polls.spawn(async move { served.ask(&ask, "").await });
    }
    for _ in 0..4 {
        let (status, answer) = polls.join_next().await.unwrap().unwrap();
        assert_eq!(status, 429, "{answer}");
    }
    served.broker.waits_ended().cancel();
    for (status, answer) in polls.join_all().await {
        assert_eq!((status, &answer["topics"]), (200, &json!([])));
    }
}
