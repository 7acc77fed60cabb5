//! A topic, as far as this broker has to do with it.

use std::sync::Arc;

use milena_metadata::{TopicId, TopicName};
use milena_protocol::{ErrorCode, Uuid};

use crate::metrics::TopicTraffic;
use crate::partition::Partition;

/// One partition of a topic.
#[derive(Debug, Clone, Default)]
pub(super) enum Slot {
    /// Other brokers have it.
    #[default]
    Elsewhere,
    /// It belongs here, and its log could not be opened.
    Offline,
    Here(Arc<Partition>),
}

/// A topic of the cluster, with those of its partitions that are here.
#[derive(Debug, Clone)]
pub struct HostedTopic {
    pub(super) name: TopicName,
    pub(super) id: Uuid,
    pub(super) traffic: Arc<TopicTraffic>,
    pub(super) slots: Vec<Slot>,
}

impl HostedTopic {
    pub fn name(&self) -> &TopicName {
        &self.name
    }

    pub fn topic_id(&self) -> TopicId {
        TopicId(self.id)
    }

    /// A partition that is hosted here.
    pub fn partition(&self, index: i32) -> Option<&Arc<Partition>> {
        self.find(index).ok()
    }

    /// The same, or the error for a client that believes it is here.
    pub fn find(&self, index: i32) -> Result<&Arc<Partition>, ErrorCode> {
        match usize::try_from(index)
            .ok()
            .and_then(|at| self.slots.get(at))
        {
            Some(Slot::Here(partition)) => Ok(partition),
            Some(Slot::Offline) => Err(ErrorCode::KafkaStorageError),
            Some(Slot::Elsewhere) => Err(ErrorCode::NotLeaderOrFollower),
            None => Err(ErrorCode::UnknownTopicOrPartition),
        }
    }

    /// Whether the metadata says that a replica is here, be it that its log could not be opened.
    pub fn belongs_here(&self, index: i32) -> bool {
        let at = usize::try_from(index).ok();
        let slot = at.and_then(|at| self.slots.get(at));
        matches!(slot, Some(Slot::Here(_) | Slot::Offline))
    }

    /// Whether its log could not be opened.
    pub fn is_offline(&self, index: i32) -> bool {
        let at = usize::try_from(index).ok();
        let slot = at.and_then(|at| self.slots.get(at));
        matches!(slot, Some(Slot::Offline))
    }

    /// The numbers of those whose logs could not be opened.
    pub fn offline(&self) -> impl Iterator<Item = i32> {
        let numbered = self.slots.iter().zip(0..);
        numbered.filter_map(|(slot, index)| matches!(slot, Slot::Offline).then_some(index))
    }

    /// All partitions that are hosted here.
    pub fn partitions(&self) -> impl Iterator<Item = &Arc<Partition>> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Here(partition) => Some(partition),
            Slot::Elsewhere | Slot::Offline => None,
        })
    }
}
