//! What of a spec takes a restart, part by part: all parts together are a pod's revision, and each by itself says which of
//! them waits for a restart.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cluster::wanted::{Wanted, WantedPool};
use crate::crd::cluster::{KafkaClusterSpec, PodTemplate};

/// On pods: the [`hashes`] of what they were built for, as JSON. No part of any revision: an operator that tells parts
/// apart in another way restarts nobody.
pub const ASKED: &str = "milena.dev/asked";
/// Hexadecimal digits: enough to tell two values of one part apart, and short, as a cluster may have many settings.
const DIGITS: usize = 8;

/// The parts by name: a field of the spec, or a broker setting. They are hashed: one that is added must be null where
/// nothing is said, or every broker would be restarted for it.
///
/// Not among them is what a running broker takes over: live settings, and where clients are told to find it.
pub(super) fn parts(
    wanted: &Wanted,
    pool: &WantedPool,
    spec: &KafkaClusterSpec,
) -> BTreeMap<String, Value> {
    let said = spec.pools.iter().find(|said| said.name == pool.name);
    let listeners = wanted.listeners.iter();
    let listeners = listeners.map(|one| json!([one.name, one.port, one.kind]));
    let placement = &wanted.placement;
    let template = PodTemplate {
        service_account_annotations: BTreeMap::new(),
        ..pool.template.clone()
    };
    let fields = [
        ("version", json!(wanted.version)),
        ("image", json!(spec.image)),
        ("listeners", listeners.collect()),
        (
            "topicDefaults.replicationFactor",
            json!(wanted.topic_defaults.replication_factor),
        ),
        (
            "placement",
            json!([
                placement.node_spread,
                placement.rack_key,
                placement.rack_spread
            ]),
        ),
        ("resources", json!(said.map(|said| &said.resources))),
        ("podTemplate", json!(template)),
        ("restartedAt", json!(spec.restarted_at)),
    ];
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    let config = wanted.broker_config.iter();
    let settings = config
        .filter(|(name, _)| !wanted.live_config.contains_key(*name))
        .map(|(name, value)| (name.clone(), json!(value)));
    let parts = fields.into_iter().chain(settings);
    parts.filter(|(_, value)| !value.is_null()).collect()
}

/// A short hash of each part.
pub(super) fn hashes(parts: &BTreeMap<String, Value>) -> BTreeMap<String, String> {
    let hash = |value| crate::revision::of(value)[..DIGITS].to_owned();
    let parts = parts.iter();
    parts
        .map(|(name, value)| (name.clone(), hash(value)))
        .collect()
}

/// The parts in which two differ. None where one of them tells nothing, as a pod of an older operator.
pub fn differing<'a>(
    one: &'a BTreeMap<String, String>,
    other: &'a BTreeMap<String, String>,
) -> Vec<&'a str> {
    if one.is_empty() || other.is_empty() {
        return Vec::new();
    }
    let changed = one
        .iter()
        .filter(|(name, hash)| other.get(*name) != Some(hash));
    let added = other.iter().filter(|(name, _)| !one.contains_key(*name));
    let names = changed.chain(added);
    names.map(|(name, _)| name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples::wanted;
    use super::*;
    use crate::crd::ConfigValue;
    use crate::crd::cluster::{
        Image, Listener, ListenerBroker, ListenerType, PullPolicy, SecretName, Spread,
    };

    fn pool(change: impl FnOnce(&mut KafkaClusterSpec)) -> WantedPool {
        wanted(change).pools.remove(0)
    }

    fn external(change: impl FnOnce(&mut Listener)) -> WantedPool {
        let mut listener = Listener {
            name: "external".to_owned(),
            port: 9094,
            kind: ListenerType::NodePort,
            ..Listener::default()
        };
        change(&mut listener);
        let internal = Listener {
            name: "internal".to_owned(),
            port: 9092,
            ..Listener::default()
        };
        pool(|spec| spec.listeners = vec![internal, listener])
    }

    #[test]
    fn what_waits_for_a_restart_has_its_name_in_the_spec() {
        let before = pool(|spec| {
            let ten = ConfigValue::Int(10);
            spec.config = [("num.partitions".to_owned(), ten)].into();
        });
        let after = pool(|spec| {
            spec.restarted_at = Some("2026-01-01T00:00:00Z".to_owned());
            let four = ConfigValue::Int(4);
            spec.config = [("offsets.topic.num.partitions".to_owned(), four)].into();
        });
        let names = differing(&before.asked, &after.asked);
        assert_eq!(
            names,
            [
                "num.partitions",
                "offsets.topic.num.partitions",
                "restartedAt"
            ]
        );
        assert_eq!(differing(&before.asked, &before.asked), [""; 0]);
        assert_eq!(differing(&BTreeMap::new(), &after.asked), [""; 0]);
    }

    #[test]
    fn addresses_that_clients_are_told_restart_nobody() {
        let before = external(|_| {});
        let after = external(|listener| {
            listener.advertised_host_template = Some("kafka-{id}.example.com".to_owned());
            listener.brokers = vec![ListenerBroker {
                id: 1,
                advertised_host: Some("one.example.com".to_owned()),
                advertised_port: Some(443),
                node_port: Some(31_000),
            }];
        });
        assert_eq!(after.revision, before.revision);
        assert_eq!(after.template_revision, before.template_revision);
        let moved = external(|listener| listener.port = 9095);
        assert_ne!(moved.revision, before.revision);
    }

    #[test]
    fn what_the_spec_says_of_pulling_and_racks_is_the_specs_own_change() {
        let before = pool(|_| {});
        let pulled = |image: Image| pool(|spec| spec.image = Some(image));
        let policy = pulled(Image {
            pull_policy: Some(PullPolicy::Always),
            ..Image::default()
        });
        let secrets = pulled(Image {
            pull_secrets: vec![SecretName {
                name: "registry".to_owned(),
            }],
            ..Image::default()
        });
        let racks = pool(|spec| spec.placement.rack_spread = Spread::Required);
        for (after, part) in [(policy, "image"), (secrets, "image"), (racks, "placement")] {
            assert_ne!(after.revision, before.revision);
            assert_eq!(differing(&before.asked, &after.asked), [part]);
        }
    }
}
