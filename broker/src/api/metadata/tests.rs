//! What a client is told of a cluster of several brokers, and by whom it is sent elsewhere.

use std::sync::Arc;

use milena_protocol::api::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use milena_protocol::api::describe_cluster::DescribeClusterRequest;
use milena_protocol::api::describe_producers::{DescribeProducersRequest, DescribeProducersTopic};
use milena_protocol::api::describe_topic_partitions::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsTopic,
};
use milena_protocol::api::find_coordinator::FindCoordinatorRequest;
use milena_protocol::api::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use milena_protocol::api::offset_for_leader_epoch::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};

use super::*;
use crate::api::{
    delete_records, describe_cluster, describe_producers, describe_topic_partitions,
    find_coordinator, list_offsets, offset_for_leader_epoch,
};
use crate::broker::tests::beside::{create_on, fence, register};
use crate::broker::tests::{broker, context};
use crate::group::OFFSETS_TOPIC;

struct Three {
    broker: Arc<Broker>,
    me: i32,
    _dir: tempfile::TempDir,
}

async fn three() -> Three {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    register(&broker, 101, Some("r1")).await;
    register(&broker, 102, None).await;
    Three {
        me: broker.node_id(),
        broker,
        _dir: dir,
    }
}

async fn metadata(broker: &Arc<Broker>, listener: &str) -> MetadataResponse {
    let context = RequestContext {
        listener: listener.into(),
        ..context(12)
    };
    let request = MetadataRequest {
        topics: None,
        ..Default::default()
    };
    handle(broker, &context, request).await
}

#[tokio::test]
async fn brokers_are_told_by_the_clients_listener_and_the_controller_is_none_that_is_fenced() {
    let Three { broker, .. } = &three().await;
    let told = metadata(broker, "PLAINTEXT").await;
    let places = |told: &MetadataResponse| -> Vec<(i32, String, i32)> {
        let brokers = told.brokers.iter();
        brokers
            .map(|one| (one.node_id, one.host.to_string(), one.port))
            .collect()
    };
    let all = [
        (101, "host-101".into(), 9092),
        (102, "host-102".into(), 9092),
    ];
    assert_eq!(places(&told), all);
    assert_eq!(told.brokers[0].rack.as_deref(), Some("r1"));
    assert_eq!(
        told.controller_id, 101,
        "one that is reached by this listener"
    );
    assert_eq!(places(&metadata(broker, "PEERS").await)[0].2, 9091);
    fence(broker, 101).await;
    let told = metadata(broker, "PLAINTEXT").await;
    assert_eq!(
        places(&told),
        all,
        "named for a while: see `Suspects::is_named`"
    );
    assert_eq!(told.controller_id, 102);
    for (include_fenced_brokers, expected) in [(false, vec![102]), (true, vec![101, 102])] {
        let request = DescribeClusterRequest {
            include_fenced_brokers,
            ..Default::default()
        };
        let told = describe_cluster::handle(broker, &context(2), request).await;
        let fenced = |id: i32| id == 101;
        let ids: Vec<_> = told.brokers.iter().map(|one| one.broker_id).collect();
        assert_eq!(ids, expected);
        let marks = told
            .brokers
            .iter()
            .all(|one| one.is_fenced == fenced(one.broker_id));
        assert!(marks, "{told:?}");
        assert_eq!(told.controller_id, 102);
    }
}

/// What librdkafka does not survive: its issue 5301.
#[tokio::test]
async fn a_fenced_broker_names_itself_for_as_long_as_it_answers() {
    let Three { broker, me, .. } = &three().await;
    // With an address: it was assembled without listeners.
    register(broker, *me, None).await;
    for id in [101, 102, *me] {
        fence(broker, id).await;
    }
    broker.suspects().forget_fenced();
    let told = metadata(broker, "PLAINTEXT").await;
    let ids: Vec<i32> = told.brokers.iter().map(|one| one.node_id).collect();
    assert_eq!(ids, [*me]);
}

#[tokio::test]
async fn partitions_are_told_with_who_is_offline_and_where_nobody_leads() {
    let Three { broker, me, .. } = &three().await;
    create_on(broker, "t", &[&[101, *me], &[101, 102], &[102, 101]]).await;
    fence(broker, 101).await;
    fence(broker, 102).await;
    let told = metadata(broker, "PLAINTEXT").await;
    let partitions = &told.topics[0].partitions;
    assert_eq!(partitions[0].leader_id, *me);
    assert_eq!(partitions[0].error_code, ErrorCode::None);
    assert_eq!(partitions[0].isr_nodes, [*me]);
    assert_eq!(partitions[0].offline_replicas, [101]);
    for partition in &partitions[1..] {
        assert_eq!(partition.error_code, ErrorCode::LeaderNotAvailable);
        assert_eq!(partition.leader_id, -1);
        let mut offline = partition.offline_replicas.clone();
        offline.sort_unstable();
        assert_eq!(offline, [101, 102]);
    }
    let request = DescribeTopicPartitionsRequest {
        topics: vec![DescribeTopicPartitionsTopic { name: "t".into() }],
        response_partition_limit: 100,
        ..Default::default()
    };
    let described = describe_topic_partitions::handle(broker, &context(0), request).await;
    for (one, other) in described.topics[0].partitions.iter().zip(partitions) {
        assert_eq!(one.error_code, other.error_code);
        assert_eq!(one.leader_id, other.leader_id);
        assert_eq!(one.isr_nodes, other.isr_nodes);
        assert_eq!(one.offline_replicas, other.offline_replicas);
    }
}

#[tokio::test]
async fn a_leader_that_the_clients_listener_does_not_reach_is_told_as_that() {
    let Three { broker, me, .. } = &three().await;
    create_on(broker, "t", &[&[101], &[*me]]).await;
    for (listener, expected) in [
        ("PLAINTEXT", (101, ErrorCode::None)),
        ("OUTSIDE", (-1, ErrorCode::ListenerNotFound)),
    ] {
        let told = metadata(broker, listener).await;
        let partitions = &told.topics[0].partitions;
        let first = (partitions[0].leader_id, partitions[0].error_code);
        assert_eq!(first, expected);
        // Whoever asks has reached this broker.
        let own = (partitions[1].leader_id, partitions[1].error_code);
        assert_eq!(own, (*me, ErrorCode::None));
    }
    let context = RequestContext {
        listener: "OUTSIDE".into(),
        ..context(5)
    };
    let request = MetadataRequest {
        topics: None,
        ..Default::default()
    };
    let told = handle(broker, &context, request).await;
    let first = &told.topics[0].partitions[0];
    assert_eq!(first.error_code, ErrorCode::LeaderNotAvailable);
}

#[tokio::test]
async fn a_groups_coordinator_is_who_leads_its_partition() {
    let Three { broker, me, .. } = &three().await;
    create_on(broker, OFFSETS_TOPIC, &vec![&[101][..]; 50]).await;
    let find = async || {
        let request = FindCoordinatorRequest {
            key: "g".into(),
            ..Default::default()
        };
        find_coordinator::handle(&**broker, &context(3), request).await
    };
    let found = find().await;
    assert_eq!(found.error_code, ErrorCode::None);
    assert_eq!(
        (found.node_id, &*found.host, found.port),
        (101, "host-101", 9092)
    );
    fence(broker, 101).await;
    let found = find().await;
    assert_eq!(found.error_code, ErrorCode::CoordinatorNotAvailable);
    assert_ne!(found.node_id, *me);
}

#[tokio::test]
async fn a_partition_that_is_hosted_elsewhere_is_looked_for_anew_and_not_given_up() {
    let Three { broker, .. } = &three().await;
    create_on(broker, "t", &[&[101]]).await;
    for (index, expected) in [
        (0, ErrorCode::NotLeaderOrFollower),
        (1, ErrorCode::UnknownTopicOrPartition),
    ] {
        let found = broker.partitions().partition("t", index);
        assert_eq!(found.err(), Some(expected));
        assert_eq!(list(broker, index).await, expected);
        assert_eq!(epoch_end(broker, index).await, expected);
        assert_eq!(delete(broker, index).await, expected);
        assert_eq!(producers(broker, index).await, expected);
    }
}

async fn list(broker: &Broker, partition_index: i32) -> ErrorCode {
    let partition = ListOffsetsPartition {
        partition_index,
        timestamp: -1,
        ..Default::default()
    };
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: "t".into(),
            partitions: vec![partition],
        }],
        ..Default::default()
    };
    let answer = list_offsets::handle(broker, &context(5), request).await;
    answer.topics[0].partitions[0].error_code
}

async fn epoch_end(broker: &Broker, partition: i32) -> ErrorCode {
    let request = OffsetForLeaderEpochRequest {
        topics: vec![OffsetForLeaderTopic {
            topic: "t".into(),
            partitions: vec![OffsetForLeaderPartition {
                partition,
                ..Default::default()
            }],
        }],
        ..Default::default()
    };
    let answer = offset_for_leader_epoch::handle(broker, &context(4), request).await;
    answer.topics[0].partitions[0].error_code
}

async fn delete(broker: &Broker, partition_index: i32) -> ErrorCode {
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: "t".into(),
            partitions: vec![DeleteRecordsPartition {
                partition_index,
                offset: 0,
            }],
        }],
        ..Default::default()
    };
    let answer = delete_records::handle(broker, &context(2), request).await;
    answer.topics[0].partitions[0].error_code
}

async fn producers(broker: &Broker, index: i32) -> ErrorCode {
    let request = DescribeProducersRequest {
        topics: vec![DescribeProducersTopic {
            name: "t".into(),
            partition_indexes: vec![index],
        }],
    };
    let answer = describe_producers::handle(broker, &context(0), request).await;
    answer.topics[0].partitions[0].error_code
}
