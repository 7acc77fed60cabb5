//! Changes of objects that are there: which are refused, and that taking a field away first is no way round.

use serde_json::{Value, json};

use super::cases::{pools, volume};

/// A change of an object that is there.
pub struct Change {
    /// The object's name.
    pub name: &'static str,
    /// What differs in `spec`, before, from a manifest that is taken.
    pub before: Value,
    /// Changes of that, one after the other, each with the words of the refusal; none where it is taken.
    pub then: Vec<(Value, Option<&'static str>)>,
}

/// Changes of clusters.
pub fn clusters() -> Vec<Change> {
    let mut changes = brokers_ids();
    changes.extend(volumes());
    changes.push(levels());
    changes
}

/// A pool's first broker id is said once, and its name doesn't move it.
fn brokers_ids() -> Vec<Change> {
    let ids = |first: Value| pools(json!({ "firstBrokerId": first }));
    const IDS: Option<&str> = Some("firstBrokerId can't be changed");
    let named = |name: &str, first: i32| pools(json!({ "name": name, "firstBrokerId": first }));
    const TAKEN: Option<&str> = Some("can't have the firstBrokerId of one that is there");
    vec![
        Change {
            name: "ids",
            before: ids(json!(1000)),
            then: vec![
                (ids(json!(2000)), IDS),
                (pools(json!({})), IDS),
                (ids(json!(0)), IDS),
            ],
        },
        Change {
            name: "ids-unset",
            before: pools(json!({})),
            then: vec![(ids(json!(1000)), IDS), (ids(json!(0)), None)],
        },
        Change {
            name: "renamed",
            before: named("old", 0),
            then: vec![
                (named("new", 0), TAKEN),
                (named("new", 1000), None),
                (named("old", 1000), TAKEN),
                (named("old", 0), None),
            ],
        },
    ]
}

/// A volume grows, and its class stays.
fn volumes() -> Vec<Change> {
    const CLASS: Option<&str> = Some("className can't be changed, set or removed");
    const SHRINKS: Option<&str> = Some("a volume can't shrink");
    vec![
        Change {
            name: "class",
            before: volume(json!({ "className": "fast" })),
            then: vec![
                (volume(json!({ "className": "slow" })), CLASS),
                (volume(json!({})), CLASS),
                (volume(json!({ "className": "slow" })), CLASS),
                (volume(json!({ "className": "fast" })), None),
            ],
        },
        Change {
            name: "class-unset",
            before: volume(json!({})),
            then: vec![(volume(json!({ "className": "fast" })), CLASS)],
        },
        Change {
            name: "size",
            before: volume(json!({})),
            then: vec![
                (volume(json!({ "size": "1Gi" })), SHRINKS),
                (volume(json!({ "size": null })), Some("size")),
                (volume(json!({ "size": "2047Mi" })), SHRINKS),
                (volume(json!({ "size": "2048Mi" })), None),
                (volume(json!({ "size": "3Gi" })), None),
                (volume(json!({ "size": "2Gi" })), SHRINKS),
            ],
        },
    ]
}

/// metadataVersion only goes up.
fn levels() -> Change {
    let level = |level: Value| json!({ "metadataVersion": level });
    const DOWN: Option<&str> = Some("metadataVersion can't go down");
    const GONE: Option<&str> = Some("metadataVersion can't be removed");
    Change {
        name: "level",
        before: level(json!("2")),
        then: vec![
            (level(json!("1")), DOWN),
            (json!({}), GONE),
            (level(json!("1")), DOWN),
            (level(json!("10")), None),
            (level(json!("9")), DOWN),
            (level(json!("Auto")), None),
            (json!({}), GONE),
        ],
    }
}

/// Changes of topics.
pub fn topics() -> Vec<Change> {
    let name = |name: &str| json!({ "topicName": name });
    let at = |namespace: Value| json!({ "clusterRef": { "name": "main", "namespace": namespace } });
    const NAME: Option<&str> = Some("topicName can't be changed, set or removed");
    const CLUSTER: Option<&str> = Some("clusterRef can't be changed");
    vec![
        Change {
            name: "named",
            before: name("orders"),
            then: vec![
                (name("other"), NAME),
                (json!({}), NAME),
                (name("other"), NAME),
                (name("orders"), None),
            ],
        },
        Change {
            name: "unnamed",
            before: json!({}),
            then: vec![(name("unnamed"), NAME)],
        },
        Change {
            name: "referring",
            before: at(json!("kafka")),
            then: vec![
                (at(json!("other")), CLUSTER),
                (at(Value::Null), CLUSTER),
                (at(json!("other")), CLUSTER),
                (
                    json!({ "clusterRef": { "name": "other", "namespace": "kafka" } }),
                    CLUSTER,
                ),
            ],
        },
        Change {
            name: "here",
            before: json!({}),
            then: vec![(at(json!("kafka")), CLUSTER)],
        },
        Change {
            name: "partitions",
            before: json!({ "partitions": 6 }),
            then: vec![
                (json!({ "partitions": 3 }), Some("partitions may only grow")),
                (json!({ "partitions": null }), Some("partitions")),
                (json!({ "partitions": 5 }), Some("partitions may only grow")),
                (json!({ "partitions": 12 }), None),
                (json!({ "partitions": 6 }), Some("partitions may only grow")),
            ],
        },
    ]
}
