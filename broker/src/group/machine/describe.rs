//! Groups as they are shown.

use milena_protocol::api::describe_groups::{DescribedGroup, DescribedGroupMember};
use milena_protocol::api::list_groups::ListedGroup;

use super::{Group, GroupMachine};
use crate::group::classic::{GroupState, Member};
use crate::group::request::GroupSnapshot;

/// The type of all groups here (KIP-848 names others).
const CLASSIC: &str = "Classic";

impl GroupMachine {
    pub(super) fn describe(&self, id: &str) -> Option<DescribedGroup> {
        let group = &self.groups.get(id)?.classic;
        // Before that the assignor is not agreed on, so that no subscription is the one that counts.
        let protocol = group
            .protocol()
            .filter(|_| group.state() == GroupState::Stable);
        let member = |member: &Member| DescribedGroupMember {
            member_id: member.id().into(),
            group_instance_id: member.instance_id().map(Into::into),
            client_id: member.client_id().into(),
            client_host: member.client_host().into(),
            member_metadata: protocol
                .map(|protocol| member.subscription(protocol))
                .unwrap_or_default(),
            member_assignment: member.assignment().clone(),
        };
        Some(DescribedGroup {
            group_id: id.into(),
            group_state: group.state().name().into(),
            protocol_type: group.protocol_type().unwrap_or_default().into(),
            protocol_data: protocol.unwrap_or_default().into(),
            members: group.members().map(member).collect(),
            ..Default::default()
        })
    }

    pub(super) fn list(&self) -> Vec<ListedGroup> {
        let listed = |(id, group): (&String, &Group)| ListedGroup {
            group_id: id.into(),
            protocol_type: group.classic.protocol_type().unwrap_or_default().into(),
            group_state: group.classic.state().name().into(),
            group_type: CLASSIC.into(),
        };
        self.groups.iter().map(listed).collect()
    }

    pub(super) fn snapshot(&self) -> Vec<GroupSnapshot> {
        let snapshot = |(id, group): (&String, &Group)| GroupSnapshot {
            group: id.clone(),
            state: group.classic.state(),
            member_count: group.classic.size(),
            offsets: group
                .offsets
                .iter()
                .map(|(topic, partition, offset)| (topic.to_owned(), partition, offset.offset))
                .collect(),
        };
        self.groups.iter().map(snapshot).collect()
    }
}
