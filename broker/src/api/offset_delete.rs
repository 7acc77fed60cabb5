//! OffsetDelete (key 47): forget single offsets of topics that nobody in the group subscribes to.

use milena_protocol::ErrorCode;
use milena_protocol::api::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
};

use super::RequestContext;
use crate::group::host::GroupHost;

pub async fn handle(
    broker: &impl GroupHost,
    _context: &RequestContext,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let image = broker.image();
    let mut wanted = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let known = image.topic(&topic.name);
        let result = |index: i32| match known.and_then(|known| known.partition(index)) {
            None => ErrorCode::UnknownTopicOrPartition,
            Some(_) => ErrorCode::None,
        };
        let indexes = topic
            .partitions
            .iter()
            .map(|partition| partition.partition_index);
        let partitions: Vec<_> = indexes
            .map(|index| OffsetDeleteResponsePartition {
                partition_index: index,
                error_code: result(index),
            })
            .collect();
        let existing = partitions
            .iter()
            .filter(|partition| partition.error_code.is_none());
        wanted
            .extend(existing.map(|partition| (topic.name.to_string(), partition.partition_index)));
        topics.push(OffsetDeleteResponseTopic {
            name: topic.name,
            partitions,
        });
    }
    if !wanted.is_empty() {
        let errors = match broker
            .groups()
            .delete_offsets(request.group_id.to_string(), wanted)
            .await
        {
            Ok(errors) => errors,
            Err(error_code) => {
                return OffsetDeleteResponse {
                    error_code,
                    ..Default::default()
                };
            }
        };
        let open = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
        let open = open.filter(|partition| partition.error_code.is_none());
        open.zip(errors)
            .for_each(|(partition, error)| partition.error_code = error);
    }
    OffsetDeleteResponse {
        topics,
        ..Default::default()
    }
}
