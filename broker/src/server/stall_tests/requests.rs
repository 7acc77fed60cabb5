//! What the tests of stalls ask a broker for.

use bytes::Bytes;
use milena_protocol::api::fetch::{FetchPartition, FetchRequest, FetchTopic};
use milena_protocol::api::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use milena_protocol::api::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use milena_protocol::api::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use milena_protocol::api::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use milena_protocol::records::{BatchBuilder, BatchOptions};
use milena_protocol::{ErrorCode, Str};

use super::TIMEOUT_MS;
use crate::clock::Clock;

fn record() -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let now_ms = Clock.now_ms();
    builder.push(now_ms, None, Some(b"value"), &[]).unwrap();
    builder.finish().unwrap()
}

/// One record for each.
pub(super) fn produce(partitions: &[(&str, i32)]) -> ProduceRequest {
    let topic_data = partitions.iter().map(|(topic, index)| TopicProduceData {
        name: Str::from(*topic),
        partition_data: vec![PartitionProduceData {
            index: *index,
            records: Some(record()),
        }],
        ..TopicProduceData::default()
    });
    ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: TIMEOUT_MS,
        topic_data: topic_data.collect(),
    }
}

pub(super) fn offset_of(response: &ProduceResponse) -> i64 {
    let result = &response.responses[0].partition_responses[0];
    assert_eq!(result.error_code, ErrorCode::None, "{result:?}");
    result.base_offset
}

pub(in crate::server) fn fetch(topic: &str, offset: i64, max_wait_ms: i32) -> FetchRequest {
    FetchRequest {
        max_wait_ms,
        min_bytes: 1,
        topics: vec![FetchTopic {
            topic: Str::from(topic),
            partitions: vec![FetchPartition {
                partition: 0,
                fetch_offset: offset,
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

pub(super) fn commit(offset: i64) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: "group".into(),
        topics: vec![OffsetCommitRequestTopic {
            name: "free".into(),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: 0,
                committed_offset: offset,
                ..OffsetCommitRequestPartition::default()
            }],
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    }
}

pub(in crate::server) fn list_offsets(topics: &[&str], timestamp: i64) -> ListOffsetsRequest {
    let topics = topics.iter().map(|topic| ListOffsetsTopic {
        name: Str::from(*topic),
        partitions: vec![ListOffsetsPartition {
            current_leader_epoch: -1,
            timestamp,
            ..ListOffsetsPartition::default()
        }],
    });
    ListOffsetsRequest {
        replica_id: -1,
        topics: topics.collect(),
        ..ListOffsetsRequest::default()
    }
}

/// Of an epoch that is not the present one.
pub(in crate::server) fn epoch_end(topics: &[&str]) -> OffsetForLeaderEpochRequest {
    let topics = topics.iter().map(|topic| OffsetForLeaderTopic {
        topic: Str::from(*topic),
        partitions: vec![OffsetForLeaderPartition {
            partition: 0,
            current_leader_epoch: -1,
            leader_epoch: i32::MAX,
        }],
    });
    OffsetForLeaderEpochRequest {
        replica_id: -1,
        topics: topics.collect(),
    }
}
