//! A group as it is recorded, and back.

use bytes::Bytes;

use super::{ClassicGroup, GroupState, Limits, Member, Now, Protocol, Write};
use crate::group::record::{GroupMetadata, MemberMetadata};

impl ClassicGroup {
    /// The group that `metadata` records: Stable with its members, or Empty.
    pub fn from_metadata(metadata: GroupMetadata, limits: Limits) -> Self {
        let protocol = metadata.protocol.clone().unwrap_or_default();
        let some_text = |text: String| (!text.is_empty()).then_some(text);
        let since_ms = (metadata.state_timestamp_ms != -1).then_some(metadata.state_timestamp_ms);
        let mut group = Self {
            generation: metadata.generation,
            protocol_type: some_text(metadata.protocol_type),
            protocol: metadata.protocol,
            leader: metadata.leader,
            ..Self::since(since_ms, limits)
        };
        if !metadata.members.is_empty() {
            group.state = GroupState::Stable;
        }
        for member in metadata.members {
            let member = member_of(member, &protocol);
            if let Some(instance_id) = &member.instance_id {
                group
                    .static_members
                    .insert(instance_id.clone(), member.id.clone());
            }
            group.members.insert(member.id.clone(), member);
        }
        if group
            .leader
            .as_ref()
            .is_none_or(|leader| !group.members.contains_key(leader))
        {
            group.leader = group.members.keys().next().cloned();
        }
        group.subscribed = group.read_subscriptions();
        group
    }

    /// Starts the clocks of a group that was read back: each member has a session from now on. A group
    /// above a lowered `group.max.size` rebalances.
    pub fn resume(&mut self, now: Now) -> Option<Write> {
        self.members
            .values_mut()
            .for_each(|member| member.keep_alive(now));
        if self.members.len() > self.limits.size_max {
            return self.prepare_rebalance(now);
        }
        None
    }

    pub(super) fn metadata(&self, assignment: impl Fn(&Member) -> Bytes) -> GroupMetadata {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        GroupMetadata {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_timestamp_ms: self.since_ms.unwrap_or(-1),
            members: self
                .members
                .values()
                .map(|member| MemberMetadata {
                    member_id: member.id.clone(),
                    instance_id: member.instance_id.clone(),
                    client_id: member.client_id.clone(),
                    client_host: member.client_host.clone(),
                    rebalance_timeout_ms: member.rebalance_timeout_ms,
                    session_timeout_ms: member.session_timeout_ms,
                    subscription: member.subscription(protocol),
                    assignment: assignment(member),
                })
                .collect(),
        }
    }
}

fn member_of(metadata: MemberMetadata, protocol: &str) -> Member {
    Member {
        id: metadata.member_id,
        instance_id: metadata.instance_id,
        client_id: metadata.client_id,
        client_host: metadata.client_host,
        session_timeout_ms: metadata.session_timeout_ms,
        rebalance_timeout_ms: metadata.rebalance_timeout_ms,
        protocols: vec![Protocol {
            name: protocol.to_owned(),
            metadata: metadata.subscription,
        }],
        assignment: metadata.assignment,
        deadline: None,
        is_new: false,
        joining: None,
        syncing: None,
    }
}
