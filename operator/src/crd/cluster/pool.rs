//! A pool: brokers of one size, and what may be chosen of their pods.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, ConfigMapKeySelector, ConfigMapVolumeSource, SELinuxOptions, SecretKeySelector,
    SecretVolumeSource, Toleration, TopologySpreadConstraint,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::crd::Amount;

/// A pool: brokers of one size.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pool {
    /// Part of the pods' names; another name is another pool.
    #[schemars(extend("minLength" = 1, "maxLength" = 19, "pattern" = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// How many brokers. There is no scale subresource: a broker that is taken away first hands its replicas over, which
    /// an autoscaler can't wait for. To have none, take the pool out of the list.
    #[schemars(extend("minimum" = 1, "maximum" = 100))]
    pub replicas: i32,
    /// The first broker's id. A pool owns 1,000 ids from there on, so it is a multiple of 1000, another for each pool.
    /// Immutable.
    #[serde(default)]
    #[schemars(extend("minimum" = 0, "maximum" = 99_000))]
    pub first_broker_id: i32,
    /// What each broker has for its data: today exactly one volume, called `data`.
    #[schemars(extend(
        "minItems" = 1,
        "maxItems" = 8,
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"]
    ))]
    pub volumes: Vec<PoolVolume>,
    /// What becomes of the volume of a broker that is taken away, once it holds no replica: `Retain` or `Delete`.
    #[serde(default)]
    pub on_scale_down: OnScaleDown,
    /// CPU and memory of a broker. Where absent it asks for 100m and 256Mi, without limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// What may be chosen of the pods; everything else is the operator's.
    #[serde(default)]
    pub pod_template: PodTemplate,
}

/// A volume that each broker of the pool has.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolVolume {
    /// `data`.
    #[schemars(extend("minLength" = 1, "maxLength" = 20, "pattern" = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// At least this, such as `100Gi`. It may grow (where the StorageClass lets volumes grow) and never shrink.
    #[schemars(extend(
        "minLength" = 1,
        "maxLength" = 24,
        "pattern" = r"^[0-9]+(\.[0-9]{1,3})?(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
    ))]
    pub size: String,
    /// The StorageClass; the Kubernetes cluster's default where absent. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minLength" = 1, "maxLength" = 253))]
    pub class_name: Option<String>,
}

/// What becomes of the volume of a broker that is taken away.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(description = "")]
pub enum OnScaleDown {
    /// It stays.
    #[default]
    Retain,
    /// It is deleted, once its broker holds no replica.
    Delete,
}

/// CPU and memory of a broker.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What the scheduler sets aside, by resource: `{cpu: 500m, memory: 1Gi}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub requests: BTreeMap<String, Amount>,
    /// What a broker may not exceed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub limits: BTreeMap<String, Amount>,
}

/// What may be chosen of the pods; everything else is the operator's.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplate {
    /// Further labels. `app.kubernetes.io/…` and `milena.dev/…` are the operator's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub labels: BTreeMap<String, String>,
    /// Further annotations. `milena.dev/…` are the operator's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: BTreeMap<String, String>,
    /// Taints of nodes that do not keep the brokers away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 16, "x-kubernetes-list-type" = "atomic"))]
    pub tolerations: Vec<Toleration>,
    /// Further affinities; with `placement.nodeSpread: Required` the operator adds one that keeps brokers apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Labels that the nodes must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub node_selector: BTreeMap<String, String>,
    /// How the pods spread; over `placement.rackKey` where absent. A constraint without a labelSelector counts this
    /// cluster's brokers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 8, "x-kubernetes-list-type" = "atomic"))]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// The PriorityClass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minLength" = 1, "maxLength" = 253))]
    pub priority_class_name: Option<String>,
    /// The scheduler, where it is not the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minLength" = 1, "maxLength" = 253))]
    pub scheduler_name: Option<String>,
    /// The RuntimeClass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minLength" = 1, "maxLength" = 253))]
    pub runtime_class_name: Option<String>,
    /// Annotations of the brokers' ServiceAccount, which clouds read. It is one for all pools: what several say is put
    /// together.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub service_account_annotations: BTreeMap<String, String>,
    /// Under which user and groups a broker runs, where the default (65532, no root) does not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<SecurityContext>,
    /// How many seconds a broker has to stop; a minute less is for waiting until the others can do without it. 600 where
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 90, "maximum" = 86_400))]
    pub termination_grace_period_seconds: Option<i64>,
    /// Further environment variables. `MILENA_…` are the operator's: settings belong in `config`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend(
        "maxItems" = 64,
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"]
    ))]
    pub env: Vec<EnvVar>,
    /// Further volumes: Secrets and ConfigMaps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend(
        "maxItems" = 16,
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["name"]
    ))]
    pub volumes: Vec<ExtraVolume>,
    /// Where those are mounted, read-only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend(
        "maxItems" = 16,
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["mountPath"]
    ))]
    pub volume_mounts: Vec<ExtraMount>,
}

/// Under which user and groups a broker runs. Everything else of it is fixed: no root, no capabilities, a read-only root
/// file system, the runtime's seccomp profile.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecurityContext {
    /// 65532 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1, "maximum" = 4_294_967_294_i64))]
    pub run_as_user: Option<i64>,
    /// 65532 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1, "maximum" = 4_294_967_294_i64))]
    pub run_as_group: Option<i64>,
    /// The group that the volume belongs to; 65532 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1, "maximum" = 4_294_967_294_i64))]
    pub fs_group: Option<i64>,
    /// Further groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("maxItems" = 16, "x-kubernetes-list-type" = "atomic"))]
    pub supplemental_groups: Vec<i64>,
    /// SELinux labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub se_linux_options: Option<SELinuxOptions>,
}

/// An environment variable.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvVar {
    /// Its name.
    #[schemars(extend("minLength" = 1, "maxLength" = 128, "pattern" = "^[A-Za-z_][A-Za-z0-9_.-]*$"))]
    pub name: String,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 4096))]
    pub value: Option<String>,
    /// Or where the value is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<EnvVarSource>,
}

/// Where a variable's value is found: one of the two.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvVarSource {
    /// A key of a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeySelector>,
    /// A key of a ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_key_ref: Option<ConfigMapKeySelector>,
}

/// A Secret or a ConfigMap as a volume.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtraVolume {
    /// Its name, for `volumeMounts`.
    #[schemars(extend("minLength" = 1, "maxLength" = 63, "pattern" = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretVolumeSource>,
    /// The ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapVolumeSource>,
}

/// Where a further volume is mounted, read-only.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtraMount {
    /// One of `volumes`.
    #[schemars(extend("minLength" = 1, "maxLength" = 63))]
    pub name: String,
    /// An absolute path, neither of the broker's own.
    #[schemars(extend("minLength" = 2, "maxLength" = 512, "pattern" = "^/[^:]+$"))]
    pub mount_path: String,
    /// A path within the volume; all of it where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minLength" = 1, "maxLength" = 512))]
    pub sub_path: Option<String>,
}
