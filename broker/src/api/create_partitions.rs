//! CreatePartitions (key 37): a topic's partitions can only become more (KIP-195).

use milena_metadata::{CreatePartitions, NewPartitions};
use milena_protocol::Str;
use milena_protocol::api::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
    CreatePartitionsTopicResult,
};

use super::RequestContext;
use crate::broker::Broker;

/// Grows what it can; each topic has its own result.
pub async fn handle(
    broker: &Broker,
    _context: &RequestContext,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let topics = request.topics.iter().map(wish).collect();
    let outcomes = broker
        .change(CreatePartitions {
            topics,
            validate_only: request.validate_only,
        })
        .await;
    let outcomes = outcomes.unwrap_or_else(|refusal| vec![Err(refusal); request.topics.len()]);
    let results = request
        .topics
        .into_iter()
        .zip(outcomes)
        .map(|(topic, outcome)| {
            let name = topic.name;
            match outcome {
                Ok(_) => CreatePartitionsTopicResult {
                    name,
                    ..Default::default()
                },
                Err(refusal) => CreatePartitionsTopicResult {
                    name,
                    error_code: refusal.code,
                    error_message: Some(Str::from(refusal.message)),
                },
            }
        });
    CreatePartitionsResponse {
        throttle_time_ms: 0,
        results: results.collect(),
    }
}

fn wish(topic: &CreatePartitionsTopic) -> NewPartitions {
    let assignments = topic.assignments.as_ref();
    NewPartitions {
        topic: topic.name.to_string(),
        count: topic.count,
        assignments: assignments
            .map(|list| list.iter().map(|one| one.broker_ids.clone()).collect()),
    }
}
