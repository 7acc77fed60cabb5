//! JoinGroup: who may join, under which id, and what that sets off.

use bytes::Bytes;
use milena_protocol::ErrorCode;
use milena_protocol::api::join_group::{JoinGroupResponse, JoinGroupResponseMember};
use milena_protocol::api::sync_group::SyncGroupResponse;

use super::{
    ClassicGroup, GroupState, JoinReply, Member, NEW_MEMBER_JOIN_TIMEOUT_MS, Now,
    PENDING_MEMBERS_MAX, Protocol, Write, error_of_write,
};

/// A JoinGroup request, its texts and bytes copied out of the frame.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are those of JoinGroupRequest
pub struct Join {
    /// Empty where the member has none yet.
    pub member_id: String,
    pub instance_id: Option<String>,
    pub client_id: String,
    pub client_host: String,
    pub session_timeout_ms: i32,
    pub rebalance_timeout_ms: i32,
    pub protocol_type: String,
    pub protocols: Vec<Protocol>,
    /// Random text that makes a new member's id unique.
    pub unique: String,
    /// Whether a new dynamic member must join again with the id that it is told (from version 4).
    pub requires_known_id: bool,
    /// Whether a leader can be told to skip the assignment (from version 9).
    pub can_skip_assignment: bool,
}

/// What is needed to take back or to answer the return of a static member.
#[derive(Debug)]
pub struct Replaced {
    instance_id: String,
    old_id: String,
    new_id: String,
    old_protocols: Vec<Protocol>,
    old_session_timeout_ms: i32,
    old_rebalance_timeout_ms: i32,
    old_leader: Option<String>,
    can_skip_assignment: bool,
}

impl ClassicGroup {
    /// A member wants to be in the next generation. `reply` is answered now or when that begins.
    pub fn join(&mut self, now: Now, join: Join, reply: JoinReply) -> Option<Write> {
        if !self.accepts(&join.member_id) {
            self.remove(&join.member_id);
            return refuse(reply, "", ErrorCode::GroupMaxSizeReached);
        }
        if !self.supports(&join.protocol_type, &join.protocols) {
            return refuse(reply, &join.member_id, ErrorCode::InconsistentGroupProtocol);
        }
        if join.member_id.is_empty() {
            return self.join_new(now, join, reply);
        }
        if self.pending.contains_key(&join.member_id) && join.instance_id.is_none() {
            let member_id = join.member_id.clone();
            return self.add_joining(now, join, member_id, reply);
        }
        match self.check_member(&join.member_id, join.instance_id.as_deref()) {
            Ok(()) => self.rejoin(now, join, reply),
            Err(error) => refuse(reply, &join.member_id, error),
        }
    }

    fn accepts(&self, member_id: &str) -> bool {
        let member = self.members.get(member_id);
        match self.state {
            GroupState::Empty | GroupState::Dead => true,
            // Who joins again counts only now: so the last ones are kicked out of a group that was larger.
            GroupState::PreparingRebalance => {
                member.is_some_and(|member| member.joining.is_some())
                    || self.joining_count() < self.limits.size_max
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                member.is_some() || self.members.len() < self.limits.size_max
            }
        }
    }

    fn joining_count(&self) -> usize {
        self.members
            .values()
            .filter(|member| member.joining.is_some())
            .count()
    }

    fn join_new(&mut self, now: Now, join: Join, reply: JoinReply) -> Option<Write> {
        let prefix = join.instance_id.as_ref().unwrap_or(&join.client_id);
        let member_id = format!("{prefix}-{}", join.unique);
        if let Some(instance_id) = &join.instance_id {
            return match self.static_members.get(instance_id).cloned() {
                Some(old_id) => self.replace(now, join, old_id, member_id, reply),
                None => self.add_joining(now, join, member_id, reply),
            };
        }
        if !join.requires_known_id {
            return self.add_joining(now, join, member_id, reply);
        }
        if self.pending.len() >= PENDING_MEMBERS_MAX {
            return refuse(reply, "", ErrorCode::CoordinatorNotAvailable);
        }
        self.pending
            .insert(member_id.clone(), now.after(join.session_timeout_ms));
        refuse(reply, &member_id, ErrorCode::MemberIdRequired)
    }

    fn add_joining(
        &mut self,
        now: Now,
        join: Join,
        member_id: String,
        reply: JoinReply,
    ) -> Option<Write> {
        if self.state == GroupState::PreparingRebalance && self.previous == GroupState::Empty {
            self.new_member_added = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type);
        }
        self.add(Member {
            id: member_id,
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            session_timeout_ms: join.session_timeout_ms,
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            protocols: join.protocols,
            assignment: Bytes::new(),
            deadline: Some(now.tick_ms + NEW_MEMBER_JOIN_TIMEOUT_MS),
            is_new: true,
            joining: Some(reply),
            syncing: None,
        });
        self.rebalance_or_complete(now)
    }

    /// A member of the current generation joins again.
    fn rejoin(&mut self, now: Now, join: Join, reply: JoinReply) -> Option<Write> {
        let member = self.members.get(&join.member_id)?;
        let unchanged = member.protocols == join.protocols;
        let answer_now = match self.state {
            // It may have missed the answer.
            GroupState::CompletingRebalance => unchanged,
            // The leader joins again to have the partitions assigned anew.
            GroupState::Stable => unchanged && !self.is_leader(&join.member_id),
            _ => false,
        };
        if answer_now {
            // The receiver is gone only with its connection.
            let _ = reply.send(self.generation_for(&join.member_id));
            return None;
        }
        self.update(join, reply);
        self.rebalance_or_complete(now)
    }

    fn update(&mut self, join: Join, reply: JoinReply) {
        if let Some(member) = self.members.get_mut(&join.member_id) {
            member.protocols = join.protocols;
            member.session_timeout_ms = join.session_timeout_ms;
            member.rebalance_timeout_ms = join.rebalance_timeout_ms;
            member.joining = Some(reply);
        }
    }

    /// A static member is back without its id: it gets a new one, and whoever used the old one is fenced.
    fn replace(
        &mut self,
        now: Now,
        mut join: Join,
        old_id: String,
        new_id: String,
        reply: JoinReply,
    ) -> Option<Write> {
        let old_leader = self.leader.clone();
        let instance_id = join.instance_id.clone().unwrap_or_default();
        self.rename_static(now, &instance_id, &old_id, &new_id);
        let member = self.members.get(&new_id)?;
        let replaced = Replaced {
            instance_id,
            old_id,
            new_id: new_id.clone(),
            old_protocols: member.protocols.clone(),
            old_session_timeout_ms: member.session_timeout_ms,
            old_rebalance_timeout_ms: member.rebalance_timeout_ms,
            old_leader,
            can_skip_assignment: join.can_skip_assignment,
        };
        join.member_id = new_id;
        self.update(join, reply);
        match self.state {
            GroupState::Stable if self.vote() == self.protocol => {
                Some(Write::StaticMember(Box::new(replaced)))
            }
            // The leader may be assigning to the old id.
            GroupState::CompletingRebalance => self.prepare_rebalance(now),
            _ => self.rebalance_or_complete(now),
        }
    }

    fn rename_static(&mut self, now: Now, instance_id: &str, old_id: &str, new_id: &str) {
        let Some(mut member) = self.members.remove(old_id) else {
            return;
        };
        let fenced = ErrorCode::FencedInstanceId;
        let response = JoinGroupResponse {
            member_id: old_id.into(),
            error_code: fenced,
            ..Default::default()
        };
        member.answer_join(response);
        member.answer_sync(SyncGroupResponse {
            error_code: fenced,
            ..Default::default()
        });
        member.id = new_id.to_owned();
        member.is_new = false;
        member.keep_alive(now);
        self.members.insert(new_id.to_owned(), member);
        self.static_members
            .insert(instance_id.to_owned(), new_id.to_owned());
        if self.is_leader(old_id) {
            self.leader = Some(new_id.to_owned());
        }
        if self.awaiting_sync.remove(old_id) {
            self.awaiting_sync.insert(new_id.to_owned());
        }
    }

    pub(super) fn static_member_written(
        &mut self,
        now: Now,
        replaced: Replaced,
        result: Result<(), ErrorCode>,
    ) {
        let mut response = self.generation_for(&replaced.new_id);
        match result {
            Ok(()) if replaced.can_skip_assignment => {
                response.skip_assignment = self.is_leader(&replaced.new_id);
            }
            Ok(()) => {
                // An older leader would assign anew: it is told of the leader that it was.
                response.members.clear();
                response.leader = replaced.old_leader.as_deref().unwrap_or_default().into();
            }
            Err(error) => {
                response.members.clear();
                response.member_id = "".into();
                response.leader = replaced.old_leader.as_deref().unwrap_or_default().into();
                response.error_code = error_of_write(error);
            }
        }
        if let Some(member) = self.members.get_mut(&replaced.new_id) {
            member.answer_join(response);
            member.keep_alive(now);
        }
        if result.is_err() {
            self.take_back(now, replaced);
        }
    }

    fn take_back(&mut self, now: Now, replaced: Replaced) {
        if let Some(member) = self.members.get_mut(&replaced.new_id) {
            member.protocols = replaced.old_protocols;
            member.session_timeout_ms = replaced.old_session_timeout_ms;
            member.rebalance_timeout_ms = replaced.old_rebalance_timeout_ms;
        }
        self.rename_static(
            now,
            &replaced.instance_id,
            &replaced.new_id,
            &replaced.old_id,
        );
    }

    /// The current generation as `member_id` is told of it: the leader learns the members.
    pub(super) fn generation_for(&self, member_id: &str) -> JoinGroupResponse {
        let is_leader = self.is_leader(member_id);
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = self.members.values().filter(|_| is_leader);
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: self.protocol_type.as_ref().map(Into::into),
            protocol_name: self.protocol.as_ref().map(Into::into),
            leader: self.leader.as_deref().unwrap_or_default().into(),
            member_id: member_id.into(),
            members: members
                .map(|member| JoinGroupResponseMember {
                    member_id: member.id.as_str().into(),
                    group_instance_id: member.instance_id.as_ref().map(Into::into),
                    metadata: member.subscription(protocol),
                })
                .collect(),
            ..Default::default()
        }
    }
}

/// Answers a JoinGroup at once.
fn refuse(reply: JoinReply, member_id: &str, error_code: ErrorCode) -> Option<Write> {
    let member_id = member_id.into();
    let _ = reply.send(JoinGroupResponse {
        member_id,
        error_code,
        ..Default::default()
    });
    None
}
