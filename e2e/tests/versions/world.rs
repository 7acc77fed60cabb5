//! What requests name: a topic and a group, and how both come about.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use e2e::process::poll;
use e2e::wire::Wire;
use milena_protocol::api::find_coordinator::FindCoordinatorRequest;
use milena_protocol::api::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use milena_protocol::api::metadata::{MetadataRequest, MetadataRequestTopic};
use milena_protocol::api::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use milena_protocol::api::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use milena_protocol::{Str, Uuid};

use super::TOPIC;

pub const GROUP: &str = "group";
const SESSION_MS: i32 = 30_000;
/// Until the group has its coordinator.
const COORDINATOR_LIMIT: Duration = Duration::from_secs(30);

/// A broker's, with a connection to it.
pub struct World {
    wire: Wire,
    pub topic_id: Uuid,
    pub node_id: i32,
}

impl World {
    pub fn of(address: &str) -> Result<Self> {
        let mut wire = Wire::connect(address)?;
        let metadata = wire.ask(&metadata(), 12)?;
        let mut world = Self {
            wire,
            topic_id: metadata.topics[0].topic_id,
            node_id: metadata.brokers[0].node_id,
        };
        let coordinated = || {
            let committed = world.commit(GROUP);
            committed.is_ok().then_some(())
        };
        poll(COORDINATOR_LIMIT, coordinated).context("no coordinator takes commits")?;
        Ok(world)
    }

    /// Commits an offset of a group without members.
    pub fn commit(&mut self, group: &str) -> Result<()> {
        self.wire.ask(&find(3), 3)?;
        let answer = self.wire.ask(&commit(group, self.topic_id), 8)?;
        answer.topics[0].partitions[0].error_code.ok()?;
        Ok(())
    }

    /// The only member of a group in its first generation, which has begun.
    pub fn member(&mut self, group: &str) -> Result<Str> {
        let joined = self.wire.ask(&join(group), 3)?;
        joined.error_code.ok()?;
        ensure!(joined.generation_id == 1, "{}", joined.generation_id);
        let request = sync(group, &joined.member_id);
        self.wire.ask(&request, 3)?.error_code.ok()?;
        Ok(joined.member_id)
    }
}

pub fn metadata() -> MetadataRequest {
    MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(TOPIC.into()),
            ..Default::default()
        }]),
        ..Default::default()
    }
}

pub fn find(version: i16) -> FindCoordinatorRequest {
    FindCoordinatorRequest {
        key: GROUP.into(),
        coordinator_keys: if version < 4 {
            vec![]
        } else {
            vec![GROUP.into()]
        },
        ..Default::default()
    }
}

pub fn join(group: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: SESSION_MS,
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: Bytes::from_static(b"anything"),
        }],
        ..Default::default()
    }
}

pub fn sync(group: &str, member_id: &Str) -> SyncGroupRequest {
    SyncGroupRequest {
        group_id: group.into(),
        generation_id: 1,
        member_id: member_id.clone(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: vec![SyncGroupRequestAssignment {
            member_id: member_id.clone(),
            assignment: Bytes::from_static(b"all"),
        }],
        ..Default::default()
    }
}

pub fn commit(group: &str, topic_id: Uuid) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: group.into(),
        topics: vec![OffsetCommitRequestTopic {
            name: TOPIC.into(),
            topic_id,
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset: 1,
                ..Default::default()
            }],
        }],
        ..Default::default()
    }
}
