//! Every decision on an image: from what is asked to the records that make it so.

mod brokers;
mod configs;
mod directories;
mod isr;
mod leaders;
mod lease;
mod partitions;
mod producer_ids;
mod reassignment;
mod settle;
mod stopping;
mod topics;

use std::sync::Arc;

use milena_protocol::ErrorCode;

use crate::command::{Command, FoundCluster, Outcome, Refusal, SetFeatures};
use crate::configs::ConfigRules;
use crate::features::{self, Levels};
use crate::image::{Broker, Image};
use crate::record::{ClusterRecord, FeatureRecord, Record};

pub use brokers::BROKERS_MAX;
pub use configs::CONFIG_VALUE_BYTES_MAX;
pub use lease::{LEASE_MS_MAX, LEASE_PARTITIONS_NAMED_MAX};
pub use partitions::PARTITIONS_PER_REQUEST_MAX;
pub use producer_ids::PRODUCER_ID_BLOCK;
pub use stopping::STOPPING_MS_MAX;

/// The records that make it so, to be applied whole or not at all, and what who asked is told then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Empty where nothing changes.
    pub records: Vec<Record>,
    /// For who asked, once the records are durable.
    pub outcome: Outcome,
}

/// Decides a command on an image that holds everything decided before it.
pub fn decide(
    image: &Image,
    command: &Command,
    rules: &dyn ConfigRules,
) -> Result<Decision, Refusal> {
    let mut draft = Draft::on(image);
    let outcome = outcome(&mut draft, command, rules)?;
    if !draft.records.is_empty() {
        lease::end_returned(&mut draft);
        stopping::end_returned(&mut draft);
    }
    let records = match validates_only(command) {
        true => Vec::new(),
        false => draft.records,
    };
    Ok(Decision { records, outcome })
}

fn outcome(
    draft: &mut Draft,
    command: &Command,
    rules: &dyn ConfigRules,
) -> Result<Outcome, Refusal> {
    Ok(match command {
        Command::FoundCluster(ask) => Outcome::FoundCluster(found_cluster(draft, ask)?),
        Command::RegisterBroker(ask) => {
            Outcome::RegisterBroker(brokers::register(draft, ask, rules)?)
        }
        Command::ChangeBroker(ask) => Outcome::ChangeBroker(brokers::change(draft, ask, rules)?),
        Command::ChangeBrokers(ask) => {
            Outcome::ChangeBrokers(brokers::change_all(draft, ask, rules))
        }
        Command::ChangeRack(ask) => Outcome::ChangeRack(brokers::change_rack(draft, ask)?),
        Command::ChangeEndpoints(ask) => {
            Outcome::ChangeEndpoints(brokers::change_endpoints(draft, ask)?)
        }
        Command::UnregisterBroker(ask) => {
            Outcome::UnregisterBroker(brokers::unregister(draft, ask)?)
        }
        Command::AssignDirectories(ask) => {
            Outcome::AssignDirectories(directories::assign(draft, ask, rules)?)
        }
        Command::AlterPartition(ask) => Outcome::AlterPartition(isr::alter(draft, ask, rules)?),
        Command::AlterPartitionReassignments(ask) => {
            Outcome::AlterPartitionReassignments(reassignment::alter(draft, ask, rules)?)
        }
        Command::ElectLeaders(ask) => Outcome::ElectLeaders(leaders::elect(draft, ask, rules)),
        Command::RequestLease(ask) => Outcome::RequestLease(lease::request(draft, ask, rules)?),
        Command::ReleaseLease(ask) => Outcome::ReleaseLease(lease::release(draft, ask)),
        Command::ExpireLeases(ask) => Outcome::ExpireLeases(lease::expire(draft, ask)),
        Command::SetStopping(ask) => {
            stopping::set(draft, ask);
            Outcome::SetStopping(())
        }
        Command::CreateTopics(ask) => Outcome::CreateTopics(topics::create(draft, ask, rules)?),
        Command::DeleteTopics(ask) => Outcome::DeleteTopics(topics::delete(draft, ask)),
        Command::CreatePartitions(ask) => {
            Outcome::CreatePartitions(partitions::create(draft, ask, rules)?)
        }
        Command::AlterConfigs(ask) => Outcome::AlterConfigs(configs::alter(draft, ask, rules)),
        Command::IncrementalAlterConfigs(ask) => {
            Outcome::IncrementalAlterConfigs(configs::alter_incrementally(draft, ask, rules))
        }
        Command::AllocateProducerIds(ask) => {
            Outcome::AllocateProducerIds(producer_ids::allocate(draft, ask)?)
        }
        Command::SetFeatures(ask) => Outcome::SetFeatures(set_features(draft, ask)?),
        Command::SettlePartitions(_) => {
            settle::topic(draft, rules, None);
            Outcome::SettlePartitions(())
        }
    })
}

fn validates_only(command: &Command) -> bool {
    match command {
        Command::CreateTopics(create) => create.validate_only,
        Command::CreatePartitions(create) => create.validate_only,
        Command::AlterConfigs(alter) => alter.validate_only,
        Command::IncrementalAlterConfigs(alter) => alter.validate_only,
        Command::SetFeatures(set) => set.validate_only,
        _ => false,
    }
}

/// The image as it becomes while a command is decided, and the records so far.
struct Draft {
    image: Image,
    records: Vec<Record>,
}

impl Draft {
    fn on(image: &Image) -> Self {
        Self {
            image: image.clone(),
            records: Vec::new(),
        }
    }

    /// Decides one record. It was decided on this very image, so it applies.
    fn push(&mut self, record: impl Into<Record>) {
        let record = record.into();
        if let Err(mismatch) = self.image.apply(&record) {
            unreachable!("a decision does not fit the image it was made on: {mismatch}");
        }
        self.records.push(record);
    }
}

/// What the metadata of a new cluster begins with: its id, and all features at the highest levels that this software
/// knows, since nobody runs older software in it.
pub fn founding_records(cluster_id: Arc<str>) -> Vec<Record> {
    let features = features::SUPPORTED_FEATURES.iter().map(|feature| {
        let (name, level) = (feature.name.into(), feature.level_max);
        FeatureRecord { name, level }.into()
    });
    let cluster = ClusterRecord { cluster_id }.into();
    std::iter::once(cluster).chain(features).collect()
}

fn found_cluster(draft: &mut Draft, found: &FoundCluster) -> Result<(), Refusal> {
    match draft.image.cluster_id() {
        Some(present) if *present == found.cluster_id => Ok(()),
        Some(present) => Err(Refusal::new(
            ErrorCode::InconsistentClusterId,
            format!(
                "The cluster's id is '{present}' and can't become '{}'.",
                found.cluster_id
            ),
        )),
        None => {
            let records = founding_records(found.cluster_id.clone());
            records.into_iter().for_each(|record| draft.push(record));
            Ok(())
        }
    }
}

fn set_features(draft: &mut Draft, set: &SetFeatures) -> Result<(), Refusal> {
    for (name, level) in &set.levels {
        let invalid = |why: String| {
            let message = format!("Invalid update version {level} for feature {name}. {why}");
            Err(Refusal::new(ErrorCode::InvalidUpdateVersion, message))
        };
        let Some(feature) = features::find(name) else {
            return invalid("This cluster does not support this feature.".into());
        };
        let present = draft.image.feature(name);
        let (level_min, level_max) = (feature.level_min, feature.level_max);
        if *level < 0 {
            return invalid("A feature version cannot be less than 0.".into());
        } else if *level != 0 && !(level_min..=level_max).contains(level) {
            return invalid(format!(
                "Valid versions are from {level_min} to {level_max}."
            ));
        } else if *level < present && !set.downgrade {
            return invalid(
                "Can't downgrade the version of this feature without setting the upgrade type to either safe \
                 or unsafe downgrade."
                    .into(),
            );
        } else if let Some(broker) = without_level(&draft.image, *level) {
            let Levels { min, max } = broker.levels;
            return invalid(format!(
                "Broker {} only supports versions {min}-{max} (software {}): upgrade it first, or unregister it if it is \
                 gone for good.",
                broker.id, broker.software
            ));
        } else if *level != present {
            let (name, level) = (name.as_str().into(), *level);
            draft.push(FeatureRecord { name, level });
        }
    }
    Ok(())
}

/// A broker whose software can't read what the others would write. One that is away comes back with it.
fn without_level(image: &Image, level: i16) -> Option<&Arc<Broker>> {
    image.brokers().find(|broker| !broker.levels.allow(level))
}
