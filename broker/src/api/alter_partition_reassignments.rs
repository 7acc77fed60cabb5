//! AlterPartitionReassignments (key 45): starts, replaces and cancels moves of partitions (KIP-455).

use milena_metadata::{AlterPartitionReassignments, WantedReplicas};
use milena_protocol::Str;
use milena_protocol::api::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    ReassignablePartitionResponse, ReassignableTopic, ReassignableTopicResponse,
};

use super::RequestContext;
use crate::broker::Broker;

/// Each partition's result: whether it is on its way.
pub async fn handle(
    broker: &Broker,
    _context: &RequestContext,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let allow_replication_factor_change = request.allow_replication_factor_change;
    let command = AlterPartitionReassignments {
        partitions: request.topics.iter().flat_map(wishes).collect(),
        allow_replication_factor_change,
    };
    let mut outcomes = match broker.change(command).await {
        Ok(outcomes) => outcomes.into_iter(),
        Err(refusal) => {
            return AlterPartitionReassignmentsResponse {
                allow_replication_factor_change,
                error_code: refusal.code,
                error_message: Some(Str::from(refusal.message)),
                ..Default::default()
            };
        }
    };
    let responses = request.topics.into_iter().map(|topic| {
        // In the order of the request.
        let partitions = topic.partitions.iter().zip(outcomes.by_ref());
        let partitions = partitions.map(|(asked, outcome)| {
            let refusal = outcome.err();
            ReassignablePartitionResponse {
                partition_index: asked.partition_index,
                error_code: refusal.as_ref().map(|r| r.code).unwrap_or_default(),
                error_message: refusal.map(|refusal| Str::from(refusal.message)),
            }
        });
        ReassignableTopicResponse {
            partitions: partitions.collect(),
            name: topic.name,
        }
    });
    AlterPartitionReassignmentsResponse {
        allow_replication_factor_change,
        responses: responses.collect(),
        ..Default::default()
    }
}

fn wishes(topic: &ReassignableTopic) -> impl Iterator<Item = WantedReplicas> {
    topic.partitions.iter().map(|asked| WantedReplicas {
        topic: topic.name.to_string(),
        partition: asked.partition_index,
        brokers: asked.replicas.clone(),
    })
}

#[cfg(test)]
mod tests;
