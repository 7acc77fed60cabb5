//! Produce (key 0): appends, in the task that read the frame; the connection waits for the replicas, and for the disk
//! where `flush.messages` wants that.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use milena_protocol::api::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse,
    TopicProduceData, TopicProduceResponse,
};
use milena_protocol::{ErrorCode, Str};
use tokio::time::Instant;

use super::RequestContext;
use crate::broker::Broker;
use crate::connection::pending::{Awaits, PendingProduce, Wait};
use crate::group::OFFSETS_TOPIC;
use crate::partition::intake::{self, Intake};
use crate::partition::{Appended, Commit, Partition};
use crate::partitions::HostedTopic;

/// The admin client's own id, which Kafka lets write to internal topics.
const ADMIN_CLIENT_ID: &str = "__admin_client";

/// Appends what the request holds, and says what its answer waits for. The request's frame is not kept.
pub async fn start(
    broker: &Broker,
    context: &RequestContext,
    request: ProduceRequest,
    correlation_id: i32,
    started: Instant,
) -> PendingProduce {
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let mut pending = PendingProduce {
        response: ProduceResponse::default(),
        waits: VecDeque::new(),
        deadline: started + timeout,
        version: context.version,
        correlation_id,
        acks: request.acks,
        listener: context.listener.clone(),
        started,
    };
    let refusal = refuse(&request);
    for (place, topic) in request.topic_data.into_iter().enumerate() {
        let answer = append_topic(broker, context, &mut pending, place, topic, refusal).await;
        pending.response.responses.push(answer);
    }
    pending
}

/// What is wrong with the request as a whole.
fn refuse(request: &ProduceRequest) -> ErrorCode {
    match request.acks {
        -1..=1 if request.transactional_id.is_some() => {
            ErrorCode::TransactionalIdAuthorizationFailed
        }
        -1..=1 => ErrorCode::None,
        _ => ErrorCode::InvalidRequiredAcks,
    }
}

async fn append_topic(
    broker: &Broker,
    context: &RequestContext,
    pending: &mut PendingProduce,
    place: usize,
    topic: TopicProduceData,
    refusal: ErrorCode,
) -> TopicProduceResponse {
    let found = match refusal {
        ErrorCode::None => find_topic(broker, context, &topic),
        error => Err(error),
    };
    let mut partition_responses = Vec::with_capacity(topic.partition_data.len());
    for (at, data) in topic.partition_data.into_iter().enumerate() {
        let result = match &found {
            Ok(hosted) => {
                append_partition(broker, context, pending, (place, at), hosted, data).await
            }
            Err(error) => failed(data.index, *error, None),
        };
        partition_responses.push(result);
    }
    // The name lies in the request's frame, which must not outlive the append.
    let name = if topic.name.is_empty() {
        topic.name
    } else {
        Str::from(topic.name.as_str())
    };
    TopicProduceResponse {
        name,
        topic_id: topic.topic_id,
        partition_responses,
    }
}

fn find_topic(
    broker: &Broker,
    context: &RequestContext,
    topic: &TopicProduceData,
) -> Result<Arc<HostedTopic>, ErrorCode> {
    let hosted = if context.version >= 13 {
        broker
            .partitions()
            .topic_by_id(topic.topic_id)
            .ok_or(ErrorCode::UnknownTopicId)?
    } else {
        broker
            .partitions()
            .topic(&topic.name)
            .ok_or(ErrorCode::UnknownTopicOrPartition)?
    };
    if hosted.name().as_str() == OFFSETS_TOPIC && context.client_id != ADMIN_CLIENT_ID {
        return Err(ErrorCode::InvalidTopicException);
    }
    Ok(hosted)
}

async fn append_partition(
    broker: &Broker,
    context: &RequestContext,
    pending: &mut PendingProduce,
    place: (usize, usize),
    topic: &HostedTopic,
    data: PartitionProduceData,
) -> PartitionProduceResponse {
    let partition = match topic.find(data.index) {
        Ok(partition) => partition,
        Err(error) => return failed(data.index, error, None),
    };
    let rules = Intake {
        version: context.version,
        config: &partition.config(),
        now_ms: broker.now_ms(),
    };
    let batches = match intake::check(data.records.unwrap_or_default(), &rules).await {
        Ok(batches) => batches,
        Err(refusal) => return refusal.into_response(data.index),
    };
    match partition.append(batches, pending.acks, rules.now_ms).await {
        Ok(appended) => {
            let awaits = match pending.acks {
                -1 => Some(Awaits::Replicas),
                1 => Some(Awaits::Disk),
                _ => None,
            };
            if let Some(awaits) = awaits {
                wait_where_needed(pending, place, partition, (appended, awaits));
            }
            PartitionProduceResponse {
                index: data.index,
                // Clients take it for success without an offset.
                error_code: match appended.base_offset {
                    ..0 => ErrorCode::DuplicateSequenceNumber,
                    _ => ErrorCode::None,
                },
                base_offset: appended.base_offset,
                log_append_time_ms: appended.log_append_time_ms,
                log_start_offset: appended.log_start_offset,
                ..Default::default()
            }
        }
        Err(refused) => {
            broker.note_append_failure(partition, &refused);
            failed(data.index, refused.code(), Some(refused.to_string()))
        }
    }
}

fn wait_where_needed(
    pending: &mut PendingProduce,
    place: (usize, usize),
    partition: &Arc<Partition>,
    (appended, awaits): (Appended, Awaits),
) {
    let (last_offset, leader_epoch) = (appended.last_offset, appended.leader_epoch);
    // Not by offsets alone: others may lead by now, and have records of their own at these.
    let state = match awaits {
        Awaits::Replicas => partition.commit(last_offset, leader_epoch),
        Awaits::Disk => partition.storing(last_offset, leader_epoch),
    };
    if state == Commit::Done {
        return;
    }
    pending.waits.push_back(Wait {
        partition: partition.clone(),
        last_offset,
        leader_epoch,
        awaits,
        place,
    });
}

fn failed(index: i32, error_code: ErrorCode, message: Option<String>) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code,
        base_offset: -1,
        error_message: message.map(Str::from),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests;
