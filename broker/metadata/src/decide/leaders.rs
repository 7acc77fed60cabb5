//! ElectLeaders: the preferred leader, or anybody at all.

use milena_protocol::ErrorCode;

use super::{Draft, reassignment};
use crate::command::{ElectLeaders, ElectedLeader, ElectionKind, Refusal};
use crate::configs::ConfigRules;
use crate::election;
use crate::image::Image;
use crate::names::BrokerId;
use crate::policy::TopicPolicy;
use crate::record::{Elected, PartitionRecord};

pub(super) fn elect(
    draft: &mut Draft,
    ask: &ElectLeaders,
    rules: &dyn ConfigRules,
) -> Vec<ElectedLeader> {
    let asked = match &ask.partitions {
        Some(partitions) => partitions.clone(),
        None => every(&draft.image),
    };
    let mut elect = |(topic, partition): (String, i32)| {
        let result = elect_one(draft, ask.kind, &topic, partition, rules);
        ElectedLeader {
            topic,
            partition,
            result,
        }
    };
    // Who asks for all wants to hear of those where there was something to do.
    let told = |answer: &ElectedLeader| {
        let needless = |refusal: &Refusal| refusal.code == ErrorCode::ElectionNotNeeded;
        ask.partitions.is_some() || !answer.result.as_ref().is_err_and(needless)
    };
    asked.into_iter().map(&mut elect).filter(told).collect()
}

fn every(image: &Image) -> Vec<(String, i32)> {
    let of = |topic: &crate::Topic| {
        let name = topic.name.to_string();
        (0..topic.partition_count() as i32).map(move |partition| (name.clone(), partition))
    };
    image.topics().flat_map(|topic| of(topic)).collect()
}

fn elect_one(
    draft: &mut Draft,
    kind: ElectionKind,
    topic: &str,
    partition: i32,
    rules: &dyn ConfigRules,
) -> Result<BrokerId, Refusal> {
    let (topic, number, present) = reassignment::find(&draft.image, topic, partition)?;
    let before = present.record(&topic, number);
    let (leader, elected) = match kind {
        ElectionKind::Preferred => (preferred(&draft.image, &before)?, Elected::InSync),
        ElectionKind::Unclean => (anybody(&draft.image, &before)?, Elected::Unclean),
    };
    let policy = TopicPolicy::of(&draft.image, rules, &topic.name);
    draft.push(election::install(policy, &before, leader, elected));
    Ok(leader)
}

/// The first replica, where it may take the leadership from another.
fn preferred(image: &Image, partition: &PartitionRecord) -> Result<BrokerId, Refusal> {
    let first = partition.brokers().next();
    if partition.leader.is_some() && partition.leader == first {
        return Err(Refusal::new(
            ErrorCode::ElectionNotNeeded,
            "The preferred leader leads already.",
        ));
    }
    first
        .filter(|id| partition.isr.contains(id) && election::may_take(image, partition, *id))
        .ok_or_else(|| {
            Refusal::new(
                ErrorCode::PreferredLeaderNotAvailable,
                "The preferred leader is out of sync, fenced, draining or stopping.",
            )
        })
}

/// The last known leader, or else who may have most.
fn anybody(image: &Image, partition: &PartitionRecord) -> Result<BrokerId, Refusal> {
    if let Some(leader) = partition.leader {
        return Err(Refusal::new(
            ErrorCode::ElectionNotNeeded,
            format!("Broker {leader} leads."),
        ));
    }
    let up = |id: &BrokerId| election::is_up(image, partition, *id);
    let last = partition
        .last_leader
        .filter(|&id| partition.hosts(id) && up(&id));
    last.or_else(|| election::least_lossy(image, partition))
        .ok_or_else(|| {
            Refusal::new(
                ErrorCode::EligibleLeadersNotAvailable,
                "No broker that has a replica is running.",
            )
        })
}
