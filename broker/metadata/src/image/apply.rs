//! Applying records: checks the epochs that they were decided on, sets facts, decides nothing.

use std::sync::Arc;

use imbl::Vector;

use super::{Configs, Image, Load, Partition, Topic};
use crate::configs::{ConfigResource, ResourceKind};
use crate::names::{BrokerId, PartitionId, TopicId};
use crate::record::{
    BrokerRecord, BrokerRemovedRecord, BrokerStateRecord, ConfigRecord, LeaseEndedRecord,
    LeaseRecord, PartitionRecord, Record, TopicRecord, TopicRemovedRecord,
};

/// A record that was decided on another image than this one. Its entry is to be skipped whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// A cluster is founded once.
    #[error("the cluster is already named '{0}'")]
    Founded(Arc<str>),
    /// A registration or change that is not of the broker's latest life.
    #[error("broker {id} is at epoch {present:?}, and the record is of epoch {record}")]
    BrokerEpoch {
        /// Whose.
        id: BrokerId,
        /// The image's, where the broker is registered.
        present: Option<i64>,
        /// The record's.
        record: i64,
    },
    /// A topic of that name or id exists.
    #[error("topic '{0}' or its id exists")]
    TopicExists(crate::TopicName),
    /// There is no such topic.
    #[error("no topic has the id {0}")]
    UnknownTopic(TopicId),
    /// A new partition does not follow the last one.
    #[error("partition {partition} does not follow the topic's {count} partitions")]
    PartitionGap {
        /// The record's.
        partition: PartitionId,
        /// The image's.
        count: usize,
    },
    /// The partition has changed since.
    #[error(
        "partition {partition} is at epoch {present} (leader epoch {present_leader}), and the record is of \
         epoch {record} (leader epoch {record_leader})"
    )]
    PartitionEpoch {
        /// Which.
        partition: PartitionId,
        /// The image's partition epoch.
        present: i32,
        /// The image's leader epoch.
        present_leader: i32,
        /// The record's partition epoch.
        record: i32,
        /// The record's leader epoch.
        record_leader: i32,
    },
    /// A lease that is out already, or that ends and is not out.
    #[error("the stop lease of broker {0} is not as the record expects")]
    Lease(BrokerId),
    /// The ids were given away since.
    #[error("the next producer id is {present}, and the record's is {record}")]
    ProducerIds {
        /// The image's.
        present: i64,
        /// The record's.
        record: i64,
    },
}

impl Image {
    /// Applies one record. On a mismatch the image is as it was.
    pub fn apply(&mut self, record: &Record) -> Result<(), Mismatch> {
        match record {
            Record::Cluster(cluster) => self.found(&cluster.cluster_id)?,
            Record::Broker(broker) => self.register(broker)?,
            Record::BrokerState(state) => self.change_broker(state)?,
            Record::BrokerRemoved(broker) => self.remove_broker(broker)?,
            Record::Topic(topic) => self.add_topic(topic)?,
            Record::TopicRemoved(topic) => self.remove_topic(topic)?,
            Record::Partition(partition) => self.set_partition(partition)?,
            Record::Config(config) => self.set_config(config),
            Record::ProducerIds(ids) => self.set_next_producer_id(ids.next)?,
            Record::Feature(feature) => match feature.level {
                0 => drop(self.features.remove(&feature.name)),
                level => drop(self.features.insert(feature.name.clone(), level)),
            },
            Record::Lease(lease) => self.lend(lease)?,
            Record::LeaseEnded(ended) => self.end_lease(ended)?,
            Record::ClusterState(state) => self.stopping = state.stopping,
        }
        self.position.offset += 1;
        Ok(())
    }

    /// Applies an entry whole, or on a mismatch not at all.
    pub fn apply_entry(&mut self, epoch: u64, records: &[Record]) -> Result<(), Mismatch> {
        let mut next = self.clone();
        next.position.epoch = epoch;
        records.iter().try_for_each(|record| next.apply(record))?;
        *self = next;
        Ok(())
    }

    fn found(&mut self, cluster_id: &Arc<str>) -> Result<(), Mismatch> {
        match &self.cluster_id {
            Some(present) => Err(Mismatch::Founded(present.clone())),
            None => {
                self.cluster_id = Some(cluster_id.clone());
                Ok(())
            }
        }
    }

    fn register(&mut self, broker: &BrokerRecord) -> Result<(), Mismatch> {
        let present = self.brokers.get(&broker.id).map(|present| present.epoch);
        if present.is_some_and(|present| present >= broker.epoch) {
            return Err(Mismatch::BrokerEpoch {
                id: broker.id,
                present,
                record: broker.epoch,
            });
        }
        self.brokers.insert(broker.id, Arc::new(broker.clone()));
        Ok(())
    }

    fn change_broker(&mut self, state: &BrokerStateRecord) -> Result<(), Mismatch> {
        match self.brokers.get_mut(&state.id) {
            Some(broker) if broker.epoch == state.epoch => {
                let broker = Arc::make_mut(broker);
                broker.fenced = state.fenced;
                broker.draining = state.draining;
                broker.stopping = state.stopping;
                if let Some(directories) = &state.directories {
                    broker.directories.clone_from(directories);
                }
                if let Some(rack) = &state.rack {
                    broker.rack = Some(rack.clone());
                }
                if let Some(endpoints) = &state.endpoints {
                    broker.endpoints.clone_from(endpoints);
                }
                Ok(())
            }
            other => Err(Mismatch::BrokerEpoch {
                id: state.id,
                present: other.map(|broker| broker.epoch),
                record: state.epoch,
            }),
        }
    }

    /// Takes the broker, its configs and its lease. What it carries stays: it may carry nothing.
    fn remove_broker(&mut self, removed: &BrokerRemovedRecord) -> Result<(), Mismatch> {
        let present = self.brokers.get(&removed.id).map(|broker| broker.epoch);
        if present != Some(removed.epoch) {
            return Err(Mismatch::BrokerEpoch {
                id: removed.id,
                present,
                record: removed.epoch,
            });
        }
        self.brokers.remove(&removed.id);
        self.leases.remove(&removed.id);
        self.forget_configs(ResourceKind::Broker, &removed.id.to_string());
        Ok(())
    }

    fn lend(&mut self, lease: &LeaseRecord) -> Result<(), Mismatch> {
        if self.leases.contains_key(&lease.broker) || !self.brokers.contains_key(&lease.broker) {
            return Err(Mismatch::Lease(lease.broker));
        }
        self.leases.insert(lease.broker, lease.clone());
        Ok(())
    }

    fn end_lease(&mut self, ended: &LeaseEndedRecord) -> Result<(), Mismatch> {
        match self.leases.get(&ended.broker) {
            Some(lease) if lease.incarnation == ended.incarnation => {
                self.leases.remove(&ended.broker);
                Ok(())
            }
            _ => Err(Mismatch::Lease(ended.broker)),
        }
    }

    fn add_topic(&mut self, topic: &TopicRecord) -> Result<(), Mismatch> {
        if self.topics.contains_key(&topic.name) || self.topic_names.contains_key(&topic.id) {
            return Err(Mismatch::TopicExists(topic.name.clone()));
        }
        if let Some(key) = topic.name.collision_key() {
            self.look_alikes.insert(key, topic.name.clone());
        }
        self.topic_names.insert(topic.id, topic.name.clone());
        let partitions = Vector::new();
        let (id, name) = (topic.id, topic.name.clone());
        self.topics.insert(
            topic.name.clone(),
            Arc::new(Topic {
                id,
                name,
                partitions,
            }),
        );
        Ok(())
    }

    /// Takes the topic, its partitions and its configs.
    fn remove_topic(&mut self, removed: &TopicRemovedRecord) -> Result<(), Mismatch> {
        let name = self
            .topic_names
            .remove(&removed.id)
            .ok_or(Mismatch::UnknownTopic(removed.id))?;
        let topic = self
            .topics
            .remove(&name)
            .expect("ids and names are kept together");
        for partition in &topic.partitions {
            self.carry(partition, u32::wrapping_sub);
        }
        self.partition_count -= topic.partitions.len();
        if let Some(key) = name.collision_key() {
            self.look_alikes.remove(&key);
        }
        self.forget_configs(ResourceKind::Topic, name.as_str());
        Ok(())
    }

    fn forget_configs(&mut self, kind: ResourceKind, name: &str) {
        if let Some(resources) = self.configs.get_mut(&kind) {
            resources.remove(name);
            if resources.is_empty() {
                self.configs.remove(&kind);
            }
        }
    }

    fn set_partition(&mut self, record: &PartitionRecord) -> Result<(), Mismatch> {
        let unknown = Mismatch::UnknownTopic(record.topic);
        let name = self.topic_names.get(&record.topic).ok_or(unknown)?;
        let topic = self
            .topics
            .get_mut(name)
            .expect("ids and names are kept together");
        let next = Arc::new(Partition::from(record));
        let (index, count) = (record.partition.index(), topic.partitions.len());
        let before = if index < count {
            let present = &topic.partitions[index];
            if record.partition_epoch != present.partition_epoch.wrapping_add(1)
                || record.leader_epoch < present.leader_epoch
            {
                return Err(Mismatch::PartitionEpoch {
                    partition: record.partition,
                    present: present.partition_epoch,
                    present_leader: present.leader_epoch,
                    record: record.partition_epoch,
                    record_leader: record.leader_epoch,
                });
            }
            let place = &mut Arc::make_mut(topic).partitions[index];
            Some(std::mem::replace(place, next.clone()))
        } else if index == count {
            Arc::make_mut(topic).partitions.push_back(next.clone());
            self.partition_count += 1;
            None
        } else {
            let partition = record.partition;
            return Err(Mismatch::PartitionGap { partition, count });
        };
        match before {
            Some(before)
                if before.replicas == next.replicas && before.reassignment == next.reassignment => {
            }
            before => {
                before.inspect(|before| self.carry(before, u32::wrapping_sub));
                self.carry(&next, u32::wrapping_add);
            }
        }
        Ok(())
    }

    /// Counts a partition's replicas in or out of the brokers' load.
    fn carry(&mut self, partition: &Partition, change: fn(u32, u32) -> u32) {
        for (place, broker) in partition.target().into_iter().enumerate() {
            let mut load = self.load(broker);
            load.replicas = change(load.replicas, 1);
            load.leaders = change(load.leaders, u32::from(place == 0));
            // No entry for no load, so that equal images compare equal.
            if load == Load::default() {
                self.load.remove(&broker);
            } else {
                self.load.insert(broker, load);
            }
        }
    }

    fn set_config(&mut self, record: &ConfigRecord) {
        let ConfigResource { kind, name } = &record.resource;
        let resources = self.configs.entry(*kind).or_default();
        match &record.value {
            Some(value) => {
                let configs: &mut Arc<Configs> = resources.entry(name.clone()).or_default();
                Arc::make_mut(configs).insert(record.key.clone(), value.clone());
            }
            None => {
                if let Some(configs) = resources.get_mut(name) {
                    Arc::make_mut(configs).remove(&record.key);
                    if configs.is_empty() {
                        resources.remove(name);
                    }
                }
                if resources.is_empty() {
                    self.configs.remove(kind);
                }
            }
        }
    }

    fn set_next_producer_id(&mut self, next: i64) -> Result<(), Mismatch> {
        if next <= self.next_producer_id {
            return Err(Mismatch::ProducerIds {
                present: self.next_producer_id,
                record: next,
            });
        }
        self.next_producer_id = next;
        Ok(())
    }
}

impl From<&PartitionRecord> for Partition {
    fn from(record: &PartitionRecord) -> Self {
        Self {
            replicas: record.replicas.clone(),
            isr: record.isr.clone(),
            elr: record.elr.clone(),
            leader: record.leader,
            last_leader: record.last_leader,
            leader_epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
            elected: record.elected,
            unopened: record.unopened.clone(),
            reassignment: record.reassignment.clone(),
        }
    }
}
