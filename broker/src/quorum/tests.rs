mod alone;
mod cluster;
mod duties;
mod liveness;
mod process;
mod rescue;
mod topic_changes;
mod voters;

use std::sync::Arc;

use milena_metadata::{
    BrokerId, CreateTopics, LastEnd, NewTopic, NoConfigRules, RegisterBroker, TopicId,
};

use super::*;
use crate::broker::tests::beside;

fn registration() -> RegisterBroker {
    registration_of(1)
}

fn registration_of(broker: i32) -> RegisterBroker {
    RegisterBroker {
        last_end: LastEnd::None,
        ..beside::registration(broker)
    }
}

fn topics(names: impl IntoIterator<Item = String>, partitions: i32) -> CreateTopics {
    let topic = |name| NewTopic {
        name,
        id: TopicId::random(),
        partitions,
        replication_factor: 1,
        assignments: Vec::new(),
        configs: Vec::new(),
    };
    CreateTopics {
        topics: names.into_iter().map(topic).collect(),
        default_partitions: 1,
        default_replication_factor: 1,
        validate_only: false,
    }
}

fn rules() -> Arc<dyn ConfigRules> {
    Arc::new(NoConfigRules)
}
