//! The joining phase: when it begins, how long it lasts, and the generation that it ends in.

use milena_protocol::ErrorCode;

use super::{ClassicGroup, GroupState, JoinTimer, Now, Write};

/// A rebalance that nobody has joined is not looked at again before this, whatever its members ask for.
const ABSENT_WAIT_MS_MIN: i32 = 1000;

impl ClassicGroup {
    /// Starts a rebalance; if one is under way, ends it where everybody is there.
    pub(super) fn rebalance_or_complete(&mut self, now: Now) -> Option<Write> {
        match self.state {
            GroupState::PreparingRebalance => self.complete_if_joined(now),
            _ => self.prepare_rebalance(now),
        }
    }

    /// Calls all members to join again.
    pub(super) fn prepare_rebalance(&mut self, now: Now) -> Option<Write> {
        if self.state == GroupState::CompletingRebalance {
            self.fail_syncs(now, ErrorCode::RebalanceInProgress);
        }
        self.awaiting_sync.clear();
        self.sync_deadline = None;
        let was_empty = self.state == GroupState::Empty;
        self.move_to(GroupState::PreparingRebalance, now);
        if was_empty {
            // More members are likely to follow the first: wait for them once instead of rebalancing for each.
            self.new_member_added = false;
            let delay_ms = self.limits.initial_rebalance_delay_ms;
            let remaining_ms = (self.rebalance_timeout_ms() - delay_ms).max(0);
            self.join_timer = Some(JoinTimer::Initial {
                at: now.after(delay_ms),
                delay_ms,
                remaining_ms,
            });
            return None;
        }
        if self.all_joined() {
            return self.complete_join(now);
        }
        self.wait_for_joins(now, self.rebalance_timeout_ms());
        None
    }

    fn wait_for_joins(&mut self, now: Now, timeout_ms: i32) {
        let at = now.after(timeout_ms);
        self.join_timer = Some(JoinTimer::Rebalance { at });
    }

    pub(super) fn complete_if_joined(&mut self, now: Now) -> Option<Write> {
        let is_initial = self.previous == GroupState::Empty;
        if self.state != GroupState::PreparingRebalance || is_initial || !self.all_joined() {
            return None;
        }
        self.complete_join(now)
    }

    /// The initial delay is over: it starts again if someone came in the meantime, as long as the rebalance
    /// timeout allows.
    pub(super) fn end_initial_delay(
        &mut self,
        now: Now,
        delay_ms: i32,
        remaining_ms: i32,
    ) -> Option<Write> {
        if !self.new_member_added || remaining_ms == 0 {
            return self.complete_join(now);
        }
        self.new_member_added = false;
        let next_ms = self.limits.initial_rebalance_delay_ms.min(remaining_ms);
        self.join_timer = Some(JoinTimer::Initial {
            at: now.after(next_ms),
            delay_ms: next_ms,
            remaining_ms: (remaining_ms - delay_ms).max(0),
        });
        None
    }

    /// Begins the next generation with those who are there.
    pub(super) fn complete_join(&mut self, now: Now) -> Option<Write> {
        self.join_timer = None;
        self.drop_absent();
        if !self.members.is_empty() && !self.elect_leader() {
            // Only static members are left, and none of them is here: they have until their session ends.
            self.wait_for_joins(now, self.rebalance_timeout_ms().max(ABSENT_WAIT_MS_MIN));
            return None;
        }
        self.generation = self.generation.checked_add(1).unwrap_or(0);
        self.awaiting_sync.clear();
        if self.members.is_empty() {
            self.protocol = None;
            self.subscribed = self.read_subscriptions();
            self.move_to(GroupState::Empty, now);
            return Some(Write::Empty);
        }
        self.protocol = self.vote();
        self.subscribed = self.read_subscriptions();
        self.move_to(GroupState::CompletingRebalance, now);
        self.answer_joins(now);
        None
    }

    /// Dynamic members that did not join again in time are out; static ones keep their place.
    fn drop_absent(&mut self) {
        let is_absent = |member: &&super::Member| member.joining.is_none() && !member.is_static();
        let absent: Vec<String> = self
            .members
            .values()
            .filter(is_absent)
            .map(|member| member.id.clone())
            .collect();
        for member_id in absent {
            self.remove(&member_id);
        }
    }

    /// Keeps the leader if it has joined, takes another who has; false where nobody has.
    fn elect_leader(&mut self) -> bool {
        let joined = |id: &String| {
            self.members
                .get(id)
                .is_some_and(|member| member.joining.is_some())
        };
        if self.leader.as_ref().is_some_and(joined) {
            return true;
        }
        match self
            .members
            .values()
            .find(|member| member.joining.is_some())
        {
            Some(member) => self.leader = Some(member.id.clone()),
            None => return false,
        }
        true
    }

    fn answer_joins(&mut self, now: Now) {
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for member_id in ids {
            let response = self.generation_for(&member_id);
            if let Some(member) = self.members.get_mut(&member_id) {
                member.answer_join(response);
                member.keep_alive(now);
                member.is_new = false;
            }
            self.awaiting_sync.insert(member_id);
        }
        self.sync_deadline = Some(now.after(self.rebalance_timeout_ms()));
    }

    pub(super) fn all_joined(&self) -> bool {
        self.pending.is_empty() && self.members.values().all(|member| member.joining.is_some())
    }

    /// The longest that any member asks for.
    fn rebalance_timeout_ms(&self) -> i32 {
        let timeouts = self
            .members
            .values()
            .map(|member| member.rebalance_timeout_ms);
        timeouts.max().unwrap_or(0).max(0)
    }
}
