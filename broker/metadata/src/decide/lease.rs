//! The stop lease: one rule for every wanted stop, be it a roll, a drain or an eviction.
//!
//! Granted when every partition that the broker hosts keeps max(1, `min.insync.replicas`) replicas in sync on brokers
//! that run, have caught up and hold no lease; when voters of the same kind are a majority; and when there are
//! fewer leases out than may be. Trouble elsewhere blocks nothing. It ends when the broker's next life is back in
//! every ISR, or by its time while the broker serves, in whatever life: one that drains may never be in every ISR again.
//! Its time is what one leader of the quorum has seen go by: a time of day that jumped would end the leases of brokers
//! that are about to stop, and let others stop beside them.
//! Of all this nothing is asked while the cluster is being stopped as a whole (`stopping.rs`).

use std::collections::BTreeMap;

use milena_protocol::ErrorCode;

use super::{Draft, stopping};
use crate::command::{
    BlockingFollower, BlockingPartition, ExpireLeases, GrantedLease, LeaseAnswer, LeaseRefusal,
    NeverSafe, NotStaying, PartitionProgress, QuorumBlocks, Refusal, ReleaseLease, RequestLease,
    SeenLease,
};
use crate::configs::ConfigRules;
use crate::election;
use crate::image::{Image, Lease, Topic};
use crate::names::{BrokerId, PartitionId, TopicId, TopicName};
use crate::policy::TopicPolicy;
use crate::record::{LeaseEndedRecord, LeaseRecord, PartitionRecord};

/// A broker that takes longer to stop is stuck, and must not keep the others from stopping for ever.
pub const LEASE_MS_MAX: i64 = 60 * 60 * 1_000;

/// Partitions named in an answer: enough to see what is wrong, and to fit a status.
pub const LEASE_PARTITIONS_NAMED_MAX: usize = 100;

pub(super) fn request(
    draft: &mut Draft,
    ask: &RequestLease,
    rules: &dyn ConfigRules,
) -> Result<LeaseAnswer, Refusal> {
    let broker = draft.image.broker(ask.broker).cloned().ok_or_else(|| {
        let message = format!("Broker {} is not registered.", ask.broker);
        Refusal::new(ErrorCode::BrokerIdNotRegistered, message)
    })?;
    stopping::end_expired(draft, ask.now_ms);
    let cluster_stopping = draft.image.stopping().is_some();
    let present = draft.image.lease(broker.id).cloned();
    let lasts = |has: &&Lease| has.incarnation == broker.incarnation && has.expires_ms > ask.now_ms;
    if let Some(lease) = present.as_ref().filter(lasts) {
        // Whoever asks again gets what there is; what pauses was said when it was granted.
        let nothing = Findings::default();
        return Ok(granted(lease.clone(), &nothing, cluster_stopping));
    }
    let findings = match cluster_stopping {
        true => Findings::default(),
        false => Findings::on(&draft.image, ask, rules),
    };
    if !findings.refusal.is_empty() {
        return Ok(LeaseAnswer::Refused(findings.refusal));
    }
    if let Some(old) = present {
        end(draft, &old);
    }
    let duration_ms = ask.duration_ms.clamp(1, LEASE_MS_MAX);
    let lease = LeaseRecord {
        broker: broker.id,
        incarnation: broker.incarnation,
        expires_ms: ask.now_ms.saturating_add(duration_ms),
        duration_ms: Some(duration_ms),
    };
    draft.push(lease.clone());
    Ok(granted(lease, &findings, cluster_stopping))
}

fn granted(lease: Lease, findings: &Findings, cluster_stopping: bool) -> LeaseAnswer {
    LeaseAnswer::Granted(GrantedLease {
        lease,
        pausing: findings.pausing.clone(),
        pausing_count: findings.pausing_count,
        quorum_pauses: findings.quorum_pauses,
        cluster_stopping,
    })
}

pub(super) fn expire(draft: &mut Draft, ask: &ExpireLeases) -> Vec<Lease> {
    stopping::end_expired(draft, ask.now_ms);
    let image = &draft.image;
    let serves = |id: BrokerId| image.broker(id).is_some_and(|broker| !broker.fenced);
    let ended = |seen: &&SeenLease| {
        let lease = &seen.lease;
        image.lease(lease.broker) == Some(lease)
            && lease.is_over(seen.seen_ms)
            && serves(lease.broker)
    };
    let ended = ask.seen.iter().filter(ended).map(|seen| seen.lease.clone());
    let ended: Vec<Lease> = ended.collect();
    ended.iter().for_each(|lease| end(draft, lease));
    ended
}

/// Whether there was one.
pub(super) fn release(draft: &mut Draft, ask: &ReleaseLease) -> bool {
    let lease = draft.image.lease(ask.broker).cloned();
    lease.inspect(|lease| end(draft, lease)).is_some()
}

/// Ends the leases of brokers that are back in every ISR. For every decision, once it is made.
pub(super) fn end_returned(draft: &mut Draft) {
    let image = &draft.image;
    let back = |lease: &&Lease| {
        let broker = image.broker(lease.broker);
        broker.is_some_and(|broker| {
            broker.incarnation != lease.incarnation
                && !broker.fenced
                && image.out_of_sync(broker.id).next().is_none()
        })
    };
    let ended: Vec<Lease> = image.leases().filter(back).cloned().collect();
    ended.iter().for_each(|lease| end(draft, lease));
}

impl Lease {
    /// Whether its time is over for a leader of the quorum that has itself seen it for so long. One whose duration is
    /// not known lasts as long as any may.
    pub fn is_over(&self, seen_ms: i64) -> bool {
        seen_ms >= self.duration_ms.unwrap_or(LEASE_MS_MAX)
    }
}

fn end(draft: &mut Draft, lease: &Lease) {
    draft.push(LeaseEndedRecord {
        broker: lease.broker,
        incarnation: lease.incarnation,
    });
}

/// What speaks against a lease, and what its policy accepts.
#[derive(Default)]
struct Findings {
    refusal: LeaseRefusal,
    pausing: Vec<(TopicName, PartitionId)>,
    pausing_count: usize,
    quorum_pauses: bool,
}

impl Findings {
    fn on(image: &Image, ask: &RequestLease, rules: &dyn ConfigRules) -> Self {
        let mut findings = Self::default();
        findings.count_leases(image, ask);
        findings.count_voters(image, ask);
        findings.count_replicas(image, ask, rules);
        findings
    }

    fn count_leases(&mut self, image: &Image, ask: &RequestLease) {
        let others = image.leases().filter(|lease| lease.broker != ask.broker);
        let out: Vec<BrokerId> = others.map(|lease| lease.broker).collect();
        if out.len() >= ask.max_unavailable as usize {
            self.refusal.leases_out = out;
        }
    }

    fn count_voters(&mut self, image: &Image, ask: &RequestLease) {
        let stays = |voter: BrokerId| voter != ask.broker && image.lease(voter).is_none();
        let caught_up = ask.voters.iter().filter(|voter| voter.caught_up);
        let staying = caught_up.filter(|voter| stays(voter.broker)).count();
        let voters = ask.voters.len();
        if staying * 2 > voters {
            return;
        }
        let votes = ask.voters.iter().any(|voter| voter.broker == ask.broker);
        let never = votes && (voters - 1) * 2 <= voters;
        if never && ask.never_safe == NeverSafe::Allow {
            self.quorum_pauses = true;
            return;
        }
        let behind = ask.voters.iter().filter(|voter| !voter.caught_up);
        self.refusal.quorum = Some(QuorumBlocks {
            voters,
            staying,
            behind: behind.map(|voter| voter.broker).collect(),
        });
    }

    fn count_replicas(&mut self, image: &Image, ask: &RequestLease, rules: &dyn ConfigRules) {
        let progress: BTreeMap<(TopicId, PartitionId), &PartitionProgress> = ask
            .partitions
            .iter()
            .map(|progress| ((progress.topic, progress.partition), progress))
            .collect();
        for topic in image.topics() {
            let mut needed = None;
            for (number, partition) in topic.partitions() {
                if !partition.hosts(ask.broker) {
                    continue;
                }
                let needed = *needed.get_or_insert_with(|| {
                    TopicPolicy::of(image, rules, &topic.name).min_insync_replicas
                });
                let said = progress.get(&(topic.id, number));
                let said = said.filter(|said| said.leader_epoch == partition.leader_epoch);
                let partition = partition.record(topic, number);
                self.count_partition(image, ask, topic, &partition, needed, said.copied());
            }
        }
    }

    fn count_partition(
        &mut self,
        image: &Image,
        ask: &RequestLease,
        topic: &Topic,
        partition: &PartitionRecord,
        needed: usize,
        said: Option<&PartitionProgress>,
    ) {
        // Nothing of it is served here, and the next life may mend it.
        if partition.unopened.contains(&ask.broker) {
            return;
        }
        let others = partition.replicas.len() - 1;
        if others < needed {
            self.never(ask, (topic.name.clone(), partition.partition));
            return;
        }
        let mut followers = Vec::new();
        for id in partition.brokers().filter(|id| *id != ask.broker) {
            if let Some(reason) = not_staying(image, partition, id, said) {
                let behind = said.map_or(&[][..], |said| &said.behind);
                let behind = behind.iter().find(|(broker, _)| *broker == id);
                followers.push(BlockingFollower {
                    broker: id,
                    reason,
                    bytes_behind: behind.map(|(_, bytes)| *bytes),
                });
            }
        }
        let staying = others - followers.len();
        if staying >= needed {
            return;
        }
        self.refusal.blocking_count += 1;
        if self.refusal.blocking.len() < LEASE_PARTITIONS_NAMED_MAX {
            self.refusal.blocking.push(BlockingPartition {
                topic: topic.name.clone(),
                partition: partition.partition,
                needed,
                staying,
                followers,
            });
        }
    }

    fn never(&mut self, ask: &RequestLease, partition: (TopicName, PartitionId)) {
        let (list, count) = match ask.never_safe {
            NeverSafe::Allow => (&mut self.pausing, &mut self.pausing_count),
            NeverSafe::Block | NeverSafe::Move => (
                &mut self.refusal.never_safe,
                &mut self.refusal.never_safe_count,
            ),
        };
        *count += 1;
        if list.len() < LEASE_PARTITIONS_NAMED_MAX {
            list.push(partition);
        }
    }
}

/// Why a replica can't be counted on while the broker is away.
fn not_staying(
    image: &Image,
    partition: &PartitionRecord,
    id: BrokerId,
    said: Option<&PartitionProgress>,
) -> Option<NotStaying> {
    let caught_up = || said.is_some_and(|said| said.caught_up.contains(&id));
    if !election::is_up(image, partition, id) {
        Some(NotStaying::Down)
    } else if !partition.isr.contains(&id) {
        Some(NotStaying::OutOfSync)
    } else if image.lease(id).is_some() {
        Some(NotStaying::HoldsLease)
    } else if partition.leader != Some(id) && !caught_up() {
        Some(NotStaying::Behind)
    } else {
        None
    }
}
