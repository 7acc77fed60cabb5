//! DescribeQuorum (key 55): who leads the metadata quorum, and how far its members are (KIP-595, KIP-836).
//!
//! Only the leader knows how far the others are, so whoever is asked by a client asks it, over the peers' listener. Where no
//! leader answers it says so, as Kafka's voters do: what it knows by itself is old.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use milena_client::{Connection, ConnectionOptions};
use milena_metadata::{BrokerId, Image};
use milena_protocol::api::describe_quorum::{
    DescribeQuorumListener, DescribeQuorumNode, DescribeQuorumPartition, DescribeQuorumReplica,
    DescribeQuorumRequest, DescribeQuorumResponse, DescribeQuorumTopic,
};
use milena_protocol::{ErrorCode, Str};

use super::RequestContext;
use crate::broker::Broker;
use crate::quorum::types::Node;
use crate::quorum::{MemberStatus, QuorumStatus};

/// The partition that is Kafka's metadata log.
const TOPIC: &str = "__cluster_metadata";
const PARTITION: i32 = 0;
/// The leader answers from memory: where it takes longer, it does not lead any more.
const LEADER_ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// A few bytes for each of at most a thousand members.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The quorum as its leader sees it.
pub async fn handle(
    broker: &Broker,
    context: &RequestContext,
    request: DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    let status = broker.quorum().status();
    let leads = status
        .leader
        .as_ref()
        .is_some_and(|(id, _)| *id == status.id);
    if leads {
        return answer(broker, &status, request);
    }
    let told = match &status.leader {
        // A peer took this member for the leader. Asking on could go round in circles.
        Some((_, leader)) if !context.is_from_peer(broker) => {
            ask(leader, &request, context.version).await
        }
        _ => None,
    };
    told.unwrap_or_else(without_leader)
}

/// Clients ask again for a while.
fn without_leader() -> DescribeQuorumResponse {
    DescribeQuorumResponse {
        error_code: ErrorCode::NotLeaderOrFollower,
        error_message: Some("the metadata quorum has no leader that answers".into()),
        ..Default::default()
    }
}

/// What the leader says; `None` where it says nothing.
async fn ask(
    leader: &Node,
    request: &DescribeQuorumRequest,
    version: i16,
) -> Option<DescribeQuorumResponse> {
    let options = ConnectionOptions {
        connect_timeout: LEADER_ANSWERS_WITHIN,
        request_timeout: LEADER_ANSWERS_WITHIN,
        response_bytes_max: ANSWER_BYTES_MAX,
        ..Default::default()
    };
    let host = &leader.host;
    let address = match host.contains(':') {
        true => format!("[{host}]:{}", leader.port),
        false => format!("{host}:{}", leader.port),
    };
    let asking = async {
        let connection = Connection::open(&address, &options).await?;
        connection.send(request, version).await?.receive().await
    };
    match asking.await {
        Ok(told) => Some(told).filter(|told| told.error_code.is_none()),
        Err(error) => {
            tracing::debug!(%error, "the quorum's leader did not describe it");
            None
        }
    }
}

fn answer(
    broker: &Broker,
    status: &QuorumStatus,
    request: DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let is_known = *topic.topic_name == *TOPIC;
        let partitions = topic
            .partitions
            .iter()
            .map(|asked| match asked.partition_index {
                PARTITION if is_known => quorum(status, broker.now_ms()),
                partition_index => DescribeQuorumPartition {
                    partition_index,
                    error_code: ErrorCode::UnknownTopicOrPartition,
                    error_message: Some(ErrorCode::UnknownTopicOrPartition.text().into()),
                    ..Default::default()
                },
            });
        DescribeQuorumTopic {
            partitions: partitions.collect(),
            topic_name: topic.topic_name,
        }
    });
    let topics = topics.collect();
    let config = broker.config();
    let listener = config
        .peers_listener()
        .map_or("", |listener| &listener.name);
    let nodes = nodes(status, &broker.image());
    DescribeQuorumResponse {
        topics,
        nodes: nodes.values().map(|one| node(one, listener)).collect(),
        ..Default::default()
    }
}

/// Each broker once: clients make a map of them. One whose disk was wiped may be two members, and the present one is that
/// whose directory is registered, or that has answered last.
fn nodes<'a>(status: &'a QuorumStatus, image: &Image) -> BTreeMap<i32, &'a Node> {
    let is_registered = |node: &Node| {
        let broker = BrokerId::new(node.broker)
            .ok()
            .and_then(|id| image.broker(id));
        broker.is_some_and(|broker| broker.directories.contains(&node.directory))
    };
    let mut members: Vec<_> = status.voters.iter().chain(&status.learners).collect();
    // The last of a broker's members stays.
    members.sort_by_key(|member| {
        let silence = member.last_contact.unwrap_or(Duration::MAX);
        (is_registered(&member.node), Reverse(silence))
    });
    let nodes = members.into_iter().map(|member| &member.node);
    nodes.map(|node| (node.broker, node)).collect()
}

fn quorum(status: &QuorumStatus, now_ms: i64) -> DescribeQuorumPartition {
    let replica = |member: &MemberStatus| replica(status, member, now_ms);
    let leader = status.leader.as_ref();
    DescribeQuorumPartition {
        partition_index: PARTITION,
        error_code: ErrorCode::None,
        error_message: None,
        leader_id: leader.map_or(-1, |(_, node)| node.broker),
        leader_epoch: i32::try_from(status.term).unwrap_or(i32::MAX),
        high_watermark: status.applied_index + 1,
        current_voters: sorted(&status.voters).into_iter().map(replica).collect(),
        observers: sorted(&status.learners).into_iter().map(replica).collect(),
    }
}

/// A member's end and times; -1 for what only the leader knows.
fn replica(status: &QuorumStatus, member: &MemberStatus, now_ms: i64) -> DescribeQuorumReplica {
    let known_end = match member.id == status.id {
        true => Some(status.last_index),
        false => member.matched_index,
    };
    let contact_ms = member.last_contact.map_or(-1, |since| {
        now_ms.saturating_sub(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    });
    let is_caught_up = known_end == Some(status.last_index);
    DescribeQuorumReplica {
        replica_id: member.node.broker,
        replica_directory_id: member.node.directory.0,
        log_end_offset: known_end.map_or(-1, |index| index + 1),
        last_fetch_timestamp: contact_ms,
        last_caught_up_timestamp: if is_caught_up { contact_ms } else { -1 },
    }
}

fn sorted(members: &[MemberStatus]) -> Vec<&MemberStatus> {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_by_key(|member| (member.node.broker, member.id));
    members
}

/// Where a member is reached; a broker that is alone has no listener for peers.
fn node(node: &Node, listener: &str) -> DescribeQuorumNode {
    let listeners = (!node.host.is_empty()).then(|| DescribeQuorumListener {
        name: Str::from(listener),
        host: Str::from(&node.host),
        port: node.port,
    });
    DescribeQuorumNode {
        node_id: node.broker,
        listeners: listeners.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests;
