//! The status of a `KafkaCluster`: what is, and what is awaited.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TopicDefaults;
use crate::crd::Conditions;

/// What is, and what is awaited. Nothing stands only here: all of it can be found out again.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KafkaClusterStatus {
    /// The generation of the spec that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The cluster's id, as Kafka's tools show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// The brokers' version that is wanted: the spec's, or what was the operator's at creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The level of the feature `milena.version` that the brokers write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_version: Option<String>,
    /// Brokers that are ready, of those that should be: `3/3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_brokers: Option<String>,
    /// Where clients begin, by listener: `host:port`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub bootstrap: BTreeMap<String, String>,
    /// What topics have where they say nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_defaults: Option<TopicDefaults>,
    /// The ids of the brokers that vote in the metadata quorum.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 16, "x-kubernetes-list-type" = "atomic"))]
    pub voters: Vec<i32>,
    /// Available, Progressing, Degraded, Rebalancing, UnsafeTopics, RestartRequired, VolumeResize.
    #[serde(default)]
    #[schemars(extend(
        "maxItems" = 32,
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["type"]
    ))]
    pub conditions: Conditions,
    /// Each broker that is or should be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend(
        "maxItems" = 2000,
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["id"]
    ))]
    pub brokers: Vec<BrokerStatus>,
    /// The change that goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
}

/// One broker.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerStatus {
    /// Its id.
    pub id: i32,
    /// Its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The node that the pod is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The rack that it is registered with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<String>,
    /// One word, such as Running, Recovering, Fenced, Stopping, Missing, WaitingForNode.
    pub state: String,
    /// How many partitions it leads.
    #[serde(default)]
    pub leaders: i64,
    /// How many replicas it holds.
    #[serde(default)]
    pub replicas: i64,
    /// How many of its replicas are not in sync.
    #[serde(default)]
    pub under_replicated: i64,
    /// Why it may not stop now: at most three sentences and a count of the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 4, "x-kubernetes-list-type" = "atomic"))]
    pub blocked_by: Vec<String>,
    /// What to put into `spec.replace` where its volume is gone for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace_with: Option<String>,
}

/// The change that goes on.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// The version or revision that it began from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The one that it goes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// How many brokers have it.
    pub updated: i32,
    /// Of how many.
    pub total: i32,
    /// What it waits for: `orders-3: broker 2 is 4.1 MiB behind`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
}
