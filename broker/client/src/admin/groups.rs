//! Consumer groups from outside: listing, describing, deleting, and their committed offsets.

use std::collections::BTreeMap;

use milena_protocol::api::delete_groups::DeleteGroupsRequest;
use milena_protocol::api::describe_groups::{
    DescribeGroupsRequest, DescribedGroup, DescribedGroupMember,
};
use milena_protocol::api::list_groups::{ListGroupsRequest, ListedGroup};
use milena_protocol::api::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use milena_protocol::api::offset_fetch::OffsetFetchRequest;
use milena_protocol::{ErrorCode, Str};

use super::offsets::by_topic;
use super::refusal;
use crate::assignment::Assignment;
use crate::client::call;
use crate::group::Membership;
use crate::retry::retry;
use crate::{Client, Error};

/// A group as a listing names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupSummary {
    /// Its id.
    pub id: String,
    /// Such as `Stable` or `Empty`; empty where the broker is too old to tell.
    pub state: String,
    /// `classic`, `consumer` (KIP-848), …; empty where the broker is too old to tell.
    pub kind: String,
    /// `consumer` for consumers; empty for a group that only commits offsets.
    pub protocol: String,
    /// The coordinator's node id.
    pub coordinator: i32,
}

/// A group and its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its id.
    pub id: String,
    /// `Dead` where there is no such group.
    pub state: String,
    /// The assignor that the members have settled on.
    pub assignor: String,
    /// Its members.
    pub members: Vec<GroupMember>,
}

/// One member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// The id that the coordinator gave it.
    pub id: String,
    /// The id that a static member gave itself.
    pub instance_id: Option<String>,
    /// The client's name for itself.
    pub client_id: String,
    /// Where it connects from.
    pub host: String,
    /// What it consumes, by topic; empty where the assignment is not a consumer's.
    pub assignment: Assignment,
}

/// An offset that a group has committed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// The next record to consume.
    pub offset: i64,
    /// The epoch of the leader that the last record came from; -1 where not known.
    pub leader_epoch: i32,
    /// The committer's own note.
    pub metadata: String,
}

impl Committed {
    /// An offset of which nothing more is known.
    pub fn at(offset: i64) -> Self {
        Self {
            offset,
            leader_epoch: -1,
            metadata: String::new(),
        }
    }
}

impl Client {
    /// Every group of every broker, by id.
    pub async fn groups(&self) -> Result<Vec<GroupSummary>, Error> {
        let cluster = self.refresh(&[]).await?;
        let mut groups = Vec::new();
        for &id in cluster.brokers.keys() {
            let listed = retry(self.options().deadline, || async {
                let broker = self.broker(id).await?;
                let response = call(&broker, &ListGroupsRequest::default()).await?;
                Error::check(format!("broker {id}"), response.error_code)?;
                Ok(response.groups)
            })
            .await?;
            groups.extend(listed.iter().map(|group| summary(group, id)));
        }
        groups.sort();
        Ok(groups)
    }

    /// The group and its members; one that does not exist is GROUP_ID_NOT_FOUND, whatever the broker's age.
    pub async fn describe_group(&self, group: &str) -> Result<GroupDescription, Error> {
        let request = DescribeGroupsRequest {
            groups: vec![group.into()],
            ..Default::default()
        };
        let check = |described: &DescribedGroup| {
            refusal(group, described.error_code, &described.error_message)
        };
        let response = self
            .call_coordinator(group, &request, |response| {
                response.groups.iter().try_for_each(check)
            })
            .await?;
        match response.groups.first() {
            Some(described) if described.group_state != "Dead" => Ok(description(described)),
            _ => Err(Error::refused(group, ErrorCode::GroupIdNotFound, None)),
        }
    }

    /// Deletes a group that has no members, with its offsets.
    pub async fn delete_group(&self, group: &str) -> Result<(), Error> {
        let request = DeleteGroupsRequest {
            groups_names: vec![group.into()],
        };
        self.call_coordinator(group, &request, |response| {
            let mut results = response.results.iter();
            results.try_for_each(|result| Error::check(group, result.error_code))
        })
        .await
        .map(drop)
    }

    /// All offsets that the group has committed, by topic and partition.
    pub async fn committed(
        &self,
        group: &str,
    ) -> Result<BTreeMap<(String, i32), Committed>, Error> {
        let request = OffsetFetchRequest {
            group_id: group.into(),
            topics: None,
            ..Default::default()
        };
        let response = self
            .call_coordinator(group, &request, |response| {
                Error::check(group, response.error_code)
            })
            .await?;
        let mut committed = BTreeMap::new();
        for topic in &response.topics {
            for answered in &topic.partitions {
                Error::check(
                    format!("{}-{}", topic.name, answered.partition_index),
                    answered.error_code,
                )?;
                if answered.committed_offset >= 0 {
                    let offset = Committed {
                        offset: answered.committed_offset,
                        leader_epoch: answered.committed_leader_epoch,
                        metadata: answered.metadata.as_deref().unwrap_or_default().to_owned(),
                    };
                    committed.insert((topic.name.to_string(), answered.partition_index), offset);
                }
            }
        }
        Ok(committed)
    }

    /// Commits offsets as a member, or from outside (`None`), which the coordinator allows while the
    /// group has no members.
    pub async fn commit(
        &self,
        group: &str,
        member: Option<&Membership>,
        offsets: &BTreeMap<(String, i32), Committed>,
    ) -> Result<(), Error> {
        let partitions: Vec<_> = offsets.keys().cloned().collect();
        let topics = by_topic(&partitions, |partition| OffsetCommitRequestPartition {
            partition_index: partition.1,
            committed_offset: offsets[partition].offset,
            committed_leader_epoch: offsets[partition].leader_epoch,
            committed_metadata: Some(Str::from(&offsets[partition].metadata)),
            ..Default::default()
        });
        let topics = topics.into_iter();
        let request = OffsetCommitRequest {
            group_id: group.into(),
            generation_id_or_member_epoch: member.map_or(-1, |member| member.generation),
            member_id: member.map_or_else(Str::default, |member| Str::from(&member.id)),
            group_instance_id: member
                .and_then(|member| member.instance_id.as_ref())
                .map(Str::from),
            topics: topics
                .map(|(name, partitions)| OffsetCommitRequestTopic {
                    name: name.into(),
                    partitions,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        };
        self.call_coordinator(group, &request, |response| {
            let results = response.topics.iter().flat_map(|topic| &topic.partitions);
            let mut codes = results.map(|result| result.error_code);
            codes.try_for_each(|code| Error::check(format!("group {group:?}"), code))
        })
        .await
        .map(drop)
    }
}

fn summary(listed: &ListedGroup, coordinator: i32) -> GroupSummary {
    GroupSummary {
        id: listed.group_id.to_string(),
        state: listed.group_state.to_string(),
        kind: listed.group_type.to_string(),
        protocol: listed.protocol_type.to_string(),
        coordinator,
    }
}

fn description(described: &DescribedGroup) -> GroupDescription {
    GroupDescription {
        id: described.group_id.to_string(),
        state: described.group_state.to_string(),
        assignor: described.protocol_data.to_string(),
        members: described.members.iter().map(member).collect(),
    }
}

fn member(described: &DescribedGroupMember) -> GroupMember {
    let assignment = crate::assignment::read_assignment(&described.member_assignment);
    GroupMember {
        id: described.member_id.to_string(),
        instance_id: described.group_instance_id.as_deref().map(str::to_owned),
        client_id: described.client_id.to_string(),
        host: described.client_host.to_string(),
        assignment: assignment.unwrap_or_default(),
    }
}
