//! This life of the broker in its cluster: it registers, is unfenced once it has caught up, follows the metadata, and
//! hands over what it leads before it stops.

use std::sync::Arc;
use std::time::Duration;

use milena_metadata::{
    BrokerId, ChangeBroker, Endpoint, Image, IncarnationId, LastEnd, Levels, RegisterBroker,
    Registered,
};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::StartError;
use super::listen::BoundListener;
use crate::broker::Broker;
use crate::config::{BrokerConfig, Listener};
use crate::quorum::{Quorum, QuorumError, StartWait};
use crate::replica_directories;
use crate::rule::is_broken;

/// What the quorum would not do is asked for again after this.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// How long the unfencing waits until the quorum knows of logs that could not be opened.
const TELL_MAX: Duration = Duration::from_secs(1);

/// What takes longer is told to whoever asks what the broker waits for.
const REGISTRATION_TOLD_AFTER: Duration = Duration::from_secs(1);

/// Where nobody is left to take over, only the quorum is told of the stop, which may have lost its majority by the same
/// stop: one that has it needs far less.
const HAND_OVER_LAST_MAX: Duration = Duration::from_millis(500);

/// Who registers, beside its configuration.
pub struct Registrant {
    pub id: BrokerId,
    /// Its listeners as others are told of them.
    pub endpoints: Vec<Endpoint>,
    /// The rack it is in, where that is known yet.
    pub rack: Option<String>,
    pub directories: Vec<milena_metadata::DirectoryId>,
    pub last_end: LastEnd,
}

impl Registrant {
    /// Begins a life, once the quorum answers. In a cluster it stays fenced until it has opened its logs and caught up
    /// with the metadata.
    pub async fn register(
        &self,
        quorum: &Quorum,
        config: &BrokerConfig,
        start_wait: &StartWait,
    ) -> Result<Registered, StartError> {
        // The same each time: of one life that is registered twice the second is none.
        let command = self.registration(config);
        loop {
            let mut asked = std::pin::pin!(quorum.request(command.clone()));
            let answer = match timeout(REGISTRATION_TOLD_AFTER, asked.as_mut()).await {
                Ok(answer) => answer,
                Err(_) => {
                    start_wait.tell("the registration of this broker is not decided yet");
                    asked.await
                }
            };
            match answer {
                Ok(registered) => {
                    start_wait.over();
                    return Ok(registered);
                }
                Err(error) if error.may_pass() => start_wait.tell(error.to_string()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn registration(&self, config: &BrokerConfig) -> RegisterBroker {
        let text = |setting: &Option<String>| setting.as_deref().map(Into::into);
        let last_end = match is_broken!(UncleanStaysInSync) {
            true => LastEnd::Killed,
            false => self.last_end,
        };
        RegisterBroker {
            id: self.id,
            incarnation: IncarnationId::random(),
            endpoints: self.endpoints.clone(),
            node: text(&config.broker_node),
            rack: text(&self.rack),
            pool: text(&config.broker_pool),
            directories: self.directories.clone(),
            software: crate::software().into(),
            levels: Levels::OWN,
            last_end,
            fenced: config.is_in_a_cluster() && !is_broken!(LeadsInOldEpoch),
        }
    }
}

/// What the others are told of the listeners.
pub fn endpoints(listeners: &[BoundListener]) -> Vec<Endpoint> {
    let endpoint = |bound: &BoundListener| endpoint(&bound.listener, bound.address.port());
    listeners.iter().filter_map(endpoint).collect()
}

/// The same of one that is bound to this port.
pub fn endpoint(listener: &Listener, bound: u16) -> Option<Endpoint> {
    let (host, port) = listener.advertised(bound)?;
    Some(Endpoint {
        listener: listener.name.as_str().into(),
        host: host.into(),
        port,
        security_protocol: listener.protocol.to_string().into(),
    })
}

/// How the metadata has this life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Serving,
    Fenced,
    /// Another process has begun a life under the same number, or the broker was removed.
    Over,
}

/// How an image has a broker's life.
pub fn standing(image: &Image, id: BrokerId, epoch: i64) -> Standing {
    match image.broker(id) {
        // An image from before the registration.
        Some(life) if life.epoch < epoch => Standing::Fenced,
        Some(life) if life.epoch > epoch => Standing::Over,
        Some(life) if life.fenced => Standing::Fenced,
        Some(_) => Standing::Serving,
        None => Standing::Over,
    }
}

/// A life as it is seen by those who wait for it.
pub type Seen = watch::Receiver<Standing>;

/// Follows the metadata until `stopping`, and has itself unfenced whenever it is fenced: what it must have caught up
/// with for that it has taken over by then.
pub fn follow(
    broker: Arc<Broker>,
    stopping: CancellationToken,
) -> (Seen, impl Future<Output = ()>) {
    let (shown, seen) = watch::channel(Standing::Fenced);
    let following = async move {
        tokio::select! {
            () = keep_up(&broker, &shown) => {}
            () = stopping.cancelled() => {}
        }
    };
    (seen, following)
}

async fn keep_up(broker: &Broker, shown: &watch::Sender<Standing>) {
    let mut images = broker.quorum().watch();
    loop {
        let image = images.borrow_and_update().clone();
        broker.take_over().await;
        let standing = standing(&image, broker.broker_id(), broker.broker_epoch());
        shown.send_if_modified(|before| std::mem::replace(before, standing) != standing);
        match standing {
            Standing::Serving => {}
            Standing::Over => return,
            Standing::Fenced => {
                tell_of_unopened(broker).await;
                if !unfence(broker).await {
                    sleep(ASK_AGAIN).await;
                    continue;
                }
            }
        }
        if images.changed().await.is_err() {
            return;
        }
    }
}

/// Before this broker can be made the leader of a log that it could not open, in the place of who is back next and has it.
async fn tell_of_unopened(broker: &Broker) {
    if broker.partitions().unopened_count() > 0 {
        // The unfencing waits no longer for it: it is told again.
        let _ = timeout(TELL_MAX, replica_directories::tell(broker)).await;
    }
}

/// Whether it was done; the image says so next.
async fn unfence(broker: &Broker) -> bool {
    let change = ChangeBroker {
        fenced: Some(false),
        ..unchanged(broker)
    };
    match broker.quorum().request(change).await {
        Ok(()) => true,
        Err(error) => {
            tracing::debug!(%error, "this broker stays fenced for now");
            false
        }
    }
}

fn unchanged(broker: &Broker) -> ChangeBroker {
    ChangeBroker {
        id: broker.broker_id(),
        epoch: broker.broker_epoch(),
        fenced: None,
        draining: None,
        stopping: None,
    }
}

/// Before a stop: others lead what this broker leads, as far as they can and within `within`, and then it is fenced,
/// so that nobody waits for it.
pub async fn hand_over(broker: &Broker, within: Duration) {
    if !broker.config().is_in_a_cluster() {
        return;
    }
    let is_last = !has_heirs(&broker.quorum().image(), broker.broker_id());
    let within = match is_last {
        true => within.min(HAND_OVER_LAST_MAX),
        false => within,
    };
    let handed = timeout(within, async {
        let stopping = ChangeBroker {
            stopping: Some(true),
            ..unchanged(broker)
        };
        broker.quorum().request(stopping).await?;
        // What others can lead they lead with the same decision; what they can't stays until it is fenced.
        broker.take_over().await;
        let fenced = ChangeBroker {
            fenced: Some(true),
            ..unchanged(broker)
        };
        broker.quorum().request(fenced).await?;
        // Whoever waits for this broker is told to look for another.
        broker.take_over().await;
        Ok::<_, QuorumError>(())
    });
    match handed.await {
        Ok(Ok(())) => tracing::info!("what this broker led is led by others, where there are any"),
        Ok(Err(_)) | Err(_) if is_last => {
            tracing::info!("no other broker is left that could lead what this broker led")
        }
        Ok(Err(error)) => tracing::warn!(%error, "what this broker leads could not be handed over"),
        Err(_) => {
            tracing::warn!(after = ?within, "what this broker leads could not be handed over in time")
        }
    }
}

/// Whether another broker may lead what this one leads.
fn has_heirs(image: &Image, id: BrokerId) -> bool {
    let mut others = image.brokers().filter(|other| other.id != id);
    others.any(|other| !other.fenced && !other.stopping)
}

#[cfg(test)]
mod tests {
    use milena_metadata::{NoConfigRules, decide};

    use super::*;
    use crate::broker::tests::beside::registration;

    fn registered(lives: usize, fenced: bool) -> (Image, i64) {
        let mut image = Image::default();
        let mut epoch = 0;
        for _ in 0..lives {
            let command = RegisterBroker {
                fenced,
                ..registration(1)
            };
            let decision = decide(&image, &command.into(), &NoConfigRules).unwrap();
            image.apply_entry(1, &decision.records).unwrap();
            epoch = image.brokers().next().unwrap().epoch;
        }
        (image, epoch)
    }

    #[test]
    fn nobody_is_left_where_the_others_are_fenced_or_stop_as_well() {
        let (one, two) = (BrokerId::new(1).unwrap(), BrokerId::new(2).unwrap());
        let (mut image, epoch) = registered(1, false);
        assert!(!has_heirs(&image, one), "it is alone");
        assert!(has_heirs(&image, two));
        assert!(!has_heirs(&registered(1, true).0, two));
        let stopping = ChangeBroker {
            id: one,
            epoch,
            fenced: None,
            draining: None,
            stopping: Some(true),
        };
        let decision = decide(&image, &stopping.into(), &NoConfigRules).unwrap();
        image.apply_entry(1, &decision.records).unwrap();
        assert!(!has_heirs(&image, two));
    }

    #[test]
    fn a_life_is_over_when_another_has_begun_under_its_number() {
        let id = BrokerId::new(1).unwrap();
        let (image, epoch) = registered(1, true);
        assert_eq!(standing(&image, id, epoch), Standing::Fenced);
        assert_eq!(standing(&image, id, epoch + 1), Standing::Fenced);
        let (image, epoch) = registered(2, false);
        assert_eq!(standing(&image, id, epoch), Standing::Serving);
        assert_eq!(standing(&image, id, epoch - 1), Standing::Over);
        assert_eq!(standing(&Image::default(), id, epoch), Standing::Over);
    }
}
