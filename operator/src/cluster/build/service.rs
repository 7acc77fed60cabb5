//! Services: one that gives each pod a name, one for each listener where clients begin, and one for each broker of
//! listeners that lead outside.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::owned::{LISTENER, brokers, meta};
use super::{Given, seats};
use crate::cluster::wanted::{HTTP_PORT, PEERS_PORT, Wanted};
use crate::crd::cluster::{Listener, ListenerType, TrafficPolicy};

/// Set by the StatefulSet's controller on each pod.
const POD_NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
/// The name of a listener's port in its Services.
const PORT_NAME: &str = "kafka";

pub(super) fn all(wanted: &Wanted, given: &Given) -> Vec<Service> {
    let mut services = vec![peers(wanted)];
    for listener in &wanted.listeners {
        services.push(bootstrap(wanted, listener));
        if listener.kind != ListenerType::Internal {
            let seats = seats(wanted, given).into_iter();
            services.extend(seats.map(|(pool, id)| broker(wanted, listener, pool, id)));
        }
    }
    services
}

/// Where clients of a listener begin.
pub(super) fn bootstrap_name(wanted: &Wanted, listener: &str) -> String {
    match listener == wanted.internal().name {
        true => format!("{}-bootstrap", wanted.name),
        false => format!("{}-{listener}-bootstrap", wanted.name),
    }
}

/// Where clients of a listener find one broker.
pub(super) fn broker_name(wanted: &Wanted, listener: &str, id: i32) -> String {
    format!("{}-{listener}-{id}", wanted.name)
}

/// Headless. Peers find each other before they are ready, and a broker that ends is found while it hands over.
fn peers(wanted: &Wanted) -> Service {
    let mut ports = vec![
        port("peers", PEERS_PORT, None),
        port("http", HTTP_PORT, None),
    ];
    ports.push(port(PORT_NAME, wanted.internal().port, None));
    Service {
        metadata: meta(wanted, format!("{}-peers", wanted.name), LISTENER),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(brokers(wanted)),
            ports: Some(ports),
            type_: Some("ClusterIP".to_owned()),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// The only Services that follow readiness: whoever begins here gets an answer.
fn bootstrap(wanted: &Wanted, listener: &Listener) -> Service {
    let mut metadata = meta(wanted, bootstrap_name(wanted, &listener.name), LISTENER);
    let mut annotations = listener.annotations.clone();
    annotations.extend(listener.bootstrap.annotations.clone());
    metadata.annotations = (!annotations.is_empty()).then_some(annotations);
    let port = port(PORT_NAME, listener.port, listener.bootstrap.node_port);
    Service {
        metadata,
        spec: Some(ServiceSpec {
            publish_not_ready_addresses: Some(false),
            selector: Some(brokers(wanted)),
            ..exposed(listener, port)
        }),
        status: None,
    }
}

/// Leads to one broker, ready or not.
fn broker(wanted: &Wanted, listener: &Listener, pool: &str, id: i32) -> Service {
    let pod = wanted.pod(pool, id);
    let mut metadata = meta(wanted, broker_name(wanted, &listener.name, id), LISTENER);
    let filled = |text: &String| text.replace("{id}", &id.to_string()).replace("{pod}", &pod);
    let annotations: BTreeMap<_, _> = listener
        .annotations
        .iter()
        .map(|(key, value)| (key.clone(), filled(value)))
        .collect();
    metadata.annotations = (!annotations.is_empty()).then_some(annotations);
    let own = listener.brokers.iter().find(|broker| broker.id == id);
    let port = port(PORT_NAME, listener.port, own.and_then(|own| own.node_port));
    Service {
        metadata,
        spec: Some(ServiceSpec {
            publish_not_ready_addresses: Some(true),
            selector: Some([(POD_NAME_LABEL.to_owned(), pod)].into()),
            ..exposed(listener, port)
        }),
        status: None,
    }
}

fn exposed(listener: &Listener, port: ServicePort) -> ServiceSpec {
    let sources = &listener.allowed_sources;
    let (kind, leads_outside) = match listener.kind {
        ListenerType::Internal | ListenerType::ClusterIP => ("ClusterIP", false),
        ListenerType::NodePort => ("NodePort", true),
        ListenerType::LoadBalancer => ("LoadBalancer", true),
    };
    let policy = match listener.external_traffic_policy {
        Some(TrafficPolicy::Local) => "Local",
        Some(TrafficPolicy::Cluster) | None => "Cluster",
    };
    let sourced = listener.kind == ListenerType::LoadBalancer && !sources.is_empty();
    ServiceSpec {
        type_: Some(kind.to_owned()),
        ports: Some(vec![port]),
        external_traffic_policy: leads_outside.then(|| policy.to_owned()),
        load_balancer_source_ranges: sourced.then(|| sources.clone()),
        ..ServiceSpec::default()
    }
}

fn port(name: &str, number: i32, node_port: Option<i32>) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: number,
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::Int(number)),
        node_port,
        app_protocol: None,
    }
}
