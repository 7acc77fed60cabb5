//! Which log directory each replica here is in, as the quorum knows it (KIP-858), and which replicas can't be used any
//! more: their disk has refused a write or a read, or their log could not be opened. Of those others lead on; until the
//! broker is started anew they are as offline, and the broker's other replicas go on.
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

/// Looks and tells until `stopping`. A broker alone has nobody to hand anything to.
pub async fn run(broker: Arc<Broker>, stopping: CancellationToken) {
    if !broker.config().is_in_a_cluster() {
        return;
    }
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
async fn tell(broker: &Broker) -> bool {
    broker.take_over().await;
    let (wrong, mut is_done) = wrong(&broker.image(), broker.partitions(), broker.broker_id());
    for replicas in wrong.chunks(REPLICAS_MAX) {
        let command = AssignDirectories {
            broker: broker.broker_id(),
            broker_epoch: broker.broker_epoch(),
            replicas: replicas.to_vec(),
        };
        match broker.quorum().request(command).await {
            Ok(answers) => {
                let image = broker.image();
                for (replica, answer) in replicas.iter().zip(answers) {
                    match answer {
                        Ok(()) => note(&image, replica),
                        // The others have gone since it was looked.
                        Err(refusal) => {
                            tracing::debug!(%refusal.message, "a replica stays as it is");
                            is_done = false;
                        }
                    }
                }
            }
            Err(error) => {
                tracing::debug!(%error, "the quorum can't be told of the replicas' directories now");
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

/// Replicas for which the quorum has another directory than it should have, and whether there are no failed ones
/// beside them, which stay as they are for now.
fn wrong(image: &Image, partitions: &Partitions, me: BrokerId) -> (Vec<Assignment>, bool) {
    let (mut wrong, mut none_is_left) = (Vec::new(), true);
    for hosted in partitions.topics() {
        let id = hosted.topic_id();
        let Some(topic) = image.topic_by_id(id) else {
            continue;
        };
        for (partition, state) in topic.partitions() {
            let known = state.replicas.iter().find(|has| has.broker == me);
            let Some(known) = known.map(|replica| replica.directory) else {
                continue;
            };
            match actual(partitions, &hosted, partition) {
                Some(is) if is == known => {}
                // The quorum moves a lost one back where a new life begins, and not before.
                Some(DirectoryId::LOST) if !others_can_go_on(image, state, me) => {
                    none_is_left = false;
                }
                Some(is) if known != DirectoryId::LOST => wrong.push((id, partition, is)),
                _ => {}
            }
        }
    }
    (wrong, none_is_left)
}

/// Where the replica is, `LOST` where it can't be used; nothing where it is not here yet.
fn actual(
    partitions: &Partitions,
    hosted: &HostedTopic,
    partition: PartitionId,
) -> Option<DirectoryId> {
    if hosted.offline().any(|index| index == partition.get()) {
        return Some(DirectoryId::LOST);
    }
    let here = hosted.partition(partition.get())?;
    Some(match here.reader().check_writable() {
        Ok(()) => partitions.directory_of(here),
        Err(_) => DirectoryId::LOST,
    })
}

/// Whether the partition is better off without this replica: what was written to it can still be read, and copied by
/// followers that are behind. So a leader goes only when another in-sync replica is up.
fn others_can_go_on(image: &Image, state: &State, me: BrokerId) -> bool {
    let is_up = |id: &BrokerId| image.broker(*id).is_some_and(|broker| !broker.fenced);
    state.leader != Some(me) || state.isr.iter().any(|id| *id != me && is_up(id))
}
