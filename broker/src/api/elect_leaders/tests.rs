//! Elections as a client asks for them.

use milena_protocol::ErrorCode;
use milena_protocol::api::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, ElectLeadersTopic,
};

use super::handle;
use crate::broker::Broker;
use crate::broker::tests::beside::{create_on, fence, id, register};
use crate::broker::tests::{broker, context};

async fn elect(
    broker: &Broker,
    election_type: i8,
    partitions: Option<&[i32]>,
) -> ElectLeadersResponse {
    let topic_partitions = partitions.map(|partitions| {
        vec![ElectLeadersTopic {
            topic: "t".into(),
            partitions: partitions.to_vec(),
        }]
    });
    let request = ElectLeadersRequest {
        election_type,
        topic_partitions,
        ..Default::default()
    };
    handle(broker, &context(2), request).await
}

fn results(answer: ElectLeadersResponse) -> Vec<(i32, ErrorCode)> {
    assert_eq!(answer.error_code, ErrorCode::None);
    let topics = answer.replica_election_results.into_iter();
    let results = topics.flat_map(|topic| topic.partition_result);
    results
        .map(|result| (result.partition_id, result.error_code))
        .collect()
}

#[tokio::test]
async fn a_preferred_replica_leads_again_where_it_can_and_all_names_those_that_changed() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    let me = broker.node_id();
    register(&broker, 101, None).await;
    create_on(&broker, "t", &[&[me, 101], &[101, me]]).await;
    fence(&broker, 101).await;
    let led_by = |index| broker.image().partition("t", index).unwrap().leader;
    assert_eq!(led_by(1), Some(id(me)));
    let down = results(elect(&broker, 0, Some(&[0, 1, 9])).await);
    let expected = [
        (0, ErrorCode::ElectionNotNeeded),
        (1, ErrorCode::PreferredLeaderNotAvailable),
        (9, ErrorCode::UnknownTopicOrPartition),
    ];
    assert_eq!(down, expected);
    let all = results(elect(&broker, 0, None).await);
    assert_eq!(all, [(1, ErrorCode::PreferredLeaderNotAvailable)]);
}

#[tokio::test]
async fn a_kind_of_election_that_nobody_knows_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    let answer = elect(&broker, 7, None).await;
    assert_eq!(answer.error_code, ErrorCode::InvalidRequest);
}
