//! CreatePartitions, and what it shares with CreateTopics: who hosts new partitions, and how they start.

use std::sync::Arc;

use milena_protocol::ErrorCode;

use super::Draft;
use super::topics::{duplicate, named_twice};
use crate::command::{CreatePartitions, NewPartitions, Refusal};
use crate::configs::ConfigRules;
use crate::election;
use crate::image::{Image, Topic};
use crate::names::{BrokerId, PartitionId, TopicId};
use crate::placement::{self, NodeSpread, PlacementRefusal, Wish};
use crate::record::{Elected, PartitionRecord, Replica};

/// Partitions a request, as in Kafka: an entry of the quorum is decided and written whole.
pub const PARTITIONS_PER_REQUEST_MAX: usize = 10_000;

/// The brokers of each new partition, the preferred leader first.
pub(super) type Layout = Vec<Vec<BrokerId>>;

pub(super) fn create(
    draft: &mut Draft,
    ask: &CreatePartitions,
    rules: &dyn ConfigRules,
) -> Result<Vec<Result<(), Refusal>>, Refusal> {
    bound(ask.topics.iter().map(|wanted| {
        let topic = draft.image.topic(&wanted.topic);
        let present = topic.map_or(0, |topic| topic.partition_count());
        wanted.count.saturating_sub(present as i32)
    }))?;
    let twice = named_twice(ask.topics.iter().map(|wanted| wanted.topic.as_str()));
    let add = |wanted: &NewPartitions| {
        if twice.contains(wanted.topic.as_str()) {
            return Err(duplicate("Duplicate topic name."));
        }
        add_to(draft, wanted, rules)
    };
    Ok(ask.topics.iter().map(add).collect())
}

/// Refuses requests for more partitions than one entry may hold.
pub(super) fn bound(new: impl Iterator<Item = i32>) -> Result<(), Refusal> {
    let total: usize = new.map(|count| count.max(0) as usize).sum();
    if total > PARTITIONS_PER_REQUEST_MAX {
        return Err(Refusal::new(
            ErrorCode::PolicyViolation,
            format!(
                "Excessively large number of partitions per request: {total}, of {PARTITIONS_PER_REQUEST_MAX} at the most"
            ),
        ));
    }
    Ok(())
}

fn add_to(
    draft: &mut Draft,
    wanted: &NewPartitions,
    rules: &dyn ConfigRules,
) -> Result<(), Refusal> {
    let unknown = || {
        let message = "This server does not host this topic-partition.";
        Refusal::new(ErrorCode::UnknownTopicOrPartition, message)
    };
    let topic = draft.image.topic(&wanted.topic).ok_or_else(unknown)?;
    let topic = Arc::clone(topic);
    let new = growth(&topic, wanted)?;
    let layout = layout(draft, &topic, wanted, new, rules)?;
    for (offset, brokers) in layout.iter().enumerate() {
        let partition = PartitionId::at(topic.partition_count() + offset);
        let record = first_state(&draft.image, topic.id, partition, brokers);
        draft.push(record);
    }
    Ok(())
}

/// How many partitions are new.
fn growth(topic: &Topic, wanted: &NewPartitions) -> Result<usize, Refusal> {
    let invalid = |message: String| Err(Refusal::new(ErrorCode::InvalidPartitions, message));
    let (present, count) = (topic.partition_count() as i32, wanted.count);
    if count == present {
        invalid(format!("Topic already has {present} partition(s)."))
    } else if count < present {
        let name = &topic.name;
        invalid(format!(
            "The topic {name} currently has {present} partition(s); {count} would not be an increase."
        ))
    } else {
        Ok((count - present) as usize)
    }
}

fn layout(
    draft: &Draft,
    topic: &Topic,
    wanted: &NewPartitions,
    new: usize,
    rules: &dyn ConfigRules,
) -> Result<Layout, Refusal> {
    let present = topic.partition(0);
    let factor = present.map_or(1, |partition| partition.target().len());
    let wish = Wish::of(&draft.image, rules, &topic.name);
    let Some(assignments) = &wanted.assignments else {
        return placed(&draft.image, wish, new, factor);
    };
    if assignments.len() != new {
        return Err(bad_assignment(format!(
            "Attempted to add {new} additional partition(s), but only {} assignment(s) were specified.",
            assignments.len()
        )));
    }
    let lists: Vec<&[i32]> = assignments.iter().map(Vec::as_slice).collect();
    let first = topic.partition_count();
    assigned(&draft.image, &wish, first, Some(factor), &lists)
}

/// Places `count` partitions of `factor` replicas.
pub(super) fn placed(
    image: &Image,
    wish: Wish,
    count: usize,
    factor: usize,
) -> Result<Layout, Refusal> {
    let wish = Wish {
        partitions: count,
        replication_factor: factor,
        ..wish
    };
    let refuse = |refusal: PlacementRefusal| {
        let mut message = format!("Unable to replicate the partition {factor} time(s): {refusal}");
        if matches!(refusal, PlacementRefusal::TooFewBrokers { .. }) {
            message += &not_counted(image);
        }
        Refusal::new(ErrorCode::InvalidReplicationFactor, message)
    };
    placement::place(&placement::candidates(image), &wish, &[]).map_err(refuse)
}

/// Kafka knows no brokers that drain: a person counts them, too.
fn not_counted(image: &Image) -> String {
    let draining = image.brokers().filter(|broker| broker.draining);
    let draining: Vec<String> = draining.map(|broker| broker.id.to_string()).collect();
    match draining.is_empty() {
        true => String::new(),
        false => format!(
            " Those that drain take no replicas: {}.",
            draining.join(", ")
        ),
    }
}

/// Checks the client's own choice. `first` is the number of its first partition, `factor` the number of
/// replicas that the topic's other partitions have.
pub(super) fn assigned(
    image: &Image,
    wish: &Wish,
    first: usize,
    mut factor: Option<usize>,
    lists: &[&[i32]],
) -> Result<Layout, Refusal> {
    let mut layout = Layout::with_capacity(lists.len());
    for (offset, list) in lists.iter().enumerate() {
        let brokers = known_brokers(image, list)?;
        check_nodes(image, wish, &brokers, &[])?;
        let expected = *factor.get_or_insert(brokers.len());
        if brokers.len() != expected {
            return Err(bad_assignment(format!(
                "The manual partition assignment includes a partition with {} replica(s), but this is not \
                 consistent with previous partitions, which have {expected} replica(s).",
                brokers.len()
            )));
        }
        if in_sync(image, &brokers).is_empty() {
            return Err(bad_assignment(format!(
                "All brokers specified in the manual partition assignment for partition {} are fenced or in \
                 controlled shutdown.",
                first + offset
            )));
        }
        layout.push(brokers);
    }
    Ok(layout)
}

pub(super) fn known_brokers(image: &Image, list: &[i32]) -> Result<Vec<BrokerId>, Refusal> {
    if list.is_empty() {
        return Err(bad_assignment(
            "The manual partition assignment includes an empty replica list.",
        ));
    }
    let mut brokers = Vec::with_capacity(list.len());
    for &number in list {
        let id = BrokerId::new(number).ok();
        let Some(id) = id.filter(|&id| image.broker(id).is_some()) else {
            return Err(bad_assignment(format!(
                "The manual partition assignment includes broker {number}, but no such broker is registered."
            )));
        };
        if brokers.contains(&id) {
            return Err(bad_assignment(format!(
                "The manual partition assignment includes the broker {number} more than once."
            )));
        }
        brokers.push(id);
    }
    Ok(brokers)
}

/// The one rule that holds for people's choices too: no two replicas on one node. Two that were there `before`
/// may stay: a partition whose brokers have moved must not be kept from moving on.
pub(super) fn check_nodes(
    image: &Image,
    wish: &Wish,
    brokers: &[BrokerId],
    before: &[BrokerId],
) -> Result<(), Refusal> {
    let node = |id: &BrokerId| image.broker(*id)?.node.as_ref();
    for (place, id) in brokers.iter().enumerate() {
        let both_were = |other: &BrokerId| before.contains(id) && before.contains(other);
        let shares =
            |other: &&BrokerId| node(id).is_some() && node(other) == node(id) && !both_were(other);
        let Some(other) = brokers[..place].iter().find(shares) else {
            continue;
        };
        if wish.node_spread == NodeSpread::Required {
            let node = node(id).map_or("", |node| node);
            return Err(bad_assignment(format!(
                "Brokers {other} and {id} run on one node, {node}, and no two replicas of a partition may share one."
            )));
        }
    }
    Ok(())
}

pub(super) fn bad_assignment(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::InvalidReplicaAssignment, message)
}

fn in_sync(image: &Image, brokers: &[BrokerId]) -> Vec<BrokerId> {
    let alive = |id: &&BrokerId| image.broker(**id).is_some_and(|broker| !broker.fenced);
    brokers.iter().filter(alive).copied().collect()
}

/// A new partition: every replica that is up is in sync, for there is nothing yet to be behind of.
pub(super) fn first_state(
    image: &Image,
    topic: TopicId,
    partition: PartitionId,
    brokers: &[BrokerId],
) -> PartitionRecord {
    let isr = in_sync(image, brokers);
    let stays = |id: &&BrokerId| {
        image
            .broker(**id)
            .is_some_and(|broker| !broker.is_leaving())
    };
    let leader = isr.iter().find(stays).or(isr.first()).copied();
    let replica = |&broker: &BrokerId| Replica {
        broker,
        directory: election::directory(image, broker),
    };
    PartitionRecord {
        topic,
        partition,
        replicas: brokers.iter().map(replica).collect(),
        leader,
        isr,
        elr: Vec::new(),
        last_leader: None,
        leader_epoch: 0,
        partition_epoch: 0,
        elected: Elected::InSync,
        unopened: Vec::new(),
        reassignment: None,
    }
}
