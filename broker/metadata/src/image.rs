//! The cluster's metadata as of one position: immutable once shared, cheap to clone, looked up by reference.
//!
//! Its maps are persistent: changing a clone copies the path to what changes, and nothing else.

mod apply;
mod diff;
mod snapshot;

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::{OrdMap, Vector};

pub use apply::Mismatch;
pub use diff::{Change, PartitionChange};

use crate::configs::ResourceKind;
use crate::election;
use crate::names::{BrokerId, PartitionId, TopicId, TopicName};
use crate::record::{BrokerRecord, Elected, LeaseRecord, Reassignment, Replica, Stopping};

/// A broker's registration, with its present state.
pub type Broker = BrokerRecord;

/// A stop lease that is out.
pub type Lease = LeaseRecord;

/// A resource's own keys and values.
pub type Configs = BTreeMap<Arc<str>, Arc<str>>;

/// How far an image has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The quorum's term in which the last entry was decided.
    pub epoch: u64,
    /// Records applied since the cluster was founded.
    pub offset: u64,
}

/// A topic and its partitions, which are numbered from 0 without a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    partitions: Vector<Arc<Partition>>,
}

impl Topic {
    /// The partition of that number as the wire has it; `None` where the topic has none such.
    pub fn partition(&self, number: i32) -> Option<&Arc<Partition>> {
        self.partitions.get(usize::try_from(number).ok()?)
    }

    /// How many partitions it has.
    pub fn partition_count(&self) -> usize {
        self.partitions.len()
    }

    /// All partitions in order.
    pub fn partitions(&self) -> impl ExactSizeIterator<Item = (PartitionId, &Arc<Partition>)> {
        self.partitions
            .iter()
            .enumerate()
            .map(|(index, partition)| (PartitionId::at(index), partition))
    }
}

/// A partition's state; see [`crate::PartitionRecord`] for the fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its replicas, the preferred leader first; those that a reassignment adds come last.
    pub replicas: Vec<Replica>,
    /// Those in sync, in the order of the replicas.
    pub isr: Vec<BrokerId>,
    /// Those out of sync that hold every committed record.
    pub elr: Vec<BrokerId>,
    /// The leader, or none while nobody may lead.
    pub leader: Option<BrokerId>,
    /// Who led last.
    pub last_leader: Option<BrokerId>,
    /// Grows with each change of leader.
    pub leader_epoch: i32,
    /// Grows by one with each change.
    pub partition_epoch: i32,
    /// How the leader was found.
    pub elected: Elected,
    /// Replicas whose brokers could not open their logs when nobody else could lead.
    pub unopened: Vec<BrokerId>,
    /// Where it is going.
    pub reassignment: Option<Reassignment>,
}

impl Partition {
    /// The brokers of its replicas, the preferred leader first.
    pub fn brokers(&self) -> impl Iterator<Item = BrokerId> {
        self.replicas.iter().map(|replica| replica.broker)
    }

    /// Who may be elected once it is up, while nobody leads: those that have every committed record, and where nobody has,
    /// who led last.
    pub fn electable(&self) -> impl Iterator<Item = BrokerId> {
        crate::record::electable(&self.isr, &self.elr, self.last_leader)
    }

    /// Whether a broker has a replica.
    pub fn hosts(&self, broker: BrokerId) -> bool {
        self.brokers().any(|replica| replica == broker)
    }

    /// The brokers that it is to have: those of today, or those that a reassignment leads to. The preferred
    /// leader first.
    pub fn target(&self) -> Vec<BrokerId> {
        match &self.reassignment {
            Some(reassignment) => reassignment.to.clone(),
            None => self.brokers().collect(),
        }
    }

    /// Whether a broker has its replica only because a reassignment adds it.
    pub fn is_adding(&self, broker: BrokerId) -> bool {
        let reassignment = self.reassignment.as_ref();
        reassignment.is_some_and(|both| !both.from.contains(&broker))
    }

    /// The in-sync replicas that writes need, where the topic says `configured`: no more than there are. Below
    /// it the high watermark must not advance.
    pub fn min_isr(&self, configured: usize) -> usize {
        election::min_isr(configured, self.replicas.len(), self.reassignment.as_ref())
    }
}

/// What a broker carries once every reassignment is done: the measure of even placement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Replicas assigned to it.
    pub replicas: u32,
    /// Partitions of which it is the preferred leader.
    pub leaders: u32,
}

/// All metadata of the cluster at one [`Position`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    position: Position,
    cluster_id: Option<Arc<str>>,
    brokers: OrdMap<BrokerId, Arc<Broker>>,
    load: OrdMap<BrokerId, Load>,
    topics: OrdMap<TopicName, Arc<Topic>>,
    topic_names: OrdMap<TopicId, TopicName>,
    // By `TopicName::collision_key`.
    look_alikes: OrdMap<Arc<str>, TopicName>,
    partition_count: usize,
    configs: OrdMap<ResourceKind, OrdMap<Arc<str>, Arc<Configs>>>,
    next_producer_id: i64,
    features: OrdMap<Arc<str>, i16>,
    leases: OrdMap<BrokerId, Lease>,
    stopping: Option<Stopping>,
}

impl Image {
    /// How far this image has come.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The cluster's id, once it is founded.
    pub fn cluster_id(&self) -> Option<&Arc<str>> {
        self.cluster_id.as_ref()
    }

    /// A broker that is registered, fenced or not.
    pub fn broker(&self, id: BrokerId) -> Option<&Arc<Broker>> {
        self.brokers.get(&id)
    }

    /// All registered brokers by number.
    pub fn brokers(&self) -> impl Iterator<Item = &Arc<Broker>> {
        self.brokers.values()
    }

    /// What a broker carries.
    pub fn load(&self, id: BrokerId) -> Load {
        self.load.get(&id).copied().unwrap_or_default()
    }

    /// The topic of that name.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// The topic of that id.
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics.get(self.topic_names.get(&id)?)
    }

    /// All topics by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics.values()
    }

    /// Topics whose name sorts at or after `name`: a page of a long list (KIP-966's DescribeTopicPartitions).
    pub fn topics_from(&self, name: &str) -> impl Iterator<Item = &Arc<Topic>> {
        use std::ops::Bound;
        self.topics
            .range::<_, str>((Bound::Included(name), Bound::Unbounded))
            .map(|(_, topic)| topic)
    }

    /// How many partitions all topics have.
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// A partition of a topic by name.
    pub fn partition(&self, topic: &str, number: i32) -> Option<&Arc<Partition>> {
        self.topic(topic)?.partition(number)
    }

    /// The topic that looks like `name` in metric names without being it.
    pub fn look_alike(&self, name: &TopicName) -> Option<&TopicName> {
        let other = self.look_alikes.get(&name.collision_key()?)?;
        (other != name).then_some(other)
    }

    /// What a resource sets itself; `None` where it sets nothing. Brokers are named by number, and their common
    /// default by the empty name.
    pub fn configs(&self, kind: ResourceKind, name: &str) -> Option<&Arc<Configs>> {
        self.configs.get(&kind)?.get(name)
    }

    /// All resources of a kind that set something, by name.
    pub fn configured(&self, kind: ResourceKind) -> impl Iterator<Item = (&Arc<str>, &Configs)> {
        self.configs
            .get(&kind)
            .into_iter()
            .flat_map(|resources| resources.iter())
            .map(|(name, configs)| (name, &**configs))
    }

    /// The stop lease of a broker.
    pub fn lease(&self, id: BrokerId) -> Option<&Lease> {
        self.leases.get(&id)
    }

    /// All stop leases that are out, by broker.
    pub fn leases(&self) -> impl ExactSizeIterator<Item = &Lease> {
        self.leases.values()
    }

    /// The mark of a cluster that is being stopped as a whole, while it is set.
    pub fn stopping(&self) -> Option<Stopping> {
        self.stopping
    }

    /// The first producer id that nobody owns.
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// A feature's level; 0 where it is off.
    pub fn feature(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }

    /// All features that are on, with their levels, by name.
    pub fn features(&self) -> impl Iterator<Item = (&Arc<str>, i16)> {
        self.features.iter().map(|(name, &level)| (name, level))
    }
}
