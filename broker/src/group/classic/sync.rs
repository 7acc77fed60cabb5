//! SyncGroup: the leader hands in the assignments, everybody takes theirs.

use std::collections::BTreeMap;

use bytes::Bytes;
use milena_protocol::ErrorCode;
use milena_protocol::api::sync_group::SyncGroupResponse;

use super::{ClassicGroup, GroupState, Now, SyncReply, Write, error_of_write};

/// A SyncGroup request, its texts and bytes copied out of the frame.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)] // the fields are those of SyncGroupRequest
pub struct Syncing {
    pub member_id: String,
    pub instance_id: Option<String>,
    pub generation: i32,
    pub protocol_type: Option<String>,
    pub protocol: Option<String>,
    /// By member id; only the leader's counts.
    pub assignments: BTreeMap<String, Bytes>,
}

impl ClassicGroup {
    /// A member asks for its assignment. `reply` is answered now or when the leader has assigned.
    pub fn sync(&mut self, now: Now, sync: Syncing, reply: SyncReply) -> Option<Write> {
        if let Err(error) = self.check_sync(&sync) {
            return answer(
                reply,
                SyncGroupResponse {
                    error_code: error,
                    ..Default::default()
                },
            );
        }
        match self.state {
            GroupState::CompletingRebalance => self.sync_completing(sync, reply),
            GroupState::Stable => {
                self.received_sync(&sync.member_id);
                self.keep_alive(now, &sync.member_id);
                answer(reply, self.assignment_for(&sync.member_id))
            }
            _ => {
                let error_code = ErrorCode::RebalanceInProgress;
                answer(
                    reply,
                    SyncGroupResponse {
                        error_code,
                        ..Default::default()
                    },
                )
            }
        }
    }

    fn check_sync(&self, sync: &Syncing) -> Result<(), ErrorCode> {
        self.check_member(&sync.member_id, sync.instance_id.as_deref())?;
        if sync.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |said: &Option<String>, is: &Option<String>| said.is_some() && said != is;
        if differs(&sync.protocol_type, &self.protocol_type)
            || differs(&sync.protocol, &self.protocol)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn sync_completing(&mut self, mut sync: Syncing, reply: SyncReply) -> Option<Write> {
        self.received_sync(&sync.member_id);
        let member = self.members.get_mut(&sync.member_id)?;
        member.syncing = Some(reply);
        if !self.is_leader(&sync.member_id) {
            return None;
        }
        // Of the members only, and an empty one for whom the leader forgot.
        let assignments = self
            .members
            .keys()
            .map(|id| (id.clone(), sync.assignments.remove(id).unwrap_or_default()))
            .collect();
        Some(Write::Assignments(assignments))
    }

    fn received_sync(&mut self, member_id: &str) {
        self.awaiting_sync.remove(member_id);
        if self.awaiting_sync.is_empty() {
            self.sync_deadline = None;
        }
    }

    pub(super) fn assigned(
        &mut self,
        now: Now,
        assignments: BTreeMap<String, Bytes>,
        result: Result<(), ErrorCode>,
    ) -> Option<Write> {
        if let Err(error) = result {
            self.fail_syncs(now, error_of_write(error));
            return self.rebalance_or_complete(now);
        }
        for (member_id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(&member_id) {
                member.assignment = assignment;
            }
        }
        self.move_to(GroupState::Stable, now);
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for member_id in ids {
            let response = self.assignment_for(&member_id);
            self.answer_sync(now, &member_id, response);
        }
        None
    }

    /// The waiting members must join again.
    pub(super) fn fail_syncs(&mut self, now: Now, error_code: ErrorCode) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            if member.answer_sync(SyncGroupResponse {
                error_code,
                ..Default::default()
            }) {
                member.keep_alive(now);
            }
        }
    }

    fn answer_sync(&mut self, now: Now, member_id: &str, response: SyncGroupResponse) {
        if let Some(member) = self.members.get_mut(member_id)
            && member.answer_sync(response)
        {
            member.keep_alive(now);
        }
    }

    fn assignment_for(&self, member_id: &str) -> SyncGroupResponse {
        let member = self.members.get(member_id);
        SyncGroupResponse {
            protocol_type: self.protocol_type.as_ref().map(Into::into),
            protocol_name: self.protocol.as_ref().map(Into::into),
            assignment: member
                .map(|member| member.assignment.clone())
                .unwrap_or_default(),
            ..Default::default()
        }
    }
}

/// Answers a SyncGroup at once.
fn answer(reply: SyncReply, response: SyncGroupResponse) -> Option<Write> {
    // The receiver is gone only with its connection.
    let _ = reply.send(response);
    None
}
