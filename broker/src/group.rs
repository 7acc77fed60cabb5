//! Consumer groups: who is in them, and what they have committed.
//!
//! [`Groups`] is what handlers call. A group lives in one shard of the [`coordinator`], a task per partition
//! of `__consumer_offsets`; there [`machine`] finds it, [`classic`] and [`offsets`] decide, and what they
//! decide is kept as [`record`]s.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use milena_metadata::TopicName;
use milena_protocol::ErrorCode;
use milena_protocol::api::describe_groups::DescribedGroup;
use milena_protocol::api::join_group::JoinGroupResponse;
use milena_protocol::api::list_groups::ListedGroup;
use milena_protocol::api::sync_group::SyncGroupResponse;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

pub mod classic;
pub mod coordinator;
pub mod host;
pub mod machine;
pub mod offsets;
pub mod record;
pub mod request;
pub mod storage;

use classic::{Join, Leaving, Limits, Syncing};
use coordinator::{Coordinator, CoordinatorLog};
use machine::GroupMachine;
use request::{Commit, GroupSnapshot, MemberOf, Reply, Request, TopicOffsets, Wanted};

/// The topic that groups are kept in.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// A shard that is busy with a slow append is left out of a snapshot after this: metrics can't wait for it.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(1);

/// All groups as metrics show them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupsSnapshot {
    /// The groups of the shards that answered.
    pub groups: Vec<GroupSnapshot>,
    /// Shards that are here and did not answer: they are being loaded, or wait for a slow disk.
    pub shards_unread: usize,
}

/// What the broker's configuration says about groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `group.max.size`, `group.initial.rebalance.delay.ms`.
    pub limits: Limits,
    /// `group.min.session.timeout.ms` to `group.max.session.timeout.ms`.
    pub session_timeout_ms: RangeInclusive<i32>,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_size_max: usize,
    /// `offsets.retention.minutes`, in ms.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval_ms: u64,
}

/// The groups that this broker coordinates.
pub struct Groups {
    settings: Settings,
    coordinator: Coordinator<GroupMachine>,
}

impl std::fmt::Debug for Groups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Groups")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Groups {
    /// No shard is here until [`Self::elected`]. `shard_count` is how many partitions
    /// `__consumer_offsets` has, or will have; it never changes.
    ///
    /// # Panics
    /// Outside of a tokio runtime, on which the shards will run.
    pub fn new(log: Arc<dyn CoordinatorLog>, shard_count: usize, settings: Settings) -> Self {
        let for_machines = settings.clone();
        let new_machine = move || GroupMachine::new(for_machines.clone());
        Self {
            coordinator: Coordinator::new(log, shard_count, new_machine),
            settings,
        }
    }

    /// This broker leads a partition of `__consumer_offsets` since a leader epoch: loads its groups.
    pub fn elected(&self, partition: i32, leader_epoch: i32) {
        self.coordinator.elected(partition, leader_epoch);
    }

    /// Another broker leads it since a leader epoch: forgets its groups.
    pub fn resigned(&self, partition: i32, leader_epoch: i32) {
        self.coordinator.resigned(partition, leader_epoch);
    }

    /// `__consumer_offsets` is gone, and with it every group: one made anew begins with its first epoch.
    pub fn lost(&self) {
        self.coordinator.forget_all();
    }

    /// The partition of `__consumer_offsets` that `group` belongs to.
    pub fn partition_of(&self, group: &str) -> i32 {
        // At least one shard, and never more than an i32 counts.
        let count = self.coordinator.shard_count().max(1) as i32;
        (java_hash(group) & i32::MAX) % count
    }

    /// JoinGroup. Waits until the generation begins.
    pub async fn join(&self, group: String, join: Join) -> JoinGroupResponse {
        let refuse = |member_id: &str, error_code| JoinGroupResponse {
            member_id: member_id.into(),
            error_code,
            ..Default::default()
        };
        if group.is_empty() {
            return refuse(&join.member_id, ErrorCode::InvalidGroupId);
        }
        if !self
            .settings
            .session_timeout_ms
            .contains(&join.session_timeout_ms)
        {
            return refuse(&join.member_id, ErrorCode::InvalidSessionTimeout);
        }
        let (reply, answer) = oneshot::channel();
        let (partition, member_id) = (self.partition_of(&group), join.member_id.clone());
        self.coordinator
            .send(partition, Request::Join { group, join, reply })
            .await;
        answer
            .await
            .unwrap_or_else(|_| refuse(&member_id, ErrorCode::NotCoordinator))
    }

    /// SyncGroup. Waits until the leader has assigned.
    pub async fn sync(&self, group: String, sync: Syncing) -> SyncGroupResponse {
        let refuse = |error_code| SyncGroupResponse {
            error_code,
            ..Default::default()
        };
        if group.is_empty() {
            return refuse(ErrorCode::InvalidGroupId);
        }
        let (reply, answer) = oneshot::channel();
        let partition = self.partition_of(&group);
        self.coordinator
            .send(partition, Request::Sync { group, sync, reply })
            .await;
        answer
            .await
            .unwrap_or_else(|_| refuse(ErrorCode::NotCoordinator))
    }

    pub async fn heartbeat(&self, group: String, member: MemberOf) -> Result<(), ErrorCode> {
        not_empty(&group)?;
        let answer = self.ask(self.partition_of(&group), |reply| Request::Heartbeat {
            group,
            member,
            reply,
        });
        match answer.await {
            // The group is being read back: its members will be known.
            Err(ErrorCode::CoordinatorLoadInProgress) => Ok(()),
            answer => answer,
        }
    }

    /// LeaveGroup: each one's result at its place.
    pub async fn leave(
        &self,
        group: String,
        leaving: Vec<Leaving>,
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        not_empty(&group)?;
        self.ask(self.partition_of(&group), |reply| Request::Leave {
            group,
            leaving,
            reply,
        })
        .await
    }

    /// OffsetCommit: each offset's result at its place.
    pub async fn commit(&self, commit: Commit) -> Result<Vec<ErrorCode>, ErrorCode> {
        self.ask(self.partition_of(&commit.group), |reply| Request::Commit {
            commit,
            reply,
        })
        .await
    }

    /// OffsetFetch of one group. Only what is committed to the log is seen, so it is always stable.
    pub async fn fetch(
        &self,
        group: String,
        wanted: Wanted,
    ) -> Result<Vec<TopicOffsets>, ErrorCode> {
        self.ask(self.partition_of(&group), |reply| Request::Fetch {
            group,
            wanted,
            reply,
        })
        .await
    }

    /// OffsetDelete: each partition's result at its place.
    pub async fn delete_offsets(
        &self,
        group: String,
        partitions: Vec<(String, i32)>,
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        not_empty(&group)?;
        let partition = self.partition_of(&group);
        self.ask(partition, |reply| Request::DeleteOffsets {
            group,
            partitions,
            reply,
        })
        .await
    }

    /// DeleteGroups of one group.
    pub async fn delete(&self, group: String) -> Result<(), ErrorCode> {
        not_empty(&group)?;
        self.ask(self.partition_of(&group), |reply| Request::Delete {
            group,
            reply,
        })
        .await
    }

    /// DescribeGroups of one group; `None` where it does not exist.
    pub async fn describe(&self, group: String) -> Result<Option<DescribedGroup>, ErrorCode> {
        not_empty(&group)?;
        self.ask(self.partition_of(&group), |reply| Request::Describe {
            group,
            reply,
        })
        .await
    }

    /// All groups coordinated here. COORDINATOR_LOAD_IN_PROGRESS while some of them are being read back.
    pub async fn list(&self) -> Result<Vec<ListedGroup>, ErrorCode> {
        if self.coordinator.is_loading() {
            return Err(ErrorCode::CoordinatorLoadInProgress);
        }
        let mut groups = Vec::new();
        for shard in self.coordinator.loaded_shards() {
            match self.ask(shard, |reply| Request::List { reply }).await {
                Ok(listed) => groups.extend(listed),
                // It went to another broker, which lists it.
                Err(ErrorCode::NotCoordinator) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(groups)
    }

    /// All groups and their offsets, for metrics. A shard that is not loaded or stalled is left out and counted.
    pub async fn snapshot(&self) -> GroupsSnapshot {
        // All shards are asked at once, so that stalled ones cost their time once.
        let deadline = Instant::now() + SNAPSHOT_TIMEOUT;
        let ask = |shard| {
            let (reply, answer) = oneshot::channel();
            self.coordinator.offer(shard, Request::Snapshot { reply });
            answer
        };
        let loaded = self.coordinator.loaded_shards();
        let answers: Vec<_> = loaded.into_iter().map(ask).collect();
        let mut snapshot = GroupsSnapshot {
            groups: Vec::new(),
            shards_unread: self.coordinator.loading_count(),
        };
        for answer in answers {
            match timeout_at(deadline, answer).await {
                Ok(Ok(Ok(groups))) => snapshot.groups.extend(groups),
                _ => snapshot.shards_unread += 1,
            }
        }
        snapshot
    }

    /// How many shards are here and still being loaded.
    pub fn loading_count(&self) -> usize {
        self.coordinator.loading_count()
    }

    /// Topics are deleted: forgets what was committed for them, in all groups here.
    pub async fn topics_deleted(&self, topics: &[TopicName]) {
        let mut answers = Vec::new();
        // All are told before one is waited for, so that none hears of it after a commit for the topic's namesake.
        for topic in topics {
            for shard in self.coordinator.loaded_shards() {
                let (reply, answer) = oneshot::channel();
                let topic = topic.to_string();
                let request = Request::TopicDeleted { topic, reply };
                self.coordinator.send(shard, request).await;
                answers.push((shard, answer));
            }
        }
        for (shard, answer) in answers {
            if let Ok(Err(error)) = answer.await {
                tracing::warn!(shard, %error, "offsets of a deleted topic could not be deleted; they will expire");
            }
        }
    }

    async fn ask<T>(
        &self,
        shard: i32,
        request: impl FnOnce(Reply<T>) -> Request,
    ) -> Result<T, ErrorCode> {
        let (reply, answer) = oneshot::channel();
        self.coordinator.send(shard, request(reply)).await;
        // Without an answer: the shard has gone to another broker.
        answer.await.unwrap_or(Err(ErrorCode::NotCoordinator))
    }
}

fn not_empty(group: &str) -> Result<(), ErrorCode> {
    if group.is_empty() {
        Err(ErrorCode::InvalidGroupId)
    } else {
        Ok(())
    }
}

/// What a client is told of an append to `__consumer_offsets` that failed; `too_large` where the records are.
fn error_of_write(error: ErrorCode, too_large: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::NotEnoughReplicasAfterAppend
        | ErrorCode::RequestTimedOut => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge
        | ErrorCode::RecordListTooLarge
        | ErrorCode::InvalidFetchSize => too_large,
        other => other,
    }
}

/// `String.hashCode` of Java, over UTF-16, by which Kafka places groups.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0, |hash: i32, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    })
}

#[cfg(test)]
mod api_tests;
#[cfg(test)]
mod tests;
