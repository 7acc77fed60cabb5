//! What listeners that lead outside depend on: nodes' addresses, what Services have got, what brokers were told.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::CLUSTER_LABEL;
use crate::cluster::build::Surroundings;
use crate::cluster::build::advertised::Exposed;
use crate::cluster::observed::Observed;
use crate::context::{Context, Key};

/// Looks at Services and at what brokers were told.
pub async fn of(
    key: &Key,
    observed: &Observed,
    context: &Context,
) -> Result<Surroundings, kube::Error> {
    let services: Api<Service> = Api::namespaced(context.client.clone(), &key.namespace);
    let maps: Api<ConfigMap> = Api::namespaced(context.client.clone(), &key.namespace);
    let own = ListParams::default().labels(&format!("{CLUSTER_LABEL}={}", key.name));
    let told = format!("{}-brokers", key.name);
    let (services, told) = tokio::try_join!(services.list(&own), maps.get_opt(&told))?;
    let pods = observed.pods.iter();
    let broker_nodes = pods.filter_map(|(id, pod)| Some((*id, pod.node.clone()?)));
    Ok(Surroundings {
        nodes: context
            .nodes
            .addresses()
            .unwrap_or_else(|| nodes_of_pods(observed)),
        broker_nodes: broker_nodes.collect(),
        services: services.items.iter().map(exposed).collect(),
        told: told.and_then(|told| told.data).unwrap_or_default(),
    })
}

/// Where nodes may not be read, those of the cluster's own pods are known all the same.
fn nodes_of_pods(observed: &Observed) -> BTreeMap<String, String> {
    let pods = observed.pods.values();
    let nodes = pods.filter_map(|pod| Some((pod.node.clone()?, pod.host_ip.clone()?)));
    nodes.collect()
}

fn exposed(service: &Service) -> (String, Exposed) {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
    let port = ports.and_then(|ports| ports.first());
    let balancer = service
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref()?.first());
    let exposed = Exposed {
        node_port: port.and_then(|port| port.node_port),
        ingress: ingress.and_then(|one| one.hostname.clone().or_else(|| one.ip.clone())),
    };
    (service.name_any(), exposed)
}
