//! What the log of the quorum's leader says of topics that were created, deleted or given partitions.

use std::sync::Arc;

use milena_metadata::{Change, Command, Image, Topic};

/// Topics of one command that get a line each. Of more there is one line for all: a restored cluster may create
/// thousands.
const TOLD_EACH_MAX: usize = 10;

/// The topics that one command has changed, as they are by it; deleted ones as they were.
pub(super) struct TopicChanges {
    /// How they changed; one command changes all in one way.
    done: &'static str,
    topics: Vec<Arc<Topic>>,
}

impl TopicChanges {
    /// Those of a command that has led from one image to the next; `None` where it is about something else.
    pub(super) fn of(command: &Command, before: &Image, after: &Image) -> Option<Self> {
        let done = match command {
            Command::CreateTopics(_) => "created",
            Command::DeleteTopics(_) => "deleted",
            Command::CreatePartitions(_) => "given partitions",
            _ => return None,
        };
        let topic = |change: Change<'_, Arc<Topic>>| change.after().or(change.before()).cloned();
        let topics: Vec<_> = after.changed_topics(before).filter_map(topic).collect();
        (!topics.is_empty()).then_some(Self { done, topics })
    }

    /// Says so, once it is kept.
    pub(super) fn tell(&self) {
        let (done, count) = (self.done, self.topics.len());
        if count > TOLD_EACH_MAX {
            let partitions: usize = self
                .topics
                .iter()
                .map(|topic| topic.partition_count())
                .sum();
            tracing::info!(topics = count, partitions, "topics were {done}");
            return;
        }
        for topic in &self.topics {
            let replicas = topic.partition(0).map(|first| first.target().len());
            tracing::info!(
                topic = %topic.name,
                id = %topic.id,
                partitions = topic.partition_count(),
                replication_factor = replicas,
                "a topic was {done}"
            );
        }
    }
}
