//! What time alone brings about: silent members, ids never used, phases that last too long.

use super::{ClassicGroup, GroupState, JoinTimer, Now, Write};

/// What falls due.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Member(String),
    Pending(String),
    Sync,
    Join,
}

impl ClassicGroup {
    /// The next tick at which [`Self::expire`] has something to do.
    pub fn next_deadline(&self) -> Option<u64> {
        let members = self.members.values().filter_map(|member| member.deadline);
        let phases = [self.sync_deadline, self.join_timer.map(JoinTimer::at)];
        let pending = self.pending.values().copied();
        members
            .chain(pending)
            .chain(phases.into_iter().flatten())
            .min()
    }

    /// Brings about what has fallen due, up to the first change that must be written.
    pub fn expire(&mut self, now: Now) -> Option<Write> {
        while let Some(due) = self.first_due(now) {
            let write = match due {
                Due::Member(id) => self.expire_member(now, &id),
                Due::Pending(id) => self.expire_pending(now, &id),
                Due::Sync => self.expire_sync(now),
                Due::Join => self.expire_join(now),
            };
            if write.is_some() {
                return write;
            }
        }
        None
    }

    fn first_due(&self, now: Now) -> Option<Due> {
        let members = self
            .members
            .values()
            .filter_map(|m| Some((m.deadline?, Due::Member(m.id.clone()))));
        let pending = self
            .pending
            .iter()
            .map(|(id, &at)| (at, Due::Pending(id.clone())));
        let sync = self.sync_deadline.map(|at| (at, Due::Sync));
        let join = self.join_timer.map(|timer| (timer.at(), Due::Join));
        members
            .chain(pending)
            .chain(sync)
            .chain(join)
            .filter(|(at, _)| *at <= now.tick_ms)
            .min()
            .map(|(_, due)| due)
    }

    fn expire_member(&mut self, now: Now, member_id: &str) -> Option<Write> {
        let member = self.members.get_mut(member_id)?;
        if member.is_waiting() {
            member.deadline = None;
            return None;
        }
        tracing::info!(
            member_id,
            generation = self.generation,
            "a member's session has expired"
        );
        self.remove_waiting(member_id);
        match self.state {
            GroupState::Stable | GroupState::CompletingRebalance => self.prepare_rebalance(now),
            _ => self.complete_if_nobody_misses(now),
        }
    }

    fn expire_pending(&mut self, now: Now, member_id: &str) -> Option<Write> {
        self.pending.remove(member_id);
        self.complete_if_nobody_misses(now)
    }

    /// As [`Self::complete_if_joined`], and during the initial delay too: as Kafka, which does not go on
    /// waiting once someone was lost.
    fn complete_if_nobody_misses(&mut self, now: Now) -> Option<Write> {
        if self.state == GroupState::PreparingRebalance && self.all_joined() {
            return self.complete_join(now);
        }
        None
    }

    /// Members that took their generation and never asked for their assignment are out.
    fn expire_sync(&mut self, now: Now) -> Option<Write> {
        self.sync_deadline = None;
        let silent = std::mem::take(&mut self.awaiting_sync);
        if silent.is_empty() {
            return None;
        }
        tracing::info!(
            ?silent,
            generation = self.generation,
            "members sent no SyncGroup in time"
        );
        silent
            .iter()
            .for_each(|member_id| self.remove_waiting(member_id));
        self.prepare_rebalance(now)
    }

    fn expire_join(&mut self, now: Now) -> Option<Write> {
        match self.join_timer.take()? {
            JoinTimer::Initial {
                delay_ms,
                remaining_ms,
                ..
            } => self.end_initial_delay(now, delay_ms, remaining_ms),
            JoinTimer::Rebalance { .. } => self.complete_join(now),
        }
    }
}
