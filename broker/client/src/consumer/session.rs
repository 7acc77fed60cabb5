//! What one leader is asked for, as a fetch session (KIP-227): after the first fetch it is told only what changed, so
//! that a fetch costs what moves and not what is followed.

use std::collections::{BTreeMap, BTreeSet};

use milena_protocol::api::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};

use super::ConsumerOptions;
use crate::admin::by_topic;
use crate::connection::Connection;

/// A topic's name and a partition's number.
type Place = (String, i32);

/// One leader's partitions, and what it knows of them.
pub(super) struct Session {
    leader: Connection,
    partitions: Vec<Place>,
    id: i32,
    epoch: i32,
    /// Partitions whose positions the leader does not know.
    changed: BTreeSet<Place>,
}

impl Session {
    /// A session that the leader does not know of as yet.
    pub(super) fn new(leader: Connection, partitions: Vec<Place>) -> Self {
        Self {
            leader,
            partitions,
            id: 0,
            epoch: 0,
            changed: BTreeSet::new(),
        }
    }

    pub(super) fn leader(&self) -> &Connection {
        &self.leader
    }

    /// The session's next fetch.
    pub(super) fn request(
        &mut self,
        positions: &BTreeMap<Place, i64>,
        options: &ConsumerOptions,
    ) -> FetchRequest {
        let changed: Vec<Place> = std::mem::take(&mut self.changed).into_iter().collect();
        let named = match self.epoch {
            0 => &self.partitions,
            _ => &changed,
        };
        let topics = by_topic(named, |partition| FetchPartition {
            partition: partition.1,
            fetch_offset: positions.get(partition).copied().unwrap_or(0),
            partition_max_bytes: options.partition_max_bytes,
            ..Default::default()
        });
        let topics = topics.into_iter().map(|(topic, partitions)| FetchTopic {
            topic: topic.into(),
            partitions,
            ..Default::default()
        });
        FetchRequest {
            max_wait_ms: options.max_wait.as_millis() as i32,
            min_bytes: options.min_bytes,
            max_bytes: options.max_bytes,
            session_id: self.id,
            session_epoch: self.epoch,
            topics: topics.collect(),
            ..Default::default()
        }
    }

    /// Takes over the id that the leader gave. Leaders without sessions, or without room for one more, give none:
    /// then every fetch names all partitions.
    pub(super) fn answered(&mut self, response: &FetchResponse) {
        self.id = response.session_id;
        self.epoch = match response.session_id {
            0 => 0,
            _ => self.epoch.checked_add(1).unwrap_or(1),
        };
    }

    /// Notes that a partition's position has moved.
    pub(super) fn moved(&mut self, partition: Place) {
        self.changed.insert(partition);
    }
}
