//! Asks all leaders and the quorum, at once and within a bound.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use milena_metadata::{BrokerId, Image, PartitionProgress, VoterProgress};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

use super::followers::CATCH_UP_WITHIN;
use crate::broker::Broker;
use crate::peer::Watched;
use crate::quorum::QuorumProgress;

/// A leader waits for its followers, and looks into their logs.
const ANSWER_WITHIN: Duration = CATCH_UP_WITHIN.saturating_add(Duration::from_secs(2));
/// Members answer their leader every 50 ms; who has not in this time is not there.
const VOTERS_WITHIN: Duration = Duration::from_secs(1);
/// Between two questions to the quorum's leader: a heartbeat's interval and its way.
const ASK_AGAIN: Duration = Duration::from_millis(60);

/// The partitions that a broker hosts, as their leaders see them. Those of a leader that does not answer are left out.
pub(super) async fn hosted_by(broker: &Arc<Broker>, id: BrokerId) -> Vec<PartitionProgress> {
    let leaders = leaders(&broker.image(), Watched::HostedBy(id));
    ask(broker, leaders, Watched::HostedBy(id)).await
}

/// The partitions that are reassigned, as their leaders see them.
pub async fn reassigning(broker: &Arc<Broker>) -> Vec<PartitionProgress> {
    let leaders = leaders(&broker.image(), Watched::Reassigning);
    ask(broker, leaders, Watched::Reassigning).await
}

/// Who leads any of them.
fn leaders(image: &Image, of: Watched) -> BTreeSet<BrokerId> {
    let partitions = image.topics().flat_map(|topic| topic.partitions());
    let wanted = partitions.filter(|(_, partition)| match of {
        Watched::HostedBy(id) => partition.hosts(id),
        Watched::Reassigning => partition.reassignment.is_some(),
    });
    wanted
        .filter_map(|(_, partition)| partition.leader)
        .collect()
}

async fn ask(
    broker: &Arc<Broker>,
    leaders: BTreeSet<BrokerId>,
    of: Watched,
) -> Vec<PartitionProgress> {
    let mut asking = JoinSet::new();
    for leader in leaders {
        let broker = broker.clone();
        asking.spawn(async move {
            let asked = broker
                .quorum()
                .partitions_progress(leader, of, ANSWER_WITHIN);
            asked.await.unwrap_or_else(|why| {
                tracing::warn!(%leader, why, "a leader does not say how far its followers are");
                Vec::new()
            })
        });
    }
    let mut all: Vec<PartitionProgress> = asking.join_all().await.into_iter().flatten().collect();
    all.sort_by_cached_key(super::place);
    all
}

/// The voters, as the quorum's leader sees them. None where nobody leads, which leaves no majority.
pub(super) async fn voters(broker: &Arc<Broker>) -> Vec<VoterProgress> {
    let deadline = Instant::now() + VOTERS_WITHIN;
    let first = match broker.quorum().progress(VOTERS_WITHIN).await {
        Ok(first) => first,
        Err(why) => {
            tracing::warn!(
                why,
                "the metadata quorum does not say how far its voters are"
            );
            return Vec::new();
        }
    };
    let heard = Instant::now();
    let mut voters = caught_up(&first, first.last_index, Duration::ZERO);
    while voters.iter().any(|voter| !voter.caught_up) && Instant::now() + ASK_AGAIN < deadline {
        sleep(ASK_AGAIN).await;
        let since = heard.elapsed();
        let asked = timeout_at(deadline, broker.quorum().progress(VOTERS_WITHIN)).await;
        let Ok(Ok(next)) = asked else { break };
        voters = caught_up(&next, first.last_index, since);
    }
    voters
}

/// Who has the log up to `index`, and has answered its leader within `since`: after the question.
fn caught_up(progress: &QuorumProgress, index: i64, since: Duration) -> Vec<VoterProgress> {
    let voters = progress.voters.iter().filter_map(|voter| {
        let has_all = voter.matched_index.is_some_and(|matched| matched >= index);
        let is_there = voter.silent.is_some_and(|silent| silent <= since);
        Some(VoterProgress {
            broker: BrokerId::new(voter.broker).ok()?,
            caught_up: has_all && is_there,
        })
    });
    voters.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quorum::MemberProgress;

    #[test]
    fn a_voter_has_caught_up_that_has_the_log_and_has_answered_since_the_question() {
        let member = |broker, matched_index, silent_ms: u64| MemberProgress {
            broker,
            directory: None,
            matched_index,
            silent: Some(Duration::from_millis(silent_ms)),
        };
        let progress = QuorumProgress {
            leader: 1,
            term: 1,
            last_index: 12,
            committed_index: 12,
            voters: vec![
                member(1, Some(12), 0),
                member(2, Some(10), 20),
                member(3, Some(9), 20),
                member(4, Some(12), 70),
                member(5, None, 20),
            ],
            learners: Vec::new(),
        };
        let since = Duration::from_millis(60);
        let voters = caught_up(&progress, 10, since);
        let there: Vec<i32> = voters
            .iter()
            .filter(|voter| voter.caught_up)
            .map(|voter| voter.broker.get())
            .collect();
        assert_eq!((there, voters.len()), (vec![1, 2], 5));
    }
}
