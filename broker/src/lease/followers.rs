//! What a leader tells of its followers: who has come to the log's end as it was when the question came, and by how
//! many bytes the others are behind.

use std::sync::Arc;
use std::time::Duration;

use milena_metadata::{BrokerId, PartitionId, PartitionProgress};
use tokio::time::{Instant, sleep};

use crate::broker::Broker;
use crate::partition::Partition;
use crate::partition::progress::Followers;
use crate::peer::Watched;

/// How long followers in sync may take to the log's end of when the question came: twice the time that an idle one's
/// fetch waits, as it does by default.
pub(super) const CATCH_UP_WITHIN: Duration = Duration::from_secs(1);
/// How often it is looked whether they have.
const LOOK: Duration = Duration::from_millis(10);

/// A partition, and the end of its log when the question came.
struct Asked {
    partition: Arc<Partition>,
    number: PartitionId,
    end: i64,
}

impl Asked {
    /// Followers in sync that are behind; one that is not in sync may take for ever.
    fn waits(&self) -> bool {
        let followers = self.partition.followers();
        followers.is_some_and(|now| {
            let behind =
                |(id, reached): &(BrokerId, i64)| now.isr.contains(id) && *reached < self.end;
            now.reached.iter().any(behind)
        })
    }

    /// What there is to say; `None` where it is not led here any more. Blocks.
    fn progress(&self) -> Option<PartitionProgress> {
        let now = self.partition.followers()?;
        let bytes = |offset| {
            let bytes = self.partition.bytes_behind(offset);
            // A log that can't be read has no size to tell, and the follower is behind all the same.
            bytes.unwrap_or(self.partition.reader().size_bytes())
        };
        let (caught_up, behind) = split(&now, self.end, bytes);
        Some(PartitionProgress {
            topic: self.partition.topic_id(),
            partition: self.number,
            leader_epoch: now.leader_epoch,
            caught_up,
            behind,
            log_bytes: Some(self.partition.reader().size_bytes()),
        })
    }
}

/// Followers that have everything below `end`, and the others with the bytes from their offset on.
fn split(
    now: &Followers,
    end: i64,
    bytes: impl Fn(i64) -> u64,
) -> (Vec<BrokerId>, Vec<(BrokerId, u64)>) {
    let (ahead, behind): (Vec<_>, Vec<_>) = now
        .reached
        .iter()
        .copied()
        .partition(|(_, reached)| *reached >= end);
    let caught_up = ahead.into_iter().map(|(id, _)| id);
    let behind = behind.into_iter().map(|(id, reached)| (id, bytes(reached)));
    (caught_up.collect(), behind.collect())
}

/// How far the followers are of the partitions that are led here.
pub(super) async fn progress(broker: Arc<Broker>, of: Watched) -> Vec<PartitionProgress> {
    let asked = asked(&broker, of);
    if matches!(of, Watched::HostedBy(_)) {
        let deadline = Instant::now() + CATCH_UP_WITHIN;
        while asked.iter().any(Asked::waits) && Instant::now() < deadline {
            sleep(LOOK).await;
        }
    }
    let look = move || asked.iter().filter_map(Asked::progress).collect();
    // Indexes that no memory holds are read from the disk.
    crate::blocking::run(look).await
}

fn asked(broker: &Broker, of: Watched) -> Vec<Asked> {
    let (image, me) = (broker.image(), broker.broker_id());
    let mut asked = Vec::new();
    for topic in image.topics() {
        let mut hosted = None;
        for (number, state) in topic.partitions() {
            let wanted = match of {
                Watched::HostedBy(id) => state.hosts(id),
                Watched::Reassigning => state.reassignment.is_some(),
            };
            if !wanted || state.leader != Some(me) {
                continue;
            }
            let hosted =
                hosted.get_or_insert_with(|| broker.partitions().topic(topic.name.as_str()));
            let here = hosted
                .as_ref()
                .and_then(|topic| topic.partition(number.get()));
            let Some(followers) = here.and_then(|partition| partition.followers()) else {
                continue;
            };
            asked.extend(here.map(|partition| Asked {
                partition: partition.clone(),
                number,
                end: followers.log_end,
            }));
        }
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: i32) -> BrokerId {
        BrokerId::new(number).unwrap()
    }

    #[test]
    fn caught_up_is_who_has_come_to_the_end_of_when_it_was_asked_for() {
        let now = Followers {
            leader_epoch: 3,
            log_end: 50,
            reached: vec![(id(2), 50), (id(3), 40), (id(4), 39)],
            isr: vec![id(1), id(2), id(3)],
        };
        let (caught_up, behind) = split(&now, 40, |offset| (50 - offset).unsigned_abs());
        assert_eq!(caught_up, [id(2), id(3)], "the log has grown since");
        assert_eq!(behind, [(id(4), 11)]);
    }
}
