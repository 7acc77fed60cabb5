//! Who is in sync: asks the quorum for what the leaders here have seen (AlterPartition, KIP-497). One request is in
//! flight at a time, with everything that has come up meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use milena_metadata::{
    AlterPartition, BrokerId, Image, IsrProposal, Partition as State, PartitionId, PartitionRecord,
    Refusal,
};
use milena_protocol::ErrorCode;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::partition::Partition;
use crate::partition::leadership::Proposal;
use crate::partitions::Noted;
use crate::quorum::QuorumError;

/// Proposals of one request: a frame's worth, and a fraction of a second for who decides.
const PROPOSALS_MAX: usize = 5_000;
/// Late followers are looked for so many times in `replica.lag.time.max.ms`, as in Kafka.
const LOOKS_PER_LAG: i64 = 2;
/// Without an answer the same request is sent again after this.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Partitions led here whose ISR is to be looked at.
#[derive(Debug, Default)]
pub struct IsrWatch {
    due: Mutex<Noted>,
    /// All of them are.
    all: AtomicBool,
    arrived: Notify,
}

impl IsrWatch {
    /// A follower may be able to join.
    pub fn look_at(&self, partition: Arc<Partition>) {
        self.due.lock().note(partition);
        self.arrived.notify_one();
    }

    /// Followers everywhere may be able to join: a broker is not fenced any more.
    pub fn look_at_all(&self) {
        self.all.store(true, Ordering::Relaxed);
        self.arrived.notify_one();
    }
}

/// Looks and asks until `stopping`.
pub async fn run(broker: Arc<Broker>, stopping: CancellationToken) {
    tokio::select! {
        () = watch(&broker) => {}
        () = stopping.cancelled() => {}
    }
}

async fn watch(broker: &Broker) {
    let mut last = Instant::now();
    loop {
        let lag_max_ms = broker.config().replica_lag_time_max_ms;
        let period = Duration::from_millis((lag_max_ms / LOOKS_PER_LAG).max(1).unsigned_abs());
        let watch = broker.isr();
        // However much arrives, who is late is looked for in time.
        let is_time = timeout_at(last + period, watch.arrived.notified())
            .await
            .is_err();
        let due = match is_time || watch.all.swap(false, Ordering::Relaxed) {
            true => {
                last = Instant::now();
                watch.due.lock().take();
                broker.partitions().all()
            }
            false => watch.due.lock().take(),
        };
        for due in due.chunks(PROPOSALS_MAX) {
            let proposed = proposals(broker, due, lag_max_ms);
            if !proposed.is_empty() {
                ask(broker, &proposed).await;
            }
        }
    }
}

/// A partition and what is asked for it.
type Proposed = (Arc<Partition>, Proposal);

fn proposals(broker: &Broker, due: &[Arc<Partition>], lag_max_ms: i64) -> Vec<Proposed> {
    let image = broker.image();
    let propose = |partition: &Arc<Partition>| {
        let topic = image.topic_by_id(partition.topic_id())?;
        let state = topic.partition(partition.index())?;
        let eligible = |id| eligible(&image, state, id);
        let proposal = partition.propose(lag_max_ms, eligible)?;
        Some((partition.clone(), proposal))
    };
    due.iter().filter_map(propose).collect()
}

/// The life of a broker that may join, or is in and may stay: one that is leaving stays until others have what it has,
/// the leader above all.
fn eligible(image: &Image, state: &State, id: BrokerId) -> Option<i64> {
    let broker = image.broker(id)?;
    let may = !broker.fenced && (!broker.is_leaving() || state.isr.contains(&id));
    may.then_some(broker.epoch)
}

/// Asks until there is an answer: without one it is not known which ISR holds, so that both count.
async fn ask(broker: &Broker, proposed: &[Proposed]) {
    let command = AlterPartition {
        broker: broker.broker_id(),
        broker_epoch: broker.broker_epoch(),
        partitions: proposed.iter().filter_map(wish).collect(),
    };
    let answers = loop {
        match broker.quorum().request(command.clone()).await {
            Ok(answers) => break answers,
            // Of another life by now, or not a broker any more: nothing of it holds.
            Err(QuorumError::Refused(refusal)) => {
                break proposed.iter().map(|_| Err(refusal.clone())).collect();
            }
            Err(QuorumError::Stopped) => return,
            Err(error) => {
                tracing::debug!(%error, "the in-sync replicas can't be changed now");
                sleep(ASK_AGAIN).await;
            }
        }
    };
    for ((partition, proposal), answer) in proposed.iter().zip(answers) {
        note(partition, proposal, &answer);
    }
}

fn wish((partition, proposal): &Proposed) -> Option<IsrProposal> {
    let members = proposal.members.iter();
    Some(IsrProposal {
        topic: partition.topic_id(),
        partition: PartitionId::new(partition.index()).ok()?,
        leader_epoch: proposal.leader_epoch,
        partition_epoch: proposal.partition_epoch,
        isr: members
            .map(|member| (member.broker, member.epoch))
            .collect(),
    })
}

fn note(partition: &Partition, proposal: &Proposal, answer: &Result<PartitionRecord, Refusal>) {
    let (topic, index) = (partition.topic(), partition.index());
    match answer {
        Ok(state) => {
            let isr: Vec<i32> = state.isr.iter().map(|id| id.get()).collect();
            tracing::info!(%topic, partition = index, ?isr, "the in-sync replicas have changed");
        }
        Err(refusal) => {
            tracing::debug!(%topic, partition = index, ?proposal, %refusal, "the in-sync replicas stay");
        }
    }
    partition.proposal_answered(decided_at(proposal, answer));
}

/// The least partition epoch that the quorum had when it answered: while this broker has not heard of that, its own ISR
/// is an old one, and whoever was proposed may be in the one that holds.
fn decided_at(proposal: &Proposal, answer: &Result<PartitionRecord, Refusal>) -> i32 {
    match answer.as_ref().map_err(|refusal| refusal.code) {
        Ok(state) => state.partition_epoch,
        // Whether the members may be in is asked last, of the very state that the proposal builds on. Nor does it hold
        // where who decided was behind that.
        Err(ErrorCode::IneligibleReplica | ErrorCode::NotController) => proposal.partition_epoch,
        // The state is another by now, maybe by this proposal, which was sent again after an answer that was lost.
        Err(_) => proposal.partition_epoch + 1,
    }
}

#[cfg(test)]
mod tests;
