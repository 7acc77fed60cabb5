//! How the partitions are, as reads of one image: for metrics and for people. One pass over everything, without
//! an allocation a partition.

use std::sync::Arc;

use crate::configs::ConfigRules;
use crate::image::{Image, Partition, Topic};
use crate::names::{BrokerId, PartitionId};
use crate::policy::TopicPolicy;

/// What is wrong with a partition, or under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Condition {
    /// Nobody leads it.
    pub offline: bool,
    /// A wanted replica is not in sync. Those that a reassignment adds are not counted.
    pub under_replicated: bool,
    /// Fewer in sync than writes need, see [`Partition::min_isr`]: acknowledged ones are refused.
    pub under_min_isr: bool,
    /// Exactly as many, and a leader: one more loss stops them.
    pub at_min_isr: bool,
    /// Another replica than the preferred one leads.
    pub not_preferred: bool,
    /// It is on its way to other brokers.
    pub reassigning: bool,
    /// Its leader may lack committed records: it was elected without anybody who has them all.
    pub lossy: bool,
}

/// How many partitions are in which condition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// All of them.
    pub partitions: usize,
    /// See [`Condition::offline`].
    pub offline: usize,
    /// See [`Condition::under_replicated`].
    pub under_replicated: usize,
    /// See [`Condition::under_min_isr`].
    pub under_min_isr: usize,
    /// See [`Condition::at_min_isr`].
    pub at_min_isr: usize,
    /// See [`Condition::not_preferred`].
    pub not_preferred: usize,
    /// See [`Condition::reassigning`].
    pub reassigning: usize,
    /// See [`Condition::lossy`].
    pub lossy: usize,
}

impl Health {
    fn count(&mut self, condition: Condition) {
        self.partitions += 1;
        self.offline += usize::from(condition.offline);
        self.under_replicated += usize::from(condition.under_replicated);
        self.under_min_isr += usize::from(condition.under_min_isr);
        self.at_min_isr += usize::from(condition.at_min_isr);
        self.not_preferred += usize::from(condition.not_preferred);
        self.reassigning += usize::from(condition.reassigning);
        self.lossy += usize::from(condition.lossy);
    }
}

/// Which partitions to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All of the cluster.
    Cluster,
    /// Those that a broker leads. One without a leader is at its first replica whose broker runs, or at the first
    /// broker that runs: each is counted once, and by a broker that can be asked.
    LedBy(BrokerId),
    /// Those that a broker has a replica of.
    HostedBy(BrokerId),
}

impl Scope {
    fn holds(self, image: &Image, partition: &Partition) -> bool {
        match self {
            Self::Cluster => true,
            Self::LedBy(id) => partition.leader.or_else(|| teller(image, partition)) == Some(id),
            Self::HostedBy(id) => partition.hosts(id),
        }
    }
}

/// Who tells of a partition without a leader. Its replicas are most often away.
fn teller(image: &Image, partition: &Partition) -> Option<BrokerId> {
    let runs = |id: &BrokerId| image.broker(*id).is_some_and(|broker| !broker.fenced);
    let running = || image.brokers().find(|broker| !broker.fenced);
    partition
        .brokers()
        .find(runs)
        .or_else(|| running().map(|broker| broker.id))
        .or_else(|| partition.brokers().next())
}

impl Partition {
    /// How it is, where its topic's `min.insync.replicas` is `min_insync_replicas`.
    pub fn condition(&self, min_insync_replicas: usize) -> Condition {
        let lags = |id: BrokerId| !self.isr.contains(&id) && !self.is_adding(id);
        let needed = self.min_isr(min_insync_replicas);
        Condition {
            offline: self.leader.is_none(),
            under_replicated: self.brokers().any(lags),
            under_min_isr: self.isr.len() < needed,
            at_min_isr: self.leader.is_some() && self.isr.len() == needed,
            not_preferred: self.leader.is_some() && self.leader != self.brokers().next(),
            reassigning: self.reassignment.is_some(),
            lossy: self.leader.is_some() && self.elected.may_lose(),
        }
    }
}

/// A partition with its topic and condition.
pub type Conditioned<'a> = (&'a Arc<Topic>, PartitionId, &'a Arc<Partition>, Condition);

impl Image {
    /// Every partition of a scope with its condition, by topic and number. Filter it for a list: the offline ones,
    /// those that are reassigned (`ListPartitionReassignments`), and so on.
    pub fn conditions<'a>(
        &'a self,
        rules: &'a dyn ConfigRules,
        scope: Scope,
    ) -> impl Iterator<Item = Conditioned<'a>> {
        self.topics().flat_map(move |topic| {
            let min = TopicPolicy::of(self, rules, &topic.name).min_insync_replicas;
            let in_scope = topic
                .partitions()
                .filter(move |(_, p)| scope.holds(self, p));
            in_scope.map(move |(number, partition)| {
                (topic, number, partition, partition.condition(min))
            })
        })
    }

    /// The replicas of a broker that are not in sync, by topic and number. One that a reassignment adds is not in
    /// sync yet, and not counted.
    pub fn out_of_sync(
        &self,
        id: BrokerId,
    ) -> impl Iterator<Item = (&Arc<Topic>, PartitionId, &Arc<Partition>)> {
        self.topics().flat_map(move |topic| {
            let lags = move |p: &Partition| p.hosts(id) && !p.isr.contains(&id) && !p.is_adding(id);
            let lagging = topic.partitions().filter(move |(_, p)| lags(p));
            lagging.map(move |(number, partition)| (topic, number, partition))
        })
    }

    /// How many partitions of a scope are in which condition.
    pub fn health(&self, rules: &dyn ConfigRules, scope: Scope) -> Health {
        let mut health = Health::default();
        self.conditions(rules, scope)
            .for_each(|(.., condition)| health.count(condition));
        health
    }
}
