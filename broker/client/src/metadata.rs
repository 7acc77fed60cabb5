//! What a client knows of its cluster: brokers, topics, and who leads which partition.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use milena_protocol::api::metadata::{MetadataResponse, MetadataResponseTopic};
use milena_protocol::{ErrorCode, Uuid};
use tokio::time::Instant;

use crate::Error;

/// A broker's place on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Its node id.
    pub id: i32,
    /// The advertised host.
    pub host: String,
    /// The advertised port.
    pub port: i32,
    /// Its rack, where it has one.
    pub rack: Option<String>,
}

impl Broker {
    /// `host:port`, an IPv6 address in brackets.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// One partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its number.
    pub index: i32,
    /// The leader's node id, if it has one.
    pub leader: Option<i32>,
    /// The leader's epoch; -1 where the broker is too old to tell.
    pub leader_epoch: i32,
    /// All replicas, the preferred leader first.
    pub replicas: Vec<i32>,
    /// Those in sync.
    pub isr: Vec<i32>,
    /// Those that are down.
    pub offline: Vec<i32>,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its id; zero where the broker is too old to tell.
    pub id: Uuid,
    /// Whether it is one of Kafka's own.
    pub internal: bool,
    /// Its partitions by number.
    pub partitions: Vec<Partition>,
    /// When it was described.
    pub(crate) read_at: Instant,
}

impl Topic {
    /// The partition of that number.
    pub fn partition(&self, index: i32) -> Result<&Partition, Error> {
        let found = self
            .partitions
            .binary_search_by_key(&index, |partition| partition.index);
        match found {
            Ok(place) => Ok(&self.partitions[place]),
            Err(_) => Err(Error::UnknownPartition {
                topic: self.name.clone(),
                partition: index,
                count: self.partitions.len() as i32,
            }),
        }
    }
}

/// The cluster as last described to this client.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// The cluster's id.
    pub id: Option<String>,
    /// The broker to which administration goes; `None` where the brokers name none.
    pub controller: Option<i32>,
    /// Brokers by node id.
    pub brokers: BTreeMap<i32, Broker>,
    /// The topics that were asked for, by name.
    pub topics: HashMap<String, Arc<Topic>>,
    /// What was refused, and why: topics that do not exist, or have no leader yet.
    pub refused: HashMap<String, ErrorCode>,
}

impl Cluster {
    pub(crate) fn unknown() -> Self {
        Self {
            id: None,
            controller: None,
            brokers: BTreeMap::new(),
            topics: HashMap::new(),
            refused: HashMap::new(),
        }
    }

    /// The cluster after an answer: its brokers replace ours, its topics join ours or replace them.
    pub(crate) fn learn(&self, response: &MetadataResponse) -> Self {
        let mut topics = self.topics.clone();
        let mut refused = HashMap::new();
        for answered in &response.topics {
            let name = answered.name.as_deref().unwrap_or_default().to_owned();
            if answered.error_code.is_none() {
                topics.insert(name, Arc::new(topic(answered)));
            } else {
                topics.remove(&name);
                refused.insert(name, answered.error_code);
            }
        }
        Self {
            id: response.cluster_id.as_deref().map(str::to_owned),
            controller: Some(response.controller_id).filter(|&id| id >= 0),
            brokers: brokers(response),
            topics,
            refused,
        }
    }
}

fn brokers(response: &MetadataResponse) -> BTreeMap<i32, Broker> {
    let broker = |answered: &milena_protocol::api::metadata::MetadataResponseBroker| Broker {
        id: answered.node_id,
        host: answered.host.to_string(),
        port: answered.port,
        rack: answered.rack.as_deref().map(str::to_owned),
    };
    let brokers = response.brokers.iter().map(broker);
    brokers.map(|broker| (broker.id, broker)).collect()
}

fn topic(answered: &MetadataResponseTopic) -> Topic {
    let mut partitions: Vec<_> = answered
        .partitions
        .iter()
        .map(|partition| Partition {
            index: partition.partition_index,
            leader: Some(partition.leader_id).filter(|&id| id >= 0),
            leader_epoch: partition.leader_epoch,
            replicas: partition.replica_nodes.clone(),
            isr: partition.isr_nodes.clone(),
            offline: partition.offline_replicas.clone(),
        })
        .collect();
    partitions.sort_by_key(|partition| partition.index);
    Topic {
        name: answered.name.as_deref().unwrap_or_default().to_owned(),
        id: answered.topic_id,
        internal: answered.is_internal,
        partitions,
        read_at: Instant::now(),
    }
}
