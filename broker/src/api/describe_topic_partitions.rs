//! DescribeTopicPartitions (key 75): topics page by page (KIP-966).

use milena_metadata::{Image, Partition, Topic, TopicName};
use milena_protocol::api::describe_topic_partitions::{
    DescribeTopicPartitionsCursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use milena_protocol::{ErrorCode, Str};

use super::RequestContext;
use super::metadata::{TOPIC_OPERATIONS, View, offline};
use crate::broker::Broker;

/// A page of partitions, in the order of the topics' names, and where the next begins.
pub async fn handle(
    broker: &Broker,
    context: &RequestContext,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let image = broker.image();
    let limit = broker
        .config()
        .max_request_partition_size_limit
        .min(request.response_partition_limit);
    let mut page = Page {
        left: usize::try_from(limit).unwrap_or(1).max(1),
        topics: Vec::new(),
        next: None,
    };
    let start = request.cursor.map(|cursor| *cursor).unwrap_or_default();
    let view = View::of(broker, &context.listener);
    let mut names: Vec<Str> = if request.topics.is_empty() {
        image
            .topics_from(&start.topic_name)
            .map(|topic| Str::from(topic.name.as_str()))
            .collect()
    } else {
        request.topics.into_iter().map(|topic| topic.name).collect()
    };
    names.sort();
    names.dedup();
    for name in names
        .iter()
        .filter(|name| name.as_str() >= start.topic_name.as_str())
    {
        let first = if *name == start.topic_name {
            start.partition_index.max(0)
        } else {
            0
        };
        match image.topic(name) {
            Some(topic) => page.add(&image, view, topic, first),
            None => page.topics.push(unknown(name)),
        }
        if page.next.is_some() {
            break;
        }
    }
    DescribeTopicPartitionsResponse {
        throttle_time_ms: 0,
        topics: page.topics,
        next_cursor: page.next,
    }
}

fn unknown(name: &Str) -> DescribeTopicPartitionsResponseTopic {
    let error_code = match TopicName::new(name) {
        Ok(_) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    };
    DescribeTopicPartitionsResponseTopic {
        error_code,
        name: Some(name.clone()),
        ..Default::default()
    }
}

/// Who led last, where nobody is left that is known to hold everything (KIP-966).
fn last_known(partition: &Partition) -> Vec<i32> {
    let nobody = partition.leader.is_none() && partition.elr.is_empty();
    let last = partition.last_leader.filter(|_| nobody);
    last.iter().map(|id| id.get()).collect()
}

struct Page {
    left: usize,
    topics: Vec<DescribeTopicPartitionsResponseTopic>,
    next: Option<Box<DescribeTopicPartitionsCursor>>,
}

impl Page {
    fn add(&mut self, image: &Image, view: View<'_>, topic: &Topic, first: i32) {
        let name = Str::from(topic.name.as_str());
        let rest = topic.partitions().filter(|(id, _)| id.get() >= first);
        let mut partitions = Vec::new();
        for (id, partition) in rest {
            if self.left == 0 {
                let partition_index = id.get();
                self.next = Some(Box::new(DescribeTopicPartitionsCursor {
                    topic_name: name.clone(),
                    partition_index,
                }));
                break;
            }
            self.left -= 1;
            let (leader_id, error_code) = view.leader(image, partition);
            partitions.push(DescribeTopicPartitionsResponsePartition {
                error_code,
                partition_index: id.get(),
                leader_id,
                leader_epoch: partition.leader_epoch,
                replica_nodes: partition.brokers().map(|id| id.get()).collect(),
                isr_nodes: partition.isr.iter().map(|id| id.get()).collect(),
                eligible_leader_replicas: Some(partition.elr.iter().map(|id| id.get()).collect()),
                last_known_elr: Some(last_known(partition)),
                offline_replicas: offline(image, partition),
            });
        }
        if partitions.is_empty() && self.next.is_some() {
            return;
        }
        self.topics.push(DescribeTopicPartitionsResponseTopic {
            error_code: ErrorCode::None,
            name: Some(name),
            topic_id: topic.id.0,
            is_internal: topic.name.is_internal(),
            partitions,
            topic_authorized_operations: TOPIC_OPERATIONS,
        });
    }
}
