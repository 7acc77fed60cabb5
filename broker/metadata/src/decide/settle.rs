//! What a change of brokers or of configuration means for the partitions that it touches.

use super::Draft;
use crate::configs::ConfigRules;
use crate::election::{self, Turn};
use crate::image::{Partition, Topic};
use crate::names::BrokerId;
use crate::policy::TopicPolicy;
use crate::record::Record;

/// Settles every partition that one of `brokers` hosts.
pub(super) fn hosted(
    draft: &mut Draft,
    rules: &dyn ConfigRules,
    brokers: &[BrokerId],
    turn: &Turn,
) {
    let hosted = |partition: &Partition| partition.brokers().any(|id| brokers.contains(&id));
    if !brokers.is_empty() {
        every(draft, rules, turn, |_| true, hosted);
    }
}

/// Settles the partitions of one topic, or of all.
pub(super) fn topic(draft: &mut Draft, rules: &dyn ConfigRules, name: Option<&str>) {
    let concerns = |topic: &Topic| name.is_none_or(|name| topic.name.as_str() == name);
    every(draft, rules, &Turn::default(), concerns, |_| true);
}

fn every(
    draft: &mut Draft,
    rules: &dyn ConfigRules,
    turn: &Turn,
    concerns: impl Fn(&Topic) -> bool,
    touches: impl Fn(&Partition) -> bool,
) {
    let image = &draft.image;
    let settle = |topic: &Topic| -> Vec<Record> {
        let mut policy = None;
        let touched = topic.partitions().filter(|(_, p)| touches(p));
        touched
            .filter_map(|(number, partition)| {
                let policy =
                    *policy.get_or_insert_with(|| TopicPolicy::of(image, rules, &topic.name));
                let before = partition.record(topic, number);
                election::settle(image, policy, turn, &before, before.clone())
            })
            .map(Record::from)
            .collect()
    };
    let topics = image.topics().filter(|topic| concerns(topic));
    let records: Vec<Record> = topics.flat_map(|topic| settle(topic)).collect();
    records.into_iter().for_each(|record| draft.push(record));
}
