//! Opens the metadata quorum as the configuration says.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::StartError;
use super::directories::LockedData;
use super::listen::BoundListener;
use crate::config::{BrokerConfig, QuorumConfig};
use crate::group::OFFSETS_TOPIC;
use crate::peer::server::Others;
use crate::quorum::{Leading, PeersListener, Quorum, QuorumOptions, Rebalance, StartWait, Told};

pub struct Opening<'a> {
    pub config: &'a Arc<BrokerConfig>,
    /// The runtime that the quorum runs on.
    pub control: Handle,
    /// The peers' listener, and who takes what is not for the quorum.
    pub peers: Option<(&'a BoundListener, Others)>,
    pub start_wait: StartWait,
}

impl Opening<'_> {
    /// Whether the store is one that a life before this has begun.
    pub fn is_begun(&self) -> Result<bool, StartError> {
        Ok(Quorum::is_begun(&self.store())?)
    }

    /// The folder of this member's metadata.
    pub fn store(&self) -> PathBuf {
        self.config.metadata_dir().join("quorum")
    }

    /// Returns when this broker's cluster is known, its metadata is here, and the quorum has a leader.
    pub async fn open(&self, data: &LockedData) -> Result<Quorum, StartError> {
        let (config, dir) = (self.config, self.config.metadata_dir());
        let (listener, address) = match &self.peers {
            Some((bound, others)) => {
                let listener = PeersListener {
                    socket: bound.socket().map_err(StartError::System)?,
                    others: others.clone(),
                };
                (Some(listener), bound.advertised())
            }
            None => (None, None),
        };
        let options = QuorumOptions {
            directory: data.directory_id(&dir),
            cluster_id: data.cluster_id().map(str::to_owned),
            address,
            known: config.quorum.known.clone(),
            told: told(&config.quorum, config.node_id),
            leading: leading(config),
            start_wait: self.start_wait.clone(),
            ..QuorumOptions::alone(self.store(), config.node_id)
        };
        let quorum = Quorum::open(options, config.clone(), listener, self.control.clone()).await?;
        // Before anything of the data is touched: who is stopped meanwhile leaves it as it was.
        let ended = tokio::select! {
            () = quorum.led(&self.start_wait) => None,
            why = quorum.failed() => Some(why),
        };
        match ended {
            None => Ok(quorum),
            Some(why) => Err(why.into()),
        }
    }
}

fn leading(config: &BrokerConfig) -> Leading {
    let session_ms = u64::try_from(config.broker_session_timeout_ms).unwrap_or(0);
    let every = u64::try_from(config.leader_imbalance_check_interval_seconds).unwrap_or(0);
    let rebalance = Rebalance {
        every: Duration::from_secs(every),
        imbalance_percentage: u32::try_from(config.leader_imbalance_per_broker_percentage)
            .unwrap_or(0),
    };
    let replicas = usize::try_from(config.offsets_topic_replication_factor).unwrap_or(1);
    Leading {
        session_timeout: Duration::from_millis(session_ms),
        rebalance: config.auto_leader_rebalance_enable.then_some(rebalance),
        internal_topics: vec![(OFFSETS_TOPIC.to_owned(), replicas)],
    }
}

fn told(given: &QuorumConfig, broker: i32) -> Told {
    if given.known.is_empty() {
        return Told::Alone;
    }
    match given.voters.iter().any(|voter| voter.broker == broker) {
        true => Told::Voters {
            voters: given.voters.clone(),
            is_new: given.is_new,
        },
        false => Told::Others,
    }
}

/// The peers' listener, which the quorum accepts from, and the clients'.
pub fn split(
    config: &BrokerConfig,
    listeners: Vec<BoundListener>,
) -> (Option<BoundListener>, Vec<BoundListener>) {
    let name = config
        .peers_listener()
        .map(|listener| listener.name.clone());
    let (mut peers, clients): (Vec<_>, Vec<_>) = listeners
        .into_iter()
        .partition(|bound| Some(&bound.listener.name) == name.as_ref());
    (peers.pop(), clients)
}
