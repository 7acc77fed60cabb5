//! `Topic`: a topic of a `KafkaCluster`, its partitions, replicas and settings.

pub mod rules;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Conditions, ConfigMapping};

/// A topic: created, grown, changed and (with `deletionPolicy: Delete`) deleted as this resource says.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "milena.dev",
    version = "v1alpha1",
    kind = "Topic",
    plural = "topics",
    shortname = "mtopic",
    category = "milena",
    status = "TopicStatus",
    namespaced,
    derive = "Default",
    derive = "PartialEq",
    doc = "A topic of a KafkaCluster: created, grown, changed and (with `deletionPolicy: Delete`) deleted as this resource says.",
    printcolumn = r#"{"name": "Cluster", "type": "string", "jsonPath": ".spec.clusterRef.name", "description": "The KafkaCluster"}"#,
    printcolumn = r#"{"name": "Partitions", "type": "integer", "jsonPath": ".status.partitions", "description": "How many partitions it has"}"#,
    printcolumn = r#"{"name": "Replicas", "type": "integer", "jsonPath": ".status.replicationFactor", "description": "How many replicas each has"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status", "description": "Whether it is as it should be"}"#,
    printcolumn = r#"{"name": "Reason", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].reason", "priority": 1, "description": "Why it is ready or not"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct TopicSpec {
    /// The cluster that the topic is in. Immutable.
    pub cluster_ref: ClusterRef,
    /// The name in Kafka; this resource's name where absent. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minLength" = 1, "maxLength" = 249, "pattern" = "^[a-zA-Z0-9._-]+$"))]
    pub topic_name: Option<String>,
    /// How many partitions. May only grow: records with a key are found by the number of partitions.
    #[schemars(extend("minimum" = 1, "maximum" = 10_000))]
    pub partitions: i32,
    /// How many replicas each partition has; the cluster's default where absent. A change moves replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1, "maximum" = 100))]
    pub replication_factor: Option<i32>,
    /// The settings that most topics need.
    #[serde(default)]
    pub config: TopicConfig,
    /// Further settings by Kafka's property names; values are strings, integers or booleans. A setting that `config` has
    /// a field for belongs there.
    #[serde(default, skip_serializing_if = "ConfigMapping::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub extra_config: ConfigMapping,
    /// Settings, by Kafka's property names, that are left as they are found. Any other that neither `config` nor
    /// `extraConfig` names goes back to its default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        extend("maxItems" = 64, "x-kubernetes-list-type" = "set"),
        inner(length(min = 1, max = 128))
    )]
    pub unmanaged_config: Vec<String>,
    /// What to do with a change made elsewhere: `Correct` undoes it, `Report` says so in the condition Synced.
    #[serde(default)]
    pub drift_policy: DriftPolicy,
    /// Where the replicas may stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<TopicPlacement>,
    /// What becomes of the topic and its records when this resource is deleted: `Delete` or `Retain`. A finalizer exists
    /// only while this is `Delete`.
    #[serde(default)]
    pub deletion_policy: TopicDeletionPolicy,
    /// What to do where the topic exists already: `Never` takes it over, `IfIdentical` does where partitions, replicas
    /// and settings are as they are here, `Always` changes it to this.
    #[serde(default)]
    pub adopt: Adopt,
}

/// The cluster that a topic is in.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterRef {
    /// The KafkaCluster's name.
    #[schemars(extend("minLength" = 1, "maxLength" = 32))]
    pub name: String,
    /// Its namespace; this resource's where absent. Another one has to be let in by the cluster's `topicAccess`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minLength" = 1, "maxLength" = 63))]
    pub namespace: Option<String>,
}

/// The settings that most topics need, typed; `extraConfig` takes every other.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicConfig {
    /// `retention.ms`: how many milliseconds records stay; -1 keeps them for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = -1))]
    pub retention_ms: Option<i64>,
    /// `retention.bytes`: how many bytes of each partition stay; -1 is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = -1))]
    pub retention_bytes: Option<i64>,
    /// `cleanup.policy`: `Delete` drops old segments, `Compact` keeps the last record of each key, `CompactDelete` does
    /// both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleanup_policy: Option<CleanupPolicy>,
    /// `min.insync.replicas`: how many replicas must have a record before acks=all is answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1, "maximum" = 100))]
    pub min_in_sync_replicas: Option<i32>,
    /// `compression.type`: `Producer` keeps batches as they come; others are compressed anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression_type: Option<CompressionType>,
    /// `max.message.bytes`: the largest batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0))]
    pub max_message_bytes: Option<i32>,
    /// `segment.bytes`: a segment is closed when it has so many bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 14))]
    pub segment_bytes: Option<i32>,
    /// `segment.ms`: a segment is closed when it is so many milliseconds old.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1))]
    pub segment_ms: Option<i64>,
    /// `delete.retention.ms`: how many milliseconds the mark of a deleted key stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0))]
    pub delete_retention_ms: Option<i64>,
    /// `message.timestamp.type`: whose clock a record's timestamp is from, the producer's (`CreateTime`) or the
    /// broker's (`LogAppendTime`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_timestamp_type: Option<MessageTimestampType>,
}

/// What happens to old records.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(description = "")]
pub enum CleanupPolicy {
    /// Old segments are dropped.
    Delete,
    /// The last record of each key stays.
    Compact,
    /// Both.
    CompactDelete,
}

/// How batches are kept.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(description = "")]
#[allow(missing_docs)] // Kafka's own words.
pub enum CompressionType {
    Producer,
    Uncompressed,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// Whose clock a record's timestamp is from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(description = "")]
pub enum MessageTimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's.
    LogAppendTime,
}

/// What to do with a change made elsewhere.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(description = "")]
pub enum DriftPolicy {
    /// Undo it.
    #[default]
    Correct,
    /// Say so.
    Report,
}

/// Where a topic's replicas may stand.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicPlacement {
    /// Names of pools; all where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        extend("maxItems" = 10, "x-kubernetes-list-type" = "set"),
        inner(length(min = 1, max = 19))
    )]
    pub pools: Vec<String>,
    /// Names of racks; all where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        extend("maxItems" = 32, "x-kubernetes-list-type" = "set"),
        inner(length(min = 1, max = 63))
    )]
    pub racks: Vec<String>,
    /// The rack that the preferred leaders stand in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minLength" = 1, "maxLength" = 63))]
    pub leader_rack: Option<String>,
}

/// What becomes of the topic when its resource is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(description = "")]
pub enum TopicDeletionPolicy {
    /// It is deleted.
    #[default]
    Delete,
    /// It stays, with its records.
    Retain,
}

/// What to do where the topic exists already.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(description = "")]
pub enum Adopt {
    /// Leave it, and say so.
    Never,
    /// Take it over where it is as it should be.
    #[default]
    IfIdentical,
    /// Take it over, and change it.
    Always,
}

/// What is, and what is awaited.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicStatus {
    /// The generation of the spec that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The name in Kafka.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_name: Option<String>,
    /// Kafka's id of the topic, as its tools print it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    /// How many partitions it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    /// How many replicas each partition has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication_factor: Option<i32>,
    /// Ready, Synced, Reassigning, Conflict, NotPermitted, PlacementSatisfied, Deleting.
    #[serde(default)]
    #[schemars(extend(
        "maxItems" = 32,
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["type"]
    ))]
    pub conditions: Conditions,
    /// The replicas that move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reassignment: Option<ReassignmentStatus>,
}

/// The replicas of a topic that move.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReassignmentStatus {
    /// How many bytes are still to be copied.
    pub bytes_left: i64,
    /// When it should be done (RFC 3339); absent while nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta: Option<String>,
}
