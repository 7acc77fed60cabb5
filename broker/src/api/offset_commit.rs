//! OffsetCommit (key 8): keep how far a group has consumed.

use milena_metadata::{Image, Topic, TopicId};
use milena_protocol::ErrorCode;
use milena_protocol::api::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

use super::RequestContext;
use crate::group::host::GroupHost;
use crate::group::record::CommittedOffset;
use crate::group::request::{Commit, MemberOf};

/// The first version that knows topics by their ids.
const TOPIC_IDS_FROM: i16 = 10;
/// The first version in which a missing group has an error of its own.
const GROUP_NOT_FOUND_FROM: i16 = 9;

pub async fn handle(
    broker: &impl GroupHost,
    context: &RequestContext,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let image = broker.image();
    let mut offsets = Vec::new();
    let mut topics: Vec<OffsetCommitResponseTopic> = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        topics.push(sort_out(&image, context.version, topic, &mut offsets));
    }
    if !offsets.is_empty() {
        let count = offsets.len();
        let commit = Commit {
            group: request.group_id.to_string(),
            member: MemberOf {
                member_id: request.member_id.to_string(),
                instance_id: request.group_instance_id.map(|id| id.to_string()),
                generation: request.generation_id_or_member_epoch,
            },
            retention_ms: request.retention_time_ms,
            knows_group_not_found: context.version >= GROUP_NOT_FOUND_FROM,
            offsets,
        };
        let errors = broker
            .groups()
            .commit(commit)
            .await
            .unwrap_or_else(|error| vec![error; count]);
        // In the order in which they were sorted out: those without an error of their own.
        let open = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        let open = open.filter(|partition| partition.error_code.is_none());
        open.zip(errors)
            .for_each(|(partition, error)| partition.error_code = error);
    }
    OffsetCommitResponse {
        topics,
        ..Default::default()
    }
}

/// Takes the offsets of partitions that exist; the others get their error.
fn sort_out(
    image: &Image,
    version: i16,
    topic: OffsetCommitRequestTopic,
    offsets: &mut Vec<(String, i32, CommittedOffset)>,
) -> OffsetCommitResponseTopic {
    let (known, error) = match version {
        TOPIC_IDS_FROM.. => (
            image.topic_by_id(TopicId(topic.topic_id)),
            ErrorCode::UnknownTopicId,
        ),
        _ => (image.topic(&topic.name), ErrorCode::UnknownTopicOrPartition),
    };
    let mut result = |partition: OffsetCommitRequestPartition| {
        let index = partition.partition_index;
        let error_code = match known {
            None => error,
            Some(known) if known.partition(index).is_none() => ErrorCode::UnknownTopicOrPartition,
            Some(known) => {
                offsets.push((known.name.to_string(), index, committed(known, partition)));
                ErrorCode::None
            }
        };
        OffsetCommitResponsePartition {
            partition_index: index,
            error_code,
        }
    };
    let partitions = topic.partitions.into_iter().map(&mut result).collect();
    OffsetCommitResponseTopic {
        name: topic.name,
        topic_id: topic.topic_id,
        partitions,
    }
}

fn committed(topic: &Topic, partition: OffsetCommitRequestPartition) -> CommittedOffset {
    CommittedOffset {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.unwrap_or_default().to_string(),
        commit_timestamp_ms: partition.commit_timestamp,
        expire_timestamp_ms: None,
        topic_id: topic.id.0,
    }
}
