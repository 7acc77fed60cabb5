//! Looks at a cluster: its StatefulSets, pods, claims and budget by label, their nodes, and what its brokers say.
//!
//! The brokers' view counts only with a quorum behind it, and is read at the quorum's leader: another broker's may be
//! old, and one that is cut off would not know.

mod address;
mod claims;
mod not_made;
mod pods;
mod surroundings;
mod topics;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod as PodObject};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde_json::Value;

pub use address::open;
pub use claims::{FOUNDED, LEAVING};
pub use topics::Topics;

pub use super::build::{CLUSTER_ID_LABEL, CLUSTER_LABEL, POOL_LABEL};

use super::brokers::{ShownBroker, ShownCluster};
use super::build::REVISION;
use super::observed::{Budget, Observed, Set, View};
use super::wanted::POOL_IDS;
use crate::context::{Context, Key, Memory};
use crate::crd::KafkaCluster;
use crate::crd::cluster::ListenerType;
use crate::door::{At, Door, DoorError};
use crate::namespace::{self, Fate};

/// A cluster as it is, and the way to its brokers.
pub struct Seen {
    /// As it is.
    pub observed: Observed,
    /// The way to its brokers, where it has any.
    pub door: Option<Arc<Door>>,
}

/// Looks at everything once.
pub async fn observe(
    cluster: &KafkaCluster,
    context: &Context,
    memory: &mut Memory,
) -> Result<Seen, kube::Error> {
    let key = Key::of(cluster);
    let mut observed = objects(cluster, context).await?;
    let of_pods = observed.pods.values().filter_map(|pod| pod.node.as_ref());
    let of_claims = observed.claims.values();
    let of_claims = of_claims.filter_map(|claim| claim.node.as_ref());
    observed.nodes = context.nodes.of(of_pods.chain(of_claims));
    observed.no_growth = memory.growth.of(&observed.claims);
    observed.not_made = not_made::of(&key, &observed, context).await;
    let stops = observed.pods.values().any(|pod| pod.deadline.is_some());
    observed.namespace_is_going = (stops || observed.pods.is_empty())
        && namespace::fate(&key.namespace, &context.client).await == Fate::Ends;
    if leads_outside(cluster) {
        observed.surroundings = surroundings::of(&key, &observed, context).await?;
    }
    let door = address::door(cluster, &observed.pods, context).await?;
    if let Some(door) = &door {
        match view(door, &observed, &mut memory.topics).await {
            Ok(view) => observed.view = Some(view),
            Err(why) => {
                observed.no_view = Some(why);
                observed.live = live(door, &observed).await;
            }
        }
    } else {
        observed.no_view = Some("there is no broker yet".to_owned());
    }
    Ok(Seen { observed, door })
}

fn leads_outside(cluster: &KafkaCluster) -> bool {
    let mut listeners = cluster.spec.listeners.iter();
    listeners.any(|listener| {
        let by_node = listener.advertised_host_template.is_some();
        listener.kind != ListenerType::Internal || by_node
    })
}

/// The cluster, where it is there.
pub async fn cluster(key: &Key, context: &Context) -> Result<Option<KafkaCluster>, kube::Error> {
    let clusters: Api<KafkaCluster> = Api::namespaced(context.client.clone(), &key.namespace);
    clusters.get_opt(&key.name).await
}

/// Whether brokers of a cluster are left, which need not be there itself.
pub async fn has_pods(key: &Key, context: &Context) -> Result<bool, kube::Error> {
    let own = ListParams::default()
        .labels(&format!("{CLUSTER_LABEL}={}", key.name))
        .limit(1);
    let pods: Api<PodObject> = Api::namespaced(context.client.clone(), &key.namespace);
    Ok(!pods.list_metadata(&own).await?.items.is_empty())
}

/// What the API server has.
async fn objects(cluster: &KafkaCluster, context: &Context) -> Result<Observed, kube::Error> {
    let Key { namespace, name } = &Key::of(cluster);
    let client = &context.client;
    let own = ListParams::default().labels(&format!("{CLUSTER_LABEL}={name}"));
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), namespace);
    let all_pods: Api<PodObject> = Api::namespaced(client.clone(), namespace);
    let all_claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(client.clone(), namespace);
    let (sets, found_pods, found_claims, budget) = tokio::try_join!(
        sets.list(&own),
        all_pods.list(&own),
        all_claims.list(&own),
        budgets.get_opt(name),
    )?;
    let mut observed = Observed {
        now: Timestamp::now(),
        sets: sets.items.iter().filter_map(set).collect(),
        pods: found_pods.items.iter().filter_map(pods::pod).collect(),
        budget: budget.as_ref().map(budget_of),
        ..Observed::default()
    };
    let pool_of = |id| pool_of(cluster, &observed, id);
    let (own, left) = claims::sorted(name, &found_claims.items, pool_of);
    (observed.claims, observed.left_claims) = (own, left);
    Ok(observed)
}

/// The pool that has a broker: that of its pod, else of the StatefulSet that wants it, else the one that the spec says.
fn pool_of<'a>(cluster: &'a KafkaCluster, observed: &'a Observed, id: i32) -> Option<&'a str> {
    let of_pod = observed.pods.get(&id).map(|pod| pod.pool.as_str());
    let mut sets = observed.sets.keys();
    let of_set = sets.find(|pool| observed.set_ids(pool).contains(&id));
    let mut pools = cluster.spec.pools.iter();
    let owns = |first: i32| (first..first.saturating_add(POOL_IDS)).contains(&id);
    let said = pools.find(|pool| owns(pool.first_broker_id));
    of_pod
        .or(of_set.map(String::as_str))
        .or(said.map(|pool| pool.name.as_str()))
}

fn set(object: &StatefulSet) -> Option<(String, Set)> {
    let pool = object.labels().get(POOL_LABEL)?.clone();
    let spec = object.spec.as_ref()?;
    let claim = spec.volume_claim_templates.iter().flatten().next();
    let requests = claim
        .and_then(|claim| claim.spec.as_ref())
        .and_then(|spec| spec.resources.as_ref())
        .and_then(|resources| resources.requests.as_ref());
    let size = requests.and_then(|requests| requests.get("storage"));
    let made = spec.template.metadata.as_ref();
    let made = made.and_then(|made| made.annotations.as_ref());
    let set = Set {
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        start: spec
            .ordinals
            .as_ref()
            .and_then(|ordinals| ordinals.start)
            .unwrap_or(0),
        replicas: spec.replicas.unwrap_or(1),
        volume_size: size.map(|size| size.0.clone()).unwrap_or_default(),
        cluster_id: claim.and_then(|claim| claim.labels().get(CLUSTER_ID_LABEL).cloned()),
        revision: made
            .and_then(|made| made.get(REVISION).cloned())
            .unwrap_or_default(),
        terminating: object.metadata.deletion_timestamp.is_some(),
    };
    Some((pool, set))
}

fn budget_of(object: &PodDisruptionBudget) -> Budget {
    let spec = object.spec.as_ref();
    Budget {
        resource_version: object.resource_version().unwrap_or_default(),
        max_unavailable: match spec.and_then(|spec| spec.max_unavailable.as_ref()) {
            Some(IntOrString::Int(count)) => Some(*count),
            _ => None,
        },
    }
}

/// A broker's id, from the end of its pod's or claim's name.
fn ordinal(name: &str) -> Option<i32> {
    name.rsplit('-').next()?.parse().ok()
}

/// What the brokers say, or why it does not count.
async fn view(door: &Door, observed: &Observed, topics: &mut Topics) -> Result<View, String> {
    let (cluster, leader) = led(door, observed).await?;
    let at_leader = At::Broker(leader);
    let brokers: Vec<ShownBroker> = told(door.get(at_leader, "/v1/brokers").await)?;
    if brokers.is_empty() {
        return Err("the quorum knows of no broker yet".to_owned());
    }
    topics.follow(door, leader).await?;
    Ok(View {
        cluster,
        brokers: brokers
            .into_iter()
            .map(|broker| (broker.id, broker))
            .collect(),
        topics: topics.facts(),
    })
}

/// The cluster and its quorum's leader, as the first broker has them that knows of a majority.
async fn led(door: &Door, observed: &Observed) -> Result<(ShownCluster, i32), String> {
    let first: ShownCluster = told(door.get(At::Any, "/v1/cluster").await)?;
    let answered_by = first.answered_by;
    let mut why = match counts(&first, &observed.cluster_ids()) {
        Ok(leader) => return Ok((first, leader)),
        Err(why) => why,
    };
    // One that is cut off goes on answering.
    let started = observed.pods.iter().filter(|(_, pod)| pod.started);
    for (id, _) in started.filter(|(id, _)| **id != answered_by) {
        let answer = door.get::<ShownCluster>(At::Broker(*id), "/v1/cluster");
        let Ok(cluster) = answer.await else { continue };
        match counts(&cluster, &observed.cluster_ids()) {
            Ok(leader) => return Ok((cluster, leader)),
            Err(other) => why = other,
        }
    }
    Err(why)
}

/// The quorum's leader, or why this answer does not count.
fn counts(cluster: &ShownCluster, bound: &BTreeSet<&str>) -> Result<i32, String> {
    let answered = cluster.cluster_id.as_str();
    if !bound.is_empty() && !bound.contains(answered) {
        return Err(format!(
            "broker {} is of the cluster {answered:?}, and the volumes are of another: {bound:?}",
            cluster.answered_by
        ));
    }
    let Some(quorum) = &cluster.quorum else {
        return Err("the metadata quorum has no leader".to_owned());
    };
    if !quorum.hears_majority() {
        let (heard, all) = quorum.heard();
        return Err(format!(
            "broker {} leads the metadata quorum, and hears from {heard} of {all} voters only",
            quorum.leader
        ));
    }
    Ok(quorum.leader)
}

fn told<T>(answer: Result<T, DoorError>) -> Result<T, String> {
    answer.map_err(|error| error.to_string())
}

/// The brokers whose process answers anything at all.
async fn live(door: &Door, observed: &Observed) -> BTreeSet<i32> {
    let asked = observed
        .pods
        .iter()
        .filter(|(_, pod)| pod.started)
        .map(|(id, _)| async {
            let answer = door.get::<Value>(At::Broker(*id), "/healthz/live").await;
            // It answers plain text, which is no JSON, and an answer all the same.
            let silent = matches!(
                answer,
                Err(DoorError::Unreachable { .. } | DoorError::Unknown(_))
            );
            (*id, !silent)
        });
    let asked: BTreeMap<i32, bool> = join_all(asked).await.into_iter().collect();
    asked
        .into_iter()
        .filter(|(_, live)| *live)
        .map(|(id, _)| id)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::brokers::{ShownMember, ShownQuorum};

    fn led_by(leader: i32, silent_ms: [Option<u64>; 3]) -> ShownCluster {
        let voter = |(broker, silent_ms)| ShownMember {
            broker,
            lag: Some(0),
            silent_ms,
        };
        ShownCluster {
            cluster_id: "id".to_owned(),
            quorum: Some(ShownQuorum {
                leader,
                voters: (0..).zip(silent_ms).map(voter).collect(),
                learners: Vec::new(),
            }),
            ..ShownCluster::default()
        }
    }

    #[test]
    fn a_leader_without_a_majority_does_not_count_nor_does_another_cluster() {
        let bound = BTreeSet::from(["id"]);
        let well = led_by(0, [None, Some(10), Some(60_000)]);
        assert_eq!(counts(&well, &bound), Ok(0));
        let deposed = led_by(0, [None, Some(60_000), None]);
        let why = counts(&deposed, &bound).unwrap_err();
        assert!(why.contains("hears from 1 of 3 voters"), "{why}");
        assert!(counts(&ShownCluster::default(), &BTreeSet::new()).is_err());
        assert!(counts(&well, &BTreeSet::from(["other"])).is_err());
    }
}
