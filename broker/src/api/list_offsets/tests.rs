//! The end of a log whose leader is new, and who may ask for what.

use std::time::Duration;

use milena_protocol::Request;
use milena_protocol::api::list_offsets::ListOffsetsTopic;
use milena_protocol::records::{BatchBuilder, BatchOptions, Compression};

use super::*;
use crate::broker::tests::beside::{batch, create_on, fence, id, partition, register};
use crate::broker::tests::{append_batch, broker_with_peers, context, create_with, peers_context};
use crate::partition::large::DECOMPRESSED_SIZE_USUAL;
use crate::partition::leadership::Member;

async fn ask(
    broker: &Broker,
    context: RequestContext,
    (replica_id, timestamp): (i32, i64),
) -> ListOffsetsPartitionResponse {
    let partition = ListOffsetsPartition {
        timestamp,
        max_num_offsets: 1,
        ..Default::default()
    };
    let request = ListOffsetsRequest {
        replica_id,
        topics: vec![ListOffsetsTopic {
            name: "t".into(),
            partitions: vec![partition],
        }],
        ..Default::default()
    };
    let mut answer = handle(broker, &context, request).await;
    answer.topics.remove(0).partitions.remove(0)
}

#[tokio::test]
async fn a_new_leader_knows_no_end_before_all_that_it_found_is_committed() {
    let dir = tempfile::tempdir().unwrap();
    let broker = crate::broker::tests::broker(dir.path()).await;
    let me = broker.node_id();
    register(&broker, 101, None).await;
    register(&broker, 102, None).await;
    create_on(&broker, "t", &[&[101, me, 102]]).await;
    let partition = partition(&broker, "t", 0);
    for offset in 0..3 {
        // The leader's high watermark comes a fetch later.
        let known = (offset.min(1), 0);
        let batches = batch(offset, 0);
        let appended = partition.append_fetched(&batches, 0, known, 1);
        appended.await.unwrap();
    }
    fence(&broker, 101).await;
    assert!(partition.leads());
    for version in ListOffsetsRequest::VERSIONS {
        let expected = match version {
            ..5 => ErrorCode::LeaderNotAvailable,
            5.. => ErrorCode::OffsetNotAvailable,
        };
        let told = ask(&broker, context(version), (-1, LATEST)).await;
        assert_eq!(told.error_code, expected, "version {version}");
        let later = ask(&broker, context(version), (-1, i64::MAX - 1)).await;
        assert_eq!(later.error_code, expected, "version {version}");
        let start = ask(&broker, context(version), (-1, EARLIEST)).await;
        assert_eq!(start.error_code, ErrorCode::None);
    }
    let follower = Member {
        broker: id(102),
        epoch: 1,
    };
    partition.follower_fetched(follower, (-1, 3)).unwrap();
    let told = ask(&broker, context(5), (-1, LATEST)).await;
    assert_eq!((told.error_code, told.offset), (ErrorCode::None, 3));
}

/// Appends a batch of records with these timestamps.
async fn append(broker: &Broker, codec: Compression, records: &[(i64, usize)]) {
    let mut builder = BatchBuilder::new(BatchOptions {
        codec: codec.into(),
        ..Default::default()
    });
    for (timestamp, size) in records {
        let value = vec![0; *size];
        builder.push(*timestamp, None, Some(&value), &[]).unwrap();
    }
    append_batch(broker, builder).await;
}

#[tokio::test]
async fn a_search_goes_on_behind_a_batch_that_only_had_such_a_record() {
    let dir = tempfile::tempdir().unwrap();
    let broker = crate::broker::tests::broker(dir.path()).await;
    create_with(&broker, "t", 1).await;
    for codec in [Compression::None, Compression::Gzip] {
        append(&broker, codec, &[(9, 1), (1, 1)]).await;
    }
    append(&broker, Compression::Gzip, &[(3, 1), (11, 1), (4, 1)]).await;
    let since = async |timestamp| {
        let found = ask(&broker, context(7), (-1, timestamp)).await;
        (found.offset, found.timestamp)
    };
    assert_eq!(since(2).await, (0, 9));
    let partition = partition(&broker, "t", 0);
    partition.log().await.delete_records_before(3).unwrap();
    assert_eq!(since(2).await, (4, 3), "what is deleted is not found");
    assert_eq!(since(4).await, (5, 11));
    assert_eq!(since(12).await, (-1, -1));
    assert_eq!(since(MAX_TIMESTAMP).await, (5, 11));
}

#[tokio::test]
async fn only_a_batch_that_is_large_inside_waits_for_the_turn() {
    let dir = tempfile::tempdir().unwrap();
    let broker = crate::broker::tests::broker(dir.path()).await;
    create_with(&broker, "t", 1).await;
    for (timestamp, size) in [(1, 1), (2, DECOMPRESSED_SIZE_USUAL)] {
        append(&broker, Compression::Gzip, &[(timestamp, size)]).await;
    }
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let other = tokio::spawn(large::in_turn(move || ended.recv()));
    let small = ask(&broker, context(5), (-1, 1));
    let small = tokio::time::timeout(Duration::from_secs(20), small).await;
    assert_eq!(small.expect("it needs no turn").offset, 0);
    let mut large = std::pin::pin!(ask(&broker, context(5), (-1, 2)));
    let early = tokio::time::timeout(Duration::from_millis(100), &mut large).await;
    assert!(early.is_err(), "it did not wait for its turn");
    drop(end);
    assert_eq!(large.await.offset, 1);
    assert!(other.await.unwrap().is_err(), "the other's turn is over");
}

#[tokio::test]
async fn followers_ask_for_the_logs_end_on_the_peers_listener_alone() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker_with_peers(dir.path(), &[]).await;
    register(&broker, 101, None).await;
    create_on(&broker, "t", &[&[broker.node_id(), 101]]).await;
    let partition = partition(&broker, "t", 0);
    let append = partition.append(batch(0, 0), 1, 1);
    append.await.map_err(|refused| refused.code()).unwrap();
    let refused = ask(&broker, context(5), (101, LATEST)).await;
    assert_eq!(refused.error_code, ErrorCode::ClusterAuthorizationFailed);
    let peers = peers_context(5);
    assert_eq!(ask(&broker, peers, (101, LATEST)).await.offset, 1);
    let committed = ask(&broker, context(5), (-1, LATEST)).await;
    assert_eq!(committed.offset, 0, "101 has not fetched it");
}
