//! `Topic`: a topic of a `KafkaCluster`, its partitions, replicas and settings.

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
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TopicSpec {
    /// Immutable.
    pub cluster_ref: ClusterRef,
    /// The name in Kafka; this resource's name where absent. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_name: Option<String>,
    /// May only grow.
    pub partitions: i32,
    /// The cluster's default where absent. A change moves replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication_factor: Option<i32>,
    #[serde(default)]
    pub config: TopicConfig,
    /// Further settings by Kafka's property names.
    #[serde(default)]
    pub extra_config: ConfigMapping,
    /// Settings that are left as they are found. Any other that neither map names goes back to its default.
    #[serde(default)]
    pub unmanaged_config: Vec<String>,
    /// What to do with a change made elsewhere.
    #[serde(default)]
    pub drift_policy: DriftPolicy,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<TopicPlacement>,
    /// What becomes of the topic when this resource is deleted. A finalizer exists only while this is `Delete`.
    #[serde(default)]
    pub deletion_policy: TopicDeletionPolicy,
    /// What to do where the topic exists already.
    #[serde(default)]
    pub adopt: Adopt,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterRef {
    pub name: String,
    /// This resource's namespace where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// The settings that most topics need, typed; `extraConfig` takes every other.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TopicConfig {
    /// `retention.ms`; -1 keeps records for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_ms: Option<i64>,
    /// `retention.bytes` of each partition; -1 is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_bytes: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleanup_policy: Option<CleanupPolicy>,
    /// `min.insync.replicas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_in_sync_replicas: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression_type: Option<CompressionType>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_message_bytes: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment_bytes: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_retention_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_timestamp_type: Option<MessageTimestampType>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum CleanupPolicy {
    Delete,
    Compact,
    CompactDelete,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum CompressionType {
    Producer,
    Uncompressed,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum MessageTimestampType {
    CreateTime,
    LogAppendTime,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum DriftPolicy {
    #[default]
    Correct,
    Report,
}

/// Where this topic's replicas may stand.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TopicPlacement {
    /// Names of pools; all where empty.
    #[serde(default)]
    pub pools: Vec<String>,
    /// Names of racks; all where empty.
    #[serde(default)]
    pub racks: Vec<String>,
    /// The rack that the preferred leaders stand in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader_rack: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum TopicDeletionPolicy {
    #[default]
    Delete,
    Retain,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Adopt {
    Never,
    #[default]
    IfIdentical,
    Always,
}

/// What is.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicStatus {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_name: Option<String>,
    /// Kafka's id of the topic, as its tools print it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication_factor: Option<i32>,
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Conditions,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reassignment: Option<ReassignmentStatus>,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReassignmentStatus {
    pub bytes_left: i64,
    /// RFC 3339; absent while nothing is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta: Option<String>,
}
