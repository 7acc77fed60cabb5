//! An image as records, and back: a snapshot is written in the log's own words.

use super::{Image, Partition, Position, Topic};
use crate::configs::ConfigResource;
use crate::names::{BrokerId, PartitionId};
use crate::record::{
    ClusterRecord, ClusterStateRecord, ConfigRecord, FeatureRecord, PartitionRecord,
    ProducerIdsRecord, Record, TopicRecord,
};

impl Image {
    /// The records that build this image from nothing. With [`Image::position`], that is a snapshot.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        let cluster = self.cluster_id.iter().map(|id| {
            let cluster_id = id.clone();
            ClusterRecord { cluster_id }.into()
        });
        let brokers = self
            .brokers()
            .map(|broker| Record::Broker((**broker).clone()));
        let topics = self.topics().flat_map(|topic| topic.records());
        cluster
            .chain(brokers)
            .chain(topics)
            .chain(self.config_records())
            .chain(self.producer_id_record())
            .chain(self.feature_records())
            .chain(self.leases.values().cloned().map(Record::Lease))
            .chain(self.state_record())
    }

    /// This image, at the position that it was taken at: for one that was built from [`Image::records`].
    #[must_use]
    pub fn at(self, position: Position) -> Self {
        Self { position, ..self }
    }

    fn config_records(&self) -> impl Iterator<Item = Record> {
        self.configs.iter().flat_map(|(&kind, resources)| {
            resources.iter().flat_map(move |(name, configs)| {
                configs.iter().map(move |(key, value)| {
                    let name = name.clone();
                    Record::Config(ConfigRecord {
                        resource: ConfigResource { kind, name },
                        key: key.clone(),
                        value: Some(value.clone()),
                    })
                })
            })
        })
    }

    /// Who owns the last block is forgotten: only the next id counts.
    fn producer_id_record(&self) -> Option<Record> {
        (self.next_producer_id > 0).then(|| {
            Record::ProducerIds(ProducerIdsRecord {
                broker: BrokerId::new(0).expect("0 is no negative number"),
                broker_epoch: -1,
                next: self.next_producer_id,
            })
        })
    }

    fn state_record(&self) -> Option<Record> {
        let stopping = self.stopping?;
        let stopping = Some(stopping);
        Some(ClusterStateRecord { stopping }.into())
    }

    fn feature_records(&self) -> impl Iterator<Item = Record> {
        self.features().map(|(name, level)| {
            let name = name.clone();
            Record::Feature(FeatureRecord { name, level })
        })
    }
}

impl Topic {
    fn records(&self) -> impl Iterator<Item = Record> {
        let (id, name) = (self.id, self.name.clone());
        let partitions = self
            .partitions()
            .map(|(number, partition)| partition.record(self, number).into());
        std::iter::once(Record::Topic(TopicRecord { id, name })).chain(partitions)
    }
}

impl Partition {
    /// The record that says this state.
    pub(crate) fn record(&self, topic: &Topic, partition: PartitionId) -> PartitionRecord {
        PartitionRecord {
            topic: topic.id,
            partition,
            replicas: self.replicas.clone(),
            isr: self.isr.clone(),
            elr: self.elr.clone(),
            leader: self.leader,
            last_leader: self.last_leader,
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            elected: self.elected,
            unopened: self.unopened.clone(),
            reassignment: self.reassignment.clone(),
        }
    }
}
