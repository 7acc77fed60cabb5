//! Registers this life of the broker with the quorum.

use milena_metadata::{Endpoint, IncarnationId, LastEnd, RegisterBroker, Registered};

use super::StartError;
use super::data::Data;
use super::listen::BoundListener;
use crate::config::BrokerConfig;
use crate::quorum::Quorum;

/// Registers the broker with its addresses.
pub async fn register(
    quorum: &Quorum,
    config: &BrokerConfig,
    data: &Data,
    endpoints: Vec<Endpoint>,
) -> Result<Registered, StartError> {
    let command = RegisterBroker {
        id: data.node_id(),
        incarnation: IncarnationId::random(),
        endpoints,
        node: None,
        rack: config.broker_rack.as_deref().map(Into::into),
        pool: None,
        directories: data.directory_ids(),
        software: concat!("milena ", env!("CARGO_PKG_VERSION")).into(),
        last_end: if data.clean_shutdown() {
            LastEnd::Clean
        } else {
            LastEnd::Unclean
        },
        fenced: false,
    };
    Ok(quorum.request(command).await?)
}

/// What the others are told of the listeners.
pub fn endpoints(listeners: &[BoundListener]) -> Vec<Endpoint> {
    listeners.iter().filter_map(endpoint).collect()
}

fn endpoint(bound: &BoundListener) -> Option<Endpoint> {
    let (host, port) = bound.advertised()?;
    Some(Endpoint {
        listener: bound.listener.name.as_str().into(),
        host: host.into(),
        port,
        security_protocol: bound.listener.protocol.to_string().into(),
    })
}
