//! `KafkaCluster`: brokers, their volumes, their listeners, and how they may be changed.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, EnvVar, LocalObjectReference, PodSecurityContext, ResourceRequirements, Toleration,
    TopologySpreadConstraint, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Conditions, ConfigMapping};

/// A Kafka cluster: pools of brokers, each with a volume, behind one set of listeners.
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
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KafkaClusterSpec {
    /// The brokers' version. Set at creation to what the operator brings where it is absent; an operator's upgrade never
    /// changes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What the brokers may write: `Auto` raises it once every broker has run the new version for an hour. It can't go
    /// down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_version: Option<String>,
    /// Where the brokers' image comes from; by default the image that belongs to the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// How many brokers vote in the metadata quorum: 1, 3 or 5; derived from the number of brokers where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quorum: Option<QuorumSpec>,
    /// Groups of brokers that are alike: one StatefulSet each.
    pub pools: Vec<Pool>,
    #[serde(default)]
    pub placement: ClusterPlacement,
    /// What topics have where they say nothing; derived from the number of brokers where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_defaults: Option<TopicDefaults>,
    /// Where clients connect. Where absent: one, `internal`, on port 9092, inside of the Kubernetes cluster.
    #[serde(default)]
    pub listeners: Vec<Listener>,
    /// Broker settings by Kafka's property names. What belongs to the operator (listeners, ids, directories, quorum) is
    /// refused.
    #[serde(default)]
    pub config: ConfigMapping,
    /// Which namespaces may have Topics here, under which names; by default the cluster's own, any name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_access: Option<Vec<TopicAccess>>,
    #[serde(default)]
    pub rollout: Rollout,
    /// A new timestamp restarts all brokers, one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarted_at: Option<Time>,
    #[serde(default)]
    pub drain: Drain,
    /// Brokers whose volume is gone for good, to be rebuilt on a new one. The status offers the line to paste.
    #[serde(default)]
    pub replace: Vec<Replace>,
    #[serde(default)]
    pub monitoring: Monitoring,
    /// What happens to volumes when this resource is deleted. Only `Delete` puts a finalizer on it.
    #[serde(default)]
    pub deletion_policy: ClusterDeletionPolicy,
    /// While true nothing is changed; the status is still reported.
    #[serde(default)]
    pub paused: bool,
}

/// The brokers' container image.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Image {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// `sha256:…`; wins over the tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<PullPolicy>,
    #[serde(default)]
    pub pull_secrets: Vec<LocalObjectReference>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QuorumSpec {
    /// 1, 3 or 5.
    pub voters: i32,
}

/// A pool: brokers of one size.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pool {
    /// Part of the pods' names; immutable.
    pub name: String,
    /// There is no scale subresource: a broker that is taken away first hands its replicas over, which an autoscaler
    /// can't wait for.
    pub replicas: i32,
    /// The first broker's id; a pool owns 1,000. Immutable, a multiple of 1,000 where there are several pools.
    #[serde(default)]
    pub first_broker_id: i32,
    /// Today exactly one, `data`.
    pub volumes: Vec<PoolVolume>,
    /// What becomes of the volumes of brokers that are taken away.
    #[serde(default)]
    pub on_scale_down: OnScaleDown,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    #[serde(default)]
    pub pod_template: PodTemplate,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PoolVolume {
    /// Immutable.
    pub name: String,
    /// At least this; may grow and never shrink.
    pub size: Quantity,
    /// The StorageClass; the cluster's default where absent. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum OnScaleDown {
    #[default]
    Retain,
    Delete,
}

/// What of a pod may be chosen; everything else is the operator's.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PodTemplate {
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub tolerations: Vec<Toleration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    #[serde(default)]
    pub node_selector: BTreeMap<String, String>,
    #[serde(default)]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_class_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_class_name: Option<String>,
    #[serde(default)]
    pub service_account_annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<PodSecurityContext>,
    /// Seconds; 600 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub termination_grace_period_seconds: Option<i64>,
    #[serde(default)]
    pub env: Vec<EnvVar>,
    /// Secrets and ConfigMaps only.
    #[serde(default)]
    pub volumes: Vec<Volume>,
    #[serde(default)]
    pub volume_mounts: Vec<VolumeMount>,
}

/// Where replicas may stand.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterPlacement {
    /// No two brokers, and no two replicas of a partition, on one node.
    #[serde(default = "required")]
    pub node_spread: Spread,
    /// The node label that names a broker's rack.
    #[serde(default = "zone_label")]
    pub rack_key: String,
    /// Replicas of a partition in different racks.
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

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Spread {
    Required,
    #[default]
    Preferred,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TopicDefaults {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replication_factor: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_in_sync_replicas: Option<i32>,
}

/// A port where clients connect. `tls` and `authentication` are reserved for objects to come.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listener {
    pub name: String,
    /// 9091 and 9404 are taken.
    pub port: i32,
    #[serde(rename = "type", default)]
    pub kind: ListenerType,
    #[serde(default)]
    pub bootstrap: ListenerBootstrap,
    /// What differs for single brokers.
    #[serde(default)]
    pub brokers: Vec<ListenerBroker>,
    /// The host that clients are told, with `{id}`, `{pod}`, `{node}`, `{nodeIp}`; e.g. `kafka-{id}.example.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertised_host_template: Option<String>,
    /// For the Services of this listener.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<TrafficPolicy>,
    /// Address blocks (CIDR) that may connect; everyone where empty.
    #[serde(default)]
    pub allowed_sources: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ListenerType {
    #[default]
    Internal,
    NodePort,
    LoadBalancer,
    ClusterIP,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum TrafficPolicy {
    Cluster,
    Local,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListenerBootstrap {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_port: Option<i32>,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Further names under which clients know the bootstrap address.
    #[serde(default)]
    pub alternative_names: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ListenerBroker {
    pub id: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertised_host: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertised_port: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_port: Option<i32>,
}

/// A rule of who may have Topics in this cluster. Any rule that fits is enough.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TopicAccess {
    pub namespaces: Namespaces,
    /// How the topics' names must begin; any name where empty.
    #[serde(default)]
    pub topic_prefixes: Vec<String>,
    /// All three where empty.
    #[serde(default)]
    pub operations: Vec<TopicOperation>,
}

/// Namespaces by name or by label; both may be given, and either is enough.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Namespaces {
    #[serde(default)]
    pub names: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum TopicOperation {
    Create,
    Adopt,
    Delete,
}

/// How brokers are restarted.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rollout {
    /// How many brokers may be down at once by the operator's doing.
    #[serde(default = "one")]
    pub max_unavailable: i32,
    /// Seconds that a broker must have been ready before the next one stops.
    #[serde(default = "ten")]
    pub soak_seconds: i32,
    /// What to do with partitions that can't stay online without the broker: `Move` them away first and back later,
    /// `Allow` their pause with a warning, or `Wait`. `Move`; with one broker `Allow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreplicated: Option<Unreplicated>,
    /// Whether a new operator may restart brokers for a change of its own, or waits for `restartedAt`.
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

#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Unreplicated {
    Move,
    Allow,
    Wait,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum OnOperatorUpgrade {
    #[default]
    Approve,
    Auto,
}

/// What a cordoned node means, and how fast replicas move.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Drain {
    #[serde(default)]
    pub on_cordon: OnCordon,
    /// For every broker, while replicas move by the operator's doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes_per_second: Option<Quantity>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum OnCordon {
    /// Hand leaderships over and take the stop lease, so that the eviction goes through at once.
    #[default]
    Leaders,
    /// Move replicas away too.
    Replicas,
    Nothing,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Replace {
    pub broker_id: i32,
    /// The uid of the claim that is lost: the line does nothing once that claim is gone and rebuilt.
    pub claim_uid: String,
    /// Go on although records of the partitions named in the status will be lost.
    #[serde(default)]
    pub accept_loss: bool,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Monitoring {
    #[serde(default)]
    pub pod_monitor: PodMonitorMode,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum PodMonitorMode {
    /// Where the Prometheus operator's CRD exists.
    #[default]
    Auto,
    Never,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum ClusterDeletionPolicy {
    #[default]
    Retain,
    Delete,
}

/// What is, and what is awaited.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KafkaClusterStatus {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default)]
    pub bootstrap: BTreeMap<String, String>,
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Conditions,
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"]))]
    pub brokers: Vec<BrokerStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerStatus {
    pub id: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<String>,
    /// One word, e.g. Running, Recovering, Fenced, Stopping, Missing, WaitingForNode.
    pub state: String,
    #[serde(default)]
    pub leaders: i64,
    #[serde(default)]
    pub replicas: i64,
    #[serde(default)]
    pub under_replicated: i64,
    /// Why it may not stop now: at most three sentences and a count of the others.
    #[serde(default)]
    pub blocked_by: Vec<String>,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    pub updated: i32,
    pub total: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
}
