//! DeleteTopics (key 20): by name, or from version 6 on by id.

use milena_metadata::{DeleteTopics, Refusal, TopicId, TopicReference};
use milena_protocol::api::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};
use milena_protocol::{ErrorCode, Str, Uuid};

use super::RequestContext;
use crate::broker::Broker;

/// Deletes what it can; each topic has its own result.
pub async fn handle(
    broker: &Broker,
    context: &RequestContext,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let by_name = |name| DeleteTopicState {
        name: Some(name),
        topic_id: Uuid::ZERO,
    };
    let wanted: Vec<DeleteTopicState> = match context.version {
        ..=5 => request.topic_names.into_iter().map(by_name).collect(),
        _ => request.topics,
    };
    let clear = |topic: &DeleteTopicState| topic.name.is_some() == topic.topic_id.is_zero();
    let outcomes = if !wanted.iter().all(clear) {
        Err(Refusal::new(
            ErrorCode::InvalidRequest,
            "each topic is deleted by its name or by its id, not by both or neither",
        ))
    } else if broker.config().delete_topic_enable {
        let topics = wanted.iter().map(reference).collect();
        broker.change(DeleteTopics { topics }).await
    } else {
        Err(Refusal::new(
            ErrorCode::TopicDeletionDisabled,
            "topics can't be deleted: delete.topic.enable is false",
        ))
    };
    let outcomes = outcomes.unwrap_or_else(|refusal| vec![Err(refusal); wanted.len()]);
    let responses = wanted
        .into_iter()
        .zip(outcomes)
        .map(|(wanted, outcome)| match outcome {
            Ok(deleted) => DeletableTopicResult {
                name: Some(Str::from(deleted.name.as_str())),
                topic_id: deleted.id.0,
                ..Default::default()
            },
            Err(refusal) => DeletableTopicResult {
                name: wanted.name,
                topic_id: wanted.topic_id,
                error_code: refusal.code,
                error_message: Some(Str::from(refusal.message)),
            },
        });
    DeleteTopicsResponse {
        throttle_time_ms: 0,
        responses: responses.collect(),
    }
}

fn reference(topic: &DeleteTopicState) -> TopicReference {
    match &topic.name {
        Some(name) => TopicReference::Name(name.to_string()),
        None => TopicReference::Id(TopicId(topic.topic_id)),
    }
}
