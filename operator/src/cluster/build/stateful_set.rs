//! The StatefulSet of a pool. It starts its pods all at once and stops none by itself: the operator deletes them, lease
//! by lease.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetOrdinals, StatefulSetPersistentVolumeClaimRetentionPolicy,
    StatefulSetSpec, StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::owned::{BROKER, CLUSTER_ID_LABEL, POOL_LABEL, brokers, labels, meta};
use super::{Given, pod};
use crate::cluster::wanted::{Wanted, WantedPool};

pub(super) fn build(wanted: &Wanted, pool: &WantedPool, given: &Given) -> StatefulSet {
    let mut metadata = meta(wanted, wanted.stateful_set(&pool.name), BROKER);
    metadata
        .labels
        .get_or_insert_default()
        .insert(POOL_LABEL.to_owned(), pool.name.clone());
    let wanted_replicas = pool.ids.end - pool.ids.start;
    let retain = || Some("Retain".to_owned());
    StatefulSet {
        metadata,
        spec: Some(StatefulSetSpec {
            replicas: Some(
                given
                    .replicas
                    .get(&pool.name)
                    .copied()
                    .unwrap_or(wanted_replicas),
            ),
            ordinals: Some(StatefulSetOrdinals {
                start: Some(pool.ids.start),
            }),
            pod_management_policy: Some("Parallel".to_owned()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                rolling_update: None,
            }),
            persistent_volume_claim_retention_policy: Some(
                StatefulSetPersistentVolumeClaimRetentionPolicy {
                    when_deleted: retain(),
                    when_scaled: retain(),
                },
            ),
            service_name: Some(format!("{}-peers", wanted.name)),
            selector: LabelSelector {
                match_labels: Some(selector(wanted, pool)),
                match_expressions: None,
            },
            template: pod::template(wanted, pool),
            volume_claim_templates: Some(vec![claim(wanted, pool)]),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

/// Can't be changed once it is there.
fn selector(wanted: &Wanted, pool: &WantedPool) -> BTreeMap<String, String> {
    let mut selector = brokers(wanted);
    selector.insert(POOL_LABEL.to_owned(), pool.name.clone());
    selector
}

/// The claims made from it have these labels ever after: by them a cluster is known again.
fn claim(wanted: &Wanted, pool: &WantedPool) -> PersistentVolumeClaim {
    let mut labels = labels(&wanted.name, BROKER);
    labels.insert(POOL_LABEL.to_owned(), pool.name.clone());
    labels.insert(CLUSTER_ID_LABEL.to_owned(), wanted.cluster_id.clone());
    let size = [("storage".to_owned(), Quantity(pool.volume_size.clone()))];
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(pod::DATA.to_owned()),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some(size.into()),
                limits: None,
            }),
            storage_class_name: pool.volume_class.clone(),
            volume_mode: Some("Filesystem".to_owned()),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}
