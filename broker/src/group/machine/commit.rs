//! Offsets in, offsets out, offsets deleted.

use milena_protocol::ErrorCode;

use super::{Append, Group, GroupMachine, Now};
use crate::group::record::{CommittedOffset, Record, group_record, offset_record};
use crate::group::request::{Commit, Reply, TopicOffsets, Wanted, answer};

/// Tombstones that are appended together: some 100 KiB at usual names, far below `max.message.bytes`.
const TOMBSTONES_TOGETHER_MAX: usize = 1000;

impl GroupMachine {
    pub(super) fn commit(
        &mut self,
        now: Now,
        commit: Commit,
        reply: Reply<Vec<ErrorCode>>,
    ) -> Vec<Append<Self>> {
        if let Err(error) = self.check_commit(now, &commit) {
            answer(reply, Err(error));
            return Vec::new();
        }
        let Commit {
            group: id,
            offsets,
            retention_ms,
            ..
        } = commit;
        let expire_timestamp_ms =
            (retention_ms != -1).then(|| now.wall_ms.saturating_add(retention_ms));
        let mut errors = Vec::with_capacity(offsets.len());
        let mut accepted = Vec::with_capacity(offsets.len());
        for (topic, partition, mut offset) in offsets {
            // Kafka counts characters of UTF-16.
            if offset.metadata.encode_utf16().count() > self.settings.offset_metadata_size_max {
                errors.push(ErrorCode::OffsetMetadataTooLarge);
                continue;
            }
            errors.push(ErrorCode::None);
            offset.expire_timestamp_ms = expire_timestamp_ms;
            if offset.commit_timestamp_ms == -1 {
                offset.commit_timestamp_ms = now.wall_ms;
            }
            accepted.push((topic, partition, offset));
        }
        if accepted.is_empty() {
            answer(reply, Ok(errors));
            return Vec::new();
        }
        vec![append_commit(id, accepted, errors, reply)]
    }

    fn check_commit(&mut self, now: Now, commit: &Commit) -> Result<(), ErrorCode> {
        let member = &commit.member;
        match self.groups.get_mut(&commit.group) {
            Some(group) => {
                let instance_id = member.instance_id.as_deref();
                group
                    .classic
                    .check_commit(now, &member.member_id, instance_id, member.generation)
            }
            // A group that only stores offsets begins with its first commit.
            None if member.generation < 0 => Ok(()),
            None if commit.knows_group_not_found => Err(ErrorCode::GroupIdNotFound),
            None => Err(ErrorCode::IllegalGeneration),
        }
    }

    pub(super) fn fetch(&self, id: &str, wanted: Wanted) -> Vec<TopicOffsets> {
        let group = self.groups.get(id);
        let Some(wanted) = wanted else {
            return group.map(all_offsets).unwrap_or_default();
        };
        let get = |topic: &str, partition| {
            group
                .and_then(|group| group.offsets.get(topic, partition))
                .cloned()
        };
        wanted
            .into_iter()
            .map(|(topic, partitions)| {
                let partitions = partitions
                    .into_iter()
                    .map(|partition| (partition, get(&topic, partition)));
                TopicOffsets {
                    partitions: partitions.collect(),
                    topic,
                }
            })
            .collect()
    }

    pub(super) fn delete_offsets(
        &mut self,
        id: &str,
        partitions: Vec<(String, i32)>,
        reply: Reply<Vec<ErrorCode>>,
    ) -> Vec<Append<Self>> {
        let checked = self
            .groups
            .get(id)
            .ok_or(ErrorCode::GroupIdNotFound)
            .and_then(|group| group.classic.check_offset_delete().map(|()| group));
        let group = match checked {
            Ok(group) => group,
            Err(error) => {
                answer(reply, Err(error));
                return Vec::new();
            }
        };
        let error_of = |topic: &str| match group.classic.is_subscribed(topic) {
            true => ErrorCode::GroupSubscribedToTopic,
            false => ErrorCode::None,
        };
        let errors: Vec<ErrorCode> = partitions
            .iter()
            .map(|(topic, _)| error_of(topic))
            .collect();
        let deleted = partitions
            .into_iter()
            .zip(&errors)
            .filter(|((topic, partition), error)| {
                error.is_none() && group.offsets.get(topic, *partition).is_some()
            })
            .map(|(partition, _)| partition)
            .collect();
        let mut appends = self.forget(id, deleted);
        appends.push(answer_last(reply, errors));
        appends
    }

    /// Deletes offsets from the log, and then here.
    pub(super) fn forget(&self, id: &str, partitions: Vec<(String, i32)>) -> Vec<Append<Self>> {
        partitions
            .chunks(TOMBSTONES_TOGETHER_MAX)
            .map(|chunk| forget_together(id, chunk.to_vec()))
            .collect()
    }

    /// Deletes the group from the log and, if all of it is deleted there, here.
    pub(super) fn forget_group(&self, id: &str, reply: Option<Reply<()>>) -> Append<Self> {
        let id = id.to_owned();
        Append {
            records: vec![group_record(&id, None)],
            done: Box::new(move |machine: &mut Self, _, result| {
                let kept = machine
                    .groups
                    .get(&id)
                    .is_some_and(|group| !group.offsets.is_empty());
                if result.is_ok() && !kept {
                    machine.remove(&id);
                }
                if let Some(reply) = reply {
                    let result = result.map_err(error_of_write);
                    answer(
                        reply,
                        if kept {
                            Err(ErrorCode::CoordinatorNotAvailable)
                        } else {
                            result
                        },
                    );
                }
                Vec::new()
            }),
        }
    }
}

fn append_commit(
    id: String,
    offsets: Vec<(String, i32, CommittedOffset)>,
    errors: Vec<ErrorCode>,
    reply: Reply<Vec<ErrorCode>>,
) -> Append<GroupMachine> {
    let record = |(topic, partition, offset): &(String, i32, CommittedOffset)| {
        offset_record(&id, topic, *partition, Some(offset))
    };
    Append {
        records: offsets.iter().map(record).collect(),
        done: Box::new(move |machine: &mut GroupMachine, now, result| {
            if result.is_ok() {
                let group = machine.create(now, &id);
                for (topic, partition, offset) in offsets {
                    group.offsets.insert(&topic, partition, offset);
                }
            }
            answer(reply, result.map(|()| errors).map_err(error_of_write));
            Vec::new()
        }),
    }
}

fn forget_together(id: &str, partitions: Vec<(String, i32)>) -> Append<GroupMachine> {
    let records: Vec<Record> = partitions
        .iter()
        .map(|(topic, partition)| offset_record(id, topic, *partition, None))
        .collect();
    let id = id.to_owned();
    Append {
        records,
        done: Box::new(move |machine: &mut GroupMachine, _, result| {
            if let (Ok(()), Some(group)) = (result, machine.groups.get_mut(&id)) {
                for (topic, partition) in &partitions {
                    group.offsets.remove(topic, *partition);
                }
            }
            Vec::new()
        }),
    }
}

/// Answers once all before it has been appended.
pub(super) fn answer_last<T: Send + 'static>(reply: Reply<T>, value: T) -> Append<GroupMachine> {
    Append {
        records: Vec::new(),
        done: Box::new(move |_: &mut GroupMachine, _, result| {
            answer(reply, result.map(|()| value).map_err(error_of_write));
            Vec::new()
        }),
    }
}

fn all_offsets(group: &Group) -> Vec<TopicOffsets> {
    let mut topics: Vec<TopicOffsets> = Vec::new();
    for (topic, partition, offset) in group.offsets.iter() {
        let entry = (partition, Some(offset.clone()));
        match topics.last_mut() {
            Some(last) if last.topic == topic => last.partitions.push(entry),
            _ => topics.push(TopicOffsets {
                topic: topic.to_owned(),
                partitions: vec![entry],
            }),
        }
    }
    topics
}

/// The error that a client sees when offsets could not be recorded.
fn error_of_write(error: ErrorCode) -> ErrorCode {
    crate::group::error_of_write(error, ErrorCode::InvalidCommitOffsetSize)
}
