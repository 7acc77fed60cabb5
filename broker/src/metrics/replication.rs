//! How replication is, read off the metadata and the leaders here at the time of a scrape.

use std::collections::{BTreeMap, BTreeSet};

use milena_metadata::placement::misplaced;
use milena_metadata::{BrokerId, ConfigRules, Health, Image, Scope};

use super::table;
use super::text::Page;
use crate::broker::Broker;

/// A follower broker, over all partitions that are led here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lag {
    /// Records that its replicas lack, in all.
    records: u64,
    /// Records that the replica farthest behind lacks.
    records_max: u64,
}

/// What is shown of it.
#[derive(Debug, Default)]
pub struct Replication {
    /// Of the partitions that this broker leads, or would if anybody could.
    pub(super) health: Health,
    /// Of the same partitions.
    pub(super) misplaced: usize,
    pub(super) lags: BTreeMap<BrokerId, Lag>,
}

impl Replication {
    pub fn read(broker: &Broker) -> Self {
        let (image, config, me) = (broker.image(), broker.config(), broker.broker_id());
        let scope = Scope::LedBy(me);
        Self {
            health: image.health(&*config, scope),
            misplaced: misplaced_count(&image, &*config, scope),
            lags: lags(broker),
        }
    }

    pub fn write(&self, page: &mut Page) {
        let Health {
            offline,
            under_replicated,
            under_min_isr,
            at_min_isr,
            not_preferred,
            reassigning,
            lossy,
            ..
        } = self.health;
        for (metric, count) in [
            (&table::LEADERLESS, offline),
            (&table::UNDER_REPLICATED, under_replicated),
            (&table::UNDER_MIN_ISR, under_min_isr),
            (&table::AT_MIN_ISR, at_min_isr),
            (&table::NOT_PREFERRED, not_preferred),
            (&table::REASSIGNING, reassigning),
            (&table::LOSSY, lossy),
            (&table::MISPLACED, self.misplaced),
        ] {
            page.one(metric, count as f64);
        }
        let mut family = page.family(&table::REPLICATION_LAG);
        for (follower, lag) in &self.lags {
            family.series(&[&follower.to_string()], lag.records as f64);
        }
        let mut family = page.family(&table::REPLICATION_LAG_MAX);
        for (follower, lag) in &self.lags {
            family.series(&[&follower.to_string()], lag.records_max as f64);
        }
    }
}

fn misplaced_count(image: &Image, rules: &dyn ConfigRules, scope: Scope) -> usize {
    let all = misplaced(image, rules).into_iter();
    let all: BTreeSet<_> = all.map(|found| (found.topic, found.partition)).collect();
    if all.is_empty() {
        return 0;
    }
    let in_scope = image.conditions(rules, scope);
    in_scope
        .filter(|(topic, number, ..)| all.contains(&(topic.name.clone(), *number)))
        .count()
}

fn lags(broker: &Broker) -> BTreeMap<BrokerId, Lag> {
    let mut lags: BTreeMap<BrokerId, Lag> = BTreeMap::new();
    for partition in broker.partitions().all() {
        for (follower, records) in partition.follower_lags() {
            let lag = lags.entry(follower).or_default();
            lag.records += records;
            lag.records_max = lag.records_max.max(records);
        }
    }
    lags
}

#[cfg(test)]
mod tests {
    use milena_metadata::{
        ChangeBroker, Command, CreateTopics, NewTopic, NoConfigRules, RegisterBroker, TopicId,
        decide,
    };

    use super::*;
    use crate::broker::tests::beside::registration;

    fn id(number: i32) -> BrokerId {
        BrokerId::new(number).unwrap()
    }

    fn change(image: &mut Image, command: impl Into<Command>) {
        let decision = decide(image, &command.into(), &NoConfigRules).unwrap();
        image.apply_entry(1, &decision.records).unwrap();
    }

    fn register(image: &mut Image, number: i32, node: &str) {
        let registration = RegisterBroker {
            node: Some(node.into()),
            ..registration(number)
        };
        change(image, registration);
    }

    #[test]
    fn a_misplaced_partition_is_counted_once_also_while_nobody_leads_it() {
        let mut image = Image::default();
        for (number, node) in [(1, "a"), (2, "b"), (3, "c")] {
            register(&mut image, number, node);
        }
        let topic = NewTopic {
            name: "t".into(),
            id: TopicId::random(),
            partitions: -1,
            replication_factor: -1,
            assignments: vec![(0, vec![1, 2])],
            configs: Vec::new(),
        };
        let create = CreateTopics {
            topics: vec![topic],
            default_partitions: 1,
            default_replication_factor: 1,
            validate_only: false,
        };
        change(&mut image, create);
        let counts = |image: &Image| {
            [1, 2, 3].map(|me| misplaced_count(image, &NoConfigRules, Scope::LedBy(id(me))))
        };
        assert_eq!(counts(&image), [0, 0, 0]);
        // Its pod has moved, and with the restart it has left the in-sync replicas.
        register(&mut image, 2, "a");
        assert_eq!(counts(&image), [1, 0, 0]);
        let fence = ChangeBroker {
            id: id(1),
            epoch: image.broker(id(1)).unwrap().epoch,
            fenced: Some(true),
            draining: None,
            stopping: None,
        };
        change(&mut image, fence);
        assert_eq!(image.partition("t", 0).unwrap().leader, None);
        assert_eq!(counts(&image), [0, 1, 0]);
    }
}
