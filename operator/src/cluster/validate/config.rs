//! `spec.config`: known settings with values that are allowed, and none that the operator makes.

use std::collections::BTreeMap;

use super::{Problems, Reason, Version, WantedTopicDefaults};
use crate::crd::cluster::{KafkaClusterSpec, Spread};
use crate::reference::{Reference, Scope};

const BY_THE_OPERATOR: &str = "is set by the operator: take it out";
const BY_LISTENERS: &str = "is set by the operator: say it by spec.listeners";
const BY_DRAIN: &str = "is set by the operator: say it by spec.drain.maxBytesPerSecond";
const BY_POOLS: &str = "is set by the operator: say it by spec.pools";

/// Settings that are the operator's, and what to do instead. Those of Kafka's controllers are refused as well, since
/// there are none here.
const OWNED: &[(&str, &str)] = &[
    ("advertised.listeners", BY_LISTENERS),
    ("broker.annotations.file", BY_THE_OPERATOR),
    ("broker.id", BY_POOLS),
    ("broker.node", BY_THE_OPERATOR),
    ("broker.pool", BY_POOLS),
    (
        "broker.rack",
        "is set by the operator: say which label it is by spec.placement.rackKey",
    ),
    ("cluster.found", BY_THE_OPERATOR),
    ("cluster.id", BY_THE_OPERATOR),
    ("controller.listener.names", BY_THE_OPERATOR),
    ("controller.quorum.bootstrap.servers", BY_THE_OPERATOR),
    (
        "controller.quorum.voters",
        "is set by the operator: say how many by spec.quorum.voters",
    ),
    (
        "default.replication.factor",
        "is said by spec.topicDefaults.replicationFactor",
    ),
    ("follower.replication.throttled.rate", BY_DRAIN),
    ("http.admin.token.file", BY_THE_OPERATOR),
    ("http.listener", BY_THE_OPERATOR),
    ("inter.broker.listener.name", BY_LISTENERS),
    ("leader.replication.throttled.rate", BY_DRAIN),
    ("listener.security.protocol.map", BY_LISTENERS),
    ("listeners", BY_LISTENERS),
    ("log.dir", BY_POOLS),
    ("log.dirs", BY_POOLS),
    ("metadata.log.dir", BY_POOLS),
    (
        "min.insync.replicas",
        "is said by spec.topicDefaults.minInSyncReplicas",
    ),
    ("node.id", BY_POOLS),
    (
        "placement.node.spread",
        "is said by spec.placement.nodeSpread",
    ),
    (
        "placement.rack.spread",
        "is said by spec.placement.rackSpread",
    ),
    ("process.roles", BY_THE_OPERATOR),
    ("security.inter.broker.protocol", BY_LISTENERS),
];

/// A properties file is read line by line.
const LINE_ENDS: [char; 2] = ['\n', '\r'];

/// All settings, and those of them that a running broker takes over.
pub(super) fn check(
    spec: &KafkaClusterSpec,
    version: &Version,
    topic_defaults: &WantedTopicDefaults,
    problems: &mut Problems,
) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let reference = Reference::of(version.minor());
    let mut all = BTreeMap::new();
    for (name, value) in &spec.config {
        let checked = match value.text() {
            _ if owned(name).is_some() => Err(owned(name).unwrap_or_default().to_owned()),
            None => Err("must be a string, an integer or a boolean: put it in quotes".to_owned()),
            Some(text) if text.contains(LINE_ENDS) => Err("may not have several lines".to_owned()),
            Some(text) => reference.check(Scope::Broker, name, &text).map(|()| text),
        };
        match checked {
            Ok(text) => _ = all.insert(name.clone(), text),
            Err(why) => problems.add(
                Reason::InvalidConfig,
                "spec.config",
                format!("{name} {why}"),
            ),
        }
    }
    let is_live = |name: &str| {
        reference
            .find(Scope::Broker, name)
            .is_some_and(|it| it.is_live())
    };
    let mut live: BTreeMap<_, _> = all
        .clone()
        .into_iter()
        .filter(|(name, _)| is_live(name))
        .collect();
    live.extend(of_topics(spec, topic_defaults).map(|(name, value)| (name.to_owned(), value)));
    (all, live)
}

/// What holds for topics that say nothing themselves.
fn of_topics(
    spec: &KafkaClusterSpec,
    defaults: &WantedTopicDefaults,
) -> impl Iterator<Item = (&'static str, String)> {
    let in_sync = defaults.min_in_sync_replicas.to_string();
    let word = |spread: Spread| match spread {
        Spread::Required => "required".to_owned(),
        Spread::Preferred => "preferred".to_owned(),
    };
    [
        ("min.insync.replicas", in_sync),
        ("placement.node.spread", word(spec.placement.node_spread)),
        ("placement.rack.spread", word(spec.placement.rack_spread)),
    ]
    .into_iter()
}

fn owned(name: &str) -> Option<&'static str> {
    let (_, why) = OWNED.iter().find(|(owned, _)| *owned == name)?;
    Some(why)
}
