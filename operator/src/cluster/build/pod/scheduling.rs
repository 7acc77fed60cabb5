//! Where a pool's pods may run: apart from each other, and where the spec says.

use k8s_openapi::api::core::v1::{
    Affinity, PodAffinityTerm, TopologySpreadConstraint, WeightedPodAffinityTerm,
};

use super::super::owned::brokers_selector;
use crate::cluster::wanted::{Wanted, WantedPool};
use crate::crd::cluster::Spread;

/// The label that each node has its own value of.
const HOST_NAME: &str = "kubernetes.io/hostname";
/// The most that a preference can weigh.
const WEIGHT_MAX: i32 = 100;

/// The spec's, and one that keeps all brokers of the cluster on nodes of their own, whatever their pool.
pub(super) fn affinity(wanted: &Wanted, pool: &WantedPool) -> Option<Affinity> {
    let mut affinity = pool.template.affinity.clone().unwrap_or_default();
    let apart = PodAffinityTerm {
        label_selector: Some(brokers_selector(wanted)),
        topology_key: HOST_NAME.to_owned(),
        ..PodAffinityTerm::default()
    };
    let terms = affinity.pod_anti_affinity.get_or_insert_default();
    match wanted.placement.node_spread {
        Spread::Required => terms
            .required_during_scheduling_ignored_during_execution
            .get_or_insert_default()
            .push(apart),
        Spread::Preferred => terms
            .preferred_during_scheduling_ignored_during_execution
            .get_or_insert_default()
            .push(WeightedPodAffinityTerm {
                pod_affinity_term: apart,
                weight: WEIGHT_MAX,
            }),
    }
    Some(affinity)
}

/// The spec's, else evenly over the racks: strictly only where replicas need it.
pub(super) fn spread(wanted: &Wanted, pool: &WantedPool) -> Vec<TopologySpreadConstraint> {
    let given = &pool.template.topology_spread_constraints;
    if given.is_empty() {
        let unsatisfiable = match wanted.placement.rack_spread {
            Spread::Required => "DoNotSchedule",
            Spread::Preferred => "ScheduleAnyway",
        };
        return vec![TopologySpreadConstraint {
            label_selector: Some(brokers_selector(wanted)),
            max_skew: 1,
            topology_key: wanted.placement.rack_key.clone(),
            when_unsatisfiable: unsatisfiable.to_owned(),
            ..TopologySpreadConstraint::default()
        }];
    }
    let selected = |given: &TopologySpreadConstraint| TopologySpreadConstraint {
        label_selector: given
            .label_selector
            .clone()
            .or_else(|| Some(brokers_selector(wanted))),
        ..given.clone()
    };
    given.iter().map(selected).collect()
}
