//! What a `KafkaCluster` asks for: checked once, everything defaulted. Only [`super::validate`] makes one, and what
//! takes one checks nothing again.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use k8s_openapi::api::core::v1::ResourceRequirements;

use crate::crd::cluster::{
    ClusterPlacement, Listener, OnCordon, OnOperatorUpgrade, OnScaleDown, PodTemplate, PullPolicy,
    Replace, Unreplicated,
};

/// A cluster as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The resource's name, and the first part of all others' names.
    pub name: String,
    /// The resource's namespace.
    pub namespace: String,
    /// The resource's uid, for owner references.
    pub uid: String,
    /// 22 letters of URL-safe base64: that of the claims where they have one, else a new one.
    pub cluster_id: String,
    /// No broker has ever been part of this cluster, so one may found it.
    pub founding: bool,
    /// The version's image with tag or digest.
    pub image: String,
    /// When the image is pulled.
    pub pull_policy: PullPolicy,
    /// Secrets of the image's registry, by name.
    pub pull_secrets: Vec<String>,
    /// The brokers' version: the spec's, else the pinned one, else the operator's.
    pub version: String,
    /// What the brokers may write.
    pub metadata_version: MetadataVersion,
    /// At least one, in the spec's order.
    pub pools: Vec<WantedPool>,
    /// Who is to vote in the metadata quorum: 1, 3 or 5 broker ids in rising order, spread over the pools.
    pub voters: Vec<i32>,
    /// At least one: the first is `internal`.
    pub listeners: Vec<Listener>,
    /// Where replicas may stand.
    pub placement: ClusterPlacement,
    /// What topics have where they say nothing.
    pub topic_defaults: WantedTopicDefaults,
    /// Broker settings by Kafka's names; none that the operator owns, or that another field says.
    pub broker_config: BTreeMap<String, String>,
    /// Those of them, and of what holds for topics that say nothing, that a running broker takes over.
    pub live_config: BTreeMap<String, String>,
    /// How brokers are restarted.
    pub rollout: WantedRollout,
    /// What a cordon means, and how fast replicas move.
    pub drain: WantedDrain,
    /// Brokers whose volume is gone for good.
    pub replace: Vec<Replace>,
    /// Whether a PodMonitor is wanted where its CRD exists.
    pub pod_monitor: bool,
    /// Nothing may be changed.
    pub paused: bool,
}

/// One pool as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct WantedPool {
    /// Part of the pods' names.
    pub name: String,
    /// The ids of its brokers, which are its pods' ordinals.
    pub ids: Range<i32>,
    /// The least size of the data volume, as the spec writes it.
    pub volume_size: String,
    /// The same in bytes.
    pub volume_bytes: u64,
    /// The StorageClass; the Kubernetes cluster's default where absent.
    pub volume_class: Option<String>,
    /// What becomes of the claims of brokers that are taken away.
    pub on_scale_down: OnScaleDown,
    /// The broker's requests and limits.
    pub resources: ResourceRequirements,
    /// What the spec adds to the pods.
    pub template: PodTemplate,
    /// Seconds that a pod has to stop.
    pub grace_seconds: i64,
    /// Hash of what the spec says and takes a restart: the pods' annotation `milena.dev/revision`.
    pub revision: String,
    /// A short hash of each part of that, by name: the pods' annotation `milena.dev/asked`.
    pub asked: BTreeMap<String, String>,
    /// Hash of the whole pod template as this operator builds it: the pods' annotation `milena.dev/template`. Where
    /// only this differs, the change is the operator's own, and `rollout.onOperatorUpgrade` decides.
    pub template_revision: String,
}

/// What the brokers may write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MetadataVersion {
    /// Stays as it is.
    Unchanged,
    /// Raised once every broker has run the newest version for an hour.
    Auto,
    /// This level of the feature `milena.version`.
    Level(i16),
}

/// What topics have where they say nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WantedTopicDefaults {
    /// 3, or the number of brokers where that is less.
    pub replication_factor: i32,
    /// 2 with at least three replicas, else 1.
    pub min_in_sync_replicas: i32,
}

/// How brokers are restarted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WantedRollout {
    /// How many brokers may be down at once by the operator's doing; at least 1.
    pub max_unavailable: i32,
    /// How long a broker must have been ready before the next one stops.
    pub soak: Duration,
    /// What to do with partitions that can't stay online without the broker.
    pub unreplicated: Unreplicated,
    /// Whether a change of the operator's own restarts brokers.
    pub on_operator_upgrade: OnOperatorUpgrade,
}

/// What a cordon means, and how fast replicas move.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WantedDrain {
    /// What a cordon means.
    pub on_cordon: OnCordon,
    /// Of each broker, while replicas move by the operator's doing; no bound where absent.
    pub bytes_per_second_max: Option<u64>,
}

impl Wanted {
    /// The number of brokers.
    pub fn brokers(&self) -> usize {
        self.pools.iter().map(|pool| pool.ids.len()).sum()
    }

    /// The ids of all brokers, pool by pool.
    pub fn ids(&self) -> impl Iterator<Item = i32> {
        self.pools.iter().flat_map(|pool| pool.ids.clone())
    }

    /// The pool that a broker of that id belongs to, though it may have no such broker now.
    pub fn pool_of(&self, id: i32) -> Option<&WantedPool> {
        let owns = |pool: &&WantedPool| (pool.ids.start..pool.ids.start + POOL_IDS).contains(&id);
        self.pools.iter().find(owns)
    }

    /// The listener of clients inside, which the operator uses too.
    pub fn internal(&self) -> &Listener {
        &self.listeners[0]
    }

    /// The StatefulSet of a pool.
    pub fn stateful_set(&self, pool: &str) -> String {
        format!("{}-{pool}", self.name)
    }

    /// The pod of a broker.
    pub fn pod(&self, pool: &str, id: i32) -> String {
        format!("{}-{pool}-{id}", self.name)
    }

    /// The name by which others in the Kubernetes cluster find a broker, ready or not.
    pub fn host(&self, pool: &str, id: i32) -> String {
        let (pod, name, namespace) = (self.pod(pool, id), &self.name, &self.namespace);
        format!("{pod}.{name}-peers.{namespace}.svc")
    }
}

/// How many broker ids a pool owns, from its first on.
pub const POOL_IDS: i32 = 1_000;
/// Where brokers serve metrics, health and `/v1`.
pub const HTTP_PORT: i32 = 9_404;
/// Where brokers meet each other and the quorum.
pub const PEERS_PORT: i32 = 9_091;
