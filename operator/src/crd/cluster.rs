//! `KafkaCluster`: brokers, their volumes, their listeners, and how they may be changed.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `cluster/pool.rs` | a pool of brokers, its volume, what may be chosen of its pods |
//! | `cluster/listener.rs` | where clients connect |
//! | `cluster/policy.rs` | topics' access, restarts, drains, replacements |
//! | `cluster/status.rs` | what is |
//! | `cluster/rules.rs` | what is refused at once, and how it is said |

mod listener;
mod policy;
mod pool;
pub mod rules;
mod status;

pub use listener::{Listener, ListenerBootstrap, ListenerBroker, ListenerType, TrafficPolicy};
pub use policy::{
    ClusterDeletionPolicy, Drain, Monitoring, Namespaces, OnCordon, OnOperatorUpgrade,
    PodMonitorMode, Replace, Rollout, TopicAccess, TopicOperation, Unreplicated,
};
pub use pool::{
    EnvVar, EnvVarSource, ExtraMount, ExtraVolume, OnScaleDown, PodTemplate, Pool, PoolVolume,
    Resources, SecurityContext,
};
pub use status::{BrokerStatus, KafkaClusterStatus, RolloutStatus};

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ConfigMapping;

/// A Kafka cluster: pools of brokers, each broker with a volume, behind one set of listeners.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "milena.dev",
    version = "v1alpha1",
    kind = "KafkaCluster",
    plural = "kafkaclusters",
    shortname = "mkc",
    category = "milena",
    status = "KafkaClusterStatus",
    namespaced,
    derive = "Default",
    derive = "PartialEq",
    doc = "A Kafka cluster: pools of brokers, each broker with a volume, behind one set of listeners. The operator brings what is closer to `spec` and says in `status` what it waits for.",
    printcolumn = r#"{"name": "Version", "type": "string", "jsonPath": ".status.version", "description": "The brokers' version"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.readyBrokers", "description": "Brokers that are ready, of those that should be"}"#,
    printcolumn = r#"{"name": "Available", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Available\")].status", "description": "Whether clients can produce and consume"}"#,
    printcolumn = r#"{"name": "Waiting for", "type": "string", "jsonPath": ".status.rollout.waitingFor", "description": "What the change that goes on waits for"}"#,
    printcolumn = r#"{"name": "Bootstrap", "type": "string", "jsonPath": ".status.bootstrap.internal", "priority": 1, "description": "Where clients inside connect"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct KafkaClusterSpec {
    /// The brokers' version, for example `0.1.0`. Where it is absent at creation, the operator's own, which then stays in
    /// the status: an operator's upgrade never changes it. Change it to upgrade the brokers, one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 64, "pattern" = r"^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$"))]
    pub version: Option<String>,
    /// What the brokers may write: a level of the feature `milena.version`, such as `"1"`, or `Auto`, which raises it
    /// once every broker has run the new version for an hour. It can't go down, and a version that does not know the
    /// level can't be gone back to. Where it is absent it stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 4, "pattern" = "^(Auto|[1-9][0-9]{0,3})$"))]
    pub metadata_version: Option<String>,
    /// Where the brokers' image comes from; the image that belongs to the operator, with `version` as its tag, where
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// The metadata quorum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<QuorumSpec>,
    /// Groups of brokers that are alike: one StatefulSet each. A pool that is taken out of the list is drained, then
    /// removed.
    #[schemars(extend(
        "minItems" = 1,
        "maxItems" = 10,
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"]
    ))]
    pub pools: Vec<Pool>,
    /// Where brokers and replicas may stand.
    #[serde(default)]
    pub placement: ClusterPlacement,
    /// What topics have where they say nothing; derived from the number of brokers where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_defaults: Option<TopicDefaults>,
    /// Where clients connect. One, `internal`, on port 9092, inside of the Kubernetes cluster, where absent. It has to
    /// be among those that are given: the operator uses it too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend(
        "maxItems" = 10,
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"]
    ))]
    pub listeners: Vec<Listener>,
    /// Broker settings by Kafka's property names; values are strings, integers or booleans (docs/configuration.md has
    /// them all). What belongs to the operator is refused: listeners, ids, directories, quorum, rack. A setting that a
    /// running broker takes over is applied at once, others by a restart of one broker after the other.
    #[serde(default, skip_serializing_if = "ConfigMapping::is_empty")]
    #[schemars(extend("maxProperties" = 256))]
    pub config: ConfigMapping,
    /// Which namespaces may have Topics here, under which names. The cluster's own, any name, where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxItems" = 64, "x-kubernetes-list-type" = "atomic"))]
    pub topic_access: Option<Vec<TopicAccess>>,
    /// How brokers are restarted.
    #[serde(default)]
    pub rollout: Rollout,
    /// A new timestamp (RFC 3339) restarts all brokers, one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time", "maxLength" = 64))]
    pub restarted_at: Option<String>,
    /// What a cordoned node means, and how fast replicas move.
    #[serde(default)]
    pub drain: Drain,
    /// Brokers whose volume is gone for good, to be rebuilt on a new one. The status offers the line to paste; left in
    /// the manifest it does nothing more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend(
        "maxItems" = 16,
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["brokerId"]
    ))]
    pub replace: Vec<Replace>,
    /// What Prometheus gets.
    #[serde(default)]
    pub monitoring: Monitoring,
    /// What happens to the brokers' volumes when this resource is deleted: `Retain` leaves them, and the same resource
    /// applied again is the same cluster with all its records; `Delete` deletes them, by a finalizer.
    #[serde(default)]
    pub deletion_policy: ClusterDeletionPolicy,
    /// While true nothing is changed; the status is still reported.
    #[serde(default)]
    pub paused: bool,
}

/// The brokers' container image.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Registry and name, for example `registry.example.com/milena`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minLength" = 1, "maxLength" = 255, "pattern" = r"^[a-zA-Z0-9][a-zA-Z0-9._:/-]*$"))]
    pub repository: Option<String>,
    /// The tag; `version` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 128, "pattern" = "^[a-zA-Z0-9_][a-zA-Z0-9_.-]*$"))]
    pub tag: Option<String>,
    /// `sha256:…`; wins over the tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 71, "pattern" = "^sha256:[0-9a-f]{64}$"))]
    pub digest: Option<String>,
    /// When the image is pulled: `Always`, `IfNotPresent` or `Never`. `IfNotPresent` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<PullPolicy>,
    /// Names of the Secrets that open the registry, in the cluster's namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend(
        "maxItems" = 8,
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"]
    ))]
    pub pull_secrets: Vec<SecretName>,
}

/// A Secret in the cluster's namespace.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretName {
    /// Its name.
    #[schemars(extend("minLength" = 1, "maxLength" = 253))]
    pub name: String,
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(description = "")]
#[allow(missing_docs)] // Kubernetes' own words.
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

/// The metadata quorum.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QuorumSpec {
    /// How many brokers vote: 1, 3 or 5. Derived from the number of brokers where `quorum` is absent: 3, or 1 with
    /// fewer than three brokers, and 5 with at least ten.
    pub voters: i32,
}

/// Where brokers and replicas may stand.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterPlacement {
    /// `Required`: no two brokers of this cluster on one node, a broker rather stays Pending; and no two replicas of a
    /// partition, a topic is rather not made. `Preferred`: so where it can be.
    #[serde(default = "required")]
    pub node_spread: Spread,
    /// The node's label that names a broker's rack.
    #[serde(default = "zone_label")]
    #[schemars(extend("minLength" = 1, "maxLength" = 317))]
    pub rack_key: String,
    /// `Required`: no rack has two replicas of a partition more than another, so that with as many racks as replicas no
    /// two share one, and a topic is rather not made; brokers likewise, one rather stays Pending. `Preferred`: so where
    /// it can be.
    #[serde(default)]
    pub rack_spread: Spread,
}

impl Default for ClusterPlacement {
    fn default() -> Self {
        Self {
            node_spread: required(),
            rack_key: zone_label(),
            rack_spread: Spread::Preferred,
        }
    }
}

fn required() -> Spread {
    Spread::Required
}

fn zone_label() -> String {
    "topology.kubernetes.io/zone".to_owned()
}

/// How much a rule of placement matters.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(description = "")]
pub enum Spread {
    /// Rather wait than break it.
    Required,
    /// Keep it where it can be kept.
    #[default]
    Preferred,
}

/// What topics have where they say nothing.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicDefaults {
    /// How many replicas a partition has. 3, or the number of brokers where that is less, where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1, "maximum" = 100))]
    pub replication_factor: Option<i32>,
    /// How many of them must have a record before acks=all is answered. 2 with at least three replicas, else 1, where
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1, "maximum" = 100))]
    pub min_in_sync_replicas: Option<i32>,
}
