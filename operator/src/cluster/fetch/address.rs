//! The way to a cluster's brokers: where they are, and the token that lets them be changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod as PodObject, Secret};
use kube::Api;
use kube::api::ListParams;

use super::{CLUSTER_LABEL, pods};
use crate::cluster::kube_words;
use crate::cluster::observed::Pod;
use crate::cluster::wanted::HTTP_PORT;
use crate::context::{BrokerAddressBy, Context, Key};
use crate::crd::KafkaCluster;
use crate::door::Door;

/// Kafka's port, where the cluster names no listener.
const KAFKA_PORT: i32 = 9_092;

/// HTTP of each broker, and where Kafka's protocol begins: `host:port` each.
type Addresses = (Vec<(i32, String)>, Vec<String>);

/// The cluster's door, the same as last time where nothing has changed; none while no broker is on a node.
pub async fn door(
    cluster: &KafkaCluster,
    pods: &BTreeMap<i32, Pod>,
    context: &Context,
) -> Result<Option<Arc<Door>>, kube::Error> {
    let Some((http, kafka)) = addresses(cluster, pods, context.options.broker_address_by) else {
        return Ok(None);
    };
    let key = Key::of(cluster);
    let token = token(&key, context).await?;
    Ok(Some(context.doors.door(&key, http, kafka, token)))
}

/// A door of its own, for who looks at a cluster by itself, as topics do; or what is missing for that.
pub async fn open(cluster: &KafkaCluster, context: &Context) -> Result<Door, String> {
    let key = Key::of(cluster);
    let all: Api<PodObject> = Api::namespaced(context.client.clone(), &key.namespace);
    let own = ListParams::default().labels(&format!("{CLUSTER_LABEL}={}", key.name));
    let found = all.list(&own).await.map_err(|error| kube_words(&error))?;
    let found: BTreeMap<i32, Pod> = found.items.iter().filter_map(pods::pod).collect();
    let (http, kafka) = addresses(cluster, &found, context.options.broker_address_by)
        .ok_or_else(|| format!("no broker of {key} is on a node yet"))?;
    let token = token(&key, context)
        .await
        .map_err(|error| kube_words(&error))?;
    Ok(Door::new(http, kafka, token).guarded(context.leadership.clone()))
}

fn addresses(
    cluster: &KafkaCluster,
    pods: &BTreeMap<i32, Pod>,
    by: BrokerAddressBy,
) -> Option<Addresses> {
    let Key { namespace, name } = Key::of(cluster);
    let host = |pod: &Pod| match by {
        BrokerAddressBy::Dns => Some(format!("{}.{name}-peers.{namespace}.svc", pod.name)),
        BrokerAddressBy::PodIp => pod.ip.as_deref().map(bracketed),
    };
    // A pod that is on no node has no name, and nobody behind it.
    let placed = pods.iter().filter(|(_, pod)| pod.node.is_some());
    let hosts: Vec<(i32, String)> = placed
        .filter_map(|(id, pod)| Some((*id, host(pod)?)))
        .collect();
    if hosts.is_empty() {
        return None;
    }
    let internal = cluster
        .spec
        .listeners
        .iter()
        .find(|one| one.name == "internal");
    let port = internal.map_or(KAFKA_PORT, |listener| listener.port);
    let kafka = match by {
        BrokerAddressBy::Dns => vec![format!("{name}-bootstrap.{namespace}.svc:{port}")],
        BrokerAddressBy::PodIp => hosts
            .iter()
            .map(|(_, host)| format!("{host}:{port}"))
            .collect(),
    };
    let http = hosts
        .into_iter()
        .map(|(id, host)| (id, format!("{host}:{HTTP_PORT}")));
    Some((http.collect(), kafka))
}

fn bracketed(ip: &str) -> String {
    match ip.contains(':') {
        true => format!("[{ip}]"),
        false => ip.to_owned(),
    }
}

/// The admin token, where the Secret is there already.
async fn token(key: &Key, context: &Context) -> Result<Option<String>, kube::Error> {
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), &key.namespace);
    let secret = secrets.get_opt(&format!("{}-admin", key.name)).await?;
    let data = secret.and_then(|secret| secret.data);
    let token = data.and_then(|mut data| data.remove("token"));
    Ok(token
        .and_then(|token| String::from_utf8(token.0).ok())
        .map(|text| text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::step::samples;

    #[test]
    fn brokers_are_found_by_name_or_by_address_once_they_are_on_a_node() {
        let mut cluster = KafkaCluster::default();
        cluster.metadata.name = Some("main".to_owned());
        cluster.metadata.namespace = Some("kafka".to_owned());
        let mut pods = samples::observed(2).pods;
        let (http, kafka) = addresses(&cluster, &pods, BrokerAddressBy::Dns).unwrap();
        assert_eq!(
            http[1],
            (1, "main-broker-1.main-peers.kafka.svc:9404".to_owned())
        );
        assert_eq!(kafka, ["main-bootstrap.kafka.svc:9092"]);
        pods.get_mut(&0).unwrap().ip = Some("fd00::1".to_owned());
        let (http, kafka) = addresses(&cluster, &pods, BrokerAddressBy::PodIp).unwrap();
        assert_eq!(http[0], (0, "[fd00::1]:9404".to_owned()));
        assert_eq!(kafka[1], "10.0.0.1:9092");
        pods.values_mut().for_each(|pod| pod.node = None);
        assert_eq!(addresses(&cluster, &pods, BrokerAddressBy::Dns), None);
    }
}
