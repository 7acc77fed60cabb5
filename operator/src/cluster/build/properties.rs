//! `<cluster>-config`: the settings that all brokers share, as a properties file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use k8s_openapi::api::core::v1::ConfigMap;

use super::Given;
use super::owned::{CLUSTER, meta};
use crate::cluster::wanted::{HTTP_PORT, PEERS_PORT, Wanted};

/// The key in the ConfigMap, and the file's name.
const FILE: &str = "broker.properties";
/// The broker's name of the listener for its peers.
pub(super) const PEERS: &str = "PEERS";

pub(super) fn config_map(wanted: &Wanted, given: &Given) -> ConfigMap {
    ConfigMap {
        metadata: meta(wanted, format!("{}-config", wanted.name), CLUSTER),
        data: Some([(FILE.to_owned(), file(wanted, given))].into()),
        ..ConfigMap::default()
    }
}

fn file(wanted: &Wanted, given: &Given) -> String {
    let mut settings: BTreeMap<&str, String> = by_the_operator(wanted);
    settings.insert("cluster.id", wanted.cluster_id.clone());
    settings.insert("controller.quorum.voters", voters(wanted, given));
    if wanted.founding {
        settings.insert("cluster.found", "true".to_owned());
    }
    // What a running broker takes over holds from its start on, too.
    let own = wanted.broker_config.iter().chain(&wanted.live_config);
    settings.extend(own.map(|(name, value)| (name.as_str(), value.clone())));
    let mut text = format!(
        "# Of the KafkaCluster {}/{}; a change made here is undone.\n",
        wanted.namespace, wanted.name
    );
    for (name, value) in settings {
        _ = writeln!(text, "{}={}", escape(name), escape(&value));
    }
    text
}

/// What the operator itself sets and takes a restart. Voters and the word that founds a cluster count only once.
pub(super) fn by_the_operator(wanted: &Wanted) -> BTreeMap<&'static str, String> {
    let mut listeners = vec![format!("{PEERS}://0.0.0.0:{PEERS_PORT}")];
    let mut protocols = vec![format!("{PEERS}:PLAINTEXT")];
    for listener in &wanted.listeners {
        let name = listener_name(&listener.name);
        listeners.push(format!("{name}://0.0.0.0:{}", listener.port));
        protocols.push(format!("{name}:PLAINTEXT"));
    }
    let replicas = wanted.topic_defaults.replication_factor.to_string();
    BTreeMap::from([
        (
            "broker.annotations.file",
            "/etc/milena/pod/annotations".to_owned(),
        ),
        ("default.replication.factor", replicas.clone()),
        (
            "http.admin.token.file",
            "/etc/milena/admin/token".to_owned(),
        ),
        ("http.listener", format!("0.0.0.0:{HTTP_PORT}")),
        ("listener.security.protocol.map", protocols.join(",")),
        ("listeners", listeners.join(",")),
        ("offsets.topic.replication.factor", replicas),
    ])
}

/// A listener's name as brokers compare it.
pub(super) fn listener_name(name: &str) -> String {
    name.to_ascii_uppercase()
}

/// `id@host:port`, the same on all brokers.
fn voters(wanted: &Wanted, given: &Given) -> String {
    let voters = match given.voters.as_slice() {
        [] => wanted.voters.as_slice(),
        voters => voters,
    };
    let leaving = |id: i32| given.leaving.iter().find(|(_, ids)| ids.contains(&id));
    let known = voters.iter().filter_map(|id| {
        let pool = wanted.pool_of(*id).map(|pool| pool.name.as_str());
        let pool = pool.or_else(|| leaving(*id).map(|(pool, _)| pool.as_str()))?;
        Some(format!("{id}@{}:{PEERS_PORT}", wanted.host(pool, *id)))
    });
    known.collect::<Vec<_>>().join(",")
}

/// A name or value as a properties file has it: backslashes doubled, and what would be taken for something else behind
/// one.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (at, letter) in text.chars().enumerate() {
        match letter {
            '\\' => escaped.push_str("\\\\"),
            ' ' | '\t' | '#' | '!' | '=' | ':' if at == 0 => {
                escaped.push('\\');
                escaped.push(letter);
            }
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            _ => escaped.push(letter),
        }
    }
    escaped
}
