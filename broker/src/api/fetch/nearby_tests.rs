//! Consumers that read from a follower, and those that are sent to one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use milena_protocol::ErrorCode;
use milena_protocol::api::fetch::{
    FetchPartition, FetchPartitionResponse, FetchRequest, FetchResponse, FetchTopic,
};

use super::handle;
use super::nearby::RACK_AWARE;
use crate::broker::Broker;
use crate::broker::tests::beside::{batch, create_on, fence, id, partition, register};
use crate::broker::tests::context;
use crate::config::Sources;
use crate::partition::leadership::Member;
use crate::server::assemble_alone;

/// The newest with names.
const VERSION: i16 = 12;
const FOR_EVER: Duration = Duration::from_secs(20);

/// A broker in rack `here`, with 101 in rack `there` and 102 in none.
async fn cluster(dir: &Path, selector: Option<&str>) -> Arc<Broker> {
    let dir = dir.display().to_string();
    let mut set = vec![("log.dirs", dir.as_str()), ("broker.rack", "here")];
    set.extend(selector.map(|class| ("replica.selector.class", class)));
    let broker = assemble_alone(Sources::of(&set).load().unwrap().0).await;
    register(&broker, 101, Some("there")).await;
    register(&broker, 102, None).await;
    broker
}

async fn ask(broker: &Broker, version: i16, rack: &str, offset: i64) -> FetchResponse {
    let name = if version < 13 {
        "t".into()
    } else {
        Default::default()
    };
    let topic_id = broker.image().topic("t").unwrap().id.0;
    let request = FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        rack_id: rack.into(),
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: name,
            topic_id,
            partitions: vec![FetchPartition {
                fetch_offset: offset,
                current_leader_epoch: -1,
                partition_max_bytes: i32::MAX,
                ..Default::default()
            }],
        }],
        ..Default::default()
    };
    handle(broker, &context(version), request).await.0
}

fn only(mut answer: FetchResponse) -> FetchPartitionResponse {
    assert_eq!(answer.error_code, ErrorCode::None);
    answer.responses.remove(0).partitions.remove(0)
}

fn has_records(partition: &FetchPartitionResponse) -> bool {
    partition.records.as_ref().is_some_and(|r| !r.is_empty())
}

#[tokio::test]
async fn a_follower_serves_what_it_knows_to_be_committed_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let broker = cluster(dir.path(), None).await;
    create_on(&broker, "t", &[&[101, broker.node_id()]]).await;
    let partition = partition(&broker, "t", 0);
    for offset in 0..3 {
        let batches = batch(offset, 0);
        let appended = partition.append_fetched(&batches, 0, (2, 0), 1);
        appended.await.unwrap();
    }
    let old = only(ask(&broker, 10, "", 0).await);
    assert_eq!(old.error_code, ErrorCode::NotLeaderOrFollower);
    for (offset, expected, records) in [
        (0, ErrorCode::None, true),
        (2, ErrorCode::None, false),
        (3, ErrorCode::OffsetNotAvailable, false),
        (9, ErrorCode::OffsetNotAvailable, false),
    ] {
        let told = only(ask(&broker, VERSION, "", offset).await);
        assert_eq!(
            (told.error_code, has_records(&told)),
            (expected, records),
            "{offset}"
        );
    }
}

#[tokio::test]
async fn a_consumer_is_sent_to_a_replica_in_sync_in_its_rack() {
    let dir = tempfile::tempdir().unwrap();
    let broker = cluster(dir.path(), Some(RACK_AWARE)).await;
    create_on(&broker, "t", &[&[broker.node_id(), 101, 102]]).await;
    let partition = partition(&broker, "t", 0);
    let append = partition.append(batch(0, 0), 1, 1);
    append.await.map_err(|refused| refused.code()).unwrap();
    let sent_to = async |version, rack, offset| {
        let told = only(ask(&broker, version, rack, offset).await);
        assert_eq!(told.error_code, ErrorCode::None);
        told.preferred_read_replica
    };
    assert_eq!(
        sent_to(VERSION, "there", 0).await,
        -1,
        "101 has asked for nothing yet"
    );
    for other in [101, 102] {
        let member = Member {
            broker: id(other),
            epoch: broker.image().broker(id(other)).unwrap().epoch,
        };
        partition.follower_fetched(member, (-1, 1)).unwrap();
    }
    assert_eq!(sent_to(VERSION, "there", 0).await, 101);
    assert!(!has_records(&only(ask(&broker, VERSION, "there", 0).await)));
    for (version, rack) in [
        (10, "there"),
        (VERSION, "here"),
        (VERSION, ""),
        (VERSION, "nowhere"),
    ] {
        assert_eq!(
            sent_to(version, rack, 0).await,
            -1,
            "{rack:?} in version {version}"
        );
        assert!(has_records(&only(ask(&broker, version, rack, 0).await)));
    }
    fence(&broker, 101).await;
    assert_eq!(sent_to(VERSION, "there", 0).await, -1);
}

#[tokio::test]
async fn without_the_selector_everybody_reads_from_the_leader() {
    let dir = tempfile::tempdir().unwrap();
    let broker = cluster(dir.path(), Some("com.example.Other")).await;
    create_on(&broker, "t", &[&[broker.node_id(), 101]]).await;
    let member = Member {
        broker: id(101),
        epoch: broker.image().broker(id(101)).unwrap().epoch,
    };
    partition(&broker, "t", 0)
        .follower_fetched(member, (-1, 0))
        .unwrap();
    let told = only(ask(&broker, VERSION, "there", 0).await);
    assert_eq!(told.preferred_read_replica, -1);
}

#[tokio::test]
async fn a_reader_is_told_who_leads_and_where() {
    let dir = tempfile::tempdir().unwrap();
    let broker = cluster(dir.path(), None).await;
    create_on(&broker, "t", &[&[101, 102]]).await;
    for version in [11, 12, 16, 17] {
        let answer = tokio::time::timeout(FOR_EVER, ask(&broker, version, "", 0))
            .await
            .unwrap();
        let nodes: Vec<_> = answer
            .node_endpoints
            .iter()
            .map(|node| (node.node_id, node.port))
            .collect();
        let told = only(answer);
        assert_eq!(told.error_code, ErrorCode::NotLeaderOrFollower);
        let leader = (
            told.current_leader.leader_id,
            told.current_leader.leader_epoch,
        );
        assert_eq!(
            leader,
            if version < 12 { (-1, -1) } else { (101, 0) },
            "{version}"
        );
        let expected = if version < 16 {
            vec![]
        } else {
            vec![(101, 9092)]
        };
        assert_eq!(nodes, expected, "{version}");
    }
}
