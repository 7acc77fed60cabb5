//! A move from its start to its end, as a client sees it by the two APIs.

use milena_protocol::ErrorCode;
use milena_protocol::api::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignablePartitionResponse,
    ReassignableTopic,
};
use milena_protocol::api::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsTopics,
    OngoingPartitionReassignment,
};

use super::handle;
use crate::api::list_partition_reassignments;
use crate::broker::Broker;
use crate::broker::tests::beside::{create_on, register};
use crate::broker::tests::{broker, context};

async fn alter(
    broker: &Broker,
    partition_index: i32,
    replicas: Option<&[i32]>,
    allow_replication_factor_change: bool,
) -> ReassignablePartitionResponse {
    let partition = ReassignablePartition {
        partition_index,
        replicas: replicas.map(<[i32]>::to_vec),
    };
    let request = AlterPartitionReassignmentsRequest {
        allow_replication_factor_change,
        topics: vec![ReassignableTopic {
            name: "t".into(),
            partitions: vec![partition],
        }],
        ..Default::default()
    };
    let mut answer = handle(broker, &context(1), request).await;
    assert_eq!(answer.error_code, ErrorCode::None);
    answer.responses.remove(0).partitions.remove(0)
}

async fn list(broker: &Broker, only: Option<i32>) -> Vec<OngoingPartitionReassignment> {
    let request = ListPartitionReassignmentsRequest {
        topics: only.map(|index| {
            vec![ListPartitionReassignmentsTopics {
                name: "t".into(),
                partition_indexes: vec![index],
            }]
        }),
        ..Default::default()
    };
    let answer = list_partition_reassignments::handle(broker, &context(0), request).await;
    let topics = answer.topics.into_iter();
    topics.flat_map(|topic| topic.partitions).collect()
}

#[tokio::test]
async fn a_move_is_listed_until_it_is_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    let me = broker.node_id();
    for other in [101, 102, 103] {
        register(&broker, other, None).await;
    }
    create_on(&broker, "t", &[&[me, 101], &[me, 101]]).await;
    assert!(list(&broker, None).await.is_empty());
    let cancelled = alter(&broker, 0, None, true).await;
    assert_eq!(cancelled.error_code, ErrorCode::NoReassignmentInProgress);
    assert_eq!(
        alter(&broker, 0, Some(&[102, me]), true).await.error_code,
        ErrorCode::None
    );
    let moving = OngoingPartitionReassignment {
        partition_index: 0,
        replicas: vec![me, 101, 102],
        adding_replicas: vec![102],
        removing_replicas: vec![101],
    };
    for asked in [None, Some(0)] {
        assert_eq!(list(&broker, asked).await, std::slice::from_ref(&moving));
    }
    assert!(list(&broker, Some(1)).await.is_empty());
    assert_eq!(
        alter(&broker, 0, None, true).await.error_code,
        ErrorCode::None
    );
    assert!(list(&broker, None).await.is_empty());
}

#[tokio::test]
async fn a_refusal_says_why_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    let me = broker.node_id();
    for other in [101, 102] {
        register(&broker, other, None).await;
    }
    create_on(&broker, "t", &[&[me, 101]]).await;
    let unknown = alter(&broker, 0, Some(&[me, 555]), true).await;
    assert_eq!(unknown.error_code, ErrorCode::InvalidReplicaAssignment);
    assert!(unknown.error_message.unwrap().contains("broker 555"));
    let fewer = alter(&broker, 0, Some(&[me]), false).await;
    assert_eq!(fewer.error_code, ErrorCode::InvalidReplicationFactor);
    let nowhere = alter(&broker, 7, Some(&[me, 102]), true).await;
    assert_eq!(nowhere.error_code, ErrorCode::UnknownTopicOrPartition);
    assert!(list(&broker, None).await.is_empty());
}
