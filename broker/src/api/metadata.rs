//! Metadata (key 3): brokers, topics and who leads them; creates topics that are asked for.

use std::sync::Arc;

use milena_metadata::{BrokerId, Image, Partition, Replica, Topic, TopicId, TopicName};
use milena_protocol::api::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker,
    MetadataResponsePartition, MetadataResponseTopic,
};
use milena_protocol::{ErrorCode, Str, Uuid};

use super::RequestContext;
use crate::broker::Broker;

/// Every operation that a topic knows, as a bit field: what everyone may do while there is no authorizer.
pub const TOPIC_OPERATIONS: i32 = bits(&[3, 4, 5, 6, 7, 8, 10, 11]);
/// Every operation that the cluster knows.
pub const CLUSTER_OPERATIONS: i32 = bits(&[5, 7, 8, 9, 10, 11, 12]);

/// Kafka's AclOperation codes as the bits of an i32.
const fn bits(operations: &[u8]) -> i32 {
    let (mut bits, mut at) = (0, 0);
    while at < operations.len() {
        bits |= 1 << operations[at];
        at += 1;
    }
    bits
}

/// The cluster as the client's listener sees it.
pub async fn handle(
    broker: &Arc<Broker>,
    context: &RequestContext,
    request: MetadataRequest,
) -> MetadataResponse {
    // An empty list means all in version 0, and none from then on.
    let all = match &request.topics {
        None => true,
        Some(topics) => topics.is_empty() && context.version == 0,
    };
    let mut created = ErrorCode::None;
    if !all && request.allow_auto_topic_creation && broker.config().auto_create_topics_enable {
        created = create_missing(broker, &request).await;
    }
    let asked = |image: &Image, leader| leads_any(image, leader, &request, all);
    let images = broker.quorum().watch();
    broker.suspects().settled(images, asked).await;
    let image = broker.image();
    let detail = Detail {
        version: context.version,
        operations: request.include_topic_authorized_operations,
        view: View::of(broker, &context.listener),
    };
    let topics = if all {
        image
            .topics()
            .map(|topic| detail.describe(&image, topic))
            .collect()
    } else {
        let wanted = request.topics.iter().flatten();
        wanted
            .map(|topic| detail.answer(&image, topic, created))
            .collect()
    };
    MetadataResponse {
        throttle_time_ms: 0,
        brokers: brokers(broker, &image, &context.listener),
        cluster_id: image.cluster_id().map(|id| Str::from(&**id)),
        controller_id: controller(&image, &context.listener),
        topics,
        cluster_authorized_operations: match request.include_cluster_authorized_operations {
            true => CLUSTER_OPERATIONS,
            false => i32::MIN,
        },
        error_code: ErrorCode::None,
    }
}

/// Whether a broker leads a partition that is asked for.
fn leads_any(image: &Image, leader: BrokerId, request: &MetadataRequest, all: bool) -> bool {
    let leads = |topic: &Arc<Topic>| {
        let mut partitions = topic.partitions();
        partitions.any(|(_, partition)| partition.leader == Some(leader))
    };
    if all {
        return image.topics().any(leads);
    }
    let mut wanted = request.topics.iter().flatten();
    wanted.any(|topic| {
        let found = match &topic.name {
            Some(name) => image.topic(name),
            None => image.topic_by_id(TopicId(topic.topic_id)),
        };
        found.is_some_and(leads)
    })
}

/// A broker that is not fenced, if possible one that the client reaches: each takes what is for the controller, and
/// passes it on.
pub fn controller(image: &Image, listener: &str) -> i32 {
    let alive = || image.brokers().filter(|broker| !broker.fenced);
    let reached = alive().find(|broker| broker.endpoint(listener).is_some());
    let chosen = reached.or_else(|| alive().next());
    chosen.map_or(-1, |broker| broker.id.get())
}

/// The brokers that have an address on this listener: those that are not fenced, those that were until just now, and
/// always this one, which answers. librdkafka forgets every broker that is not named: told of none, it is lost for good
/// (its issue 5301).
fn brokers(broker: &Broker, image: &Image, listener: &str) -> Vec<MetadataResponseBroker> {
    let (suspects, me) = (broker.suspects(), broker.broker_id());
    let named = image
        .brokers()
        .filter(|broker| !broker.fenced || broker.id == me || suspects.is_named(broker.id));
    let reachable = named.filter_map(|broker| {
        let endpoint = broker.endpoint(listener)?;
        Some(MetadataResponseBroker {
            node_id: broker.id.get(),
            host: Str::from(&*endpoint.host),
            port: i32::from(endpoint.port),
            rack: broker.rack.as_deref().map(Str::from),
        })
    });
    reachable.collect()
}

/// Creates the topics that are asked for by name and do not exist. Its error is for those that it could not.
async fn create_missing(broker: &Arc<Broker>, request: &MetadataRequest) -> ErrorCode {
    let image = broker.image();
    let names = request
        .topics
        .iter()
        .flatten()
        .filter_map(|topic| topic.name.as_deref());
    let missing: Vec<TopicName> = names
        .filter(|name| image.topic(name).is_none())
        .filter_map(|name| TopicName::new(name).ok())
        .collect();
    if missing.is_empty() {
        return ErrorCode::None;
    }
    broker.auto_create(missing).await
}

/// Who a client can reach: whoever has an address on its listener, and the broker that it asks.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    me: BrokerId,
    listener: &'a str,
}

impl<'a> View<'a> {
    /// What is seen through a broker's listener of this name.
    pub fn of(broker: &Broker, listener: &'a str) -> Self {
        let me = broker.broker_id();
        Self { me, listener }
    }

    /// The leader as the client is told of it, and what is wrong with it.
    pub fn leader(self, image: &Image, partition: &Partition) -> (i32, ErrorCode) {
        let Some(leader) = partition.leader else {
            return (-1, ErrorCode::LeaderNotAvailable);
        };
        let endpoint = |id| image.broker(id)?.endpoint(self.listener);
        match leader == self.me || endpoint(leader).is_some() {
            true => (leader.get(), ErrorCode::None),
            false => (-1, ErrorCode::ListenerNotFound),
        }
    }
}

/// What is told of a topic.
struct Detail<'a> {
    version: i16,
    operations: bool,
    view: View<'a>,
}

impl Detail<'_> {
    fn answer(
        &self,
        image: &Image,
        wanted: &MetadataRequestTopic,
        created: ErrorCode,
    ) -> MetadataResponseTopic {
        let failed = |error_code, name: Option<&Str>, topic_id| MetadataResponseTopic {
            error_code,
            // Versions below 12 can't say null.
            name: name.cloned().or((self.version < 12).then(Str::default)),
            topic_id,
            ..Default::default()
        };
        let Some(name) = &wanted.name else {
            let found = image.topic_by_id(TopicId(wanted.topic_id));
            return match found {
                Some(topic) => self.describe(image, topic),
                None => failed(ErrorCode::UnknownTopicId, None, wanted.topic_id),
            };
        };
        if let Some(topic) = image.topic(name) {
            return self.describe(image, topic);
        }
        let error = match TopicName::new(name) {
            Err(_) => ErrorCode::InvalidTopicException,
            Ok(_) if created.is_none() => ErrorCode::UnknownTopicOrPartition,
            Ok(_) => created,
        };
        failed(error, Some(name), Uuid::ZERO)
    }

    fn describe(&self, image: &Image, topic: &Topic) -> MetadataResponseTopic {
        let partitions = topic.partitions().map(|(id, partition)| {
            let (leader_id, error_code) = match self.view.leader(image, partition) {
                // Versions below 6 have no word for it.
                (id, ErrorCode::ListenerNotFound) if self.version < 6 => {
                    (id, ErrorCode::LeaderNotAvailable)
                }
                told => told,
            };
            MetadataResponsePartition {
                error_code,
                partition_index: id.get(),
                leader_id,
                leader_epoch: partition.leader_epoch,
                replica_nodes: partition.brokers().map(|id| id.get()).collect(),
                isr_nodes: partition.isr.iter().map(|id| id.get()).collect(),
                offline_replicas: offline(image, partition),
            }
        });
        MetadataResponseTopic {
            error_code: ErrorCode::None,
            name: Some(Str::from(topic.name.as_str())),
            topic_id: topic.id.0,
            is_internal: topic.name.is_internal(),
            partitions: partitions.collect(),
            topic_authorized_operations: if self.operations {
                TOPIC_OPERATIONS
            } else {
                i32::MIN
            },
        }
    }
}

/// Replicas on brokers that are fenced or unknown, and those in log directories that are lost (KIP-858).
pub fn offline(image: &Image, partition: &Partition) -> Vec<i32> {
    let is_up = |replica: &&Replica| {
        let broker = image.broker(replica.broker);
        broker.is_some_and(|broker| !broker.fenced && broker.has_online(replica.directory))
    };
    let replicas = partition.replicas.iter();
    let down = replicas.filter(|replica| !is_up(replica));
    down.map(|replica| replica.broker.get()).collect()
}

#[cfg(test)]
mod tests;
