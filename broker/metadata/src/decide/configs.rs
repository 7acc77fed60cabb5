//! AlterConfigs and IncrementalAlterConfigs: a resource's changes are made whole or not at all.

use std::collections::BTreeSet;
use std::sync::Arc;

use milena_protocol::ErrorCode;

use super::{Draft, settle};
use crate::command::{
    AlterConfigs, ConfigChange, ConfigOperation, IncrementalAlterConfigs, Refusal,
};
use crate::configs::{ConfigResource, ConfigRules, ResourceKind};
use crate::image::Configs;
use crate::names::BrokerId;
use crate::policy::{
    MIN_INSYNC_REPLICAS, PLACEMENT_NODE_SPREAD, PLACEMENT_RACK_SPREAD, UNCLEAN_ELECTION,
};
use crate::record::ConfigRecord;

/// Bytes of a value, as in Kafka.
pub const CONFIG_VALUE_BYTES_MAX: usize = 32_767;

pub(super) fn alter(
    draft: &mut Draft,
    ask: &AlterConfigs,
    rules: &dyn ConfigRules,
) -> Vec<Result<(), Refusal>> {
    let twice = resources_twice(ask.resources.iter().map(|(resource, _)| resource));
    let alter = |(resource, wanted): &(ConfigResource, Vec<(String, Option<String>)>)| {
        check_resource(draft, resource, &twice)?;
        let before = present(draft, resource);
        let after = replaced(wanted)?;
        check_place(resource, &before, &after)?;
        check(resource, &before, &after, rules)?;
        record(draft, resource, &before, &after);
        settle_policy(draft, resource, &before, &after, rules);
        Ok(())
    };
    ask.resources.iter().map(alter).collect()
}

pub(super) fn alter_incrementally(
    draft: &mut Draft,
    ask: &IncrementalAlterConfigs,
    rules: &dyn ConfigRules,
) -> Vec<Result<(), Refusal>> {
    let twice = resources_twice(ask.resources.iter().map(|(resource, _)| resource));
    let alter = |(resource, changes): &(ConfigResource, Vec<ConfigChange>)| {
        check_resource(draft, resource, &twice)?;
        let before = present(draft, resource);
        let after = changed(resource.kind, &before, changes, rules)?;
        check_place(resource, &before, &after)?;
        check(resource, &before, &after, rules)?;
        record(draft, resource, &before, &after);
        settle_policy(draft, resource, &before, &after, rules);
        Ok(())
    };
    ask.resources.iter().map(alter).collect()
}

fn invalid_config(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::InvalidConfig, message)
}

fn invalid_request(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::InvalidRequest, message)
}

fn resources_twice<'a>(
    resources: impl Iterator<Item = &'a ConfigResource>,
) -> BTreeSet<&'a ConfigResource> {
    let mut seen = BTreeSet::new();
    resources
        .filter(|resource| !seen.insert(*resource))
        .collect()
}

/// Whether the resource is one that can be configured, named once.
fn check_resource(
    draft: &Draft,
    resource: &ConfigResource,
    twice: &BTreeSet<&ConfigResource>,
) -> Result<(), Refusal> {
    if twice.contains(resource) {
        return Err(invalid_request("Duplicate resource."));
    }
    let name = &*resource.name;
    match resource.kind {
        ResourceKind::Topic if draft.image.topic(name).is_none() => Err(Refusal::new(
            ErrorCode::UnknownTopicOrPartition,
            format!("The topic '{name}' does not exist."),
        )),
        ResourceKind::Broker if name.is_empty() => Ok(()),
        ResourceKind::Broker => {
            let id = name
                .parse::<i32>()
                .ok()
                .and_then(|id| BrokerId::new(id).ok());
            // "01" would be a second name for broker 1.
            match id.filter(|id| id.to_string() == name) {
                None => Err(invalid_request(format!("Invalid broker name '{name}'."))),
                Some(id) if draft.image.broker(id).is_none() => Err(Refusal::new(
                    ErrorCode::BrokerIdNotRegistered,
                    format!("No broker with id {id} found."),
                )),
                Some(_) => Ok(()),
            }
        }
        ResourceKind::Group | ResourceKind::ClientMetrics if name.is_empty() => {
            Err(invalid_request(format!("{resource} needs a name.")))
        }
        _ => Ok(()),
    }
}

fn present(draft: &Draft, resource: &ConfigResource) -> Configs {
    let configs = draft.image.configs(resource.kind, &resource.name);
    configs
        .map(|configs| (**configs).clone())
        .unwrap_or_default()
}

/// All of a resource's configs, as AlterConfigs gives them.
fn replaced(wanted: &[(String, Option<String>)]) -> Result<Configs, Refusal> {
    let mut after = Configs::new();
    for (key, value) in wanted {
        let Some(value) = value else {
            return Err(invalid_config(format!(
                "Null value not supported for config {key}."
            )));
        };
        if after
            .insert(key.as_str().into(), value.as_str().into())
            .is_some()
        {
            return Err(duplicate_key(key));
        }
    }
    Ok(after)
}

fn duplicate_key(key: &str) -> Refusal {
    invalid_request(format!("Error due to duplicate config keys: {key}"))
}

/// A resource's configs after some changes.
fn changed(
    kind: ResourceKind,
    before: &Configs,
    changes: &[ConfigChange],
    rules: &dyn ConfigRules,
) -> Result<Configs, Refusal> {
    let mut after = before.clone();
    let mut seen = BTreeSet::new();
    for change in changes {
        let key = change.key.as_str();
        if !seen.insert(key) {
            return Err(duplicate_key(key));
        }
        let value = change.value.as_deref();
        match (change.operation, value) {
            (ConfigOperation::Delete, _) => drop(after.remove(key)),
            (_, None) => {
                return Err(invalid_request(format!(
                    "Null value not supported for config {key}."
                )));
            }
            (ConfigOperation::Set, Some(value)) => drop(after.insert(key.into(), value.into())),
            (operation, Some(value)) => {
                let list = edited_list(kind, before, key, operation, value, rules)?;
                after.insert(key.into(), list.into());
            }
        }
    }
    Ok(after)
}

/// The list after an append or a subtraction.
fn edited_list(
    kind: ResourceKind,
    before: &Configs,
    key: &str,
    operation: ConfigOperation,
    value: &str,
    rules: &dyn ConfigRules,
) -> Result<String, Refusal> {
    let appends = operation == ConfigOperation::Append;
    let Some(default) = rules.list_default(kind, key) else {
        let verb = if appends { "APPEND" } else { "SUBTRACT" };
        return Err(invalid_config(format!(
            "Can't {verb} to key {key} because its type is not LIST."
        )));
    };
    let present = before.get(key).map_or(default.as_str(), |own| own);
    let mut items = split(present);
    for item in split(value) {
        if !appends {
            items.retain(|other| *other != item);
        } else if !items.contains(&item) {
            items.push(item);
        }
    }
    Ok(items.join(","))
}

fn split(list: &str) -> Vec<&str> {
    list.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .collect()
}

/// What the quorum decides by, for all brokers alike. A leader with a `min.insync.replicas` of its own would count on
/// another ISR than the quorum, and hold back acknowledgements for ever: Kafka refuses it with the ELR, too (KIP-966).
/// A placement of one broker's own would have no effect.
const OF_ALL_BROKERS: [&str; 3] = [
    MIN_INSYNC_REPLICAS,
    PLACEMENT_NODE_SPREAD,
    PLACEMENT_RACK_SPREAD,
];

fn check_place(
    resource: &ConfigResource,
    before: &Configs,
    after: &Configs,
) -> Result<(), Refusal> {
    let is_one_broker = resource.kind == ResourceKind::Broker && !resource.name.is_empty();
    let is_new = |key: &&str| after.contains_key(*key) && after.get(*key) != before.get(*key);
    match OF_ALL_BROKERS.into_iter().find(is_new) {
        Some(key) if is_one_broker => Err(invalid_config(format!(
            "{key} can't be set for one broker: set it for all of them (the cluster-wide default, --entity-default) or \
             for a topic."
        ))),
        _ => Ok(()),
    }
}

/// Checks what is new: a value that is there already was checked when it came, by the rules of its day.
pub(super) fn check(
    resource: &ConfigResource,
    before: &Configs,
    after: &Configs,
    rules: &dyn ConfigRules,
) -> Result<(), Refusal> {
    for (key, value) in after {
        if before.get(key) == Some(value) {
            continue;
        }
        if value.len() > CONFIG_VALUE_BYTES_MAX {
            return Err(invalid_config(format!(
                "The configuration value cannot be added because it exceeds the maximum value size of \
                 {CONFIG_VALUE_BYTES_MAX} bytes."
            )));
        }
        rules
            .check(resource.kind, key, value)
            .map_err(invalid_config)?;
    }
    rules
        .check_together(resource.kind, after)
        .map_err(invalid_config)
}

fn record(draft: &mut Draft, resource: &ConfigResource, before: &Configs, after: &Configs) {
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    let gone = gone.map(|key| (key, None));
    let set = after
        .iter()
        .filter(|(key, value)| before.get(*key) != Some(value))
        .map(|(key, value)| (key, Some(Arc::clone(value))));
    for (key, value) in gone.chain(set) {
        draft.push(ConfigRecord {
            resource: resource.clone(),
            key: key.clone(),
            value,
        });
    }
}

/// A lower `min.insync.replicas` lets the high watermark move, so it ends what the ELR promises, in one entry with
/// the change; and where anybody may lead, a leaderless partition need not wait.
fn settle_policy(
    draft: &mut Draft,
    resource: &ConfigResource,
    before: &Configs,
    after: &Configs,
    rules: &dyn ConfigRules,
) {
    let changes = |key: &&str| before.get(*key) != after.get(*key);
    let policy = [MIN_INSYNC_REPLICAS, UNCLEAN_ELECTION];
    if !policy.iter().any(changes) {
        return;
    }
    match resource.kind {
        ResourceKind::Topic => settle::topic(draft, rules, Some(&resource.name)),
        ResourceKind::Broker if resource.name.is_empty() => settle::topic(draft, rules, None),
        _ => {}
    }
}
