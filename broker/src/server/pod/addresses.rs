//! Where clients find the broker: as the files of its configuration say, which change while its pod runs.

use std::sync::Arc;

use milena_metadata::{ChangeEndpoints, Endpoint};

use super::Stamp;
use crate::broker::Broker;
use crate::config::{BrokerConfig, Listener};
use crate::server::life;
use crate::server::listen::BoundListener;

/// The addresses as they were read last.
pub struct Addresses {
    config: Arc<BrokerConfig>,
    /// With the ports that they are bound to.
    listeners: Vec<(Listener, u16)>,
    /// The files that were read last, and what was wrong with them.
    read: Vec<Option<Stamp>>,
    pub(super) problem: Option<String>,
}

impl Addresses {
    /// As they were at the start.
    pub fn of(config: &Arc<BrokerConfig>, listeners: &[BoundListener]) -> Self {
        let bound = |bound: &BoundListener| (bound.listener.clone(), bound.address.port());
        Self {
            config: config.clone(),
            listeners: listeners.iter().map(bound).collect(),
            read: Vec::new(),
            problem: None,
        }
    }

    /// Reads the files where one of them is another than the one that was read last.
    pub(super) fn look(&mut self) {
        let files = self.config.files().iter();
        let stamps: Vec<_> = files.map(|file| Stamp::of(file)).collect();
        if stamps == self.read {
            return;
        }
        self.read = stamps;
        let problem = match self.config.listeners_now() {
            Ok(listeners) => {
                self.take(&listeners);
                None
            }
            Err(error) => Some(error.to_string()),
        };
        // When it comes up, and not each time that it is met.
        if problem != self.problem
            && let Some(problem) = &problem
        {
            tracing::warn!(
                "the configuration has changed and can't be read, so this broker stays at the addresses that it has told: \
                 mend it before the next start: {problem}"
            );
        }
        self.problem = problem;
    }

    /// A listener that is not advertised any more is where it was: its clients know no other. So is the brokers' own, by
    /// which the quorum knows its members.
    fn take(&mut self, now: &[Listener]) {
        for (listener, _) in &mut self.listeners {
            let same = now.iter().find(|other| other.name == listener.name);
            let advertised = same.and_then(|now| now.advertised.clone());
            if !listener.inter_broker && advertised.is_some() {
                listener.advertised = advertised;
            }
        }
    }

    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        let endpoint = |(listener, bound): &(Listener, u16)| life::endpoint(listener, *bound);
        self.listeners.iter().filter_map(endpoint).collect()
    }

    /// Has the quorum know them, where it has others for this life. What fails is tried again at the next look.
    pub(super) async fn tell(&self, broker: &Broker) {
        let (id, epoch) = (broker.broker_id(), broker.broker_epoch());
        let (image, endpoints) = (broker.image(), self.endpoints());
        let life = image.broker(id).filter(|life| life.epoch == epoch);
        if life.is_none_or(|life| life.endpoints == endpoints) {
            return;
        }
        let shown = shown(&endpoints);
        let change = ChangeEndpoints {
            id,
            epoch,
            endpoints,
        };
        match broker.quorum().request(change).await {
            Ok(()) => {
                tracing::info!(addresses = %shown, "this broker is reached elsewhere from now on")
            }
            Err(error) => {
                tracing::debug!(%error, addresses = %shown, "the addresses can't be changed for now");
            }
        }
    }
}

/// As `advertised.listeners` has them.
pub(super) fn shown(endpoints: &[Endpoint]) -> String {
    let url = |at: &Endpoint| match at.host.contains(':') {
        true => format!("{}://[{}]:{}", at.listener, at.host, at.port),
        false => format!("{}://{}:{}", at.listener, at.host, at.port),
    };
    let urls: Vec<String> = endpoints.iter().map(url).collect();
    urls.join(",")
}
