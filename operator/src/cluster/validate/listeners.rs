//! `spec.listeners`: which there are, the internal one first.

use std::net::IpAddr;

use super::{POOL_IDS, Problems, Reason, WantedPool};
use crate::crd::cluster::{KafkaClusterSpec, Listener, ListenerType};

/// Where clients inside and the operator connect.
const INTERNAL: &str = "internal";
/// Kafka's usual port.
const PORT: i32 = 9092;

pub(super) fn check(
    spec: &KafkaClusterSpec,
    pools: &[WantedPool],
    problems: &mut Problems,
) -> Vec<Listener> {
    if spec.listeners.is_empty() {
        return vec![Listener {
            name: INTERNAL.to_owned(),
            port: PORT,
            ..Listener::default()
        }];
    }
    let mut listeners = spec.listeners.clone();
    let is_internal = |it: &Listener| it.name == INTERNAL && it.kind == ListenerType::Internal;
    if !listeners.iter().any(is_internal) {
        let message =
            "it needs one of type Internal called internal: clients inside and the operator use it";
        problems.add(Reason::InvalidListener, "spec.listeners", message);
    }
    for (at, listener) in listeners.iter().enumerate() {
        check_one(&format!("spec.listeners[{at}]"), listener, pools, problems);
    }
    listeners.sort_by_key(|it| !is_internal(it));
    listeners
}

fn check_one(field: &str, listener: &Listener, pools: &[WantedPool], problems: &mut Problems) {
    for source in listener.allowed_sources.iter().filter(|it| !is_block(it)) {
        let message = format!("{source:?} is no block of addresses: write one such as 10.0.0.0/8");
        problems.add(
            Reason::InvalidListener,
            format!("{field}.allowedSources"),
            message,
        );
    }
    let owned = |id: i32| {
        pools
            .iter()
            .any(|pool| (pool.ids.start..pool.ids.start + POOL_IDS).contains(&id))
    };
    for broker in listener.brokers.iter().filter(|it| !owned(it.id)) {
        let message = format!("no pool has a broker {}: take it out", broker.id);
        problems.add(Reason::InvalidListener, format!("{field}.brokers"), message);
    }
}

/// Whether it is an address, a slash, and a prefix that the address has.
fn is_block(text: &str) -> bool {
    let Some((address, prefix)) = text.split_once('/') else {
        return false;
    };
    match (address.parse::<IpAddr>(), prefix.parse::<u8>()) {
        (Ok(IpAddr::V4(_)), Ok(prefix)) => prefix <= 32,
        (Ok(IpAddr::V6(_)), Ok(prefix)) => prefix <= 128,
        _ => false,
    }
}
