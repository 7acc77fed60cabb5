//! Puts a broker together over its data directories.

use std::sync::Arc;

use milena_metadata::{Endpoint, LastEnd};
use tokio::time::Instant;

use super::directories::LockedData;
use super::life::Registrant;
use super::missing::{self, Missing};
use super::opening::Opening;
use super::{StartError, last_end, left};
use crate::broker::{Broker, Parts};
use crate::clock::Clock;
use crate::config::BrokerConfig;
use crate::lease;
use crate::metrics::Metrics;
use crate::partitions::Partitions;
use crate::quorum::{Quorum, StartWait};

/// As [`assemble_with`], where nobody looks on.
#[cfg(test)]
pub(super) async fn assemble(
    opening: Opening<'_>,
    data: LockedData,
    endpoints: Vec<Endpoint>,
    rack: Option<&str>,
) -> Result<Arc<Broker>, StartError> {
    assemble_with(Metrics::new().unwrap(), opening, data, endpoints, rack).await
}

/// Opens metadata and partitions, which `metrics` shows, and registers this life of the broker.
pub(super) async fn assemble_with(
    metrics: Arc<Metrics>,
    opening: Opening<'_>,
    data: LockedData,
    endpoints: Vec<Endpoint>,
    rack: Option<&str>,
) -> Result<Arc<Broker>, StartError> {
    let (config, start_wait) = (opening.config, opening.start_wait.clone());
    let was_begun = opening.is_begun()?;
    if !was_begun {
        // What is in it is not known, nor whether the metadata that is missing is a part of the same mishap.
        data.all_are_needed()?;
        missing::check_metadata(&opening.store(), &data, config)?;
    }
    let quorum = Arc::new(opening.open(&data).await?);
    // Logs beside a cluster that was just founded are somebody's to look at, not ours to set aside; one alone refuses them.
    let is_new = quorum.image().brokers().next().is_none();
    data.finish_moves()?;
    let missing = Missing::check(&data, &quorum, was_begun, config)?;
    let cluster_id = quorum
        .image()
        .cluster_id()
        .map(|id| id.to_string())
        .unwrap_or_default();
    let last_life = quorum.image().broker(data.node_id()).map(|life| life.epoch);
    let metadata = (config.metadata_dir(), quorum.directory());
    let data = data.claim(&cluster_id, (&metadata.0, metadata.1), last_life)?;
    let away_ids = missing.away_ids();
    left::note(&metadata.0, away_ids.iter().copied(), last_life);
    let node_id = data.node_id();
    let last_end = missing.end(last_end::take(data.dirs()));
    let directories = data.directory_ids().into_iter().chain(away_ids);
    let mut registrant = Registrant {
        id: node_id,
        endpoints,
        rack: rack.map(str::to_owned),
        directories: directories.collect(),
        last_end: missing.end_to_tell(last_end),
    };
    let partitions = Partitions::new(node_id, data.into_dirs(), Clock, metrics.clone());
    let partitions = Arc::new(partitions.without(missing.away));
    let joining = Joining {
        quorum: &quorum,
        partitions: &partitions,
        config,
        start_wait: &start_wait,
    };
    let broker_epoch = joining.register(&mut registrant, last_end).await?;
    let broker = Broker::new(Parts {
        node_id,
        broker_epoch,
        config: config.clone(),
        quorum,
        partitions,
        metrics,
    });
    broker.take_over().await;
    lease::serve(&broker);
    broker.groups_loaded().await;
    if !is_new {
        let partitions = broker.partitions().clone();
        // The broker serves meanwhile.
        crate::blocking::spawn(move || {
            partitions.sweep();
            partitions.flush_recovered();
        });
    }
    Ok(broker)
}

/// What a broker registers with, and opens once it is registered.
struct Joining<'a> {
    quorum: &'a Quorum,
    partitions: &'a Arc<Partitions>,
    config: &'a Arc<BrokerConfig>,
    start_wait: &'a StartWait,
}

impl Joining<'_> {
    /// Registers this life and opens its partitions, and returns the broker's epoch; once more, as unclean, if opening cut a log.
    /// Should it end before that, the next life finds how the last one ended as this one did.
    async fn register(
        &self,
        registrant: &mut Registrant,
        last_end: LastEnd,
    ) -> Result<i64, StartError> {
        let (quorum, config) = (self.quorum, self.config);
        let lived_before = quorum.image().broker(registrant.id).is_some();
        let mut registered = registrant.register(quorum, config, self.start_wait).await?;
        let begun = Instant::now();
        let were_cut = self.open().await;
        if lived_before {
            last_end::tell(last_end, self.partitions, begun.elapsed());
        }
        if were_cut && registrant.last_end != LastEnd::Unclean {
            tracing::warn!(
                "records may be missing here, and this broker leaves the in-sync replicas until it has them"
            );
            registrant.last_end = LastEnd::Unclean;
            registered = registrant.register(quorum, config, self.start_wait).await?;
        }
        last_end::leave(self.partitions.dirs());
        Ok(registered.epoch)
    }

    /// Opens the partitions. Whether logs were cut: of that the next life would find no trace in them.
    async fn open(&self) -> bool {
        self.partitions
            .open(&self.quorum.image(), self.config)
            .await;
        let were_cut = self.partitions.were_cut();
        if were_cut {
            for dir in self.partitions.dirs() {
                last_end::distrust(dir.directory.path());
            }
        }
        were_cut
    }
}

/// A broker alone, without listeners and background work.
#[cfg(test)]
pub(crate) async fn assemble_alone(config: BrokerConfig) -> Arc<Broker> {
    try_assemble_alone(config).await.unwrap()
}

/// The same, where the start may be refused.
#[cfg(test)]
pub(crate) async fn try_assemble_alone(config: BrokerConfig) -> Result<Arc<Broker>, StartError> {
    let config = Arc::new(config);
    let data = LockedData::lock(&config)?;
    let opening = Opening {
        config: &config,
        control: tokio::runtime::Handle::current(),
        peers: None,
        start_wait: StartWait::default(),
    };
    let rack = config.broker_rack.as_deref();
    assemble(opening, data, Vec::new(), rack).await
}

#[cfg(test)]
mod tests;
