//! Log directories (KIP-858): where a broker's replicas are, and which of them it can no longer use.

use milena_protocol::ErrorCode;

use super::{Draft, brokers, isr, settle};
use crate::command::{AssignDirectories, LoseDirectories, Refusal};
use crate::configs::ConfigRules;
use crate::election::{self, Turn};
use crate::names::{BrokerId, DirectoryId, PartitionId, TopicId};
use crate::policy::TopicPolicy;
use crate::record::BrokerStateRecord;

pub(super) fn assign(
    draft: &mut Draft,
    ask: &AssignDirectories,
    rules: &dyn ConfigRules,
) -> Result<Vec<Result<(), Refusal>>, Refusal> {
    brokers::present(draft, ask.broker, ask.broker_epoch)?;
    let mut assign = |&(topic, partition, directory): &(TopicId, PartitionId, DirectoryId)| {
        assign_one(draft, rules, ask.broker, (topic, partition), directory)
    };
    Ok(ask.replicas.iter().map(&mut assign).collect())
}

fn assign_one(
    draft: &mut Draft,
    rules: &dyn ConfigRules,
    broker: BrokerId,
    (topic, number): (TopicId, PartitionId),
    directory: DirectoryId,
) -> Result<(), Refusal> {
    let (topic, present) = isr::find(&draft.image, topic, number)?;
    let before = present.record(topic, number);
    let policy = TopicPolicy::of(&draft.image, rules, &topic.name);
    let mut next = before.clone();
    let Some(replica) = next.replicas.iter_mut().find(|has| has.broker == broker) else {
        let message = format!("Broker {broker} has no replica of {}-{number}.", topic.name);
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    };
    replica.directory = directory;
    // What is there can still be read, and copied by those that are behind.
    let is_up = |id: &BrokerId| *id != broker && election::is_up(&draft.image, &before, *id);
    let leads_alone = before.leader == Some(broker) && !before.isr.iter().any(is_up);
    if directory == DirectoryId::LOST && leads_alone {
        let message = format!(
            "Nobody else could lead {}-{number}: its replica on broker {broker} stays as it is.",
            topic.name
        );
        return Err(Refusal::new(ErrorCode::NotEnoughReplicas, message));
    }
    let turn = Turn::default();
    if let Some(state) = election::settle(&draft.image, policy, &turn, &before, next) {
        draft.push(state);
    }
    Ok(())
}

/// What the broker keeps there is not served any more: as if it were fenced, for these replicas only.
pub(super) fn lose(
    draft: &mut Draft,
    ask: &LoseDirectories,
    rules: &dyn ConfigRules,
) -> Result<(), Refusal> {
    let broker = brokers::present(draft, ask.broker, ask.broker_epoch)?.clone();
    let lost = |directory: &DirectoryId| ask.directories.contains(directory);
    if !broker.directories.iter().any(lost) {
        return Ok(());
    }
    let online = broker
        .directories
        .iter()
        .filter(|directory| !lost(directory));
    draft.push(BrokerStateRecord {
        id: broker.id,
        epoch: broker.epoch,
        fenced: broker.fenced,
        draining: broker.draining,
        stopping: broker.stopping,
        directories: Some(online.copied().collect()),
        rack: None,
    });
    if let Some(&directory) = ask.directories.first() {
        for &replica in &ask.unassigned {
            // A topic that was deleted meanwhile has nothing to lose.
            let _ = assign_one(draft, rules, broker.id, replica, directory);
        }
    }
    settle::hosted(draft, rules, &[broker.id], &Turn::default());
    Ok(())
}
