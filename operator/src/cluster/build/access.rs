//! Who the brokers are and who gets at them: ServiceAccount, admin token, NetworkPolicy.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::owned::{BROKER, CLUSTER, brokers_selector, meta};
use crate::cluster::wanted::{HTTP_PORT, PEERS_PORT, Wanted};
use crate::crd::cluster::{Listener, ListenerType};

/// The key of the token in its Secret.
pub(super) const TOKEN_KEY: &str = "token";

/// `<cluster>-broker`: for clouds that know pods by it. Its token is mounted nowhere, and it has no rights.
pub(super) fn service_account(wanted: &Wanted) -> ServiceAccount {
    let mut metadata = meta(wanted, format!("{}-broker", wanted.name), BROKER);
    let annotations: BTreeMap<_, _> = wanted
        .pools
        .iter()
        .flat_map(|pool| pool.template.service_account_annotations.clone())
        .collect();
    metadata.annotations = (!annotations.is_empty()).then_some(annotations);
    ServiceAccount {
        metadata,
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// `<cluster>-admin`: what brokers and the operator share.
pub(super) fn admin_token(wanted: &Wanted, token: &str) -> Secret {
    Secret {
        metadata: meta(wanted, format!("{}-admin", wanted.name), CLUSTER),
        data: Some([(TOKEN_KEY.to_owned(), ByteString(token.into()))].into()),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}

/// Brokers reach each other on 9091; clients their listeners; pods of this Kubernetes cluster the metrics, where changes
/// need the token. Nothing else comes in; what goes out is not restricted.
pub(super) fn network_policy(wanted: &Wanted) -> NetworkPolicy {
    let mut ingress = vec![
        rule(PEERS_PORT, Some(vec![pods(brokers_selector(wanted))])),
        rule(HTTP_PORT, Some(vec![anywhere(LabelSelector::default())])),
    ];
    ingress.extend(wanted.listeners.iter().map(listener));
    NetworkPolicy {
        metadata: meta(wanted, wanted.name.clone(), BROKER),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(brokers_selector(wanted)),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(ingress),
            egress: None,
        }),
    }
}

/// Without sources everyone may connect. The internal one stays open for the operator.
fn listener(listener: &Listener) -> NetworkPolicyIngressRule {
    if listener.allowed_sources.is_empty() {
        return rule(listener.port, None);
    }
    let mut from: Vec<_> = listener
        .allowed_sources
        .iter()
        .map(|cidr| NetworkPolicyPeer {
            ip_block: Some(IPBlock {
                cidr: cidr.clone(),
                except: None,
            }),
            ..NetworkPolicyPeer::default()
        })
        .collect();
    if listener.kind == ListenerType::Internal {
        let operator = [(
            "app.kubernetes.io/name".to_owned(),
            "milena-operator".to_owned(),
        )];
        from.push(anywhere(LabelSelector {
            match_labels: Some(operator.into()),
            match_expressions: None,
        }));
    }
    rule(listener.port, Some(from))
}

fn rule(port: i32, from: Option<Vec<NetworkPolicyPeer>>) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule {
        from,
        ports: Some(vec![NetworkPolicyPort {
            port: Some(IntOrString::Int(port)),
            protocol: Some("TCP".to_owned()),
            end_port: None,
        }]),
    }
}

fn pods(selector: LabelSelector) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        pod_selector: Some(selector),
        ..NetworkPolicyPeer::default()
    }
}

/// Such pods in any namespace.
fn anywhere(selector: LabelSelector) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(LabelSelector::default()),
        ..pods(selector)
    }
}
