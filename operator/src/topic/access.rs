//! Who may have topics in a cluster: `spec.topicAccess`.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt};

use crate::crd::KafkaCluster;
use crate::crd::cluster::{Namespaces, TopicAccess, TopicOperation};

/// What the operator knows of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceView {
    pub labels: BTreeMap<String, String>,
    /// It is being deleted with all that is in it.
    pub terminating: bool,
}

/// What a resource may do with its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    pub create: bool,
    pub adopt: bool,
    pub delete: bool,
}

impl Access {
    /// Nothing at all.
    pub const NONE: Self = Self {
        create: false,
        adopt: false,
        delete: false,
    };
    /// Everything.
    pub const ALL: Self = Self {
        create: true,
        adopt: true,
        delete: true,
    };

    /// Whether there is any.
    pub fn any(self) -> bool {
        self != Self::NONE
    }
}

/// What a resource in that namespace may do with the topic of that name. Any rule that fits is enough; without rules the
/// cluster's own namespace may do everything.
pub fn access(
    cluster: &KafkaCluster,
    namespace: &str,
    view: &NamespaceView,
    topic: &str,
) -> Access {
    let Some(rules) = &cluster.spec.topic_access else {
        let own = cluster.metadata.namespace.as_deref() == Some(namespace);
        return if own { Access::ALL } else { Access::NONE };
    };
    let fits = |rule: &&TopicAccess| {
        names(&rule.namespaces, namespace, view)
            && (rule.topic_prefixes.is_empty()
                || rule
                    .topic_prefixes
                    .iter()
                    .any(|prefix| topic.starts_with(prefix)))
    };
    let mut access = Access::NONE;
    for rule in rules.iter().filter(fits) {
        let allows = |operation| rule.operations.is_empty() || rule.operations.contains(&operation);
        access.create |= allows(TopicOperation::Create);
        access.adopt |= allows(TopicOperation::Adopt);
        access.delete |= allows(TopicOperation::Delete);
    }
    access
}

fn names(namespaces: &Namespaces, namespace: &str, view: &NamespaceView) -> bool {
    namespaces.names.iter().any(|name| name == namespace)
        || namespaces
            .selector
            .as_ref()
            .is_some_and(|selector| selects(selector, view))
}

/// A selector that can't be read selects nothing; the schema refuses most of those.
fn selects(selector: &LabelSelector, view: &NamespaceView) -> bool {
    let selector = Selector::try_from(selector.clone());
    selector.is_ok_and(|selector| selector.matches(&view.labels))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cluster(access: Value) -> KafkaCluster {
        let spec = json!({ "pools": [], "topicAccess": access });
        let mut cluster = KafkaCluster::new("main", serde_json::from_value(spec).unwrap());
        cluster.metadata.namespace = Some("kafka".into());
        cluster
    }

    fn may(cluster: &KafkaCluster, namespace: &str, topic: &str) -> Access {
        let view = NamespaceView {
            labels: BTreeMap::from([("team".into(), namespace.into())]),
            terminating: false,
        };
        access(cluster, namespace, &view, topic)
    }

    #[test]
    fn without_rules_only_the_clusters_own_namespace_has_topics() {
        let cluster = cluster(Value::Null);
        assert_eq!(may(&cluster, "kafka", "t"), Access::ALL);
        assert_eq!(may(&cluster, "shop", "t"), Access::NONE);
    }

    #[test]
    fn rules_name_namespaces_or_select_them_and_bound_the_names() {
        let cluster = cluster(json!([
            { "namespaces": { "names": ["kafka"] } },
            { "namespaces": { "selector": { "matchLabels": { "team": "shop" } } },
              "topicPrefixes": ["shop-", "cart-"] },
        ]));
        assert_eq!(may(&cluster, "kafka", "t"), Access::ALL);
        assert_eq!(may(&cluster, "shop", "cart-1"), Access::ALL);
        assert_eq!(may(&cluster, "shop", "t"), Access::NONE);
        assert_eq!(may(&cluster, "other", "cart-1"), Access::NONE);
    }

    #[test]
    fn operations_of_all_rules_that_fit_add_up() {
        let cluster = cluster(json!([
            { "namespaces": { "names": ["shop"] }, "operations": ["Create"] },
            { "namespaces": { "names": ["shop"] }, "operations": ["Delete"], "topicPrefixes": ["tmp-"] },
        ]));
        let create = Access {
            create: true,
            ..Access::NONE
        };
        assert_eq!(may(&cluster, "shop", "t"), create);
        assert_eq!(
            may(&cluster, "shop", "tmp-1"),
            Access {
                delete: true,
                ..create
            }
        );
    }

    #[test]
    fn a_rule_without_namespaces_fits_none_and_an_empty_selector_all() {
        assert_eq!(
            may(&cluster(json!([{ "namespaces": {} }])), "shop", "t"),
            Access::NONE
        );
        let all = cluster(json!([{ "namespaces": { "selector": {} } }]));
        assert_eq!(may(&all, "shop", "t"), Access::ALL);
    }

    #[test]
    fn an_empty_list_of_rules_shuts_everyone_out() {
        assert_eq!(may(&cluster(json!([])), "kafka", "t"), Access::NONE);
    }
}
