//! The cluster as one of its brokers describes it.

use std::fmt;
use std::time::Duration;

use anyhow::Result;
use milena_protocol::api::metadata::{
    MetadataRequest, MetadataResponse, MetadataResponsePartition, MetadataResponseTopic,
};

use crate::wire::Wire;

/// With leader epochs, and topics by name.
const METADATA_VERSION: i16 = 9;

/// What a Metadata answer says of all topics.
#[derive(Debug, Clone)]
pub struct View(MetadataResponse);

impl View {
    /// Asks the broker at HOST:PORT.
    pub fn ask(address: &str, limit: Duration) -> Result<Self> {
        let request = MetadataRequest {
            topics: None,
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        let response = Wire::connect_within(address, limit)?.ask(&request, METADATA_VERSION)?;
        Ok(Self(response))
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> Option<String> {
        self.0.cluster_id.as_ref().map(ToString::to_string)
    }

    /// Whether clients are told of the broker: for a while also where it is fenced.
    pub fn has_broker(&self, id: i32) -> bool {
        self.0.brokers.iter().any(|broker| broker.node_id == id)
    }

    /// Where clients are told to find a broker.
    pub fn host(&self, id: i32) -> Option<String> {
        let mut brokers = self.0.brokers.iter();
        let broker = brokers.find(|broker| broker.node_id == id)?;
        Some(broker.host.to_string())
    }

    /// How many partitions a topic has; 0 where there is none.
    pub fn partitions(&self, topic: &str) -> usize {
        self.topic(topic).map_or(0, |topic| topic.partitions.len())
    }

    fn topic(&self, name: &str) -> Option<&MetadataResponseTopic> {
        let mut topics = self.0.topics.iter();
        topics.find(|topic| topic.name.as_deref() == Some(name))
    }

    fn partition(&self, topic: &str, partition: i32) -> Option<&MetadataResponsePartition> {
        let mut partitions = self.topic(topic)?.partitions.iter();
        partitions.find(|one| one.partition_index == partition)
    }

    /// Who leads a partition.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<i32> {
        let leader = self.partition(topic, partition)?.leader_id;
        (leader >= 0).then_some(leader)
    }

    /// The brokers that hold a partition, the preferred leader first.
    pub fn replicas(&self, topic: &str, partition: i32) -> Vec<i32> {
        let found = self.partition(topic, partition);
        found.map_or_else(Vec::new, |one| one.replica_nodes.clone())
    }

    /// The brokers that have a partition in sync.
    pub fn in_sync(&self, topic: &str, partition: i32) -> Vec<i32> {
        let found = self.partition(topic, partition);
        found.map_or_else(Vec::new, |one| one.isr_nodes.clone())
    }

    fn all(&self) -> impl Iterator<Item = (&str, &MetadataResponsePartition)> {
        self.0.topics.iter().flat_map(|topic| {
            let name = topic.name.as_deref().unwrap_or_default();
            topic.partitions.iter().map(move |one| (name, one))
        })
    }

    /// Whether every partition of every topic has a leader, and all its replicas in sync.
    pub fn is_in_sync(&self) -> bool {
        self.all().all(|(_, one)| is_whole(one))
    }

    /// Whether every partition is led by a broker other than this one.
    pub fn is_led_without(&self, broker: i32) -> bool {
        self.all()
            .all(|(_, one)| one.leader_id >= 0 && one.leader_id != broker)
    }

    /// How many replicas are on this broker.
    pub fn replicas_on(&self, broker: i32) -> usize {
        let all = self.all();
        all.filter(|(_, one)| one.replica_nodes.contains(&broker))
            .count()
    }
}

fn is_whole(partition: &MetadataResponsePartition) -> bool {
    partition.leader_id >= 0 && partition.isr_nodes.len() == partition.replica_nodes.len()
}

/// Brokers, and those partitions that are not whole.
impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let brokers: Vec<i32> = self.0.brokers.iter().map(|one| one.node_id).collect();
        write!(f, "brokers {brokers:?}")?;
        for (topic, one) in self.all().filter(|(_, one)| !is_whole(one)) {
            write!(
                f,
                ", {topic}-{} on {:?} with leader {} and ISR {:?}",
                one.partition_index, one.replica_nodes, one.leader_id, one.isr_nodes
            )?;
        }
        Ok(())
    }
}
