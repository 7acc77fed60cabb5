//! CreateTopics (key 19): decided by the quorum, answered when the partitions are open.

use milena_metadata::{CreateTopics, CreatedTopic, NewTopic, Refusal, TopicId};
use milena_protocol::api::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest,
    CreateTopicsResponse,
};
use milena_protocol::{ErrorCode, Str};

use super::RequestContext;
use crate::broker::Broker;

/// Creates what it can; each topic has its own result.
pub async fn handle(
    broker: &Broker,
    _context: &RequestContext,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let config = broker.config();
    let command = CreateTopics {
        topics: request.topics.iter().map(wish).collect(),
        default_partitions: config.num_partitions,
        default_replication_factor: i16::try_from(config.default_replication_factor)
            .unwrap_or(i16::MAX),
        validate_only: request.validate_only,
    };
    let outcomes = match broker.change(command).await {
        Ok(outcomes) => outcomes,
        Err(refusal) => vec![Err(refusal); request.topics.len()],
    };
    let results = request.topics.into_iter().zip(outcomes);
    let topics = results.map(|(topic, outcome)| match outcome {
        Ok(created) => success(broker, created),
        Err(refusal) => failure(topic.name, refusal),
    });
    CreateTopicsResponse {
        throttle_time_ms: 0,
        topics: topics.collect(),
    }
}

/// -1 partitions or replicas ask for the broker's default (KIP-464), in every version: clients rely on it.
fn wish(topic: &CreatableTopic) -> NewTopic {
    NewTopic {
        name: topic.name.to_string(),
        id: TopicId::random(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .iter()
            .map(|assignment| (assignment.partition_index, assignment.broker_ids.clone()))
            .collect(),
        configs: topic
            .configs
            .iter()
            .map(|config| {
                (
                    config.name.to_string(),
                    config.value.as_ref().map(|value| value.to_string()),
                )
            })
            .collect(),
    }
}

fn success(broker: &Broker, created: CreatedTopic) -> CreatableTopicResult {
    let own = created
        .configs
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect();
    let configs = broker
        .config()
        .describe_topic(&own)
        .into_iter()
        .map(|entry| CreatableTopicConfigs {
            name: Str::from(entry.setting.name),
            value: entry.value.map(Str::from),
            read_only: entry.read_only,
            config_source: entry.source.code(),
            is_sensitive: entry.setting.is_sensitive(),
        });
    CreatableTopicResult {
        name: Str::from(created.name.as_str()),
        topic_id: created.id.0,
        error_code: ErrorCode::None,
        num_partitions: created.partitions,
        replication_factor: created.replication_factor,
        configs: Some(configs.collect()),
        ..Default::default()
    }
}

fn failure(name: Str, refusal: Refusal) -> CreatableTopicResult {
    let (error_code, error_message) = (refusal.code, Some(Str::from(refusal.message)));
    CreatableTopicResult {
        name,
        error_code,
        error_message,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests;
