//! What everything of a cluster has: labels, an owner, and names by which it is found again.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};

use crate::cluster::wanted::Wanted;

/// On everything of a cluster: its name.
pub const CLUSTER_LABEL: &str = "milena.dev/cluster";
/// On pods, claims and StatefulSets: the pool.
pub const POOL_LABEL: &str = "milena.dev/pool";
/// On claims: the cluster's id, which outlives everything else.
pub const CLUSTER_ID_LABEL: &str = "milena.dev/cluster-id";
/// On everything: which part of the cluster it is.
pub const COMPONENT_LABEL: &str = "app.kubernetes.io/component";

/// The component that pods, their StatefulSets and their volumes are.
pub const BROKER: &str = "broker";
/// The component that Services are.
pub const LISTENER: &str = "listener";
/// The component that settings and rights are.
pub const CLUSTER: &str = "cluster";

/// The labels of everything of a cluster.
pub fn labels(cluster: &str, component: &str) -> BTreeMap<String, String> {
    [
        ("app.kubernetes.io/name", "milena"),
        ("app.kubernetes.io/instance", cluster),
        ("app.kubernetes.io/managed-by", "milena-operator"),
        (COMPONENT_LABEL, component),
        (CLUSTER_LABEL, cluster),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// Which pods are the cluster's brokers. A StatefulSet's selector can't be changed: nor may this.
pub(super) fn brokers(wanted: &Wanted) -> BTreeMap<String, String> {
    [
        (CLUSTER_LABEL, wanted.name.as_str()),
        (COMPONENT_LABEL, BROKER),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// The same as a selector.
pub(super) fn brokers_selector(wanted: &Wanted) -> LabelSelector {
    LabelSelector {
        match_labels: Some(brokers(wanted)),
        match_expressions: None,
    }
}

/// Name, labels and owner of an object of the cluster.
pub(super) fn meta(wanted: &Wanted, name: String, component: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(wanted.namespace.clone()),
        labels: Some(labels(&wanted.name, component)),
        owner_references: Some(vec![owner(wanted)]),
        ..ObjectMeta::default()
    }
}

/// For a pod, which its StatefulSet controls: with the cluster it goes, and not before.
pub fn keeper(wanted: &Wanted) -> OwnerReference {
    OwnerReference {
        controller: None,
        block_owner_deletion: None,
        ..owner(wanted)
    }
}

/// With the cluster, all goes but the claims.
pub(super) fn owner(wanted: &Wanted) -> OwnerReference {
    OwnerReference {
        api_version: "milena.dev/v1alpha1".to_owned(),
        kind: "KafkaCluster".to_owned(),
        name: wanted.name.clone(),
        uid: wanted.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
