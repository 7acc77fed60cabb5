//! A quorum of one, as a client sees it; and who may vote there.

use std::time::Duration;

use milena_metadata::{DirectoryId, NoConfigRules, RegisterBroker, decide};
use milena_protocol::api::add_raft_voter::AddRaftVoterRequest;
use milena_protocol::api::describe_quorum::{
    DescribeQuorumPartition, DescribeQuorumRequest, DescribeQuorumRequestPartition,
    DescribeQuorumRequestTopic,
};
use milena_protocol::api::remove_raft_voter::RemoveRaftVoterRequest;
use milena_protocol::{ErrorCode, Uuid};

use super::{TOPIC, handle, nodes};
use crate::api::{add_raft_voter, remove_raft_voter};
use crate::broker::Broker;
use crate::broker::tests::{beside, broker, context};
use crate::quorum::types::Node;
use crate::quorum::{MemberStatus, QuorumStatus};

async fn describe(broker: &Broker, topic: &str, partition_index: i32) -> DescribeQuorumPartition {
    let request = DescribeQuorumRequest {
        topics: vec![DescribeQuorumRequestTopic {
            topic_name: topic.into(),
            partitions: vec![DescribeQuorumRequestPartition { partition_index }],
        }],
    };
    let mut answer = handle(broker, &context(2), request).await;
    assert_eq!(answer.error_code, ErrorCode::None);
    answer.topics.remove(0).partitions.remove(0)
}

#[tokio::test]
async fn a_leader_tells_of_itself_with_all_that_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    let quorum = describe(&broker, TOPIC, 0).await;
    assert_eq!(quorum.error_code, ErrorCode::None);
    assert_eq!(quorum.leader_id, broker.node_id());
    assert!(quorum.leader_epoch > 0 && quorum.high_watermark > 0);
    assert!(quorum.observers.is_empty());
    let [voter] = &quorum.current_voters[..] else {
        panic!("one votes: {quorum:?}");
    };
    assert_eq!(voter.replica_id, broker.node_id());
    assert_eq!(voter.replica_directory_id, broker.quorum().directory().0);
    assert_eq!(voter.log_end_offset, quorum.high_watermark);
    let times = (voter.last_fetch_timestamp, voter.last_caught_up_timestamp);
    assert!(times.0 > 0 && times.0 == times.1, "{times:?}");
}

#[tokio::test]
async fn there_is_one_quorum() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    for (topic, partition) in [(TOPIC, 1), ("t", 0)] {
        let found = describe(&broker, topic, partition).await;
        assert_eq!(found.error_code, ErrorCode::UnknownTopicOrPartition);
    }
}

/// One member of broker 3; its port tells which.
fn third(port: u16, silent: Duration) -> MemberStatus {
    MemberStatus {
        id: port.into(),
        node: Node {
            directory: DirectoryId(Uuid([port as u8; 16])),
            broker: 3,
            host: "h".into(),
            port,
        },
        matched_index: None,
        last_contact: Some(silent),
    }
}

#[tokio::test]
async fn a_broker_that_is_two_members_has_one_node_and_that_is_the_living_one() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    let (now, long) = (Duration::ZERO, Duration::from_secs(60));
    let status = |old: Duration, new: Duration| QuorumStatus {
        voters: vec![third(1, old)],
        learners: vec![third(2, new)],
        ..broker.quorum().status()
    };
    let port = |status: &QuorumStatus, image: &_| {
        let nodes = nodes(status, image);
        assert_eq!(nodes.len(), 1);
        nodes[&3].port
    };
    let mut image = (*broker.image()).clone();
    assert_eq!(port(&status(long, now), &image), 2);
    assert_eq!(port(&status(now, long), &image), 1);
    let registered = RegisterBroker {
        directories: vec![third(2, now).node.directory],
        ..beside::registration(3)
    };
    let decision = decide(&image, &registered.into(), &NoConfigRules).unwrap();
    image.apply_entry(9, &decision.records).unwrap();
    assert_eq!(port(&status(now, long), &image), 2, "it is registered");
}

#[tokio::test]
async fn who_is_no_member_gets_no_vote_and_the_last_voter_keeps_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    let add = async |cluster_id: Option<&str>, voter_id, voter_directory_id| {
        let request = AddRaftVoterRequest {
            cluster_id: cluster_id.map(Into::into),
            voter_id,
            voter_directory_id,
            ..Default::default()
        };
        add_raft_voter::handle(&broker, &context(0), request).await
    };
    let (me, mine) = (broker.node_id(), broker.quorum().directory().0);
    let elsewhere = add(Some("another"), me, mine).await;
    assert_eq!(elsewhere.error_code, ErrorCode::InconsistentClusterId);
    let again = add(None, me, mine).await;
    assert_eq!(again.error_code, ErrorCode::DuplicateVoter);
    let stranger = add(None, 555, Uuid::random()).await;
    assert_eq!(stranger.error_code, ErrorCode::VoterNotFound);
    assert!(stranger.error_message.unwrap().contains("no member"));
    let remove = async |voter_id, voter_directory_id| {
        let request = RemoveRaftVoterRequest {
            cluster_id: None,
            voter_id,
            voter_directory_id,
        };
        remove_raft_voter::handle(&broker, &context(0), request).await
    };
    let last = remove(me, mine).await;
    assert_eq!(last.error_code, ErrorCode::InvalidRequest);
    assert!(last.error_message.unwrap().contains("the last voter"));
    let stranger = remove(555, Uuid::random()).await;
    assert_eq!(stranger.error_code, ErrorCode::VoterNotFound);
}
