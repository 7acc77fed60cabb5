//! Topics, KafkaClusters and namespaces as the API server has them, cut down to what is needed here.
//!
//! One resource that can't be read must not hide the others: what is wrong with it becomes part of what is known of it.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

use futures::stream::{BoxStream, SelectAll};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ApiResource, DynamicObject};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Config, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::warn;

use super::board::{Declared, TopicKey};
use crate::crd::topic::TopicSpec;
use crate::crd::{KafkaCluster, Topic};

/// Resources of one answer while all are listed: what the peak of memory depends on.
const PAGE: u32 = 250;

/// What a watch says of things of one kind.
#[derive(Debug)]
pub enum Watched<K, T> {
    /// It is so now.
    Is(K, T),
    /// It is no more.
    Gone(K),
    /// All that there are have been told of since the last time.
    All,
}

/// A cluster's place: its namespace and its name.
pub type ClusterKey = (String, String);

/// A Topic of what the API server sends, with a default spec and the reason where that can't be read.
pub fn read(mut object: DynamicObject) -> Declared {
    let mut written = part(&mut object, "spec");
    let reference = written["clusterRef"].clone();
    let (spec, unreadable) = match serde_json::from_value(written.take()) {
        Ok(spec) => (spec, None),
        Err(error) => {
            let spec = TopicSpec {
                cluster_ref: serde_json::from_value(reference).unwrap_or_default(),
                ..Default::default()
            };
            (spec, Some(error.to_string()))
        }
    };
    let mut topic = Topic::new("", spec);
    topic.status = serde_json::from_value(part(&mut object, "status")).unwrap_or_default();
    topic.metadata = object.metadata;
    slim(&mut topic.metadata);
    Declared {
        topic: Arc::new(topic),
        unreadable,
    }
}

/// What nobody here reads is not kept.
fn slim(metadata: &mut kube::core::ObjectMeta) {
    metadata.managed_fields = None;
    metadata.annotations = None;
    metadata.labels = None;
    metadata.owner_references = None;
}

/// All Topics of these namespaces, or of all.
pub fn topics(
    client: &Client,
    namespaces: &[String],
) -> impl Stream<Item = Watched<TopicKey, Declared>> + Send + use<> {
    let resource = ApiResource::erase::<Topic>(&());
    let streams = apis::<DynamicObject>(client, namespaces, &resource);
    let key = |object: &DynamicObject| TopicKey {
        namespace: object
            .metadata
            .namespace
            .as_deref()
            .unwrap_or_default()
            .into(),
        name: object.metadata.name.as_deref().unwrap_or_default().into(),
    };
    watched(streams, key, |object| Some(read(object)))
}

/// All KafkaClusters of these namespaces, or of all. One that can't be read is not told of: its Topics wait as they do for
/// one that is not there.
pub fn clusters(
    client: &Client,
    namespaces: &[String],
) -> impl Stream<Item = Watched<ClusterKey, Arc<KafkaCluster>>> + Send + use<> {
    let resource = ApiResource::erase::<KafkaCluster>(&());
    let streams = apis::<DynamicObject>(client, namespaces, &resource);
    let key = |object: &DynamicObject| {
        let metadata = object.metadata.clone();
        (
            metadata.namespace.unwrap_or_default(),
            metadata.name.unwrap_or_default(),
        )
    };
    watched(streams, key, |object| match cluster(object) {
        Ok(cluster) => Some(Arc::new(cluster)),
        Err(problem) => {
            warn!("{problem}");
            None
        }
    })
}

fn part(object: &mut DynamicObject, name: &str) -> Value {
    let part = object.data.get_mut(name);
    part.map(Value::take).unwrap_or_default()
}

fn cluster(mut object: DynamicObject) -> Result<KafkaCluster, String> {
    let name = object.metadata.name.clone().unwrap_or_default();
    let spec = serde_json::from_value(part(&mut object, "spec"));
    let spec = spec.map_err(|error| format!("KafkaCluster {name} can't be read: {error}"))?;
    let mut cluster = KafkaCluster::new("", spec);
    cluster.metadata = object.metadata;
    slim(&mut cluster.metadata);
    Ok(cluster)
}

/// All namespaces' labels and ends.
pub fn namespaces(
    client: &Client,
) -> impl Stream<Item = Watched<String, super::access::NamespaceView>> + Send + use<> {
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    let key =
        |object: &PartialObjectMeta<Namespace>| object.metadata.name.clone().unwrap_or_default();
    watched(vec![api], key, |object| {
        Some(super::access::NamespaceView {
            labels: object.metadata.labels.unwrap_or_default(),
            terminating: object.metadata.deletion_timestamp.is_some(),
        })
    })
}

fn apis<K>(client: &Client, namespaces: &[String], resource: &ApiResource) -> Vec<Api<K>>
where
    K: Resource<DynamicType = ApiResource, Scope = kube::core::DynamicResourceScope>,
{
    if namespaces.is_empty() {
        return vec![Api::all_with(client.clone(), resource)];
    }
    let one = |namespace: &String| Api::namespaced_with(client.clone(), namespace, resource);
    namespaces.iter().map(one).collect()
}

type Told<K, T> = BoxStream<'static, Watched<K, T>>;

/// The watches as one: `All` comes when each of them has told of all, and after that whenever one has done so again.
fn watched<R, K, T>(
    apis: Vec<Api<R>>,
    key: impl Fn(&R) -> K + Clone + Send + 'static,
    read: impl Fn(R) -> Option<T> + Clone + Send + 'static,
) -> impl Stream<Item = Watched<K, T>> + Send
where
    R: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K: Clone + Ord + Send + 'static,
    T: Send + 'static,
{
    let mut missing = apis.len();
    let streams: SelectAll<Told<K, T>> = apis
        .into_iter()
        .map(|api| one(api, key.clone(), read.clone()).boxed())
        .collect();
    streams.filter_map(move |told| {
        let first = matches!(told, Watched::All) && missing > 0;
        missing -= usize::from(first);
        let kept = !(first && missing > 0);
        std::future::ready(kept.then_some(told))
    })
}

fn one<R, K, T>(
    api: Api<R>,
    key: impl Fn(&R) -> K + Send + 'static,
    read: impl Fn(R) -> Option<T> + Send + 'static,
) -> impl Stream<Item = Watched<K, T>> + Send
where
    R: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K: Clone + Ord + Send + 'static,
    T: Send + 'static,
{
    let mut ledger = Ledger::default();
    let events = watch(api, Config::default().page_size(PAGE)).default_backoff();
    events.flat_map(move |event| {
        let told = match event {
            Ok(event) => ledger.tell(event, &key, &read),
            Err(error) => {
                warn!(%error, "the API server can't be watched; it is tried again");
                forbidden(&error)
                    .then_some(Watched::All)
                    .into_iter()
                    .collect()
            }
        };
        futures::stream::iter(told)
    })
}

/// Where the operator may not look, there is nothing for it to see.
fn forbidden(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) => status.code == 403,
        _ => false,
    }
}

/// What one watch has told of: what is not listed again is gone.
struct Ledger<K> {
    known: BTreeSet<K>,
    listed: BTreeSet<K>,
}

impl<K> Default for Ledger<K> {
    fn default() -> Self {
        Self {
            known: BTreeSet::new(),
            listed: BTreeSet::new(),
        }
    }
}

impl<K: Clone + Ord> Ledger<K> {
    fn tell<R, T>(
        &mut self,
        event: Event<R>,
        key: &impl Fn(&R) -> K,
        read: &impl Fn(R) -> Option<T>,
    ) -> Vec<Watched<K, T>> {
        let listing = matches!(event, Event::InitApply(_));
        match event {
            Event::Init => {
                self.listed.clear();
                Vec::new()
            }
            Event::Apply(object) | Event::InitApply(object) => {
                let key = key(&object);
                let told = read(object);
                match &told {
                    Some(_) => self.known.insert(key.clone()),
                    None => self.known.remove(&key),
                };
                if listing && told.is_some() {
                    self.listed.insert(key.clone());
                }
                vec![told.map_or_else(
                    || Watched::Gone(key.clone()),
                    |told| Watched::Is(key.clone(), told),
                )]
            }
            Event::Delete(object) => {
                let key = key(&object);
                self.known.remove(&key);
                vec![Watched::Gone(key)]
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                let gone: Vec<K> = self.known.difference(&listed).cloned().collect();
                self.known = listed;
                let gone = gone.into_iter().map(Watched::Gone);
                gone.chain([Watched::All]).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_topic_that_cannot_be_read_keeps_its_status_and_says_why() {
        let declared = read(object(json!({
            "apiVersion": "milena.dev/v1alpha1", "kind": "Topic",
            "metadata": { "name": "t", "namespace": "ns", "managedFields": [{ "manager": "x" }] },
            "spec": { "clusterRef": { "name": "main" }, "partitions": "many" },
            "status": { "topicId": "id", "conditions": [] },
        })));
        assert!(declared.unreadable.is_some());
        let topic = &declared.topic;
        assert_eq!(topic.metadata.name.as_deref(), Some("t"));
        assert_eq!(topic.spec.cluster_ref.name, "main");
        assert_eq!(topic.metadata.managed_fields, None);
        assert_eq!(
            topic.status.as_ref().unwrap().topic_id.as_deref(),
            Some("id")
        );
    }

    #[test]
    fn what_is_not_listed_again_is_gone() {
        let mut ledger = Ledger::<u8>::default();
        let mut tell = |event: Event<u8>| {
            let told = ledger.tell(event, &|number| *number, &|number| Some(number));
            let words = told.into_iter().map(|told| match told {
                Watched::Is(key, _) => format!("is {key}"),
                Watched::Gone(key) => format!("gone {key}"),
                Watched::All => "all".to_owned(),
            });
            words.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(tell(Event::Init), "");
        assert_eq!(tell(Event::InitApply(1)), "is 1");
        assert_eq!(tell(Event::InitApply(2)), "is 2");
        assert_eq!(tell(Event::InitDone), "all");
        assert_eq!(tell(Event::Apply(3)), "is 3");
        assert_eq!(tell(Event::Init), "");
        assert_eq!(tell(Event::InitApply(3)), "is 3");
        assert_eq!(tell(Event::InitDone), "gone 1 gone 2 all");
        assert_eq!(tell(Event::Delete(3)), "gone 3");
    }
}
