//! What changed between two images: for a broker that follows them. What both share is skipped unseen, so the cost
//! is that of the change; within a changed topic, one comparison of pointers a partition.

use std::sync::Arc;

use imbl::ordmap::DiffItem;

use super::{Broker, Configs, Image, Partition, Topic};
use crate::configs::ResourceKind;
use crate::names::{BrokerId, PartitionId};

/// Something that was, is, or both and differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<'a, T> {
    /// It is new.
    Added(&'a T),
    /// It is another than before.
    Changed {
        /// As it was.
        before: &'a T,
        /// As it is.
        after: &'a T,
    },
    /// It is gone.
    Removed(&'a T),
}

impl<'a, T> Change<'a, T> {
    fn of<K>(item: DiffItem<'a, 'a, K, T>) -> (&'a K, Self) {
        match item {
            DiffItem::Add(key, value) => (key, Self::Added(value)),
            DiffItem::Update { old, new } => {
                let (before, after) = (old.1, new.1);
                (new.0, Self::Changed { before, after })
            }
            DiffItem::Remove(key, value) => (key, Self::Removed(value)),
        }
    }

    /// As it was.
    pub fn before(&self) -> Option<&'a T> {
        match self {
            Self::Added(_) => None,
            Self::Changed { before, .. } | Self::Removed(before) => Some(before),
        }
    }

    /// As it is.
    pub fn after(&self) -> Option<&'a T> {
        match self {
            Self::Removed(_) => None,
            Self::Changed { after, .. } | Self::Added(after) => Some(after),
        }
    }
}

/// A partition that changed, with its topic. A topic that was deleted and created anew under its name is two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionChange<'a> {
    /// Its topic, as it is, or as it was where it is gone.
    pub topic: &'a Arc<Topic>,
    /// Its number.
    pub partition: PartitionId,
    /// How it changed.
    pub change: Change<'a, Arc<Partition>>,
}

impl PartitionChange<'_> {
    /// Whether another leads, or the same one in another epoch.
    pub fn is_led_anew(&self) -> bool {
        let led = |partition: &Arc<Partition>| (partition.leader, partition.leader_epoch);
        self.change.before().map(led) != self.change.after().map(led)
    }

    /// Whether a broker has a replica, or had one.
    pub fn concerns(&self, broker: BrokerId) -> bool {
        let hosts = |partition: &Arc<Partition>| partition.hosts(broker);
        self.change.before().is_some_and(hosts) || self.change.after().is_some_and(hosts)
    }
}

impl Image {
    /// The brokers that differ from an earlier image's.
    pub fn changed_brokers<'a>(
        &'a self,
        earlier: &'a Self,
    ) -> impl Iterator<Item = (BrokerId, Change<'a, Arc<Broker>>)> {
        let changes = earlier.brokers.diff(&self.brokers).map(Change::of);
        changes.map(|(id, change)| (*id, change))
    }

    /// The topics that differ from an earlier image's, their partitions included. One that was deleted and created
    /// anew under its name is first removed, then added.
    pub fn changed_topics<'a>(
        &'a self,
        earlier: &'a Self,
    ) -> impl Iterator<Item = Change<'a, Arc<Topic>>> {
        earlier.topics.diff(&self.topics).flat_map(|item| {
            let (_, change) = Change::of(item);
            match change {
                Change::Changed { before, after } if before.id != after.id => {
                    [Some(Change::Removed(before)), Some(Change::Added(after))]
                }
                change => [Some(change), None],
            }
            .into_iter()
            .flatten()
        })
    }

    /// The partitions that differ from an earlier image's.
    pub fn changed_partitions<'a>(
        &'a self,
        earlier: &'a Self,
    ) -> impl Iterator<Item = PartitionChange<'a>> {
        self.changed_topics(earlier).flat_map(partitions)
    }

    /// Of those, the ones that a broker has a replica of, or had.
    pub fn changed_partitions_of<'a>(
        &'a self,
        earlier: &'a Self,
        broker: BrokerId,
    ) -> impl Iterator<Item = PartitionChange<'a>> {
        self.changed_partitions(earlier)
            .filter(move |change| change.concerns(broker))
    }

    /// The resources whose own configs differ from an earlier image's.
    pub fn changed_configs<'a>(
        &'a self,
        earlier: &'a Self,
    ) -> impl Iterator<Item = (ResourceKind, &'a Arc<str>, Change<'a, Arc<Configs>>)> {
        const KINDS: [ResourceKind; 4] = [
            ResourceKind::Topic,
            ResourceKind::Broker,
            ResourceKind::ClientMetrics,
            ResourceKind::Group,
        ];
        KINDS.into_iter().flat_map(move |kind| {
            let (before, after) = (earlier.configs.get(&kind), self.configs.get(&kind));
            let both = before.zip(after);
            let changed = both
                .into_iter()
                .flat_map(|(before, after)| before.diff(after));
            let gone = before.filter(|_| after.is_none()).into_iter().flatten();
            let new = after.filter(|_| before.is_none()).into_iter().flatten();
            changed
                .map(Change::of)
                .chain(gone.map(|(name, configs)| (name, Change::Removed(configs))))
                .chain(new.map(|(name, configs)| (name, Change::Added(configs))))
                .map(move |(name, change)| (kind, name, change))
        })
    }
}

/// The partitions of a topic that changed.
fn partitions<'a>(change: Change<'a, Arc<Topic>>) -> impl Iterator<Item = PartitionChange<'a>> {
    let (before, after) = (change.before(), change.after());
    let topic = after.or(before);
    let count = |topic: Option<&Arc<Topic>>| topic.map_or(0, |topic| topic.partition_count());
    let all = count(before).max(count(after));
    (0..all).filter_map(move |index| {
        let at = |topic: Option<&'a Arc<Topic>>| topic?.partitions.get(index);
        let change = match (at(before), at(after)) {
            (Some(before), Some(after)) if Arc::ptr_eq(before, after) || before == after => None,
            (Some(before), Some(after)) => Some(Change::Changed { before, after }),
            (Some(before), None) => Some(Change::Removed(before)),
            (None, Some(after)) => Some(Change::Added(after)),
            (None, None) => None,
        };
        Some(PartitionChange {
            topic: topic?,
            partition: PartitionId::at(index),
            change: change?,
        })
    })
}
