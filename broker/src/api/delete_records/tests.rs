//! DeleteRecords through the handler of a broker without listeners.

use std::sync::Arc;

use milena_log::BatchToAppend;
use milena_protocol::api::delete_records::DeleteRecordsTopic;
use milena_protocol::records::{BatchBuilder, BatchHeader, BatchOptions};
use milena_protocol::{ErrorCode, Str};

use super::*;
use crate::broker::tests::{broker, context, create_with};

async fn append(broker: &Arc<Broker>, index: i32) {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for value in [b"one", b"two"] {
        builder
            .push(broker.now_ms(), None, Some(value), &[])
            .unwrap();
    }
    let body = builder.finish().unwrap();
    let header = BatchHeader::parse(&body).unwrap();
    let partition = broker.partitions().partition("t", index).unwrap();
    let batches = vec![BatchToAppend { header, body }];
    let appended = partition.append(batches, -1, broker.now_ms()).await;
    appended.map_err(|refused| refused.code()).unwrap();
}

#[tokio::test]
async fn many_logs_are_answered_in_order_and_their_starts_are_on_file() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    create_with(&broker, "t", 8).await;
    for index in 0..8 {
        append(&broker, index).await;
    }
    // One offset and one partition that are not there.
    let asked = [(0, 1), (3, 3), (1, -1), (8, 0), (2, 0), (7, 2)];
    let partitions = asked.map(|(partition_index, offset)| DeleteRecordsPartition {
        partition_index,
        offset,
    });
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: Str::from("t"),
            partitions: partitions.to_vec(),
        }],
        ..Default::default()
    };
    let response = handle(&broker, &context(2), request).await;
    let answers = response.topics[0].partitions.iter();
    let answers: Vec<_> = answers
        .map(|answer| {
            (
                answer.partition_index,
                answer.low_watermark,
                answer.error_code,
            )
        })
        .collect();
    let none = ErrorCode::None;
    assert_eq!(
        answers,
        [
            (0, 1, none),
            (3, -1, ErrorCode::OffsetOutOfRange),
            (1, 2, none),
            (8, -1, ErrorCode::UnknownTopicOrPartition),
            (2, 0, none),
            (7, 2, none),
        ]
    );
    let starts = milena_log::Checkpoint::LogStart.read(dir.path()).unwrap();
    let starts: Vec<_> = starts
        .into_iter()
        .map(|((_, index), at)| (index, at))
        .collect();
    assert_eq!(starts, [(0, 1), (1, 2), (7, 2)]);
}
