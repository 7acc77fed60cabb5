//! All nodes, as far as brokers mind: kept up by a watch, a few words each. Absent where the operator may not read
//! nodes; what needs them is left away then.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Node as NodeObject, Taint};
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};

use crate::cluster::observed::Node;

/// Set by who knows that a node is down for good.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
/// Taints of those who will take a node away: the autoscaler, and both ages of Karpenter.
const LEAVING: [&str; 3] = [
    "ToBeDeletedByClusterAutoscaler",
    "karpenter.sh/disrupted",
    "karpenter.sh/disruption",
];
/// Set to `replicas` to have replicas leave a node.
const DRAIN: &str = "milena.dev/drain";

/// All nodes, or nothing where they may not be read. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    known: Option<Arc<RwLock<BTreeMap<String, Node>>>>,
}

impl Nodes {
    /// Nodes that [`Nodes::watch`] will fill.
    pub fn readable() -> Self {
        Self {
            known: Some(Arc::default()),
        }
    }

    /// The nodes of these names; one that is not there any more is gone.
    pub fn of<'a>(
        &self,
        names: impl Iterator<Item = &'a String>,
    ) -> Option<BTreeMap<String, Node>> {
        let known = self
            .known
            .as_ref()?
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            // The first list has not come yet: a Kubernetes cluster without nodes has no pods either.
            return None;
        }
        let node = |name: &String| (name.clone(), known.get(name).cloned().unwrap_or_else(gone));
        Some(names.map(node).collect())
    }

    /// Where clients reach the nodes that serve, by name.
    pub fn addresses(&self) -> Option<BTreeMap<String, String>> {
        let known = self
            .known
            .as_ref()?
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let serving = known
            .iter()
            .filter(|(_, node)| node.ready && !node.out_of_service);
        let address = |(name, node): (&String, &Node)| Some((name.clone(), node.address.clone()?));
        Some(serving.filter_map(address).collect())
    }

    /// Follows all nodes for ever, and says each time that something changed that brokers mind.
    pub async fn watch(&self, client: Client, changed: impl Fn()) {
        let Some(known) = &self.known else {
            return;
        };
        let nodes: Api<NodeObject> = Api::all(client);
        let events = watcher(nodes, Config::default());
        let events = events.default_backoff().map_ok(|event| match event {
            Event::Apply(node) => Event::Apply(reduced(&node)),
            Event::InitApply(node) => Event::InitApply(reduced(&node)),
            Event::Delete(node) => Event::Delete(reduced(&node)),
            Event::Init => Event::Init,
            Event::InitDone => Event::InitDone,
        });
        let mut events = std::pin::pin!(events);
        let mut listed = BTreeMap::new();
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    tracing::warn!(%error, "nodes can't be watched");
                    continue;
                }
            };
            let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
            let differs = match event {
                Event::Init => {
                    listed.clear();
                    false
                }
                Event::InitApply((name, node)) => {
                    listed.insert(name, node);
                    false
                }
                Event::InitDone => {
                    let before = std::mem::replace(&mut *known, std::mem::take(&mut listed));
                    before != *known
                }
                Event::Apply((name, node)) => {
                    known.insert(name, node.clone()).as_ref() != Some(&node)
                }
                Event::Delete((name, _)) => known.remove(&name).is_some(),
            };
            drop(known);
            if differs {
                changed();
            }
        }
    }
}

/// One node as it is now, whatever a watch has told; one that is not there is gone.
pub async fn read(name: &str, client: &Client) -> Result<Node, kube::Error> {
    let nodes: Api<NodeObject> = Api::all(client.clone());
    let found = nodes.get_opt(name).await?;
    Ok(found.map_or_else(gone, |object| reduced(&object).1))
}

fn gone() -> Node {
    Node {
        gone: true,
        ..Node::default()
    }
}

fn reduced(object: &NodeObject) -> (String, Node) {
    let spec = object.spec.as_ref();
    let cordoned = spec.and_then(|spec| spec.unschedulable) == Some(true);
    let taints: &[Taint] = spec
        .and_then(|spec| spec.taints.as_deref())
        .unwrap_or_default();
    let conditions = object
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    let node = Node {
        labels: object.labels().clone(),
        leaving: cordoned
            || taints
                .iter()
                .any(|taint| LEAVING.contains(&taint.key.as_str())),
        address: address(object),
        drain_replicas: object
            .annotations()
            .get(DRAIN)
            .is_some_and(|how| how == "replicas"),
        ready: conditions.any(|one| one.type_ == "Ready" && one.status == "True"),
        out_of_service: taints.iter().any(|taint| taint.key == OUT_OF_SERVICE),
        gone: false,
    };
    (object.name_any(), node)
}

fn address(object: &NodeObject) -> Option<String> {
    let addresses = object.status.as_ref()?.addresses.as_ref()?;
    let of = |kind: &str| addresses.iter().find(|address| address.type_ == kind);
    let found = of("ExternalIP").or_else(|| of("InternalIP"))?;
    Some(found.address.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_goes_when_it_is_cordoned_or_tainted_for_it() {
        let node = |spec, annotations| {
            let object = json!({ "metadata": { "name": "n", "annotations": annotations }, "spec": spec,
                "status": { "conditions": [{ "type": "Ready", "status": "True" }] } });
            reduced(&serde_json::from_value(object).unwrap()).1
        };
        let plain = node(json!({}), json!({}));
        assert!(plain.ready && !plain.leaving && !plain.drain_replicas && !plain.out_of_service);
        assert!(node(json!({ "unschedulable": true }), json!({})).leaving);
        let tainted = |key: &str| {
            node(
                json!({ "taints": [{ "key": key, "effect": "NoExecute" }] }),
                json!({}),
            )
        };
        assert!(tainted("karpenter.sh/disrupted").leaving);
        assert!(tainted(OUT_OF_SERVICE).out_of_service);
        assert!(!tainted("node.kubernetes.io/not-ready").leaving);
        assert!(node(json!({}), json!({ DRAIN: "replicas" })).drain_replicas);
    }

    #[test]
    fn a_pods_node_that_is_not_there_is_gone_unless_nothing_was_read_yet() {
        let nodes = Nodes::readable();
        let name = "n".to_owned();
        assert_eq!(nodes.of([&name].into_iter()), None);
        let known = nodes.known.as_ref().unwrap();
        known
            .write()
            .unwrap()
            .insert("other".to_owned(), Node::default());
        assert!(nodes.of([&name].into_iter()).unwrap()["n"].gone);
        assert_eq!(Nodes::default().of([&name].into_iter()), None);
    }
}
