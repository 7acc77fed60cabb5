//! `<cluster>-brokers`: where clients find each broker, by listener.
//!
//! | type | host | port |
//! | --- | --- | --- |
//! | Internal | the pod's name | the listener's |
//! | ClusterIP | the broker's Service's name | the listener's |
//! | NodePort | the address of the pod's own node; without `Local`, where that is not known or does not serve, what it was as long as that node is there, else any node's | the Service's node port |
//! | LoadBalancer | the load balancer's name or address | the listener's |
//!
//! `advertisedHost`, `advertisedPort` and `advertisedHostTemplate` go before. A broker that runs takes over what changes as
//! soon as the kubelet has brought it to its pod.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::api::core::v1::ConfigMap;

use super::owned::{CLUSTER, meta};
use super::properties::{PEERS, escape, listener_name};
use super::service::broker_name;
use super::{Given, seats};
use crate::cluster::wanted::{PEERS_PORT, Wanted};
use crate::crd::cluster::{Listener, ListenerBroker, ListenerType, TrafficPolicy};

/// Where brokers stand, and how they can be reached from outside.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Surroundings {
    /// Addresses under which clients reach the nodes, by node: the external one where there is one. Nodes that serve.
    pub nodes: BTreeMap<String, String>,
    /// The node of each scheduled pod, by broker id.
    pub broker_nodes: BTreeMap<i32, String>,
    /// The cluster's Services as they are, by name.
    pub services: BTreeMap<String, Exposed>,
    /// The data of `<cluster>-brokers` as it is.
    pub told: BTreeMap<String, String>,
}

/// What a Service has got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposed {
    /// The port of its first port on the nodes.
    pub node_port: Option<i32>,
    /// The load balancer's name, else its address.
    pub ingress: Option<String>,
}

/// The ConfigMap, and the brokers whose Services have still to get their address on a listener.
pub(super) fn config_map(wanted: &Wanted, given: &Given) -> (ConfigMap, Vec<String>) {
    let mut unaddressed = Vec::new();
    let mut data = BTreeMap::new();
    for (pool, id) in seats(wanted, given) {
        let mut urls = vec![url(PEERS, &wanted.host(pool, id), PEERS_PORT)];
        for listener in &wanted.listeners {
            match address(wanted, listener, pool, id, &given.surroundings) {
                Some((host, port)) => urls.push(url(&listener_name(&listener.name), &host, port)),
                // No Service will ever have it.
                None if is_its_nodes(listener, id) => {}
                None => unaddressed.push(format!("broker {id}, listener {}", listener.name)),
            }
        }
        let mut text = String::new();
        _ = writeln!(text, "advertised.listeners={}", escape(&urls.join(",")));
        _ = writeln!(text, "broker.pool={}", escape(pool));
        data.insert(file(id), text);
    }
    let config_map = ConfigMap {
        metadata: meta(wanted, format!("{}-brokers", wanted.name), CLUSTER),
        data: Some(data),
        ..ConfigMap::default()
    };
    (config_map, unaddressed)
}

/// A broker's key, and the file that it reads.
fn file(id: i32) -> String {
    format!("{id}.properties")
}

/// Whether a broker's host is made of its own node's name or address: nobody knows it before there is a pod.
fn is_its_nodes(listener: &Listener, id: i32) -> bool {
    let own = listener.brokers.iter().find(|broker| broker.id == id);
    let is_local = listener.kind == ListenerType::NodePort
        && listener.external_traffic_policy == Some(TrafficPolicy::Local);
    match (own, &listener.advertised_host_template) {
        (Some(own), _) if own.advertised_host.is_some() => false,
        (_, Some(template)) => template.contains("{node"),
        (_, None) => is_local,
    }
}

/// Host and port that clients are told of a broker; none where that is not known yet.
pub fn address(
    wanted: &Wanted,
    listener: &Listener,
    pool: &str,
    id: i32,
    surroundings: &Surroundings,
) -> Option<(String, i32)> {
    let own = listener.brokers.iter().find(|broker| broker.id == id);
    let service = surroundings
        .services
        .get(&broker_name(wanted, &listener.name, id));
    let port = own
        .and_then(|own| own.advertised_port)
        .or(match listener.kind {
            ListenerType::NodePort => service.and_then(|service| service.node_port),
            _ => Some(listener.port),
        })?;
    let is_said = own.is_some_and(|own| own.advertised_host.is_some())
        || listener.advertised_host_template.is_some();
    let host = match listener.kind {
        _ if is_said => said(wanted, listener, own, pool, id, surroundings),
        ListenerType::Internal => Some(wanted.host(pool, id)),
        ListenerType::ClusterIP => {
            let service = broker_name(wanted, &listener.name, id);
            Some(format!("{service}.{}.svc", wanted.namespace))
        }
        ListenerType::NodePort => node(listener, id, surroundings).map(|(_, address)| address),
        ListenerType::LoadBalancer => service.and_then(|service| service.ingress.clone()),
    }?;
    Some((host, port))
}

/// The host that the manifest says, if what it names is known.
fn said(
    wanted: &Wanted,
    listener: &Listener,
    own: Option<&ListenerBroker>,
    pool: &str,
    id: i32,
    surroundings: &Surroundings,
) -> Option<String> {
    if let Some(host) = own.and_then(|own| own.advertised_host.clone()) {
        return Some(host);
    }
    let template = listener.advertised_host_template.as_deref()?;
    let mut host = template
        .replace("{id}", &id.to_string())
        .replace("{pod}", &wanted.pod(pool, id));
    if host.contains("{node") {
        let (name, address) = node(listener, id, surroundings)?;
        host = host.replace("{nodeIp}", &address).replace("{node}", &name);
    }
    Some(host)
}

/// The node, by name and address, through which a broker is reached.
fn node(listener: &Listener, id: i32, surroundings: &Surroundings) -> Option<(String, String)> {
    let Surroundings {
        nodes,
        broker_nodes,
        ..
    } = surroundings;
    let own = broker_nodes
        .get(&id)
        .and_then(|name| nodes.get_key_value(name));
    let by_template = listener.advertised_host_template.is_some();
    if listener.external_traffic_policy == Some(TrafficPolicy::Local) || by_template {
        return own.map(owned);
    }
    let told = told(listener, id, surroundings);
    let still = nodes
        .iter()
        .find(|(_, address)| Some(*address) == told.as_ref());
    // Any node takes connections for all of them; before the first pod is scheduled they are dealt out.
    let dealt = || {
        let at = usize::try_from(id).unwrap_or(0) % nodes.len().max(1);
        nodes.iter().nth(at)
    };
    own.or(still).or_else(dealt).map(owned)
}

fn owned((name, address): (&String, &String)) -> (String, String) {
    (name.clone(), address.clone())
}

/// The host that the broker was told for a listener.
fn told(listener: &Listener, id: i32, surroundings: &Surroundings) -> Option<String> {
    let text = surroundings.told.get(&file(id))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("advertised.listeners="))?;
    let start = format!("{}://", listener_name(&listener.name));
    let address = line
        .split(',')
        .find_map(|url| url.strip_prefix(start.as_str()))?;
    let (host, _) = address.rsplit_once(':')?;
    Some(host.trim_matches(['[', ']']).to_owned())
}

/// An IPv6 address stands in brackets.
fn url(name: &str, host: &str, port: i32) -> String {
    match host.contains(':') {
        true => format!("{name}://[{host}]:{port}"),
        false => format!("{name}://{host}:{port}"),
    }
}

/// Where clients begin, by listener: for the status. Without those that are not known yet.
pub fn bootstrap(wanted: &Wanted, surroundings: &Surroundings) -> BTreeMap<String, String> {
    let address = |listener: &Listener| {
        let service = super::service::bootstrap_name(wanted, &listener.name);
        let exposed = surroundings.services.get(&service);
        let inside = || Some(format!("{service}.{}.svc", wanted.namespace));
        let (host, port) = match listener.kind {
            ListenerType::Internal | ListenerType::ClusterIP => (inside(), Some(listener.port)),
            ListenerType::NodePort => (
                surroundings.nodes.values().next().cloned(),
                exposed.and_then(|exposed| exposed.node_port),
            ),
            ListenerType::LoadBalancer => (
                exposed.and_then(|exposed| exposed.ingress.clone()),
                Some(listener.port),
            ),
        };
        let named = listener.bootstrap.alternative_names.first().cloned();
        let host = named.or(host)?;
        let bracketed = match host.contains(':') {
            true => format!("[{host}]"),
            false => host,
        };
        Some((listener.name.clone(), format!("{bracketed}:{}", port?)))
    };
    wanted.listeners.iter().filter_map(address).collect()
}
