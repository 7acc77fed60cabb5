//! Where what the API server says is handed to the engine that it concerns: one engine for each cluster that a Topic names.
//!
//! No engine starts before all Topics, clusters and namespaces have been listed: what is not known yet must not look like
//! what is not there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::task::JoinHandle;

use super::News;
use super::access::NamespaceView;
use super::board::{Declared, TopicKey};
use super::brokers::Open;
use super::engine::Engine;
use super::inbox::Inbox;
use super::metrics::Metrics;
use super::registry::Registry;
use super::watch::{ClusterKey, Watched};
use crate::crd::KafkaCluster;

/// The engines, and what is known of the world around them.
pub struct Hub<R, O> {
    registry: Arc<R>,
    open: Arc<O>,
    metrics: Arc<Metrics>,
    clusters: HashMap<ClusterKey, Arc<KafkaCluster>>,
    namespaces: HashMap<String, NamespaceView>,
    engines: HashMap<ClusterKey, Running>,
    /// Which engine a Topic is with.
    places: HashMap<TopicKey, ClusterKey>,
    /// Topics that came before everything was listed.
    early: HashMap<TopicKey, Declared>,
    listed: Listed,
}

#[derive(Clone, Copy, Debug, Default)]
struct Listed {
    topics: bool,
    clusters: bool,
    namespaces: bool,
}

/// An engine at work; it ends with this.
struct Running {
    inbox: Arc<Inbox>,
    task: JoinHandle<()>,
    topics: usize,
    /// The namespaces that it was told of.
    told: HashSet<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<R: Registry, O: Open> Hub<R, O> {
    pub fn new(registry: Arc<R>, open: Arc<O>, metrics: Arc<Metrics>) -> Self {
        Self {
            registry,
            open,
            metrics,
            clusters: HashMap::new(),
            namespaces: HashMap::new(),
            engines: HashMap::new(),
            places: HashMap::new(),
            early: HashMap::new(),
            listed: Listed::default(),
        }
    }

    /// Takes over what the API server says.
    pub fn take(&mut self, news: News) {
        match news {
            News::Topic(Watched::Is(key, declared)) if self.is_ready() => self.place(key, declared),
            News::Topic(Watched::Is(key, declared)) => {
                self.early.insert(key, declared);
            }
            News::Topic(Watched::Gone(key)) => {
                self.early.remove(&key);
                self.displace(&key);
            }
            News::Cluster(Watched::Is(key, cluster)) => self.take_cluster(key, Some(cluster)),
            News::Cluster(Watched::Gone(key)) => self.take_cluster(key, None),
            News::Namespace(Watched::Is(name, view)) => self.take_namespace(name, view),
            News::Namespace(Watched::Gone(name)) => {
                self.namespaces.remove(&name);
            }
            News::Topic(Watched::All) => self.listed.topics = true,
            News::Cluster(Watched::All) => self.listed.clusters = true,
            News::Namespace(Watched::All) => self.listed.namespaces = true,
        }
        if self.is_ready() && !self.early.is_empty() {
            for (key, declared) in std::mem::take(&mut self.early) {
                self.place(key, declared);
            }
        }
    }

    fn is_ready(&self) -> bool {
        self.listed.topics && self.listed.clusters && self.listed.namespaces
    }

    fn take_cluster(&mut self, key: ClusterKey, cluster: Option<Arc<KafkaCluster>>) {
        let before = match &cluster {
            Some(cluster) => self.clusters.insert(key.clone(), cluster.clone()),
            None => self.clusters.remove(&key),
        };
        if says_nothing_new(before.as_deref(), cluster.as_deref()) {
            return;
        }
        if let Some(engine) = self.engines.get(&key) {
            engine.inbox.tell(|news| news.cluster = Some(cluster));
        }
    }

    fn take_namespace(&mut self, name: String, view: NamespaceView) {
        for engine in self.engines.values() {
            if engine.told.contains(&name) {
                let told = (name.clone(), view.clone());
                engine.inbox.tell(|news| news.namespaces.extend([told]));
            }
        }
        self.namespaces.insert(name, view);
    }

    fn place(&mut self, key: TopicKey, declared: Declared) {
        let reference = &declared.topic.spec.cluster_ref;
        let namespace = reference.namespace.as_deref().unwrap_or(&key.namespace);
        let cluster: ClusterKey = (namespace.to_owned(), reference.name.clone());
        if self.places.get(&key).is_some_and(|place| *place != cluster) {
            self.displace(&key);
        }
        let moved_in = self.places.insert(key.clone(), cluster.clone()).is_none();
        let engine = match self.engines.entry(cluster) {
            std::collections::hash_map::Entry::Occupied(engine) => engine.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => {
                let cluster = self.clusters.get(place.key()).cloned();
                let (namespace, name) = place.key();
                let inbox = Arc::new(Inbox::default());
                inbox.tell(|news| news.cluster = Some(cluster));
                let engine = Engine::new(
                    format!("{namespace}/{name}"),
                    self.registry.clone(),
                    self.open.clone(),
                    inbox.clone(),
                    self.metrics.clone(),
                );
                place.insert(Running {
                    inbox,
                    task: tokio::spawn(engine.run()),
                    topics: 0,
                    told: HashSet::new(),
                })
            }
        };
        engine.topics += usize::from(moved_in);
        let namespace = &*key.namespace;
        let new = !engine.told.contains(namespace);
        let view = new.then(|| self.namespaces.get(namespace).cloned().unwrap_or_default());
        engine.inbox.tell(|news| {
            if let Some(view) = view {
                news.namespaces.insert(namespace.to_owned(), view);
            }
            news.topics.insert(key.clone(), Some(declared));
        });
        if new {
            engine.told.insert(namespace.to_owned());
        }
    }

    fn displace(&mut self, key: &TopicKey) {
        let Some(cluster) = self.places.remove(key) else {
            return;
        };
        let Some(engine) = self.engines.get_mut(&cluster) else {
            return;
        };
        engine.topics -= 1;
        if engine.topics > 0 {
            engine.inbox.tell(|news| {
                news.topics.insert(key.clone(), None);
            });
            return;
        }
        self.engines.remove(&cluster);
        let (namespace, name) = cluster;
        self.metrics.forget(&format!("{namespace}/{name}"));
    }
}

/// A cluster's status changes all the time, and is nobody's business here.
fn says_nothing_new(before: Option<&KafkaCluster>, after: Option<&KafkaCluster>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => {
            let (before, after) = (&before.metadata, &after.metadata);
            before.uid == after.uid
                && before.generation == after.generation
                && before.deletion_timestamp == after.deletion_timestamp
        }
        (None, None) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::engine::tests::world::{Api, Way};
    use super::*;
    use crate::crd::Topic;

    fn hub() -> Hub<Api, Way> {
        Hub::new(
            Arc::default(),
            Arc::new(Way(Arc::default())),
            Arc::default(),
        )
    }

    fn topic(name: &str, cluster: &str) -> News {
        let spec = json!({ "clusterRef": { "name": cluster }, "partitions": 1 });
        let mut topic = Topic::new(name, serde_json::from_value(spec).unwrap());
        topic.metadata.namespace = Some("ns".into());
        let key = TopicKey::of(&topic);
        let declared = Declared {
            topic: Arc::new(topic),
            unreadable: None,
        };
        News::Topic(Watched::Is(key, declared))
    }

    fn all_listed(hub: &mut Hub<Api, Way>) {
        hub.take(News::Topic(Watched::All));
        hub.take(News::Cluster(Watched::All));
        hub.take(News::Namespace(Watched::All));
    }

    fn engines(hub: &Hub<Api, Way>) -> Vec<(String, usize)> {
        let engines = hub.engines.iter();
        let mut engines: Vec<_> = engines
            .map(|((namespace, name), engine)| (format!("{namespace}/{name}"), engine.topics))
            .collect();
        engines.sort();
        engines
    }

    #[tokio::test]
    async fn nothing_starts_before_everything_is_listed() {
        let mut hub = hub();
        hub.take(topic("a", "main"));
        hub.take(News::Topic(Watched::All));
        hub.take(News::Cluster(Watched::All));
        assert_eq!(engines(&hub), []);
        hub.take(News::Namespace(Watched::All));
        assert_eq!(engines(&hub), [("ns/main".to_owned(), 1)]);
    }

    #[tokio::test]
    async fn each_cluster_has_one_engine_which_ends_with_its_last_topic() {
        let mut hub = hub();
        all_listed(&mut hub);
        for (name, cluster) in [("a", "main"), ("b", "main"), ("c", "other"), ("a", "main")] {
            hub.take(topic(name, cluster));
        }
        let both = [("ns/main".to_owned(), 2), ("ns/other".to_owned(), 1)];
        assert_eq!(engines(&hub), both);
        let key = TopicKey {
            namespace: "ns".into(),
            name: "c".into(),
        };
        hub.take(News::Topic(Watched::Gone(key)));
        assert_eq!(engines(&hub), both[..1]);
    }

    #[tokio::test]
    async fn a_resource_made_anew_for_another_cluster_leaves_the_former_one() {
        let mut hub = hub();
        all_listed(&mut hub);
        hub.take(topic("a", "main"));
        hub.take(topic("b", "main"));
        hub.take(topic("a", "other"));
        let both = [("ns/main".to_owned(), 1), ("ns/other".to_owned(), 1)];
        assert_eq!(engines(&hub), both);
    }
}
