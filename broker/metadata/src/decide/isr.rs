//! AlterPartition: a leader's proposal of its ISR becomes the partition's, if it was made on the present state.

use std::sync::Arc;

use milena_protocol::ErrorCode;

use super::{Draft, brokers};
use crate::command::{AlterPartition, IsrProposal, Refusal};
use crate::configs::ConfigRules;
use crate::election::{self, Turn};
use crate::image::{Image, Partition, Topic};
use crate::names::{BrokerId, PartitionId, TopicId};
use crate::policy::TopicPolicy;
use crate::record::PartitionRecord;

pub(super) fn alter(
    draft: &mut Draft,
    ask: &AlterPartition,
    rules: &dyn ConfigRules,
) -> Result<Vec<Result<PartitionRecord, Refusal>>, Refusal> {
    brokers::present(draft, ask.broker, ask.broker_epoch)?;
    let mut policy: Option<(TopicId, TopicPolicy)> = None;
    let mut alter_one = |proposal: &IsrProposal| {
        let (topic, present) = find(&draft.image, proposal.topic, proposal.partition)?;
        let policy = match policy {
            Some((id, policy)) if id == topic.id => policy,
            _ => {
                let of_topic = TopicPolicy::of(&draft.image, rules, &topic.name);
                policy.insert((topic.id, of_topic)).1
            }
        };
        check(&draft.image, ask.broker, proposal, present)?;
        let before = present.record(topic, proposal.partition);
        let mut next = before.clone();
        next.isr = proposal.isr.iter().map(|(member, _)| *member).collect();
        election::in_order(&mut next);
        let turn = Turn::default();
        match election::settle(&draft.image, policy, &turn, &before, next) {
            None => Ok(before),
            Some(state) => {
                draft.push(state.clone());
                Ok(state)
            }
        }
    };
    Ok(ask.partitions.iter().map(&mut alter_one).collect())
}

/// The partition of that topic's id.
pub(super) fn find(
    image: &Image,
    id: TopicId,
    partition: PartitionId,
) -> Result<(&Arc<Topic>, &Arc<Partition>), Refusal> {
    let topic = image.topic_by_id(id).ok_or_else(|| {
        let message = format!("No topic has the id {id}.");
        Refusal::new(ErrorCode::UnknownTopicId, message)
    })?;
    let present = topic.partition(partition.get()).ok_or_else(|| {
        let message = format!("Topic {} has no partition {partition}.", topic.name);
        Refusal::new(ErrorCode::UnknownTopicOrPartition, message)
    })?;
    Ok((topic, present))
}

/// As Kafka's controller: a proposal from behind is refused for good, one from ahead says that who decides has
/// not caught up, and may be sent again.
fn check(
    image: &Image,
    leader: BrokerId,
    proposal: &IsrProposal,
    present: &Partition,
) -> Result<(), Refusal> {
    let refuse = |code, message: String| Err(Refusal::new(code, message));
    let (epoch, partition_epoch) = (proposal.leader_epoch, proposal.partition_epoch);
    if epoch > present.leader_epoch || partition_epoch > present.partition_epoch {
        let message = format!(
            "The proposal is of leader epoch {epoch} and partition epoch {partition_epoch}, and the partition is \
             at {} and {} here.",
            present.leader_epoch, present.partition_epoch
        );
        return refuse(ErrorCode::NotController, message);
    }
    if epoch < present.leader_epoch {
        let message = format!("The leader epoch is {}, not {epoch}.", present.leader_epoch);
        return refuse(ErrorCode::FencedLeaderEpoch, message);
    }
    if present.leader != Some(leader) {
        let message = format!("Broker {leader} does not lead this partition.");
        return refuse(ErrorCode::InvalidRequest, message);
    }
    if partition_epoch < present.partition_epoch {
        let message = format!(
            "The partition epoch is {}, not {partition_epoch}.",
            present.partition_epoch
        );
        return refuse(ErrorCode::InvalidUpdateVersion, message);
    }
    check_members(image, leader, proposal, present)
}

fn check_members(
    image: &Image,
    leader: BrokerId,
    proposal: &IsrProposal,
    present: &Partition,
) -> Result<(), Refusal> {
    let invalid = |message: String| Err(Refusal::new(ErrorCode::InvalidRequest, message));
    let mut members: Vec<BrokerId> = proposal.isr.iter().map(|(id, _)| *id).collect();
    if let Some(stranger) = members.iter().find(|id| !present.hosts(**id)) {
        return invalid(format!(
            "Broker {stranger} has no replica of the partition."
        ));
    }
    if !members.contains(&leader) {
        return invalid(format!("The leader, {leader}, is not in the proposed ISR."));
    }
    members.sort();
    members.dedup();
    if members.len() != proposal.isr.len() {
        return invalid("The proposed ISR names a broker twice.".into());
    }
    for &(id, epoch) in &proposal.isr {
        if let Some(why) = ineligible(image, present, id, epoch) {
            let message = format!("Broker {id} may not be in the ISR: {why}.");
            return Err(Refusal::new(ErrorCode::IneligibleReplica, message));
        }
    }
    Ok(())
}

/// Why a broker may not be in the ISR. One that is leaving stays where it is in already.
fn ineligible(image: &Image, present: &Partition, id: BrokerId, epoch: i64) -> Option<String> {
    let joins = !present.isr.contains(&id);
    let Some(broker) = image.broker(id) else {
        return Some("it is not registered".into());
    };
    let replica = present.replicas.iter().find(|replica| replica.broker == id);
    if broker.epoch != epoch {
        Some(format!("its epoch is {}, not {epoch}", broker.epoch))
    } else if broker.fenced {
        Some("it is fenced".into())
    } else if replica.is_some_and(|replica| !election::is_online(broker, replica.directory)) {
        Some("the replica's directory is offline".into())
    } else if present.unopened.contains(&id) {
        Some("the replica's log could not be opened".into())
    } else if joins && broker.draining {
        Some("it is draining".into())
    } else if joins && broker.stopping {
        Some("it is stopping".into())
    } else {
        None
    }
}
