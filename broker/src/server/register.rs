//! Registers this life of the broker with the quorum.

use milena_metadata::{Endpoint, FoundCluster, IncarnationId, LastEnd, RegisterBroker, Registered};

use super::StartError;
use super::data::Data;
use super::listen::BoundListener;
use crate::config::BrokerConfig;
use crate::quorum::Quorum;

/// Names a new cluster, and registers the broker with its addresses.
pub async fn register(
    quorum: &Quorum,
    config: &BrokerConfig,
    data: &Data,
    listeners: &[BoundListener],
) -> Result<Registered, StartError> {
    match quorum.image().cluster_id() {
        None => {
            let cluster_id = data.cluster_id().into();
            quorum.request(FoundCluster { cluster_id }).await?;
        }
        Some(known) if **known != *data.cluster_id() => {
            return Err(StartError::Identity(format!(
                "the metadata in {} is of cluster {known}, the data directory of cluster {}: they do not belong together",
                config.metadata_dir().display(),
                data.cluster_id()
            )));
        }
        Some(_) => {}
    }
    let command = RegisterBroker {
        id: data.node_id(),
        incarnation: IncarnationId::random(),
        endpoints: listeners.iter().filter_map(endpoint).collect(),
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

/// What clients are told of a listener; port 0 stands for the one that was bound.
fn endpoint(bound: &BoundListener) -> Option<Endpoint> {
    let advertised = bound.listener.advertised.as_ref()?;
    Some(Endpoint {
        listener: bound.listener.name.as_str().into(),
        host: advertised.host.as_str().into(),
        port: if advertised.port == 0 {
            bound.address.port()
        } else {
            advertised.port
        },
        security_protocol: bound.listener.protocol.to_string().into(),
    })
}
