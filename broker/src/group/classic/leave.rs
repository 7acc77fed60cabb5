//! LeaveGroup: members go, or an administrator removes them.

use milena_protocol::ErrorCode;
use milena_protocol::api::join_group::JoinGroupResponse;
use milena_protocol::api::sync_group::SyncGroupResponse;

use super::{ClassicGroup, GroupState, Now, Write};

/// Who leaves: by member id, or by instance id alone where an administrator removes a static member.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Leaving {
    pub member_id: String,
    pub instance_id: Option<String>,
}

impl ClassicGroup {
    /// Removes members; each one's result stands in the first list at its place.
    pub fn leave(&mut self, now: Now, leaving: &[Leaving]) -> (Vec<ErrorCode>, Option<Write>) {
        let results: Vec<Result<(), ErrorCode>> =
            leaving.iter().map(|who| self.leave_one(who)).collect();
        let write = match self.state {
            _ if results.iter().all(Result::is_err) => None,
            GroupState::Stable | GroupState::CompletingRebalance => self.prepare_rebalance(now),
            GroupState::PreparingRebalance => self.complete_if_joined(now),
            GroupState::Empty | GroupState::Dead => None,
        };
        let errors = results
            .into_iter()
            .map(|result| result.err().unwrap_or_default());
        (errors.collect(), write)
    }

    fn leave_one(&mut self, who: &Leaving) -> Result<(), ErrorCode> {
        let instance_id = who.instance_id.as_deref();
        if who.member_id.is_empty() {
            let member_id = instance_id
                .and_then(|id| self.static_members.get(id))
                .cloned();
            self.remove_waiting(&member_id.ok_or(ErrorCode::UnknownMemberId)?);
            return Ok(());
        }
        if self.pending.remove(&who.member_id).is_some() {
            return Ok(());
        }
        self.check_member(&who.member_id, instance_id)?;
        self.remove_waiting(&who.member_id);
        Ok(())
    }

    /// Removes a member; if it is alive after all and waits, it is told to start anew.
    pub(super) fn remove_waiting(&mut self, member_id: &str) {
        if let Some(member) = self.members.get_mut(member_id) {
            let error_code = ErrorCode::UnknownMemberId;
            member.answer_join(JoinGroupResponse {
                error_code,
                ..Default::default()
            });
            member.answer_sync(SyncGroupResponse {
                error_code,
                ..Default::default()
            });
        }
        self.remove(member_id);
    }
}
