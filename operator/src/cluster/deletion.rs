//! A cluster that is deleted. With `Retain` nothing is to be done: what is owned goes with it, and claims are not owned.
//! With `Delete` a finalizer keeps it until its claims are deleted. Either way the brokers are told first that they all
//! stop, so that none waits for a lease that nobody will grant. So are those whose namespace is being deleted.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::fetch::{self, CLUSTER_LABEL, Seen};
use super::observed::{Node, Observed};
use super::status;
use super::step::stuck;
use crate::context::{Context, Key};
use crate::crd::KafkaCluster;
use crate::crd::cluster::ClusterDeletionPolicy;
use crate::door::{At, Door};
use crate::namespace::{self, Fate};
use crate::nodes;

/// On clusters whose volumes go with them.
pub const FINALIZER: &str = "milena.dev/volumes";

/// What a deletion has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// Pods still stop.
    Stopping,
    /// The finalizer is gone, and so is the cluster.
    Done,
}

fn has_finalizer(cluster: &KafkaCluster) -> bool {
    cluster.finalizers().iter().any(|one| one == FINALIZER)
}

/// Puts the finalizer on, or takes it off, as the policy says.
pub async fn keep_finalizer(
    cluster: &KafkaCluster,
    context: &Context,
) -> Result<bool, kube::Error> {
    let wanted = cluster.spec.deletion_policy == ClusterDeletionPolicy::Delete;
    if wanted == has_finalizer(cluster) {
        return Ok(false);
    }
    set_finalizer(cluster, context, wanted).await?;
    Ok(true)
}

async fn set_finalizer(
    cluster: &KafkaCluster,
    context: &Context,
    on: bool,
) -> Result<(), kube::Error> {
    let key = Key::of(cluster);
    let clusters: Api<KafkaCluster> = Api::namespaced(context.client.clone(), &key.namespace);
    let mut finalizers = cluster.finalizers().to_vec();
    finalizers.retain(|one| one != FINALIZER);
    if on {
        finalizers.push(FINALIZER.to_owned());
    }
    // The list is written as a whole, so it must be the one that was read.
    let patch = json!({ "metadata": {
        "resourceVersion": cluster.resource_version(),
        "finalizers": finalizers,
    }});
    clusters
        .patch(&key.name, &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    Ok(())
}

/// Tells the brokers that all of them stop. Where nobody answers, their own rules end their waiting.
pub async fn tell_stopping(door: &Door) {
    let body = json!({ "stopping": true });
    let told = door
        .post::<Value>(At::Any, "/v1/cluster/stopping", &body)
        .await;
    if let Err(error) = told {
        tracing::info!(%error, "the brokers are not told that the cluster stops");
    }
}

/// Tells them, where they do not know it yet.
pub async fn see_stopping(seen: &Seen) {
    let view = seen.observed.view.as_ref();
    let stopping = view.is_some_and(|view| view.cluster.stopping);
    if let Some(door) = seen.door.as_ref().filter(|_| !stopping) {
        tell_stopping(door).await;
    }
}

/// The operator stops. Where it goes with a namespace, nobody is left to tell the clusters of that namespace.
pub async fn leave(context: &Context) {
    let told = context
        .doors
        .all()
        .into_iter()
        .map(|(key, door)| async move {
            if namespace::fate(&key.namespace, &context.client).await == Fate::Ends {
                tell_stopping(&door).await;
            }
        });
    futures::future::join_all(told).await;
}

/// One look at a cluster of which no resource is there. Where its namespace is being deleted its brokers may be left.
pub async fn gone(key: &Key, context: &Context) -> Result<Deletion, kube::Error> {
    if let Some(door) = context.doors.take(key) {
        tell_stopping(&door).await;
    }
    context.memories.forget(key);
    context.metrics.forget(key, &status::TYPES);
    let ends = namespace::fate(&key.namespace, &context.client).await == Fate::Ends;
    if ends && fetch::has_pods(key, context).await? {
        return Ok(Deletion::Stopping);
    }
    if ends {
        namespace::look_again(&key.namespace, context).await?;
    }
    Ok(Deletion::Done)
}

/// One look at a cluster that is being deleted and has our finalizer, or had.
pub async fn go_on(
    cluster: &KafkaCluster,
    seen: &Seen,
    context: &Context,
) -> Result<Deletion, kube::Error> {
    see_stopping(seen).await;
    if !has_finalizer(cluster) {
        return Ok(Deletion::Done);
    }
    // The policy may have been changed back at the last moment.
    if cluster.spec.deletion_policy == ClusterDeletionPolicy::Retain {
        set_finalizer(cluster, context, false).await?;
        return Ok(Deletion::Done);
    }
    let key = Key::of(cluster);
    let sets: Api<StatefulSet> = Api::namespaced(context.client.clone(), &key.namespace);
    for set in seen.observed.sets.values().filter(|set| !set.terminating) {
        let params = uid_only(DeleteParams::background(), &set.uid);
        gone_is_fine(sets.delete(&set.name, &params).await)?;
    }
    if !seen.observed.sets.is_empty() {
        return Ok(Deletion::Stopping);
    }
    if !seen.observed.pods.is_empty() {
        delete_pods(&key, &seen.observed, context).await?;
        return Ok(Deletion::Stopping);
    }
    let claims: Api<PersistentVolumeClaim> =
        Api::namespaced(context.client.clone(), &key.namespace);
    let own = ListParams::default().labels(&format!("{CLUSTER_LABEL}={}", key.name));
    for claim in claims.list(&own).await?.items {
        let params = uid_only(DeleteParams::default(), &claim.uid().unwrap_or_default());
        gone_is_fine(claims.delete(&claim.name_any(), &params).await)?;
    }
    set_finalizer(cluster, context, false).await?;
    Ok(Deletion::Done)
}

/// They belong to the cluster too, which is still there. Those that nobody will end are deleted by force: what they have
/// is to go.
async fn delete_pods(key: &Key, observed: &Observed, context: &Context) -> Result<(), kube::Error> {
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &key.namespace);
    for pod in observed.pods.values() {
        let params = match (pod.deadline, is_stuck(observed, pod, context).await?) {
            (None, _) => DeleteParams::default(),
            (Some(_), true) => DeleteParams::default().grace_period(0),
            (Some(_), false) => continue,
        };
        gone_is_fine(pods.delete(&pod.name, &uid_only(params, &pod.uid)).await)?;
    }
    Ok(())
}

/// As its node is at this moment, where the one that was seen can't end it.
async fn is_stuck(
    observed: &Observed,
    pod: &super::observed::Pod,
    context: &Context,
) -> Result<bool, kube::Error> {
    let seen = observed.node_of(pod);
    let (Some(name), Some(_)) = (
        &pod.node,
        seen.and_then(|node| stuck::can_not_end(observed.now, pod, node)),
    ) else {
        return Ok(false);
    };
    let node = nodes::read(name, &context.client).await?;
    Ok(stuck::can_not_end(observed.now, pod, &node).is_some())
}

/// What a deletion waits for, in words.
pub fn awaited(observed: &Observed) -> String {
    let pods: Vec<String> = observed
        .pods
        .values()
        .map(|pod| match (&pod.node, observed.node_of(pod)) {
            (Some(name), Some(Node { gone: true, .. })) => {
                format!("{} (node {name} is gone)", pod.name)
            }
            (Some(name), Some(Node { ready: false, .. })) => {
                format!("{} (node {name} is not ready)", pod.name)
            }
            _ => pod.name.clone(),
        })
        .collect();
    match pods.is_empty() {
        true => "the StatefulSets and claims to go".to_owned(),
        false => format!("{} to stop", pods.join(", ")),
    }
}

fn uid_only(params: DeleteParams, uid: &str) -> DeleteParams {
    params.preconditions(Preconditions {
        uid: Some(uid.to_owned()),
        resource_version: None,
    })
}

fn gone_is_fine<T>(deleted: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match deleted {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::step::samples;

    #[test]
    fn a_deletion_says_which_pods_it_waits_for_and_which_of_their_nodes_do_not_answer() {
        let (_, mut observed) = samples::healthy();
        observed.pods.remove(&0);
        samples::node_of(&mut observed, 2).ready = false;
        let words = "main-broker-1, main-broker-2 (node node-2 is not ready) to stop";
        assert_eq!(awaited(&observed), words);
        observed.pods.clear();
        assert_eq!(awaited(&observed), "the StatefulSets and claims to go");
    }
}
