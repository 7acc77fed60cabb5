//! ElectLeaders (key 43): the preferred replica leads again, or whoever is left (KIP-183, KIP-460).

use milena_metadata::{ElectLeaders, ElectedLeader, ElectionKind};
use milena_protocol::api::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, PartitionElectionResult, ReplicaElectionResult,
};
use milena_protocol::{ErrorCode, Str};

use super::RequestContext;
use crate::broker::Broker;

/// Each partition's result; of all where none is named, those that needed an election.
pub async fn handle(
    broker: &Broker,
    _context: &RequestContext,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    let Some(kind) = ElectionKind::from_wire(request.election_type) else {
        return failed(ErrorCode::InvalidRequest);
    };
    let partitions = request.topic_partitions.map(|topics| {
        let named = topics.into_iter().flat_map(|topic| {
            let name = topic.topic.to_string();
            let partitions = topic.partitions.into_iter();
            partitions.map(move |partition| (name.clone(), partition))
        });
        named.collect()
    });
    match broker.change(ElectLeaders { kind, partitions }).await {
        Ok(elected) => ElectLeadersResponse {
            replica_election_results: by_topic(elected),
            ..Default::default()
        },
        Err(refusal) => failed(refusal.code),
    }
}

fn failed(error_code: ErrorCode) -> ElectLeadersResponse {
    ElectLeadersResponse {
        error_code,
        ..Default::default()
    }
}

/// Under each topic its results, which come topic by topic.
fn by_topic(elected: Vec<ElectedLeader>) -> Vec<ReplicaElectionResult> {
    let mut topics: Vec<ReplicaElectionResult> = Vec::new();
    for one in elected {
        let result = result(one.partition, one.result.err());
        match topics.last_mut() {
            Some(last) if *last.topic == *one.topic => last.partition_result.push(result),
            _ => topics.push(ReplicaElectionResult {
                topic: Str::from(one.topic),
                partition_result: vec![result],
            }),
        }
    }
    topics
}

fn result(partition_id: i32, refusal: Option<milena_metadata::Refusal>) -> PartitionElectionResult {
    PartitionElectionResult {
        partition_id,
        error_code: refusal.as_ref().map(|r| r.code).unwrap_or_default(),
        error_message: refusal.map(|refusal| Str::from(refusal.message)),
    }
}

#[cfg(test)]
mod tests;
