//! AlterPartitionReassignments: grow, catch up, shrink. Here a partition gets its new replicas beside the old ones;
//! the ISR that has them all ends the reassignment ([`election::settle`]).

use std::sync::Arc;

use milena_protocol::ErrorCode;

use super::{Draft, partitions};
use crate::command::{AlterPartitionReassignments, Refusal, WantedReplicas};
use crate::configs::ConfigRules;
use crate::election::{self, Turn};
use crate::image::{Image, Partition, Topic};
use crate::names::{BrokerId, PartitionId};
use crate::placement::Wish;
use crate::policy::TopicPolicy;
use crate::record::{PartitionRecord, Reassignment, Replica};

pub(super) fn alter(
    draft: &mut Draft,
    ask: &AlterPartitionReassignments,
    rules: &dyn ConfigRules,
) -> Result<Vec<Result<(), Refusal>>, Refusal> {
    if ask.partitions.len() > super::PARTITIONS_PER_REQUEST_MAX {
        return Err(Refusal::new(
            ErrorCode::PolicyViolation,
            "Excessively large number of partitions per request.",
        ));
    }
    let mut alter_one = |wanted: &WantedReplicas| {
        let (topic, number, present) = find(&draft.image, &wanted.topic, wanted.partition)?;
        let before = present.record(&topic, number);
        let target = target(draft, rules, ask, wanted, &before)?;
        let next = on_the_way(&draft.image, &before, target)?;
        let policy = TopicPolicy::of(&draft.image, rules, &topic.name);
        let turn = Turn::default();
        if let Some(state) = election::settle(&draft.image, policy, &turn, &before, next) {
            draft.push(state);
        }
        Ok(())
    };
    Ok(ask.partitions.iter().map(&mut alter_one).collect())
}

/// The partition that a request names.
pub(super) fn find(
    image: &Image,
    topic: &str,
    partition: i32,
) -> Result<(Arc<Topic>, PartitionId, Arc<Partition>), Refusal> {
    let found = image.topic(topic).and_then(|topic| {
        let present = topic.partition(partition)?;
        let number = PartitionId::new(partition).ok()?;
        Some((Arc::clone(topic), number, Arc::clone(present)))
    });
    found.ok_or_else(|| {
        let message = format!("There is no partition {topic}-{partition}.");
        Refusal::new(ErrorCode::UnknownTopicOrPartition, message)
    })
}

/// The brokers that the partition shall have: those wished for, or those of before.
fn target(
    draft: &Draft,
    rules: &dyn ConfigRules,
    ask: &AlterPartitionReassignments,
    wanted: &WantedReplicas,
    before: &PartitionRecord,
) -> Result<Vec<BrokerId>, Refusal> {
    let Some(list) = &wanted.brokers else {
        let reassignment = before.reassignment.as_ref().ok_or_else(|| {
            let (topic, partition) = (&wanted.topic, wanted.partition);
            let message = format!("No reassignment of {topic}-{partition} is in progress.");
            Refusal::new(ErrorCode::NoReassignmentInProgress, message)
        })?;
        return Ok(reassignment.from.clone());
    };
    let brokers = partitions::known_brokers(&draft.image, list)?;
    let wish = Wish::of(&draft.image, rules, &wanted.topic);
    let from = origin(before);
    partitions::check_nodes(&draft.image, &wish, &brokers, &from)?;
    let present = from.len();
    if brokers.len() != present && !ask.allow_replication_factor_change {
        return Err(Refusal::new(
            ErrorCode::InvalidReplicationFactor,
            format!(
                "The replication factor is {present}, and the request would make it {} without allowing a change.",
                brokers.len()
            ),
        ));
    }
    Ok(brokers)
}

/// The brokers before any reassignment in progress.
fn origin(before: &PartitionRecord) -> Vec<BrokerId> {
    match &before.reassignment {
        Some(reassignment) => reassignment.from.clone(),
        None => before.brokers().collect(),
    }
}

/// The partition with both sets. Who was joining by a reassignment that this one replaces, and is in neither,
/// leaves; that is refused where it would take the last in sync.
fn on_the_way(
    image: &Image,
    before: &PartitionRecord,
    to: Vec<BrokerId>,
) -> Result<PartitionRecord, Refusal> {
    let from = origin(before);
    let mut next = before.clone();
    let reassignment = Reassignment { from, to };
    let adding: Vec<BrokerId> = reassignment.adding().collect();
    for &broker in &adding {
        if !next.hosts(broker) {
            let directory = election::directory(image, broker);
            next.replicas.push(Replica { broker, directory });
        }
    }
    let all: Vec<BrokerId> = reassignment.from.iter().chain(&adding).copied().collect();
    next.reassignment = (reassignment.to != reassignment.from).then_some(reassignment);
    election::host(&mut next, &all);
    let up = |id: &BrokerId| election::is_up(image, &next, *id);
    let served = next.isr.iter().any(up) || before.leader.is_none();
    if !served || (next.isr.is_empty() && !before.isr.is_empty()) {
        return Err(partitions::bad_assignment(
            "None of the brokers that stay is in sync, so records would be lost: let one of them catch up, or keep a \
             broker that is in the ISR.",
        ));
    }
    Ok(next)
}
