//! The end of a log whose leader is new, and who may ask for what.

use milena_protocol::Request;
use milena_protocol::api::list_offsets::ListOffsetsTopic;

use super::*;
use crate::broker::tests::beside::{batch, create_on, fence, id, partition, register};
use crate::broker::tests::context;
use crate::config::Sources;
use crate::partition::leadership::Member;
use crate::server::assemble_alone;

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
    partition.follower_fetched(follower, 3, 1).unwrap();
    let told = ask(&broker, context(5), (-1, LATEST)).await;
    assert_eq!((told.error_code, told.offset), (ErrorCode::None, 3));
}

#[tokio::test]
async fn followers_ask_for_the_logs_end_on_the_peers_listener_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display().to_string();
    let listeners = "PLAINTEXT://127.0.0.1:9092,PEERS://127.0.0.1:9091";
    let set = [("log.dirs", path.as_str()), ("listeners", listeners)];
    let broker = assemble_alone(Sources::of(&set).load().unwrap().0).await;
    register(&broker, 101, None).await;
    create_on(&broker, "t", &[&[broker.node_id(), 101]]).await;
    let partition = partition(&broker, "t", 0);
    let append = partition.append(batch(0, 0), 1, 1);
    append.await.map_err(|refused| refused.code()).unwrap();
    let refused = ask(&broker, context(5), (101, LATEST)).await;
    assert_eq!(refused.error_code, ErrorCode::ClusterAuthorizationFailed);
    let peers = RequestContext {
        listener: "PEERS".into(),
        ..context(5)
    };
    assert_eq!(ask(&broker, peers, (101, LATEST)).await.offset, 1);
    let committed = ask(&broker, context(5), (-1, LATEST)).await;
    assert_eq!(committed.offset, 0, "101 has not fetched it");
}
