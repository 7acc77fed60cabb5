//! OffsetForLeaderEpoch (key 23): where an epoch ends in this log, for truncation (KIP-101, KIP-320).

use milena_protocol::ErrorCode;
use milena_protocol::api::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition, OffsetForLeaderTopicResult,
};

use super::RequestContext;
use crate::broker::Broker;

pub async fn handle(
    broker: &Broker,
    context: &RequestContext,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    // Followers are answered on the peers' listener alone.
    let allowed = match request.replica_id < 0 || context.is_from_peer(broker) {
        true => Ok(()),
        false => Err(ErrorCode::ClusterAuthorizationFailed),
    };
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            let found = match allowed {
                Ok(()) => end_offset(broker, &topic.topic, wanted),
                Err(error) => Err(error),
            };
            partitions.push(into_response(wanted.partition, found));
        }
        topics.push(OffsetForLeaderTopicResult {
            partitions,
            topic: topic.topic,
        });
    }
    OffsetForLeaderEpochResponse {
        throttle_time_ms: 0,
        topics,
    }
}

/// The end of the newest epoch up to the one asked for; -1 where the log knows none.
fn end_offset(
    broker: &Broker,
    topic: &str,
    wanted: &OffsetForLeaderPartition,
) -> Result<(i32, i64), ErrorCode> {
    let partition = broker.partitions().partition(topic, wanted.partition)?;
    partition.check_leads(wanted.current_leader_epoch)?;
    if wanted.leader_epoch == partition.leader_epoch() {
        return Ok((wanted.leader_epoch, partition.reader().log_end_offset()));
    }
    let known = partition
        .reader()
        .end_offset_below(wanted.leader_epoch, partition.leader_epoch());
    Ok(known.unwrap_or((-1, -1)))
}

fn into_response(partition: i32, found: Result<(i32, i64), ErrorCode>) -> EpochEndOffset {
    let (error_code, (leader_epoch, end_offset)) = match found {
        Ok(end) => (ErrorCode::None, end),
        Err(error) => (error, (-1, -1)),
    };
    EpochEndOffset {
        error_code,
        partition,
        leader_epoch,
        end_offset,
    }
}

#[cfg(test)]
mod tests {
    use milena_protocol::api::offset_for_leader_epoch::OffsetForLeaderTopic;

    use super::*;
    use crate::broker::tests::beside::{batch, create_on, partition, register};
    use crate::broker::tests::{broker_with_peers, context, peers_context};

    async fn ask(broker: &Broker, context: &RequestContext, replica_id: i32) -> EpochEndOffset {
        let request = OffsetForLeaderEpochRequest {
            replica_id,
            topics: vec![OffsetForLeaderTopic {
                topic: "t".into(),
                partitions: vec![OffsetForLeaderPartition {
                    current_leader_epoch: -1,
                    ..Default::default()
                }],
            }],
        };
        let mut answer = handle(broker, context, request).await;
        answer.topics.remove(0).partitions.remove(0)
    }

    #[tokio::test]
    async fn followers_ask_where_an_epoch_ends_on_the_peers_listener_alone() {
        let dir = tempfile::tempdir().unwrap();
        let broker = broker_with_peers(dir.path(), &[]).await;
        register(&broker, 101, None).await;
        create_on(&broker, "t", &[&[broker.node_id(), 101]]).await;
        let partition = partition(&broker, "t", 0);
        let append = partition.append(batch(0, 0), 1, 1);
        append.await.map_err(|refused| refused.code()).unwrap();
        let clients = context(4);
        let refused = ask(&broker, &clients, 101).await;
        assert_eq!(refused.error_code, ErrorCode::ClusterAuthorizationFailed);
        let peers = peers_context(4);
        for (context, replica_id) in [(&peers, 101), (&clients, -1)] {
            let answer = ask(&broker, context, replica_id).await;
            assert_eq!((answer.error_code, answer.end_offset), (ErrorCode::None, 1));
        }
    }
}
