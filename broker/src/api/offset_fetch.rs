//! OffsetFetch (key 9): how far groups have consumed. Only committed records are seen, so that every
//! answer is as stable as `require_stable` asks for.

use milena_metadata::{Image, TopicId};
use milena_protocol::api::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestGroupTopic, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponseGroupPartition, OffsetFetchResponseGroupTopic,
    OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use milena_protocol::{ErrorCode, Str};

use super::RequestContext;
use crate::group::host::GroupHost;
use crate::group::record::CommittedOffset;
use crate::group::request::{TopicOffsets, Wanted};

/// The first version that asks for several groups.
const SEVERAL_FROM: i16 = 8;
/// The first version that knows topics by their ids.
const TOPIC_IDS_FROM: i16 = 10;
/// Before, an error of the group stands at each partition.
const GROUP_ERROR_FROM: i16 = 2;
/// Nothing is committed.
const NO_OFFSET: i64 = -1;

/// The offsets of one group or of several.
pub async fn handle(
    broker: &impl GroupHost,
    context: &RequestContext,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    if context.version < SEVERAL_FROM {
        let group = one_group(broker, context.version, from_single(request)).await;
        return into_single(context.version, group);
    }
    let mut groups = Vec::with_capacity(request.groups.len());
    for group in request.groups {
        groups.push(one_group(broker, context.version, group).await);
    }
    OffsetFetchResponse {
        groups,
        ..Default::default()
    }
}

async fn one_group(
    broker: &impl GroupHost,
    version: i16,
    group: OffsetFetchRequestGroup,
) -> OffsetFetchResponseGroup {
    let image = broker.image();
    let name = |topic: &OffsetFetchRequestGroupTopic| name_of(&image, version, topic);
    let wanted: Wanted = group.topics.as_ref().map(|topics| {
        let known = topics
            .iter()
            .filter_map(|topic| Some((name(topic)?, topic.partition_indexes.clone())));
        known.collect()
    });
    let fetched = match broker
        .groups()
        .fetch(group.group_id.to_string(), wanted)
        .await
    {
        Ok(fetched) => fetched,
        Err(error) => return failed(group, error),
    };
    let mut topics: Vec<_> = fetched
        .into_iter()
        .filter_map(|topic| answer(&image, version, topic))
        .collect();
    let unknown = group
        .topics
        .into_iter()
        .flatten()
        .filter(|topic| name(topic).is_none());
    topics.extend(unknown.map(|topic| without_offsets(topic, ErrorCode::UnknownTopicId)));
    OffsetFetchResponseGroup {
        group_id: group.group_id,
        topics,
        error_code: ErrorCode::None,
    }
}

/// `None` for an id that no topic has.
fn name_of(image: &Image, version: i16, topic: &OffsetFetchRequestGroupTopic) -> Option<String> {
    if version < TOPIC_IDS_FROM {
        return Some(topic.name.to_string());
    }
    image
        .topic_by_id(TopicId(topic.topic_id))
        .map(|known| known.name.to_string())
}

/// `None` for a topic that exists no longer, where it would have to be named by its id.
fn answer(
    image: &Image,
    version: i16,
    topic: TopicOffsets,
) -> Option<OffsetFetchResponseGroupTopic> {
    let known = image.topic(&topic.topic);
    if version >= TOPIC_IDS_FROM && known.is_none() {
        return None;
    }
    let topic_id = known.map(|known| known.id.0).unwrap_or_default();
    // An offset of an earlier topic of this name means nothing in this one.
    let is_current = |offset: &CommittedOffset| {
        known.is_none() || offset.topic_id.is_zero() || offset.topic_id == topic_id
    };
    let partition =
        |(index, offset): (i32, Option<CommittedOffset>)| match offset.filter(is_current) {
            None => no_offset(index, ErrorCode::None),
            Some(offset) => OffsetFetchResponseGroupPartition {
                partition_index: index,
                committed_offset: offset.offset,
                committed_leader_epoch: offset.leader_epoch,
                metadata: Some(offset.metadata.into()),
                error_code: ErrorCode::None,
            },
        };
    let partitions = topic.partitions.into_iter().map(partition).collect();
    Some(OffsetFetchResponseGroupTopic {
        name: topic.topic.into(),
        topic_id,
        partitions,
    })
}

fn failed(group: OffsetFetchRequestGroup, error_code: ErrorCode) -> OffsetFetchResponseGroup {
    let topics = group.topics.into_iter().flatten();
    OffsetFetchResponseGroup {
        group_id: group.group_id,
        topics: topics
            .map(|topic| without_offsets(topic, error_code))
            .collect(),
        error_code,
    }
}

fn without_offsets(
    topic: OffsetFetchRequestGroupTopic,
    error: ErrorCode,
) -> OffsetFetchResponseGroupTopic {
    let partitions = topic
        .partition_indexes
        .into_iter()
        .map(|index| no_offset(index, error));
    OffsetFetchResponseGroupTopic {
        partitions: partitions.collect(),
        name: topic.name,
        topic_id: topic.topic_id,
    }
}

fn no_offset(partition_index: i32, error_code: ErrorCode) -> OffsetFetchResponseGroupPartition {
    OffsetFetchResponseGroupPartition {
        partition_index,
        committed_offset: NO_OFFSET,
        committed_leader_epoch: -1,
        metadata: Some(Str::default()),
        error_code,
    }
}

fn from_single(request: OffsetFetchRequest) -> OffsetFetchRequestGroup {
    let topics = request.topics.map(|topics| {
        let topics = topics
            .into_iter()
            .map(|topic| OffsetFetchRequestGroupTopic {
                name: topic.name,
                partition_indexes: topic.partition_indexes,
                ..Default::default()
            });
        topics.collect()
    });
    OffsetFetchRequestGroup {
        group_id: request.group_id,
        topics,
        ..Default::default()
    }
}

fn into_single(version: i16, group: OffsetFetchResponseGroup) -> OffsetFetchResponse {
    let partition = |partition: OffsetFetchResponseGroupPartition| OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
    };
    let topics = group
        .topics
        .into_iter()
        .map(|topic| OffsetFetchResponseTopic {
            name: topic.name,
            partitions: topic.partitions.into_iter().map(partition).collect(),
        });
    let error_code = if version >= GROUP_ERROR_FROM {
        group.error_code
    } else {
        ErrorCode::None
    };
    OffsetFetchResponse {
        topics: topics.collect(),
        error_code,
        ..Default::default()
    }
}
