//! Everything that a cluster consists of, built from what is wanted: pure, and whole every time.
//!
//! | file | builds |
//! | --- | --- |
//! | `build/owned.rs` | what all of it has: names, labels, owner |
//! | `build/asked.rs` | nothing: it says what of a spec takes a restart |
//! | `build/access.rs` | ServiceAccount, admin token, NetworkPolicy |
//! | `build/properties.rs` | the brokers' settings: `<cluster>-config` |
//! | `build/advertised.rs` | where clients find each broker: `<cluster>-brokers` |
//! | `build/service.rs` | headless, bootstrap and per-broker Services |
//! | `build/pod.rs`, `build/stateful_set.rs` | a pool's pods and their volumes |
//! | `build/budget.rs` | the PodDisruptionBudget |
//! | `build/pod_monitor.rs` | what Prometheus scrapes |

mod access;
pub mod advertised;
pub mod asked;
mod budget;
mod owned;
mod pod;
mod pod_monitor;
mod properties;
mod service;
mod stateful_set;

#[cfg(test)]
pub(crate) mod samples;

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::DynamicObject;

use super::wanted::{Wanted, WantedPool};
pub use advertised::Surroundings;
pub use owned::{CLUSTER_ID_LABEL, CLUSTER_LABEL, POOL_LABEL, keeper, labels};
pub use pod::DATA;
pub use pod::{REVISION, TEMPLATE_REVISION};
pub use pod_monitor::api_resource as pod_monitor_resource;

use crate::crd::cluster::KafkaClusterSpec;

/// What the builders have to know that the manifest does not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    /// How many pods each pool's StatefulSet keeps for now, by pool: more than wanted while brokers are drained.
    /// Where absent, as many as wanted.
    pub replicas: BTreeMap<String, i32>,
    /// Brokers that are there and not wanted any more, by pool, so that they find their settings until they are gone.
    pub leaving: BTreeMap<String, Vec<i32>>,
    /// The voters that brokers are told to look for: those that vote now. Those wanted where empty.
    pub voters: Vec<i32>,
    /// Where brokers stand, and how they can be reached from outside.
    pub surroundings: Surroundings,
    /// The PodDisruptionBudget.
    pub budget: Budget,
    /// The admin token, in case there is none yet; an existing one stays.
    pub fresh_token: String,
    /// The CRD of PodMonitor exists.
    pub has_pod_monitors: bool,
}

/// How many brokers may be evicted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// 0 or 1.
    pub max_unavailable: i32,
    /// The version of the budget that this was decided on; absent where there was none.
    pub resource_version: Option<String>,
}

/// Everything that a cluster consists of, in the order in which it is applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Resources {
    /// The brokers' identity, without any right.
    pub service_account: ServiceAccount,
    /// The token without which nothing is changed over HTTP. Only ever created.
    pub admin_token: Secret,
    /// Who may connect.
    pub network_policy: NetworkPolicy,
    /// Headless, bootstrap and per-broker Services.
    pub services: Vec<Service>,
    /// What all brokers are told.
    pub config: ConfigMap,
    /// What single brokers are told.
    pub brokers: ConfigMap,
    /// How many brokers may be evicted.
    pub budget: PodDisruptionBudget,
    /// A pool each, without those that are leaving as a whole.
    pub stateful_sets: Vec<StatefulSet>,
    /// What Prometheus scrapes, where that is wanted and its CRD exists.
    pub pod_monitor: Option<DynamicObject>,
    /// One that is there all the same is to go, as it is not wanted: its CRD exists.
    pub no_pod_monitor: bool,
    /// Brokers whose address on a listener their Service has still to get, as `broker 2, listener external`. They are not
    /// told that listener, so that a cluster that has no pods yet had better wait a moment for its Services.
    pub unaddressed: Vec<String>,
}

/// Builds all of it.
pub fn all(wanted: &Wanted, given: &Given) -> Resources {
    let (brokers, unaddressed) = advertised::config_map(wanted, given);
    Resources {
        service_account: access::service_account(wanted),
        admin_token: access::admin_token(wanted, &given.fresh_token),
        network_policy: access::network_policy(wanted),
        services: service::all(wanted, given),
        config: properties::config_map(wanted, given),
        brokers,
        budget: budget::build(wanted, &given.budget),
        stateful_sets: wanted
            .pools
            .iter()
            .map(|pool| stateful_set::build(wanted, pool, given))
            .collect(),
        pod_monitor: (wanted.pod_monitor && given.has_pod_monitors)
            .then(|| pod_monitor::build(wanted)),
        no_pod_monitor: !wanted.pod_monitor && given.has_pod_monitors,
        unaddressed,
    }
}

/// The brokers of a pool that settings and Services are kept for: those wanted, and those that are leaving.
fn ids(pool: &WantedPool, given: &Given) -> Vec<i32> {
    let leaving = given.leaving.get(&pool.name).into_iter().flatten();
    let mut ids: Vec<i32> = pool.ids.clone().chain(leaving.copied()).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// All such brokers with their pools, pools that are leaving included.
fn seats<'a>(wanted: &'a Wanted, given: &'a Given) -> Vec<(&'a str, i32)> {
    let staying = wanted.pools.iter().flat_map(|pool| {
        ids(pool, given)
            .into_iter()
            .map(move |id| (pool.name.as_str(), id))
    });
    let is_wanted = |name: &str| wanted.pools.iter().any(|pool| pool.name == name);
    let leaving = given
        .leaving
        .iter()
        .filter(|(pool, _)| !is_wanted(pool))
        .flat_map(|(pool, ids)| ids.iter().map(move |id| (pool.as_str(), *id)));
    staying.chain(leaving).collect()
}

/// Fills in the pools' revisions.
pub fn revise(wanted: &mut Wanted, spec: &KafkaClusterSpec) {
    let pools = wanted.pools.iter();
    let revisions: Vec<_> = pools
        .map(|pool| {
            let parts = asked::parts(wanted, pool, spec);
            (parts, template_revision(wanted, pool))
        })
        .collect();
    for (pool, (parts, template_revision)) in wanted.pools.iter_mut().zip(revisions) {
        pool.revision = crate::revision::of(&parts);
        pool.asked = asked::hashes(&parts);
        pool.template_revision = template_revision;
    }
}

fn template_revision(wanted: &Wanted, pool: &WantedPool) -> String {
    crate::revision::of(&(pod::spec(wanted, pool), properties::by_the_operator(wanted)))
}

#[cfg(test)]
mod tests;
