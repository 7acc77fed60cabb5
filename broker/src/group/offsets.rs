//! What one group has committed, and when that is forgotten.
//!
//! | group | an offset expires `offsets.retention.minutes` after |
//! | --- | --- |
//! | Empty, once had members | the group became Empty |
//! | Stable consumers | its commit, if nobody subscribes to the topic |
//! | never had members | its commit |
//! | rebalancing, or of another protocol type with members | never |
//!
//! A commit that said itself when it expires (OffsetCommit 2-4) is taken at its word in all of these but
//! the last (KIP-211).

use std::collections::BTreeMap;

use super::classic::{CONSUMER, ClassicGroup, GroupState};
use super::record::CommittedOffset;

/// A group's committed offsets by topic and partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offsets {
    topics: BTreeMap<String, BTreeMap<i32, CommittedOffset>>,
}

impl Offsets {
    pub fn get(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.topics.get(topic)?.get(&partition)
    }

    /// Keeps an offset in place of an older one.
    pub fn insert(&mut self, topic: &str, partition: i32, offset: CommittedOffset) {
        match self.topics.get_mut(topic) {
            Some(partitions) => partitions.insert(partition, offset),
            None => self
                .topics
                .entry(topic.to_owned())
                .or_default()
                .insert(partition, offset),
        };
    }

    pub fn remove(&mut self, topic: &str, partition: i32) {
        if let Some(partitions) = self.topics.get_mut(topic) {
            partitions.remove(&partition);
            if partitions.is_empty() {
                self.topics.remove(topic);
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i32, &CommittedOffset)> {
        self.topics.iter().flat_map(|(topic, partitions)| {
            partitions
                .iter()
                .map(move |(&partition, offset)| (topic.as_str(), partition, offset))
        })
    }

    /// The partitions of `topic` that have one.
    pub fn partitions_of(&self, topic: &str) -> impl Iterator<Item = i32> {
        self.topics
            .get(topic)
            .into_iter()
            .flat_map(|partitions| partitions.keys().copied())
    }

    /// Those that are to be forgotten now; times in ms since 1970.
    pub fn expired(
        &self,
        group: &ClassicGroup,
        now_ms: i64,
        retention_ms: i64,
    ) -> Vec<(String, i32)> {
        let Some(base) = Base::of(group) else {
            return Vec::new();
        };
        let is_expired = |offset: &CommittedOffset| match offset.expire_timestamp_ms {
            Some(expiry_ms) => now_ms >= expiry_ms,
            None => now_ms.saturating_sub(base.of_offset(offset)) >= retention_ms,
        };
        self.iter()
            .filter(|(topic, _, offset)| !group.is_subscribed(topic) && is_expired(offset))
            .map(|(topic, partition, _)| (topic.to_owned(), partition))
            .collect()
    }
}

/// From when the retention counts.
enum Base {
    EmptySince(i64),
    Commit,
}

impl Base {
    /// `None` where nothing expires.
    fn of(group: &ClassicGroup) -> Option<Self> {
        match (group.protocol_type(), group.state()) {
            (None, _) => Some(Self::Commit),
            (Some(_), GroupState::Empty) => {
                Some(group.since_ms().map_or(Self::Commit, Self::EmptySince))
            }
            (Some(CONSUMER), GroupState::Stable) if group.knows_subscriptions() => {
                Some(Self::Commit)
            }
            _ => None,
        }
    }

    fn of_offset(&self, offset: &CommittedOffset) -> i64 {
        match self {
            Self::EmptySince(since_ms) => *since_ms,
            Self::Commit => offset.commit_timestamp_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use milena_protocol::Uuid;

    use super::*;
    use crate::group::classic::{Limits, Now};
    use crate::group::record::{GroupMetadata, MemberMetadata};

    const LIMITS: Limits = Limits {
        size_max: 10,
        initial_rebalance_delay_ms: 0,
    };
    const RETENTION_MS: i64 = 1000;

    fn committed(commit_timestamp_ms: i64, expire_timestamp_ms: Option<i64>) -> CommittedOffset {
        CommittedOffset {
            offset: 1,
            leader_epoch: -1,
            metadata: String::new(),
            commit_timestamp_ms,
            expire_timestamp_ms,
            topic_id: Uuid::ZERO,
        }
    }

    /// `t` committed at 100, `u` at 100 until 300.
    fn offsets() -> Offsets {
        let mut offsets = Offsets::default();
        offsets.insert("t", 0, committed(100, None));
        offsets.insert("u", 0, committed(100, Some(300)));
        offsets
    }

    fn expired(group: &ClassicGroup, now_ms: i64) -> Vec<String> {
        let expired = offsets().expired(group, now_ms, RETENTION_MS);
        expired.into_iter().map(|(topic, _)| topic).collect()
    }

    fn group(
        protocol_type: &str,
        since_ms: i64,
        subscription: Option<&'static [u8]>,
    ) -> ClassicGroup {
        let member = subscription.map(|subscription| MemberMetadata {
            member_id: "m".to_owned(),
            instance_id: None,
            client_id: String::new(),
            client_host: String::new(),
            rebalance_timeout_ms: 1,
            session_timeout_ms: 1,
            subscription: subscription.into(),
            assignment: Default::default(),
        });
        let metadata = GroupMetadata {
            protocol_type: protocol_type.to_owned(),
            protocol: Some("range".to_owned()),
            state_timestamp_ms: since_ms,
            members: member.into_iter().collect(),
            ..GroupMetadata::default()
        };
        ClassicGroup::from_metadata(metadata, LIMITS)
    }

    #[test]
    fn a_simple_groups_offsets_expire_by_their_commit() {
        let group = ClassicGroup::new(
            Now {
                wall_ms: 5000,
                tick_ms: 0,
            },
            LIMITS,
        );
        assert_eq!(expired(&group, 299), [""; 0]);
        assert_eq!(expired(&group, 300), ["u"]);
        assert_eq!(expired(&group, 1099), ["u"]);
        assert_eq!(expired(&group, 1100), ["t", "u"]);
    }

    #[test]
    fn an_empty_groups_offsets_expire_when_it_has_been_empty_for_long() {
        let since_5000 = group(CONSUMER, 5000, None);
        assert_eq!(expired(&since_5000, 5999), ["u"]);
        assert_eq!(expired(&since_5000, 6000), ["t", "u"]);
        assert_eq!(
            expired(&group(CONSUMER, -1, None), 1100),
            ["t", "u"],
            "an old record does not say since when"
        );
    }

    #[test]
    fn a_live_groups_offsets_expire_for_topics_that_it_left() {
        let subscribed_to_t = group(CONSUMER, 0, Some(b"\0\0\0\0\0\x01\0\x01t"));
        assert_eq!(expired(&subscribed_to_t, 9999), ["u"]);
        assert_eq!(
            expired(&group(CONSUMER, 0, Some(b"?")), 9999),
            [""; 0],
            "an unreadable subscription"
        );
        assert_eq!(expired(&group("connect", 0, Some(b"")), 9999), [""; 0]);
    }

    #[test]
    fn nothing_is_left_of_a_removed_offset() {
        let mut offsets = offsets();
        assert_eq!(offsets.partitions_of("t").collect::<Vec<_>>(), [0]);
        offsets.remove("t", 0);
        offsets.remove("u", 0);
        offsets.remove("u", 1);
        assert!(offsets.is_empty());
    }
}
