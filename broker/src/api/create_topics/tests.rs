//! Topics and partitions on brokers of the client's choice.

use milena_protocol::api::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};

use milena_protocol::api::create_topics::CreatableReplicaAssignment;

use super::*;
use crate::api::create_partitions;
use crate::broker::tests::beside::{create_on, id, register};
use crate::broker::tests::{broker, context};

async fn refusal(broker: &Broker, brokers: &[i32], factor: i16) -> (ErrorCode, String) {
    let assignment = CreatableReplicaAssignment {
        partition_index: 0,
        broker_ids: brokers.to_vec(),
    };
    let is_placed = brokers.is_empty();
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: "refused".into(),
            num_partitions: if is_placed { 1 } else { -1 },
            replication_factor: factor,
            assignments: if is_placed {
                Vec::new()
            } else {
                vec![assignment]
            },
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut response = handle(broker, &context(7), request).await;
    let refused = response.topics.remove(0);
    let message = refused.error_message.unwrap_or_default();
    (refused.error_code, message.to_string())
}

#[tokio::test]
async fn partitions_go_where_the_client_says_and_refusals_name_the_rule() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    let me = broker.node_id();
    register(&broker, 101, None).await;
    create_on(&broker, "t", &[&[101, me], &[me, 101]]).await;
    let hosts = |index| -> Vec<_> {
        let image = broker.image();
        image.partition("t", index).unwrap().brokers().collect()
    };
    assert_eq!(
        (hosts(0), hosts(1)),
        (vec![id(101), id(me)], vec![id(me), id(101)])
    );
    let grow = async |count, brokers: &[i32]| {
        let assignment = CreatePartitionsAssignment {
            broker_ids: brokers.to_vec(),
        };
        let request = CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic {
                name: "t".into(),
                count,
                assignments: Some(vec![assignment]),
            }],
            ..Default::default()
        };
        let mut response = create_partitions::handle(&broker, &context(3), request).await;
        response.results.remove(0).error_code
    };
    assert_eq!(grow(3, &[101, me]).await, ErrorCode::None);
    assert_eq!(hosts(2), [id(101), id(me)]);
    assert_eq!(grow(4, &[101]).await, ErrorCode::InvalidReplicaAssignment);
    let unknown = refusal(&broker, &[me, 555], -1).await;
    assert_eq!(unknown.0, ErrorCode::InvalidReplicaAssignment);
    assert!(unknown.1.contains("broker 555"), "{}", unknown.1);
    let too_many = refusal(&broker, &[], 3).await;
    assert_eq!(too_many.0, ErrorCode::InvalidReplicationFactor);
    assert!(
        too_many
            .1
            .contains("Unable to replicate the partition 3 time(s)"),
        "{}",
        too_many.1
    );
}
