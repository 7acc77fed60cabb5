//! A claim: whose volume it is, how large, and what was noted on it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;

use super::{POOL_LABEL, ordinal};
use crate::cluster::build::{CLUSTER_ID_LABEL, DATA};
use crate::cluster::observed::{Claim, Leaving};
use crate::cluster::step::notes::{LEVEL, VERSION};
use crate::cluster::unreplicated::MOVED;
use crate::cluster::validate::bytes;

/// Noted on a claim once the cluster has been available with it.
pub const FOUNDED: &str = "milena.dev/founded";
/// Noted on a claim before its broker is drained.
pub const LEAVING: &str = "milena.dev/leaving";

/// Set by the scheduler where a volume waits for its first pod.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// Claims by broker id, and those that brokers of other pools left behind under ids that are not theirs any more.
pub type Sorted = (BTreeMap<i32, Claim>, Vec<(i32, Claim)>);

/// Each broker has the claim of its own pool, which `pool_of` says; where no pool has the id, the newest. A claim that is
/// not called as a StatefulSet calls it is no broker's.
pub fn sorted<'a>(
    cluster: &str,
    objects: &[PersistentVolumeClaim],
    pool_of: impl Fn(i32) -> Option<&'a str>,
) -> Sorted {
    let mut by_age: Vec<_> = objects.iter().collect();
    by_age.sort_by_key(|object| object.creation_timestamp().map(|at| at.0));
    let (mut own, mut left) = (BTreeMap::new(), Vec::new());
    for (id, claim) in by_age.into_iter().filter_map(claim) {
        let pool = claim.pool.as_str();
        if claim.name != format!("{DATA}-{cluster}-{pool}-{id}") {
            continue;
        }
        if pool_of(id).is_some_and(|its| its != pool) {
            left.push((id, claim));
        } else if let Some(older) = own.insert(id, claim) {
            left.push((id, older));
        }
    }
    (own, left)
}

/// The broker id, and its claim.
fn claim(object: &PersistentVolumeClaim) -> Option<(i32, Claim)> {
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
        node: annotation(SELECTED_NODE).cloned(),
        class: spec.and_then(|spec| spec.storage_class_name.clone()),
        version: annotation(VERSION).cloned(),
        level: annotation(LEVEL).and_then(|level| level.parse().ok()),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, pool: &str, created: &str) -> PersistentVolumeClaim {
        let object = json!({ "metadata": {
            "name": name, "uid": name, "labels": { "milena.dev/pool": pool }, "creationTimestamp": created,
        }});
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_broker_has_the_claim_of_its_own_pool_and_else_the_newest() {
        let (first, second) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        let objects = [
            object("data-main-new-0", "new", second),
            object("data-main-old-0", "old", first),
            object("data-main-old-1", "old", first),
            object("data-main-x-1", "old", first),
            object("data-other-old-2", "old", first),
        ];
        let names = |(own, left): Sorted| {
            let names = |claims: Vec<Claim>| claims.into_iter().map(|it| it.name).collect();
            let left = left.into_iter().map(|(_, claim)| claim).collect();
            let both: [Vec<String>; 2] = [names(own.into_values().collect()), names(left)];
            both
        };
        let of_new = sorted("main", &objects, |id| (id < 2).then_some("new"));
        assert_eq!(
            names(of_new),
            [
                vec!["data-main-new-0"],
                vec!["data-main-old-0", "data-main-old-1"]
            ]
        );
        let of_old = sorted("main", &objects, |id| (id == 0).then_some("old"));
        assert_eq!(
            names(of_old),
            [
                vec!["data-main-old-0", "data-main-old-1"],
                vec!["data-main-new-0"]
            ]
        );
        let of_nobody = sorted("main", &objects, |_| None);
        assert_eq!(
            names(of_nobody),
            [
                vec!["data-main-new-0", "data-main-old-1"],
                vec!["data-main-old-0"]
            ]
        );
    }
}
