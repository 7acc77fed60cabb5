//! Who may have topics, and how brokers are restarted, drained, replaced, watched and deleted.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::crd::Amount;

/// A rule of who may have Topics in this cluster. Any rule that fits is enough.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicAccess {
    /// Whose Topics the rule is for.
    pub namespaces: Namespaces,
    /// How the topics' names must begin; any name where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        extend("maxItems" = 64, "x-kubernetes-list-type" = "set"),
        inner(length(max = 249), regex(pattern = "^[a-zA-Z0-9._-]+$"))
    )]
    pub topic_prefixes: Vec<String>,
    /// What they may do: `Create` topics, `Adopt` those that exist already, `Delete` theirs. All three where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 3, "x-kubernetes-list-type" = "set"))]
    pub operations: Vec<TopicOperation>,
}

/// Namespaces by name or by label; both may be given, and either is enough.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Namespaces {
    /// By name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        extend("maxItems" = 256, "x-kubernetes-list-type" = "set"),
        inner(length(max = 63))
    )]
    pub names: Vec<String>,
    /// By label; an empty selector is every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// What a Topic may do.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(description = "")]
pub enum TopicOperation {
    /// Make the topic.
    Create,
    /// Take over one that exists.
    Adopt,
    /// Delete it.
    Delete,
}

/// How brokers are restarted.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// How many brokers may be down at once by the operator's doing, as far as no partition suffers.
    #[serde(default = "one")]
    #[schemars(extend("minimum" = 1, "maximum" = 100))]
    pub max_unavailable: i32,
    /// Seconds that a broker must have been ready before the next one stops.
    #[serde(default = "ten")]
    #[schemars(extend("minimum" = 0, "maximum" = 3600))]
    pub soak_seconds: i32,
    /// What to do with partitions that can't stay online without the broker, having too few replicas: `Move` them away
    /// first and back later, `Allow` their pause with a warning, or `Wait` until they have more. `Move` where absent,
    /// with one broker `Allow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreplicated: Option<Unreplicated>,
    /// What a new operator does that would build the pods otherwise: `Approve` leaves them until `restartedAt` changes,
    /// `Auto` restarts them.
    #[serde(default)]
    pub on_operator_upgrade: OnOperatorUpgrade,
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            max_unavailable: one(),
            soak_seconds: ten(),
            unreplicated: None,
            on_operator_upgrade: OnOperatorUpgrade::Approve,
        }
    }
}

fn one() -> i32 {
    1
}

fn ten() -> i32 {
    10
}

/// What to do with partitions that can't stay online without a broker.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(description = "")]
pub enum Unreplicated {
    /// Move them away first and back later.
    Move,
    /// Stop the broker all the same, with a warning.
    Allow,
    /// Wait.
    Wait,
}

/// What a new operator does that would build the pods otherwise.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(description = "")]
pub enum OnOperatorUpgrade {
    /// Leave them until `restartedAt` changes.
    #[default]
    Approve,
    /// Restart them, one after the other.
    Auto,
}

/// What a cordoned node means, and how fast replicas move.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// What happens when a broker's node is cordoned: `Leaders` hands leaderships over so that the eviction goes through
    /// at once, `Replicas` moves the replicas away too, `Nothing` does nothing.
    #[serde(default)]
    pub on_cordon: OnCordon,
    /// Bytes a second that each broker copies of replicas that join by the operator's doing, such as `200Mi`; `0` is no
    /// bound. `50Mi` where absent. Replicas that catch up, as after a restart, are not bounded. A partition into which
    /// more is written does not arrive before the bound is raised, which counts at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes_per_second: Option<Amount>,
}

/// What happens when a broker's node is cordoned.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(description = "")]
pub enum OnCordon {
    /// Hand leaderships over and take the stop lease, so that the eviction goes through at once.
    #[default]
    Leaders,
    /// Move replicas away too.
    Replicas,
    /// Nothing.
    Nothing,
}

/// A broker whose volume is gone for good.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Replace {
    /// The broker's id.
    #[schemars(extend("minimum" = 0, "maximum" = 99_999))]
    pub broker_id: i32,
    /// The uid of the claim that is lost: the line does nothing once that claim is gone and rebuilt.
    #[schemars(extend(
        "minLength" = 36,
        "maxLength" = 36,
        "pattern" = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
    ))]
    pub claim_uid: String,
    /// Go on although records of the partitions named in the status will be lost.
    #[serde(default)]
    pub accept_loss: bool,
}

/// What Prometheus gets.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Monitoring {
    /// Whether there is a PodMonitor for the brokers: `Auto`, where the Prometheus operator's CRD exists, or `Never`.
    #[serde(default)]
    pub pod_monitor: PodMonitorMode,
}

/// Whether there is a PodMonitor.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(description = "")]
pub enum PodMonitorMode {
    /// Where the Prometheus operator's CRD exists.
    #[default]
    Auto,
    /// Nowhere.
    Never,
}

/// What happens to the volumes when the cluster is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(description = "")]
pub enum ClusterDeletionPolicy {
    /// They stay.
    #[default]
    Retain,
    /// They are deleted.
    Delete,
}
