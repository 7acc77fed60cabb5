//! Which log directory each replica here is in, as the quorum knows it (KIP-858), and which replicas can't be used any
//! more: their disk has refused a write or a read, or their log could not be opened. Of those others lead on; until the
//! broker is started anew they are as offline, and the broker's other replicas go on. Where no other could lead, nobody
//! leads a log that could not be opened, and one of which something can be read goes on being led.
//!
//! It is a comparison of what is here with the image, made when a log has failed or was moved, or the metadata has
//! changed.

use std::sync::Arc;
use std::time::Duration;

use milena_log::failed_log_count;
use milena_metadata::{
    AssignDirectories, BrokerId, DirectoryId, Image, Partition as State, PartitionId, TopicId,
};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::partitions::{HostedTopic, Partitions};

/// Whether a log has failed or was moved is looked at so often: what a client waits beyond that is the quorum's decision.
const LOOK_PERIOD: Duration = Duration::from_millis(100);
/// While something is left to be said, it is tried again after this.
const SAY_AGAIN: Duration = Duration::from_secs(1);
/// Replicas of one request: a frame's worth, and a fraction of a second for who decides.
const REPLICAS_MAX: usize = 5_000;

/// A replica here and the directory that the quorum is to have for it.
type Assignment = (TopicId, PartitionId, DirectoryId);

/// Looks and tells until `stopping`.
pub async fn run(broker: Arc<Broker>, stopping: CancellationToken) {
    tokio::select! {
        () = watch(&broker) => {}
        () = stopping.cancelled() => {}
    }
}

/// Looks and tells for ever.
pub(crate) async fn watch(broker: &Broker) {
    let mut images = broker.quorum().watch();
    // Where there is one directory, the quorum knows without being told.
    let has_several = broker.partitions().has_several_dirs();
    let (mut failed, mut again, mut is_anew) = (0, None, has_several);
    loop {
        let partitions = broker.partitions();
        let moved = partitions.moves().ended_count();
        let count = failed_log_count() + partitions.unopened_count() + moved;
        let is_time = again.is_some_and(|at| at <= Instant::now());
        if is_anew || is_time || count != failed {
            failed = count;
            images.mark_unchanged();
            let is_done = tell(broker).await;
            again = (!is_done).then(|| Instant::now() + SAY_AGAIN);
        }
        if !has_several {
            sleep(LOOK_PERIOD).await;
            continue;
        }
        // A new image is looked at as soon as it is there.
        is_anew = match timeout(LOOK_PERIOD, images.changed()).await {
            Ok(Ok(())) => true,
            // The quorum stops.
            Ok(Err(_)) => return,
            Err(_) => false,
        };
    }
}

/// Whether nothing is left to be told.
pub(crate) async fn tell(broker: &Broker) -> bool {
    broker.take_over().await;
    let wrong = wrong(&broker.image(), broker.partitions(), broker.broker_id());
    let mut is_done = !wrong.waits;
    for (replicas, is_unopened) in [
        (wrong.places, false),
        (wrong.failed, false),
        (wrong.unopened, true),
    ] {
        for replicas in replicas.chunks(REPLICAS_MAX) {
            is_done &= assign(broker, replicas, is_unopened).await;
        }
    }
    is_done
}

/// Whether the quorum has taken all of them.
async fn assign(broker: &Broker, replicas: &[Assignment], is_unopened: bool) -> bool {
    let command = AssignDirectories {
        broker: broker.broker_id(),
        broker_epoch: broker.broker_epoch(),
        replicas: replicas.to_vec(),
        is_unopened,
    };
    let answers = match broker.quorum().request(command).await {
        Ok(answers) => answers,
        Err(error) => {
            tracing::debug!(%error, "the quorum can't be told of the replicas' directories now");
            return false;
        }
    };
    let image = broker.image();
    let mut is_done = true;
    for (replica, answer) in replicas.iter().zip(answers) {
        match answer {
            // Whoever could not open a log has said so.
            Ok(()) if is_unopened => {}
            Ok(()) => note(&image, replica),
            // The others have gone since it was looked.
            Err(refusal) => {
                tracing::debug!(%refusal.message, "a replica stays as it is");
                is_done = false;
            }
        }
    }
    is_done
}

fn note(image: &Image, (topic, partition, directory): &Assignment) {
    let name = image.topic_by_id(*topic).map(|topic| topic.name.as_str());
    if *directory == DirectoryId::LOST {
        tracing::error!(
            topic = name,
            partition = partition.get(),
            "the replica here can't be used, and others lead on; mend the disk and start this broker again"
        );
    }
}

/// What the quorum has otherwise than it should.
#[derive(Debug, Default)]
struct Wrong {
    /// Replicas that are in another directory, or whose log is open.
    places: Vec<Assignment>,
    /// Replicas whose disk has refused something.
    failed: Vec<Assignment>,
    /// Replicas whose log could not be opened.
    unopened: Vec<Assignment>,
    /// Whether there are others that stay as they are until somebody else can lead.
    waits: bool,
}

impl Wrong {
    fn add(&mut self, image: &Image, (topic, number): (TopicId, PartitionId), found: &Found<'_>) {
        let lost = (topic, number, DirectoryId::LOST);
        let is_told = found.state.unopened.contains(&found.me);
        match found.actual {
            Actual::NotYet => {}
            Actual::In(is) if is != found.known || is_told => {
                self.places.push((topic, number, is));
            }
            Actual::In(_) => {}
            Actual::Failed if found.others_can_go_on(image) => self.failed.push(lost),
            Actual::Failed => self.waits = true,
            Actual::Unopened => {
                let waits = !found.others_can_go_on(image);
                self.waits |= waits;
                if !waits || !is_told {
                    self.unopened.push(lost);
                }
            }
        }
    }
}

fn wrong(image: &Image, partitions: &Partitions, me: BrokerId) -> Wrong {
    let mut wrong = Wrong::default();
    for hosted in partitions.topics() {
        let id = hosted.topic_id();
        let Some(topic) = image.topic_by_id(id) else {
            continue;
        };
        for (number, state) in topic.partitions() {
            let known = state.replicas.iter().find(|has| has.broker == me);
            let Some(known) = known.map(|replica| replica.directory) else {
                continue;
            };
            // The quorum moves a lost one back where a new life begins, and not before.
            if known != DirectoryId::LOST {
                let actual = actual(partitions, &hosted, number);
                let found = Found {
                    me,
                    state,
                    known,
                    actual,
                };
                wrong.add(image, (id, number), &found);
            }
        }
    }
    wrong
}

/// A replica of this broker, as the quorum has it and as it is.
struct Found<'a> {
    me: BrokerId,
    state: &'a State,
    known: DirectoryId,
    actual: Actual,
}

impl Found<'_> {
    /// Whether the partition is better off without this replica: what was written to it can still be read, and copied by
    /// followers that are behind. So who leads, or would, goes only when another in-sync replica is up, and one whose log
    /// could not be opened keeps its place among those in sync.
    fn others_can_go_on(&self, image: &Image) -> bool {
        let is_up = |id: &BrokerId| {
            let is_opened = !self.state.unopened.contains(id);
            is_opened && image.broker(*id).is_some_and(|broker| !broker.fenced)
        };
        let leads = match self.state.leader {
            Some(leader) => leader == self.me,
            None => self.state.electable().any(|id| id == self.me),
        };
        !leads || self.state.isr.iter().any(|id| *id != self.me && is_up(id))
    }
}

/// What there is of a replica here.
enum Actual {
    NotYet,
    In(DirectoryId),
    /// Its disk has refused a write or a read.
    Failed,
    /// Nothing of it can be read.
    Unopened,
}

fn actual(partitions: &Partitions, hosted: &HostedTopic, partition: PartitionId) -> Actual {
    if hosted.is_offline(partition.get()) {
        return Actual::Unopened;
    }
    let Some(here) = hosted.partition(partition.get()) else {
        return Actual::NotYet;
    };
    match here.reader().check_writable() {
        Ok(()) => Actual::In(partitions.directory_of(here)),
        Err(_) => Actual::Failed,
    }
}
