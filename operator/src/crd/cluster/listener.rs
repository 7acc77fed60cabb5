//! A listener: a port where clients connect, and the Services that lead there.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A port where clients connect. The names `tls` and `authentication` are kept for objects to come.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Its name, part of its Services' names. `internal` is the one for clients inside, with the Service
    /// `<cluster>-bootstrap`; others have `<cluster>-<listener>-bootstrap`.
    #[schemars(extend("minLength" = 1, "maxLength" = 20, "pattern" = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The port on the brokers. 9091 and 9404 are the brokers' own.
    #[schemars(extend("minimum" = 1024, "maximum" = 65_535))]
    pub port: i32,
    /// How clients get there. `Internal`: by the pods' names, from inside. `ClusterIP`: by a Service with an address for
    /// each broker. `NodePort`: by a port of the nodes. `LoadBalancer`: by a load balancer for each broker.
    #[serde(rename = "type", default)]
    pub kind: ListenerType,
    /// The Service where clients begin.
    #[serde(default)]
    pub bootstrap: ListenerBootstrap,
    /// What differs for single brokers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend(
        "maxItems" = 1000,
        "x-kubernetes-list-type" = "map",
        "x-kubernetes-list-map-keys" = ["id"]
    ))]
    pub brokers: Vec<ListenerBroker>,
    /// The host that clients are told, with `{id}`, `{pod}`, `{node}` and `{nodeIp}`: `kafka-{id}.example.com`. What the
    /// type gives where absent: the pod's or Service's name, the node's address, the load balancer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend(
        "minLength" = 1,
        "maxLength" = 253,
        "pattern" = r"^([A-Za-z0-9.:-]|\{id\}|\{pod\}|\{node\}|\{nodeIp\})+$"
    ))]
    pub advertised_host_template: Option<String>,
    /// Annotations of this listener's Services; in values, those of brokers' Services have `{id}` and `{pod}` filled in.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: BTreeMap<String, String>,
    /// For `NodePort` and `LoadBalancer`: `Cluster` takes connections on every node, `Local` only on the broker's own,
    /// and keeps the client's address. `Cluster` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<TrafficPolicy>,
    /// Address blocks (CIDR) that may connect, by the NetworkPolicy and the load balancer; everyone where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        extend("maxItems" = 64, "x-kubernetes-list-type" = "atomic"),
        inner(length(max = 43), regex(pattern = "^[0-9a-fA-F.:]+/[0-9]{1,3}$"))
    )]
    pub allowed_sources: Vec<String>,
}

/// How clients get to a listener.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(description = "")]
pub enum ListenerType {
    /// By the pods' names, from inside.
    #[default]
    Internal,
    /// By a port of the nodes, one for each broker.
    NodePort,
    /// By a load balancer for each broker.
    LoadBalancer,
    /// By a Service with an address for each broker.
    ClusterIP,
}

/// On which nodes outside connections are taken.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(description = "")]
pub enum TrafficPolicy {
    /// On every node.
    Cluster,
    /// On the broker's own.
    Local,
}

/// The Service where clients begin.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerBootstrap {
    /// Its port on the nodes; Kubernetes chooses one where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1, "maximum" = 65_535))]
    pub node_port: Option<i32>,
    /// Its annotations, over those of the listener.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: BTreeMap<String, String>,
    /// Further names or addresses under which clients begin; the first one is shown in the status.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        extend("maxItems" = 16, "x-kubernetes-list-type" = "set"),
        inner(length(max = 253))
    )]
    pub alternative_names: Vec<String>,
}

/// What differs for one broker.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerBroker {
    /// The broker's id.
    #[schemars(extend("minimum" = 0, "maximum" = 99_999))]
    pub id: i32,
    /// The host that clients are told, before `advertisedHostTemplate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minLength" = 1, "maxLength" = 253, "pattern" = "^[A-Za-z0-9.:-]+$"))]
    pub advertised_host: Option<String>,
    /// The port that clients are told; the node's port, or the listener's, where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1, "maximum" = 65_535))]
    pub advertised_port: Option<i32>,
    /// The Service's port on the nodes; Kubernetes chooses one where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1, "maximum" = 65_535))]
    pub node_port: Option<i32>,
}
