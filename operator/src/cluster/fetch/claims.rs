//! A claim: whose volume it is, how large, and what was noted on it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;

use super::{POOL_LABEL, ordinal};
use crate::cluster::build::CLUSTER_ID_LABEL;
use crate::cluster::observed::{Claim, Leaving};
use crate::cluster::unreplicated::MOVED;
use crate::cluster::validate::bytes;

/// Noted on a claim once the cluster has been available with it.
pub const FOUNDED: &str = "milena.dev/founded";
/// Noted on a claim before its broker is drained.
pub const LEAVING: &str = "milena.dev/leaving";

/// The broker id, and its claim.
pub fn claim(object: &PersistentVolumeClaim) -> Option<(i32, Claim)> {
    let pool = object.labels().get(POOL_LABEL)?.clone();
    let id = ordinal(&object.name_any())?;
    let spec = object.spec.as_ref();
    let status = object.status.as_ref();
    let requests = spec.and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
    let capacity = status.and_then(|status| status.capacity.as_ref());
    let annotation = |key: &str| object.annotations().get(key);
    let claim = Claim {
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        pool,
        cluster_id: object.labels().get(CLUSTER_ID_LABEL).cloned(),
        founded: annotation(FOUNDED).is_some(),
        leaving: annotation(LEAVING).and_then(|word| Leaving::of(word)),
        // What can't be read is not ours, and brings nothing back.
        moved: annotation(MOVED)
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default(),
        requested: storage(requests),
        capacity: storage(capacity),
        class: spec.and_then(|spec| spec.storage_class_name.clone()),
        terminating: object.metadata.deletion_timestamp.is_some(),
        lost: status.and_then(|status| status.phase.as_deref()) == Some("Lost"),
    };
    Some((id, claim))
}

fn storage(of: Option<&BTreeMap<String, Quantity>>) -> u64 {
    let quantity = of.and_then(|of| of.get("storage"));
    quantity
        .and_then(|quantity| bytes(&quantity.0))
        .unwrap_or(0)
}
