//! The PodMonitor of the Prometheus operator (monitoring.coreos.com/v1).

use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::json;

use super::owned::{BROKER, brokers, meta};
use crate::cluster::wanted::Wanted;

/// Where its CRD is looked for.
pub fn api_resource() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(
        "monitoring.coreos.com",
        "v1",
        "PodMonitor",
    ))
}

/// Scrapes `/metrics` of every broker, with the cluster's and the broker's name as labels.
pub(super) fn build(wanted: &Wanted) -> DynamicObject {
    let label =
        |source: &str, target: &str| json!({ "sourceLabels": [source], "targetLabel": target });
    let spec = json!({
        "selector": { "matchLabels": brokers(wanted) },
        "podMetricsEndpoints": [{
            "port": "http",
            "path": "/metrics",
            "relabelings": [
                label("__meta_kubernetes_pod_label_milena_dev_cluster", "kafka_cluster"),
                label("__meta_kubernetes_pod_label_milena_dev_pool", "pool"),
                label("__meta_kubernetes_pod_label_apps_kubernetes_io_pod_index", "broker"),
            ],
        }],
    });
    let mut object =
        DynamicObject::new(&wanted.name, &api_resource()).data(json!({ "spec": spec }));
    object.metadata = meta(wanted, wanted.name.clone(), BROKER);
    object
}
