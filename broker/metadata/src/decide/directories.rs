//! Log directories (KIP-858): where a broker's replicas are, and which replicas it can no longer use.

use milena_protocol::ErrorCode;

use super::{Draft, brokers, isr};
use crate::command::{AssignDirectories, Refusal};
use crate::configs::ConfigRules;
use crate::election::{self, Turn};
use crate::image::Image;
use crate::names::{BrokerId, DirectoryId, PartitionId, TopicId};
use crate::policy::TopicPolicy;
use crate::record::PartitionRecord;

pub(super) fn assign(
    draft: &mut Draft,
    ask: &AssignDirectories,
    rules: &dyn ConfigRules,
) -> Result<Vec<Result<(), Refusal>>, Refusal> {
    brokers::present(draft, ask.broker, ask.broker_epoch)?;
    let mut assign = |&(topic, partition, directory): &(TopicId, PartitionId, DirectoryId)| {
        assign_one(draft, rules, ask, (topic, partition), directory)
    };
    Ok(ask.replicas.iter().map(&mut assign).collect())
}

fn assign_one(
    draft: &mut Draft,
    rules: &dyn ConfigRules,
    ask: &AssignDirectories,
    (topic, number): (TopicId, PartitionId),
    directory: DirectoryId,
) -> Result<(), Refusal> {
    let broker = ask.broker;
    let (topic, present) = isr::find(&draft.image, topic, number)?;
    let before = present.record(topic, number);
    let policy = TopicPolicy::of(&draft.image, rules, &topic.name);
    let mut next = before.clone();
    let Some(replica) = next.replicas.iter_mut().find(|has| has.broker == broker) else {
        let message = format!("Broker {broker} has no replica of {}-{number}.", topic.name);
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    };
    let is_last = is_last_resort(&draft.image, &before, broker);
    match directory == DirectoryId::LOST && is_last {
        false => {
            replica.directory = directory;
            next.unopened.retain(|id| *id != broker);
        }
        // Its directory stays known: where it is gone at the next start, the records are missed.
        true if ask.is_unopened => {
            next.unopened.retain(|id| *id != broker);
            next.unopened.push(broker);
        }
        // What is there can still be read, and copied by those that are behind.
        true => {
            let message = format!(
                "Nobody else could lead {}-{number}: its replica on broker {broker} stays as it is.",
                topic.name
            );
            return Err(Refusal::new(ErrorCode::NotEnoughReplicas, message));
        }
    }
    let turn = Turn::default();
    if let Some(state) = election::settle(&draft.image, policy, &turn, &before, next) {
        draft.push(state);
    }
    Ok(())
}

/// Whether a broker leads, or is who would, and no other that is in sync is up.
fn is_last_resort(image: &Image, partition: &PartitionRecord, broker: BrokerId) -> bool {
    let is_up = |id: &BrokerId| *id != broker && election::is_up(image, partition, *id);
    let leads = match partition.leader {
        Some(leader) => leader == broker,
        None => partition.may_elect(broker),
    };
    leads && !partition.isr.iter().any(is_up)
}
