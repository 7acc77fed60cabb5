//! The groups of one shard: finds a request's group, lets it decide, and turns what it decides into
//! records.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use milena_protocol::ErrorCode;
use milena_protocol::api::join_group::JoinGroupResponse;
use milena_protocol::api::sync_group::SyncGroupResponse;

use super::Settings;
use super::classic::{self, ClassicGroup, Now};
use super::coordinator::{Append, Machine};
use super::offsets::Offsets;
use super::record::{self, Key, group_record};
use super::request::{Request, answer};

mod cleanup;
mod commit;
mod describe;

/// A group and what it has committed.
pub(super) struct Group {
    classic: ClassicGroup,
    offsets: Offsets,
    /// Under which tick it stands among the timers.
    scheduled: Option<u64>,
}

/// One shard's groups.
pub struct GroupMachine {
    settings: Settings,
    groups: HashMap<String, Group>,
    /// When a group has something to do, and which; at most one entry a group.
    timers: BTreeSet<(u64, String)>,
    next_cleanup: Option<u64>,
}

impl GroupMachine {
    /// A shard that knows of no group yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            groups: HashMap::new(),
            timers: BTreeSet::new(),
            next_cleanup: None,
        }
    }

    fn create(&mut self, now: Now, id: &str) -> &mut Group {
        let limits = self.settings.limits;
        self.groups.entry(id.to_owned()).or_insert_with(|| Group {
            classic: ClassicGroup::new(now, limits),
            offsets: Offsets::default(),
            scheduled: None,
        })
    }

    fn remove(&mut self, id: &str) {
        if let Some(Group {
            scheduled: Some(at),
            ..
        }) = self.groups.remove(id)
        {
            self.timers.remove(&(at, id.to_owned()));
        }
    }

    /// Lets a group decide, and sees to what that calls for.
    fn decide(
        &mut self,
        id: &str,
        decide: impl FnOnce(&mut ClassicGroup) -> Option<classic::Write>,
    ) -> Vec<Append<Self>> {
        let Some(group) = self.groups.get_mut(id) else {
            return Vec::new();
        };
        let write = decide(&mut group.classic);
        self.schedule(id);
        self.record(id, write)
    }

    fn record(&self, id: &str, write: Option<classic::Write>) -> Vec<Append<Self>> {
        let (Some(group), Some(write)) = (self.groups.get(id), write) else {
            return Vec::new();
        };
        let metadata = group.classic.metadata_for(&write);
        let records = vec![group_record(id, Some(&metadata))];
        let id = id.to_owned();
        vec![Append {
            records,
            done: Box::new(move |machine: &mut Self, now, result| {
                machine.decide(&id, |group| group.written(now, write, result))
            }),
        }]
    }

    /// Sets the group's timer. A heartbeat need not: it only puts off what the timer will find.
    fn schedule(&mut self, id: &str) {
        let Some(group) = self.groups.get_mut(id) else {
            return;
        };
        let next = group.classic.next_deadline();
        if next == group.scheduled {
            return;
        }
        if let Some(at) = std::mem::replace(&mut group.scheduled, next) {
            self.timers.remove(&(at, id.to_owned()));
        }
        self.timers.extend(next.map(|at| (at, id.to_owned())));
    }

    fn expire_groups(&mut self, now: Now) -> Vec<Append<Self>> {
        let due = self.timers.iter().take_while(|(at, _)| *at <= now.tick_ms);
        let due: Vec<String> = due.map(|(_, id)| id.clone()).collect();
        due.iter()
            .flat_map(|id| self.decide(id, |group| group.expire(now)))
            .collect()
    }

    fn replay_group(&mut self, id: String, value: Option<&Bytes>) {
        let metadata = match value.map(record::read_group) {
            Some(Ok(Some(metadata))) => Some(metadata),
            Some(Ok(None)) => {
                return tracing::warn!(group = id, "a group record of a later version is skipped");
            }
            Some(Err(error)) => {
                return tracing::error!(group = id, %error, "a group record can't be read");
            }
            None => None,
        };
        let known = self.groups.remove(&id);
        let offsets = known.map(|group| group.offsets).unwrap_or_default();
        let limits = self.settings.limits;
        let classic = match metadata {
            Some(metadata) => ClassicGroup::from_metadata(metadata, limits),
            None if offsets.is_empty() => return,
            None => ClassicGroup::new(Now::default(), limits),
        };
        self.groups.insert(
            id,
            Group {
                classic,
                offsets,
                scheduled: None,
            },
        );
    }

    fn replay_offset(&mut self, id: &str, topic: &str, partition: i32, value: Option<&Bytes>) {
        match value.map(record::read_offset) {
            Some(Ok(Some(offset))) => {
                self.create(Now::default(), id)
                    .offsets
                    .insert(topic, partition, offset);
            }
            Some(Ok(None)) => {
                tracing::warn!(group = id, "an offset record of a later version is skipped")
            }
            Some(Err(error)) => {
                tracing::error!(group = id, %error, "an offset record can't be read")
            }
            None => {
                if let Some(group) = self.groups.get_mut(id) {
                    group.offsets.remove(topic, partition);
                }
            }
        }
    }
}

impl Machine for GroupMachine {
    type Request = Request;

    fn replay(&mut self, key: &Bytes, value: Option<&Bytes>) {
        match record::read_key(key) {
            Ok(Key::Group(id)) => self.replay_group(id, value),
            Ok(Key::Offset {
                group,
                topic,
                partition,
            }) => {
                self.replay_offset(&group, &topic, partition, value);
            }
            Ok(Key::Unknown(version)) => {
                tracing::debug!(version, "a record of another kind is skipped")
            }
            Err(error) => tracing::error!(%error, "a record's key can't be read"),
        }
    }

    fn loaded(&mut self, now: Now) -> Vec<Append<Self>> {
        self.next_cleanup = Some(now.tick_ms + self.settings.offsets_retention_check_interval_ms);
        let ids: Vec<String> = self.groups.keys().cloned().collect();
        ids.iter()
            .flat_map(|id| self.decide(id, |group| group.resume(now)))
            .collect()
    }

    fn shares_append(request: &Request) -> bool {
        request.shares_append()
    }

    fn handle(&mut self, now: Now, request: Request) -> Vec<Append<Self>> {
        match request {
            Request::Join { group, join, reply } => self.join(now, &group, join, reply),
            Request::Sync { group, sync, reply } => self.sync(now, &group, sync, reply),
            Request::Heartbeat {
                group,
                member,
                reply,
            } => {
                answer(reply, self.heartbeat(now, &group, &member));
                Vec::new()
            }
            Request::Leave {
                group,
                leaving,
                reply,
            } => self.leave(now, &group, &leaving, reply),
            Request::Commit { commit, reply } => self.commit(now, commit, reply),
            Request::Fetch {
                group,
                wanted,
                reply,
            } => {
                answer(reply, Ok(self.fetch(&group, wanted)));
                Vec::new()
            }
            Request::DeleteOffsets {
                group,
                partitions,
                reply,
            } => self.delete_offsets(&group, partitions, reply),
            Request::Delete { group, reply } => self.delete(&group, reply),
            Request::Describe { group, reply } => {
                answer(reply, Ok(self.describe(&group)));
                Vec::new()
            }
            Request::List { reply } => {
                answer(reply, Ok(self.list()));
                Vec::new()
            }
            Request::Snapshot { reply } => {
                answer(reply, Ok(self.snapshot()));
                Vec::new()
            }
            Request::TopicDeleted { topic, reply } => self.topic_deleted(&topic, reply),
        }
    }

    fn next_deadline(&self) -> Option<u64> {
        let first = self.timers.first().map(|(at, _)| *at);
        first.into_iter().chain(self.next_cleanup).min()
    }

    fn expire(&mut self, now: Now) -> Vec<Append<Self>> {
        let mut appends = self.expire_groups(now);
        // Not with writes of groups under way: the cleanup looks at their states.
        if appends.is_empty() && self.next_cleanup.is_some_and(|at| at <= now.tick_ms) {
            self.next_cleanup =
                Some(now.tick_ms + self.settings.offsets_retention_check_interval_ms);
            appends = self.clean_up(now);
        }
        appends
    }

    fn refuse(request: Request, error: ErrorCode) {
        request.refuse(error);
    }

    fn close(self, error: ErrorCode) {
        self.groups
            .into_values()
            .for_each(|group| group.classic.close(error));
    }
}

impl GroupMachine {
    fn join(
        &mut self,
        now: Now,
        id: &str,
        join: classic::Join,
        reply: classic::JoinReply,
    ) -> Vec<Append<Self>> {
        if join.member_id.is_empty() {
            self.create(now, id);
        } else if !self.groups.contains_key(id) {
            let (member_id, error_code) = (join.member_id.into(), ErrorCode::UnknownMemberId);
            answer(
                reply,
                JoinGroupResponse {
                    member_id,
                    error_code,
                    ..Default::default()
                },
            );
            return Vec::new();
        }
        self.decide(id, |group| group.join(now, join, reply))
    }

    fn sync(
        &mut self,
        now: Now,
        id: &str,
        sync: classic::Syncing,
        reply: classic::SyncReply,
    ) -> Vec<Append<Self>> {
        if !self.groups.contains_key(id) {
            let error_code = ErrorCode::UnknownMemberId;
            answer(
                reply,
                SyncGroupResponse {
                    error_code,
                    ..Default::default()
                },
            );
            return Vec::new();
        }
        self.decide(id, |group| group.sync(now, sync, reply))
    }

    fn heartbeat(
        &mut self,
        now: Now,
        id: &str,
        member: &super::request::MemberOf,
    ) -> Result<(), ErrorCode> {
        let group = self.groups.get_mut(id).ok_or(ErrorCode::UnknownMemberId)?;
        let instance_id = member.instance_id.as_deref();
        group
            .classic
            .heartbeat(now, &member.member_id, instance_id, member.generation)
    }

    fn leave(
        &mut self,
        now: Now,
        id: &str,
        leaving: &[classic::Leaving],
        reply: super::request::Reply<Vec<ErrorCode>>,
    ) -> Vec<Append<Self>> {
        let mut errors = vec![ErrorCode::UnknownMemberId; leaving.len()];
        let appends = self.decide(id, |group| {
            let (results, write) = group.leave(now, leaving);
            errors = results;
            write
        });
        // They are out whether or not an empty generation could be recorded.
        answer(reply, Ok(errors));
        appends
    }
}

#[cfg(test)]
mod tests;
