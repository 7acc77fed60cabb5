//! Who leads a partition, after a change of the brokers.

use std::sync::Arc;

use crate::image::{Image, Partition, Topic};
use crate::names::{BrokerId, PartitionId};
use crate::record::{PartitionRecord, Record};

/// What happened to the broker that partitions are decided anew for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It leads no longer and leaves each ISR that has another member.
    Fenced,
    /// It may lead again, in the state in which it was.
    Unfenced,
    /// A new life: as fenced, and then unfenced, at once. Nothing is led on in the epoch of the life before.
    Restarted,
}

/// The records that `change` of `broker` asks of all partitions that have a replica there.
///
/// `image` already has the change. The last member of an ISR stays in it, leading or not; after an unclean
/// end too, where it is also the last leader that would be elected (KIP-966).
pub(crate) fn after(image: &Image, broker: BrokerId, change: Change) -> Vec<Record> {
    let hosted = |(_, partition): &(PartitionId, &Arc<Partition>)| {
        partition.brokers().any(|replica| replica == broker)
    };
    let decide = |topic: &Topic| -> Vec<Record> {
        let partitions = topic.partitions().filter(hosted);
        partitions
            .filter_map(|(number, partition)| {
                next(image, partition.record(topic, number), broker, change)
            })
            .map(Record::from)
            .collect()
    };
    image.topics().flat_map(|topic| decide(topic)).collect()
}

/// The partition's next state; `None` where it stays as it is.
fn next(
    image: &Image,
    before: PartitionRecord,
    broker: BrokerId,
    change: Change,
) -> Option<PartitionRecord> {
    let mut next = before.clone();
    if change != Change::Unfenced {
        if next.isr.len() > 1 {
            next.isr.retain(|&member| member != broker);
        }
        if next.leader == Some(broker) {
            next.leader = None;
        }
    }
    if next.leader.is_none() {
        next.leader = elect(image, &next);
    }
    let led_by_new_life = change == Change::Restarted && before.leader == Some(broker);
    if next == before && !led_by_new_life {
        return None;
    }
    if next.leader != before.leader || led_by_new_life {
        next.leader_epoch += 1;
        next.last_leader = before.leader.or(before.last_leader);
    }
    next.partition_epoch += 1;
    Some(next)
}

/// The first replica that is in the ISR and may lead.
fn elect(image: &Image, partition: &PartitionRecord) -> Option<BrokerId> {
    let may_lead = |id: &BrokerId| image.broker(*id).is_some_and(|broker| !broker.fenced);
    let mut in_sync = partition
        .replicas
        .iter()
        .map(|replica| replica.broker)
        .filter(|id| partition.isr.contains(id));
    in_sync.find(may_lead)
}
