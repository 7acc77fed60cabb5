//! A Topic's spec, checked once: what the topic is to be, under Kafka's own names.

use std::collections::{BTreeMap, BTreeSet};

use crate::crd::Topic;
use crate::crd::topic::{
    CleanupPolicy, CompressionType, MessageTimestampType, TopicConfig, TopicPlacement, TopicSpec,
};

use super::settings;

/// Kafka's bound on the length of a name, which is part of a folder's name.
const NAME_MAX: usize = 249;
/// Kafka's own topics.
const INTERNAL: [&str; 4] = [
    "__consumer_offsets",
    "__transaction_state",
    "__share_group_state",
    "__cluster_metadata",
];
/// Settings that `spec.placement` makes.
const PLACEMENT: [&str; 3] = [
    "placement.pools",
    "placement.racks",
    "placement.leader.rack",
];
/// Problems told at once; the others are counted.
const PROBLEMS_MAX: usize = 5;

/// What a topic is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The name in Kafka.
    pub name: String,
    /// Partitions, at least 1.
    pub partitions: i32,
    /// The cluster's default where `None`.
    pub replication_factor: Option<i32>,
    /// Its own settings.
    pub configs: BTreeMap<String, String>,
    /// Settings that are left as they are found.
    pub unmanaged: BTreeSet<String>,
}

/// The name in Kafka, right or wrong.
pub fn name(topic: &Topic) -> &str {
    let own = topic.metadata.name.as_deref().unwrap_or_default();
    topic.spec.topic_name.as_deref().unwrap_or(own)
}

/// Whether the name is one of Kafka's own topics.
pub fn is_internal(name: &str) -> bool {
    INTERNAL.contains(&name)
}

impl Wanted {
    /// What the spec asks for; or everything that is wrong with it, in one sentence.
    pub fn of(topic: &Topic) -> Result<Self, String> {
        let spec = &topic.spec;
        let name = name(topic);
        let mut problems = Vec::new();
        if let Err(problem) = check_name(name) {
            problems.push(format!("topicName: {problem}"));
        }
        if spec.partitions < 1 {
            problems.push("partitions: at least 1 is needed".to_owned());
        }
        if spec
            .replication_factor
            .is_some_and(|factor| !(1..=i32::from(i16::MAX)).contains(&factor))
        {
            problems.push("replicationFactor: at least 1 is needed".to_owned());
        }
        let configs = configs(spec, &mut problems);
        let unmanaged: BTreeSet<String> = spec.unmanaged_config.iter().cloned().collect();
        for name in unmanaged.iter().filter(|name| configs.contains_key(*name)) {
            problems.push(format!(
                "unmanagedConfig: {name} is set here too; leave it out of one of both"
            ));
        }
        match problems.is_empty() {
            true => Ok(Self {
                name: name.to_owned(),
                partitions: spec.partitions,
                replication_factor: spec.replication_factor,
                configs,
                unmanaged,
            }),
            false => Err(sentence(&problems)),
        }
    }

    /// Whether a setting that the topic has, and the spec does not name, stays as it is.
    pub fn leaves(&self, name: &str) -> bool {
        self.unmanaged.contains(name) || settings::is_of_tools(name)
    }
}

fn sentence(problems: &[String]) -> String {
    let told = problems[..problems.len().min(PROBLEMS_MAX)].join("; ");
    match problems.len().saturating_sub(PROBLEMS_MAX) {
        0 => told,
        more => format!("{told}; and {more} more"),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(format!("a name has 1 to {NAME_MAX} characters"));
    }
    if name == "." || name == ".." {
        return Err(format!("{name:?} is no name"));
    }
    match name.chars().find(|c| !legal(*c)) {
        Some(c) => Err(format!(
            "{name:?} contains {c:?}; letters, digits, '.', '_' and '-' are allowed"
        )),
        None => Ok(()),
    }
}

/// The three sources of settings, as one map; a setting that two of them name is a problem.
fn configs(spec: &TopicSpec, problems: &mut Vec<String>) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = typed(&spec.config)
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    if let Some(placement) = &spec.placement {
        all.extend(placed(placement));
    }
    for (name, value) in &spec.extra_config {
        if PLACEMENT.contains(&name.as_str()) {
            problems.push(format!("extraConfig: {name} is set by spec.placement"));
        } else if all.contains_key(name) {
            problems.push(format!("extraConfig: {name} is set by spec.config too"));
        } else if let Some(text) = value.text() {
            all.insert(name.clone(), text);
        } else {
            problems.push(format!(
                "extraConfig: {name} must be a string, an integer or a boolean"
            ));
        }
    }
    for (name, value) in &all {
        if let Err(problem) = settings::check(name, value) {
            problems.push(problem);
        }
    }
    all
}

fn typed(config: &TopicConfig) -> impl Iterator<Item = (&'static str, String)> + use<> {
    let number = |name, value: Option<i64>| value.map(|value| (name, value.to_string()));
    let small = |name, value: Option<i32>| value.map(|value| (name, value.to_string()));
    let word = |name, value: Option<&str>| value.map(|value| (name, value.to_owned()));
    [
        number("retention.ms", config.retention_ms),
        number("retention.bytes", config.retention_bytes),
        word("cleanup.policy", config.cleanup_policy.map(cleanup_policy)),
        small("min.insync.replicas", config.min_in_sync_replicas),
        word(
            "compression.type",
            config.compression_type.map(compression_type),
        ),
        small("max.message.bytes", config.max_message_bytes),
        small("segment.bytes", config.segment_bytes),
        number("segment.ms", config.segment_ms),
        number("delete.retention.ms", config.delete_retention_ms),
        word(
            "message.timestamp.type",
            config.message_timestamp_type.map(timestamp_type),
        ),
    ]
    .into_iter()
    .flatten()
}

fn cleanup_policy(policy: CleanupPolicy) -> &'static str {
    match policy {
        CleanupPolicy::Delete => "delete",
        CleanupPolicy::Compact => "compact",
        CleanupPolicy::CompactDelete => "compact,delete",
    }
}

fn compression_type(compression: CompressionType) -> &'static str {
    match compression {
        CompressionType::Producer => "producer",
        CompressionType::Uncompressed => "uncompressed",
        CompressionType::Gzip => "gzip",
        CompressionType::Snappy => "snappy",
        CompressionType::Lz4 => "lz4",
        CompressionType::Zstd => "zstd",
    }
}

fn timestamp_type(kind: MessageTimestampType) -> &'static str {
    match kind {
        MessageTimestampType::CreateTime => "CreateTime",
        MessageTimestampType::LogAppendTime => "LogAppendTime",
    }
}

/// What says nothing is not set: the topic then has the brokers' value.
fn placed(placement: &TopicPlacement) -> impl Iterator<Item = (String, String)> + use<> {
    let rack = placement.leader_rack.clone().unwrap_or_default();
    let values = [placement.pools.join(","), placement.racks.join(","), rack];
    let named = PLACEMENT.into_iter().map(str::to_owned).zip(values);
    named.filter(|(_, value)| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn topic(spec: serde_json::Value) -> Topic {
        let mut spec = spec;
        spec["clusterRef"] = json!({ "name": "main" });
        if spec.get("partitions").is_none() {
            spec["partitions"] = json!(1);
        }
        Topic::new("orders", serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn the_resources_name_is_the_topics_where_none_is_given() {
        let wanted = Wanted::of(&topic(json!({}))).unwrap();
        assert_eq!(wanted.name, "orders");
        let wanted = Wanted::of(&topic(json!({ "topicName": "Orders_1" }))).unwrap();
        assert_eq!(wanted.name, "Orders_1");
    }

    #[test]
    fn typed_settings_placement_and_further_ones_become_kafkas() {
        let wanted = Wanted::of(&topic(json!({
            "config": { "retentionMs": 5, "cleanupPolicy": "CompactDelete", "minInSyncReplicas": 2 },
            "extraConfig": { "preallocate": false, "flush.ms": 100, "min.cleanable.dirty.ratio": "0.3" },
            "placement": { "pools": ["fast", "big"], "leaderRack": "a" },
            "unmanagedConfig": ["segment.ms"],
        })));
        let wanted = wanted.unwrap();
        let configs: Vec<(&str, &str)> = wanted
            .configs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            configs,
            [
                ("cleanup.policy", "compact,delete"),
                ("flush.ms", "100"),
                ("min.cleanable.dirty.ratio", "0.3"),
                ("min.insync.replicas", "2"),
                ("placement.leader.rack", "a"),
                ("placement.pools", "fast,big"),
                ("preallocate", "false"),
                ("retention.ms", "5"),
            ]
        );
        assert!(wanted.leaves("segment.ms") && !wanted.leaves("flush.messages"));
        assert!(wanted.leaves("follower.replication.throttled.replicas"));
    }

    #[test]
    fn what_is_wrong_with_a_spec_is_told_all_at_once_and_by_name() {
        let wrong = Wanted::of(&topic(json!({
            "topicName": "or/ders", "partitions": 0, "replicationFactor": 0,
            "config": { "retentionMs": -7 },
        })));
        let wrong = wrong.unwrap_err();
        for word in [
            "topicName",
            "'/'",
            "partitions",
            "replicationFactor",
            "retention.ms",
        ] {
            assert!(wrong.contains(word), "{word} in {wrong}");
        }
        let many =
            json!({ "extraConfig": { "a": 1, "b": 1, "c": 1, "d": 1, "e": 1, "f": 1, "g": 1 } });
        let wrong = Wanted::of(&topic(many)).unwrap_err();
        assert!(wrong.ends_with("and 2 more"), "{wrong}");
    }

    #[test]
    fn a_setting_named_twice_is_refused() {
        let twice = json!({ "config": { "retentionMs": 5 }, "extraConfig": { "retention.ms": 6 } });
        let wrong = Wanted::of(&topic(twice)).unwrap_err();
        assert_eq!(wrong, "extraConfig: retention.ms is set by spec.config too");
        let owned = json!({ "extraConfig": { "placement.racks": "a" } });
        let wrong = Wanted::of(&topic(owned)).unwrap_err();
        assert!(wrong.contains("spec.placement"), "{wrong}");
        let left = json!({ "config": { "retentionMs": 5 }, "unmanagedConfig": ["retention.ms"] });
        let wrong = Wanted::of(&topic(left)).unwrap_err();
        assert!(
            wrong.starts_with("unmanagedConfig: retention.ms"),
            "{wrong}"
        );
    }

    #[test]
    fn a_value_that_is_no_word_number_or_boolean_is_refused_by_name() {
        let list = json!({ "extraConfig": { "segment.bytes": [1] } });
        let wrong = Wanted::of(&topic(list)).unwrap_err();
        assert!(
            wrong.starts_with("extraConfig: segment.bytes must be"),
            "{wrong}"
        );
    }

    #[test]
    fn kafkas_rules_for_names_hold() {
        for bad in ["", ".", "..", "a b", "ä", &"x".repeat(250)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        for good in ["a", "A.b_c-9", "...", &"x".repeat(249)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        assert!(is_internal("__consumer_offsets") && !is_internal("__mine"));
    }
}
