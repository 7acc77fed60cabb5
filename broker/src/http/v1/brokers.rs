//! `/v1/brokers`: who they are, what they carry, and whether they take replicas.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::Path;
use axum::extract::rejection::JsonRejection;
use milena_metadata::{Broker as Registration, BrokerId, ChangeBroker, Condition, Scope};
use serde::{Deserialize, Serialize};

use super::{Failure, Serving, look, named};
use crate::broker::{Broker, into_refusal};

/// What a broker does at present; the first that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is not registered yet; only the broker itself says so.
    Starting,
    /// It is down, or has not caught up since it started.
    Fenced,
    /// It ends in order.
    Stopping,
    /// It takes no replicas and no leadership.
    Draining,
    Serving,
}

impl State {
    pub(super) fn of(broker: &Registration) -> Self {
        match broker {
            Registration { fenced: true, .. } => Self::Fenced,
            Registration { stopping: true, .. } => Self::Stopping,
            Registration { draining: true, .. } => Self::Draining,
            _ => Self::Serving,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownBroker {
    pub id: i32,
    pub state: State,
    /// Whether it is to be emptied, whatever else it does.
    pub draining: bool,
    /// Whether it has begun to end in order, or has done so; its next life is not.
    #[serde(default)]
    pub stopping: bool,
    /// Partitions that it leads.
    pub leaders: usize,
    pub replicas: usize,
    /// Partitions that it leads, or would lead, of which a wanted replica is not in sync.
    pub under_replicated: usize,
    /// Its own replicas that are not in sync.
    pub out_of_sync: usize,
    /// Its own replicas beside which none is in sync: what would be lost with its disk.
    #[serde(default)]
    pub sole: usize,
    /// The first of those, as `topic-partition`.
    #[serde(default)]
    pub sole_first: Vec<String>,
    /// When its stop lease ends, in milliseconds since 1970, where it has one.
    pub lease_expires_ms: Option<i64>,
    /// The machine it runs on.
    pub node: Option<String>,
    pub rack: Option<String>,
    pub pool: Option<String>,
    pub software: String,
    /// The epoch of its present life.
    pub epoch: i64,
    /// That life's own id.
    pub incarnation: String,
    /// Where it is found: the listener's name, and `host:port`.
    pub endpoints: BTreeMap<String, String>,
    /// Which of those is the brokers' own.
    #[serde(default)]
    pub peers_listener: Option<String>,
}

/// `GET /v1/brokers`.
pub async fn list(Serving(broker): Serving) -> Result<Json<Vec<ShownBroker>>, Failure> {
    Ok(Json(look(&broker, shown).await?))
}

/// So many of a broker's sole replicas are named.
const SOLE_NAMED_MAX: usize = 5;

/// What a broker carries now.
#[derive(Default)]
struct Carried {
    leaders: usize,
    replicas: usize,
    under_replicated: usize,
    out_of_sync: usize,
    sole: usize,
    sole_first: Vec<String>,
}

fn shown(broker: &Broker) -> Vec<ShownBroker> {
    let (image, config) = (broker.image(), broker.config());
    let mut carried: BTreeMap<BrokerId, Carried> = BTreeMap::new();
    for (topic, number, partition, condition) in image.conditions(&*config, Scope::Cluster) {
        let Condition {
            under_replicated, ..
        } = condition;
        let first = partition.brokers().next();
        if let Some(at) = partition.leader.or(first) {
            let at = carried.entry(at).or_default();
            at.leaders += usize::from(partition.leader.is_some());
            at.under_replicated += usize::from(under_replicated);
        }
        for id in partition.brokers() {
            let at = carried.entry(id).or_default();
            at.replicas += 1;
            at.out_of_sync += usize::from(!partition.isr.contains(&id));
            // Where nobody is in sync, any replica may have what was acknowledged.
            if partition.isr.iter().all(|other| *other == id) {
                at.sole += 1;
                if at.sole_first.len() < SOLE_NAMED_MAX {
                    at.sole_first.push(format!("{}-{number}", topic.name));
                }
            }
        }
    }
    let peers = config.peers_listener();
    let peers = peers.map(|listener| listener.name.as_str());
    let show = |registered: &Registration| {
        let carried = carried.remove(&registered.id).unwrap_or_default();
        let lease = image.lease(registered.id);
        let lease = lease.map(|lease| lease.expires_ms);
        show(registered, carried, lease, peers)
    };
    image.brokers().map(|broker| &**broker).map(show).collect()
}

/// `peers` is the name of the brokers' own listener, at all of them.
fn show(
    broker: &Registration,
    carried: Carried,
    lease_expires_ms: Option<i64>,
    peers: Option<&str>,
) -> ShownBroker {
    let text = |text: &Option<std::sync::Arc<str>>| text.as_deref().map(str::to_owned);
    let endpoints = broker.endpoints.iter().map(|endpoint| {
        let address = match endpoint.host.contains(':') {
            true => format!("[{}]:{}", endpoint.host, endpoint.port),
            false => format!("{}:{}", endpoint.host, endpoint.port),
        };
        (endpoint.listener.to_string(), address)
    });
    let endpoints: BTreeMap<_, _> = endpoints.collect();
    let peers = peers.filter(|name| endpoints.contains_key(*name));
    ShownBroker {
        id: broker.id.get(),
        state: State::of(broker),
        draining: broker.draining,
        stopping: broker.stopping,
        leaders: carried.leaders,
        replicas: carried.replicas,
        under_replicated: carried.under_replicated,
        out_of_sync: carried.out_of_sync,
        sole: carried.sole,
        sole_first: carried.sole_first,
        lease_expires_ms,
        node: text(&broker.node),
        rack: text(&broker.rack),
        pool: text(&broker.pool),
        software: broker.software.to_string(),
        epoch: broker.epoch,
        incarnation: broker.incarnation.to_string(),
        peers_listener: peers.map(str::to_owned),
        endpoints,
    }
}

/// Whether a broker is to take replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draining {
    /// It is not.
    pub draining: bool,
}

/// `POST /v1/brokers/{id}/drain`. It moves nothing by itself: see [`super::plans`].
pub async fn drain(
    Serving(broker): Serving,
    id: Path<String>,
    wanted: Result<Json<Draining>, JsonRejection>,
) -> Result<Json<Draining>, Failure> {
    let (id, Json(wanted)) = (named(&broker, &id)?, wanted?);
    let image = broker.image();
    let registered = image
        .broker(id)
        .ok_or_else(|| Failure::unknown_broker(id))?;
    let change = ChangeBroker {
        id,
        epoch: registered.epoch,
        fenced: None,
        draining: Some(wanted.draining),
        stopping: None,
    };
    let asked = broker.quorum().request(change).await;
    asked.map_err(into_refusal)?;
    if registered.draining != wanted.draining {
        tracing::info!(broker = %id, draining = wanted.draining, "a broker was marked");
    }
    Ok(Json(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::tests::beside::register;
    use crate::broker::tests::broker_with_peers;

    #[tokio::test]
    async fn the_brokers_own_listener_is_known_by_its_setting_and_not_by_its_name() {
        let inverted = [("inter.broker.listener.name", "PLAINTEXT")];
        for (more, peers) in [(&[][..], "PEERS"), (&inverted, "PLAINTEXT")] {
            let dir = tempfile::tempdir().unwrap();
            let broker = broker_with_peers(dir.path(), more).await;
            register(&broker, 101, None).await;
            let shown = shown(&broker).remove(1);
            assert_eq!(
                (shown.id, shown.peers_listener.as_deref()),
                (101, Some(peers))
            );
        }
    }
}
