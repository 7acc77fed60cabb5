//! CreateTopics and DeleteTopics: each topic is decided on its own, on what the ones before it left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use milena_protocol::ErrorCode;

use super::partitions::{self, Layout};
use super::{Draft, configs};
use crate::command::{
    CreateTopics, CreatedTopic, DeleteTopics, DeletedTopic, NewTopic, Refusal, TopicReference,
};
use crate::configs::{ConfigResource, ConfigRules};
use crate::image::{Configs, Topic};
use crate::names::{PartitionId, TopicName};
use crate::placement::Wish;
use crate::record::{ConfigRecord, TopicRecord, TopicRemovedRecord};

/// Apache Kafka's name for its own metadata, which a client could mistake a topic for.
const CLUSTER_METADATA: &str = "__cluster_metadata";

pub(super) fn create(
    draft: &mut Draft,
    ask: &CreateTopics,
    rules: &dyn ConfigRules,
) -> Result<Vec<Result<CreatedTopic, Refusal>>, Refusal> {
    partitions::bound(ask.topics.iter().map(|topic| {
        match (topic.assignments.len(), topic.partitions) {
            (0, -1) => ask.default_partitions,
            (0, partitions) => partitions,
            (assigned, _) => i32::try_from(assigned).unwrap_or(i32::MAX),
        }
    }))?;
    let twice = named_twice(ask.topics.iter().map(|topic| topic.name.as_str()));
    let create = |topic: &NewTopic| {
        if twice.contains(topic.name.as_str()) {
            return Err(duplicate("Duplicate topic name."));
        }
        create_one(draft, ask, topic, rules)
    };
    Ok(ask.topics.iter().map(create).collect())
}

fn create_one(
    draft: &mut Draft,
    ask: &CreateTopics,
    topic: &NewTopic,
    rules: &dyn ConfigRules,
) -> Result<CreatedTopic, Refusal> {
    let name = free_name(draft, topic)?;
    let own = own_configs(topic, rules)?;
    let layout = layout(draft, ask, topic, rules)?;
    let created = CreatedTopic {
        name: name.clone(),
        id: topic.id,
        partitions: layout.len() as i32,
        replication_factor: layout[0].len() as i16,
        configs: own,
    };
    let id = topic.id;
    draft.push(TopicRecord { id, name });
    for (number, brokers) in layout.iter().enumerate() {
        let partition = PartitionId::at(number);
        let record = partitions::first_state(&draft.image, topic.id, partition, brokers);
        draft.push(record);
    }
    for (key, value) in &created.configs {
        draft.push(ConfigRecord {
            resource: ConfigResource::topic(created.name.as_arc().clone()),
            key: key.clone(),
            value: Some(value.clone()),
        });
    }
    Ok(created)
}

fn free_name(draft: &Draft, topic: &NewTopic) -> Result<TopicName, Refusal> {
    let invalid = |message: String| Refusal::new(ErrorCode::InvalidTopicException, message);
    let name = TopicName::new(&topic.name).map_err(|error| invalid(error.to_string()))?;
    if name.as_str() == CLUSTER_METADATA {
        return Err(Refusal::new(
            ErrorCode::InvalidRequest,
            format!("Creation of internal topic {CLUSTER_METADATA} is prohibited."),
        ));
    }
    if draft.image.topic(&name).is_some() {
        let message = format!("Topic '{name}' already exists.");
        return Err(Refusal::new(ErrorCode::TopicAlreadyExists, message));
    }
    if let Some(other) = draft.image.look_alike(&name) {
        return Err(invalid(format!(
            "Topic '{name}' collides with existing topic: {other}"
        )));
    }
    if draft.image.topic_by_id(topic.id).is_some() {
        let message = format!("The id drawn for topic '{name}' is in use: send the request again.");
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    }
    Ok(name)
}

fn own_configs(topic: &NewTopic, rules: &dyn ConfigRules) -> Result<Configs, Refusal> {
    let nulls: Vec<&str> = topic
        .configs
        .iter()
        .filter(|(_, value)| value.is_none())
        .map(|(key, _)| key.as_str())
        .collect();
    if !nulls.is_empty() {
        let message = format!(
            "Null value not supported for topic configs: {}",
            nulls.join(",")
        );
        return Err(Refusal::new(ErrorCode::InvalidConfig, message));
    }
    let own: Configs = topic
        .configs
        .iter()
        .filter_map(|(key, value)| Some((Arc::from(key.as_str()), Arc::from(value.as_deref()?))))
        .collect();
    configs::check(
        &ConfigResource::topic(topic.name.as_str()),
        &Configs::new(),
        &own,
        rules,
    )?;
    Ok(own)
}

/// The brokers of each partition: as the client assigned them, or placed.
fn layout(
    draft: &Draft,
    ask: &CreateTopics,
    topic: &NewTopic,
    rules: &dyn ConfigRules,
) -> Result<Layout, Refusal> {
    let wish = wish(draft, topic, rules);
    if topic.assignments.is_empty() {
        let partitions = match topic.partitions {
            -1 => ask.default_partitions,
            partitions => partitions,
        };
        let factor = match topic.replication_factor {
            -1 => ask.default_replication_factor,
            factor => factor,
        };
        return placed(draft, wish, partitions, factor);
    }
    let request = |message: &str| Err(Refusal::new(ErrorCode::InvalidRequest, message));
    if topic.replication_factor != -1 {
        return request(
            "A manual partition assignment was specified, but replication factor was not set to -1.",
        );
    }
    if topic.partitions != -1 {
        return request(
            "A manual partition assignment was specified, but numPartitions was not set to -1.",
        );
    }
    let mut by_number = BTreeMap::new();
    for (partition, brokers) in &topic.assignments {
        if by_number.insert(*partition, brokers.as_slice()).is_some() {
            return Err(partitions::bad_assignment(format!(
                "Found multiple manual partition assignments for partition {partition}"
            )));
        }
    }
    if !by_number.keys().copied().eq(0..by_number.len() as i32) {
        return Err(partitions::bad_assignment(
            "partitions should be a consecutive 0-based integer sequence",
        ));
    }
    let lists: Vec<&[i32]> = by_number.into_values().collect();
    partitions::assigned(&draft.image, &wish, 0, None, &lists)
}

/// What the configuration wishes, with what the request sets for this topic.
fn wish(draft: &Draft, topic: &NewTopic, rules: &dyn ConfigRules) -> Wish {
    let mut wish = Wish::of(&draft.image, rules, &topic.name);
    let own = topic.configs.iter();
    let own = own.filter_map(|(key, value)| Some((key.as_str(), value.as_deref()?)));
    own.for_each(|(key, value)| wish.set(key, value));
    wish
}

fn placed(draft: &Draft, wish: Wish, partitions: i32, factor: i16) -> Result<Layout, Refusal> {
    if factor < 1 {
        return Err(Refusal::new(
            ErrorCode::InvalidReplicationFactor,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        ));
    }
    if partitions < 1 {
        return Err(Refusal::new(
            ErrorCode::InvalidPartitions,
            "Number of partitions was set to an invalid non-positive value.",
        ));
    }
    partitions::placed(&draft.image, wish, partitions as usize, factor as usize)
}

pub(super) fn delete(draft: &mut Draft, ask: &DeleteTopics) -> Vec<Result<DeletedTopic, Refusal>> {
    // The same topic twice, be it once by name and once by id, is a mistake that deletes nothing of it.
    let found: Vec<Result<Arc<Topic>, Refusal>> = ask
        .topics
        .iter()
        .map(|reference| find(draft, reference))
        .collect();
    let mut seen = BTreeMap::<_, usize>::new();
    for topic in found.iter().flatten() {
        *seen.entry(topic.id).or_default() += 1;
    }
    let mut delete = |topic: Arc<Topic>| {
        if seen[&topic.id] > 1 {
            return Err(duplicate("Duplicate topic name or id."));
        }
        draft.push(TopicRemovedRecord { id: topic.id });
        let (name, id) = (topic.name.clone(), topic.id);
        Ok(DeletedTopic { name, id })
    };
    found
        .into_iter()
        .map(|topic| topic.and_then(&mut delete))
        .collect()
}

fn find(draft: &Draft, reference: &TopicReference) -> Result<Arc<Topic>, Refusal> {
    let (topic, code) = match reference {
        TopicReference::Name(name) => (draft.image.topic(name), ErrorCode::UnknownTopicOrPartition),
        TopicReference::Id(id) => (draft.image.topic_by_id(*id), ErrorCode::UnknownTopicId),
    };
    topic
        .cloned()
        .ok_or_else(|| Refusal::new(code, code_message(code)))
}

fn code_message(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::UnknownTopicId => "This server does not host this topic ID.",
        _ => "This server does not host this topic-partition.",
    }
}

/// The names that occur more than once.
pub(super) fn named_twice<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    names.filter(|name| !seen.insert(*name)).collect()
}

pub(super) fn duplicate(message: &str) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, message)
}
