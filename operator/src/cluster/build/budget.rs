//! The PodDisruptionBudget: one over all brokers, since a pod under two can't be evicted.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Budget;
use super::owned::{BROKER, brokers_selector, meta};
use crate::cluster::wanted::Wanted;

/// A broker that is not ready may be evicted only while the others are: it may be the one that catches up.
pub(super) fn build(wanted: &Wanted, budget: &Budget) -> PodDisruptionBudget {
    let mut metadata = meta(wanted, wanted.name.clone(), BROKER);
    metadata
        .resource_version
        .clone_from(&budget.resource_version);
    PodDisruptionBudget {
        metadata,
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(budget.max_unavailable)),
            min_available: None,
            selector: Some(brokers_selector(wanted)),
            unhealthy_pod_eviction_policy: Some("IfHealthyBudget".to_owned()),
        }),
        status: None,
    }
}
