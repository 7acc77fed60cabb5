//! DescribeProducers (key 61): which idempotent producers a partition remembers (KIP-664).

use milena_protocol::ErrorCode;
use milena_protocol::api::describe_producers::{
    ActiveProducer, DescribeProducersPartition, DescribeProducersRequest,
    DescribeProducersResponse, DescribeProducersTopicResponse,
};

use super::RequestContext;
use crate::broker::Broker;

pub async fn handle(
    broker: &Broker,
    _context: &RequestContext,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partition_indexes.len());
        for &index in &topic.partition_indexes {
            partitions.push(describe(broker, &topic.name, index).await);
        }
        topics.push(DescribeProducersTopicResponse {
            name: topic.name,
            partitions,
        });
    }
    DescribeProducersResponse {
        throttle_time_ms: 0,
        topics,
    }
}

async fn describe(
    broker: &Broker,
    topic: &str,
    partition_index: i32,
) -> DescribeProducersPartition {
    let (error_code, active_producers) = match broker.partitions().partition(topic, partition_index)
    {
        Ok(partition) => {
            let producers = partition.log().await.active_producers();
            let active = producers.into_iter().map(|producer| ActiveProducer {
                producer_id: producer.producer_id,
                producer_epoch: i32::from(producer.epoch),
                last_sequence: producer.last_sequence,
                last_timestamp: producer.last_timestamp,
                coordinator_epoch: -1,
                current_txn_start_offset: -1,
            });
            (ErrorCode::None, active.collect())
        }
        Err(error) => (error, Vec::new()),
    };
    DescribeProducersPartition {
        partition_index,
        error_code,
        error_message: None,
        active_producers,
    }
}
