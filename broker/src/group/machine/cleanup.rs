//! What is forgotten: expired offsets, groups that have nothing left, deleted groups and topics.

use milena_protocol::ErrorCode;

use super::commit::answer_last;
use super::{Append, Group, GroupMachine, Now};
use crate::group::classic::GroupState;
use crate::group::request::{Reply, answer};

impl GroupMachine {
    /// Forgets expired offsets, and Empty groups that have none left.
    pub(super) fn clean_up(&self, now: Now) -> Vec<Append<Self>> {
        self.groups
            .iter()
            .flat_map(|(id, group)| self.clean_up_group(now, id, group))
            .collect()
    }

    fn clean_up_group(&self, now: Now, id: &str, group: &Group) -> Vec<Append<Self>> {
        let expired = group.offsets.expired(
            &group.classic,
            now.wall_ms,
            self.settings.offsets_retention_ms,
        );
        let is_bare = expired.len() == group.offsets.iter().count();
        let is_deserted =
            group.classic.state() == GroupState::Empty && !group.classic.has_pending_members();
        if !expired.is_empty() {
            tracing::debug!(
                group = id,
                count = expired.len(),
                "committed offsets have expired"
            );
        }
        let mut appends = self.forget(id, expired);
        if is_bare && is_deserted {
            appends.push(self.forget_group(id, None));
        }
        appends
    }

    pub(super) fn delete(&self, id: &str, reply: Reply<()>) -> Vec<Append<Self>> {
        let group = self.groups.get(id);
        let checked = group.map(|group| group.classic.check_delete().map(|()| group));
        match checked.unwrap_or(Err(ErrorCode::GroupIdNotFound)) {
            Ok(group) => {
                let offsets = group
                    .offsets
                    .iter()
                    .map(|(topic, partition, _)| (topic.to_owned(), partition));
                let mut appends = self.forget(id, offsets.collect());
                appends.push(self.forget_group(id, Some(reply)));
                appends
            }
            Err(error) => {
                answer(reply, Err(error));
                Vec::new()
            }
        }
    }

    pub(super) fn topic_deleted(&self, topic: &str, reply: Reply<()>) -> Vec<Append<Self>> {
        let partitions_of = |group: &Group| {
            let partitions = group.offsets.partitions_of(topic);
            partitions
                .map(|partition| (topic.to_owned(), partition))
                .collect()
        };
        let groups = self.groups.iter();
        let mut appends: Vec<_> = groups
            .flat_map(|(id, group)| self.forget(id, partitions_of(group)))
            .collect();
        appends.push(answer_last(reply, ()));
        appends
    }
}
