//! When a cluster is looked at: when its spec changes, when something that belongs to it does, when a node does, and
//! after the time that its last look asked for. Never because of its own status.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{BoxStream, SelectAll};
use futures::{Stream, StreamExt};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use kube::core::{NamespaceResourceScope, PartialObjectMeta};
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster;
use crate::context::{Context, Key};
use crate::crd::KafkaCluster;
use crate::queue::Queue;

/// Clusters in hand at once.
const AT_ONCE: usize = 4;
/// After an error: the first time, and at most.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// What belongs to a cluster changes in bursts: they are looked at together.
const SETTLE: Duration = Duration::from_millis(200);
/// What a look is bounded by: every call in it is, and there are not many.
const LOOK_MAX: Duration = Duration::from_secs(120);

/// Where Prometheus' operator has its resources, and how often it is looked for.
const MONITORS: &str = "monitoring.coreos.com/v1";
const MONITORS_EVERY: Duration = Duration::from_secs(60);
const NOT_FOUND: u16 = 404;

/// Which namespaces: all where none is named.
#[derive(Clone, Debug, Default)]
pub struct Namespaces(pub Vec<String>);

impl Namespaces {
    fn apis<K>(&self, client: &Client) -> Vec<Api<K>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        match self.0.is_empty() {
            true => vec![Api::all(client.clone())],
            false => {
                let one = |name: &String| Api::namespaced(client.clone(), name);
                self.0.iter().map(one).collect()
            }
        }
    }
}

/// What of a cluster a look depends on: its generation, annotations, and whether it is being deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    uid: String,
    generation: Option<i64>,
    deleted: bool,
    annotations: Vec<(String, String)>,
}

/// All clusters that are there, as they were last seen.
#[derive(Debug, Default)]
struct Clusters(Mutex<HashMap<Key, Version>>);

impl Clusters {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Version>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this is another version than the one seen last.
    fn see(&self, cluster: &KafkaCluster) -> bool {
        let annotations = cluster.annotations().iter();
        let version = Version {
            uid: cluster.uid().unwrap_or_default(),
            generation: cluster.metadata.generation,
            deleted: cluster.metadata.deletion_timestamp.is_some(),
            annotations: annotations
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        };
        let before = self.lock().insert(Key::of(cluster), version.clone());
        before.as_ref() != Some(&version)
    }

    fn keys(&self) -> Vec<Key> {
        self.lock().keys().cloned().collect()
    }
}

/// Runs until `stop`; what is in hand then is done first.
pub async fn run(context: Arc<Context>, namespaces: Namespaces, stop: CancellationToken) {
    let queue = Arc::new(Queue::default());
    let clusters = Arc::new(Clusters::default());
    let workers = (0..AT_ONCE).map(|_| work(context.clone(), queue.clone(), stop.clone()));
    let workers = futures::future::join_all(workers);
    let look_at_all = || {
        for key in clusters.keys() {
            queue.add(key, SETTLE);
        }
    };
    let watches = async {
        tokio::join!(
            watch_clusters(&context, &namespaces, &queue, &clusters),
            watch_children(&context, &namespaces, &queue),
            watch_monitors(&context, look_at_all),
            context.nodes.watch(context.client.clone(), look_at_all),
        );
        // Each watch goes on for ever, but for that of nodes that may not be read.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = workers => {}
        () = watches => {}
    }
}

/// Prometheus' operator may come and go; a group of APIs can't be watched.
async fn watch_monitors(context: &Context, changed: impl Fn()) {
    loop {
        let group = context.client.list_api_group_resources(MONITORS).await;
        if let Some(there) = has_pod_monitors(&group)
            && context.pod_monitors.swap(there, Ordering::Relaxed) != there
        {
            changed();
        }
        tokio::time::sleep(MONITORS_EVERY).await;
    }
}

/// Whether the group has PodMonitors; none where that can't be said. Of a group that there is none of the API server says
/// so in plain text, with a code and no reason: `is_not_found` looks for the reason.
fn has_pod_monitors(group: &kube::Result<APIResourceList>) -> Option<bool> {
    match group {
        Ok(group) => Some(group.resources.iter().any(|one| one.name == "podmonitors")),
        Err(kube::Error::Api(status)) if status.code == NOT_FOUND => Some(false),
        Err(_) => None,
    }
}

async fn watch_clusters(
    context: &Context,
    namespaces: &Namespaces,
    queue: &Queue<Key>,
    clusters: &Clusters,
) {
    let apis = namespaces.apis::<KafkaCluster>(&context.client);
    let streams = apis.into_iter().map(|api| {
        let events = watcher(api, Config::default());
        events.default_backoff().boxed()
    });
    let mut events: SelectAll<_> = streams.collect();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(cluster) | Event::InitApply(cluster)) => {
                if clusters.see(&cluster) {
                    queue.add(Key::of(&cluster), Duration::ZERO);
                }
            }
            Ok(Event::Delete(cluster)) => {
                let key = Key::of(&cluster);
                clusters.lock().remove(&key);
                queue.add(key, Duration::ZERO);
            }
            Ok(Event::Init | Event::InitDone) => {}
            Err(error) => tracing::warn!(%error, "KafkaClusters can't be watched"),
        }
    }
}

async fn watch_children(context: &Context, namespaces: &Namespaces, queue: &Queue<Key>) {
    let mut all: SelectAll<BoxStream<'static, Key>> = SelectAll::new();
    all.extend(children::<StatefulSet>(context, namespaces));
    all.extend(children::<Pod>(context, namespaces));
    all.extend(children::<PersistentVolumeClaim>(context, namespaces));
    all.extend(children::<ConfigMap>(context, namespaces));
    all.extend(children::<Service>(context, namespaces));
    all.extend(children::<PodDisruptionBudget>(context, namespaces));
    while let Some(key) = all.next().await {
        queue.add(key, SETTLE);
    }
}

/// Only metadata is watched, and nothing of it kept: what changed is read when the cluster is looked at.
fn children<K>(
    context: &Context,
    namespaces: &Namespaces,
) -> impl Iterator<Item = BoxStream<'static, Key>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + 'static,
{
    let apis = namespaces
        .apis::<PartialObjectMeta<K>>(&context.client)
        .into_iter();
    apis.map(|api| {
        let config = Config::default().labels(cluster::fetch::CLUSTER_LABEL);
        keys(watcher(api, config).default_backoff()).boxed()
    })
}

fn keys<K: Resource>(
    events: impl Stream<Item = watcher::Result<Event<K>>>,
) -> impl Stream<Item = Key> {
    events.filter_map(|event| {
        std::future::ready(match event {
            Ok(Event::Apply(object) | Event::Delete(object) | Event::InitApply(object)) => {
                owner(&object)
            }
            Ok(Event::Init | Event::InitDone) => None,
            Err(error) => {
                tracing::warn!(%error, "what belongs to clusters can't be watched");
                None
            }
        })
    })
}

/// The cluster that something belongs to.
fn owner<K: Resource>(object: &K) -> Option<Key> {
    let name = object.labels().get(cluster::fetch::CLUSTER_LABEL)?.clone();
    let namespace = object.namespace()?;
    Some(Key { namespace, name })
}

async fn work(context: Arc<Context>, queue: Arc<Queue<Key>>, stop: CancellationToken) {
    let mut failures: HashMap<Key, u32> = HashMap::new();
    loop {
        let key = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            key = queue.next() => key,
        };
        if context.leadership.check().is_err() {
            // The process is about to end; it must not decide anything more.
            return;
        }
        let started = Instant::now();
        let looked = tokio::time::timeout(LOOK_MAX, cluster::reconcile(&key, &context)).await;
        let (result, again) = match looked {
            Ok(Ok(look)) => {
                failures.remove(&key);
                (look.word, look.again)
            }
            Ok(Err(error)) if error.is_conflict() => {
                tracing::debug!(cluster = %key, %error, "changed meanwhile");
                ("conflict", Some(RETRY_MIN))
            }
            Ok(Err(error)) => {
                tracing::warn!(cluster = %key, %error, "could not be reconciled");
                ("error", Some(backoff(&mut failures, &key)))
            }
            Err(_) => {
                tracing::warn!(cluster = %key, "could not be reconciled in time");
                ("error", Some(backoff(&mut failures, &key)))
            }
        };
        context
            .metrics
            .reconciled("KafkaCluster", result, started.elapsed());
        queue.done(key, again);
    }
}

fn backoff(failures: &mut HashMap<Key, u32>, key: &Key) -> Duration {
    let count = failures.entry(key.clone()).or_default();
    *count = (*count + 1).min(6);
    RETRY_MAX.min(RETRY_MIN * 2_u32.pow(*count - 1))
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    /// As kube gives what is no JSON.
    fn plain_text(code: u16) -> kube::Result<APIResourceList> {
        let status = Status::failure("404 page not found", "Failed to parse error data");
        Err(kube::Error::Api(status.with_code(code).boxed()))
    }

    #[test]
    fn pod_monitors_are_gone_where_their_group_is_unknown() {
        assert_eq!(has_pod_monitors(&plain_text(404)), Some(false));
        assert_eq!(has_pod_monitors(&plain_text(503)), None);
        assert_eq!(
            has_pod_monitors(&Ok(APIResourceList::default())),
            Some(false)
        );
    }
}
