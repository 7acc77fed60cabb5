//! ListPartitionReassignments (key 46): the moves in progress (KIP-455).

use milena_metadata::{Partition, Topic};
use milena_protocol::Str;
use milena_protocol::api::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
    OngoingPartitionReassignment, OngoingTopicReassignment,
};

use super::RequestContext;
use crate::broker::Broker;

/// The partitions asked for, or all, as far as they are on the move.
pub async fn handle(
    broker: &Broker,
    _context: &RequestContext,
    request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let image = broker.image();
    let topics: Vec<_> = match &request.topics {
        None => image
            .topics()
            .filter_map(|topic| ongoing(topic, None))
            .collect(),
        Some(asked) => asked
            .iter()
            .filter_map(|asked| ongoing(image.topic(&asked.name)?, Some(&asked.partition_indexes)))
            .collect(),
    };
    ListPartitionReassignmentsResponse {
        topics,
        ..Default::default()
    }
}

/// A topic's partitions on the move; `None` where there is none.
fn ongoing(topic: &Topic, only: Option<&[i32]>) -> Option<OngoingTopicReassignment> {
    let asked = topic
        .partitions()
        .filter(|(id, _)| only.is_none_or(|only| only.contains(&id.get())));
    let partitions: Vec<_> = asked
        .filter_map(|(id, partition)| describe(id.get(), partition))
        .collect();
    (!partitions.is_empty()).then(|| OngoingTopicReassignment {
        name: Str::from(topic.name.as_str()),
        partitions,
    })
}

fn describe(partition_index: i32, partition: &Partition) -> Option<OngoingPartitionReassignment> {
    let reassignment = partition.reassignment.as_ref()?;
    Some(OngoingPartitionReassignment {
        partition_index,
        replicas: partition.brokers().map(|id| id.get()).collect(),
        adding_replicas: reassignment.adding().map(|id| id.get()).collect(),
        removing_replicas: reassignment.removing().map(|id| id.get()).collect(),
    })
}
