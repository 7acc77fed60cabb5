//! The status: what is, and what is awaited. Made whole by a pure function from what was seen and decided; written only
//! where it differs, at once where a condition or the generation does, and otherwise at most every ten seconds.

mod brokers;
mod conditions;
pub mod deleting;

use std::collections::BTreeMap;
use std::time::Duration;

use kube::api::PostParams;
use kube::{Api, ResourceExt};
use tokio::time::Instant;

pub use conditions::TYPES;

use super::observed::Observed;
use super::step::{Waiting, is_outdated, roll};
use super::validate::Invalid;
use super::wanted::Wanted;
use crate::context::{Context, Key, Memory};
use crate::crd::KafkaCluster;
use crate::crd::cluster::{KafkaClusterStatus, RolloutStatus};

/// Progress is written no more often than this.
const PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// All that bears on the status.
pub struct Facts<'a> {
    /// The resource as it was read.
    pub cluster: &'a KafkaCluster,
    /// What is wanted, or why it can't be.
    pub wanted: Result<&'a Wanted, &'a Invalid>,
    /// What was seen.
    pub observed: &'a Observed,
    /// What is awaited.
    pub waits: &'a [(Waiting, String)],
    /// Why brokers may not stop.
    pub blocked: &'a BTreeMap<i32, Vec<String>>,
    /// What failed.
    pub failures: &'a [String],
    /// How long brokers have not been ready.
    pub away: &'a BTreeMap<i32, Duration>,
    /// Where clients begin, by listener.
    pub bootstrap: BTreeMap<String, String>,
    /// The level of `milena.version`, where the brokers said.
    pub level: Option<i16>,
}

/// The status that these facts make.
pub fn of(facts: &Facts) -> KafkaClusterStatus {
    let before = facts.cluster.status.clone().unwrap_or_default();
    let mut status = KafkaClusterStatus {
        observed_generation: facts.cluster.metadata.generation,
        conditions: conditions::of(facts, &before.conditions),
        brokers: brokers::of(facts),
        ..before
    };
    if let Some(view) = &facts.observed.view {
        status.voters = view.voters().into_iter().collect();
    }
    if let Some(level) = facts.level {
        status.metadata_version = Some(level.to_string());
    }
    if let Ok(wanted) = facts.wanted {
        status.cluster_id = Some(wanted.cluster_id.clone());
        status.version = Some(wanted.version.clone());
        status.topic_defaults = Some(crate::crd::cluster::TopicDefaults {
            replication_factor: Some(wanted.topic_defaults.replication_factor),
            min_in_sync_replicas: Some(wanted.topic_defaults.min_in_sync_replicas),
        });
        let pods = facts.observed.pods.iter();
        let ready =
            pods.filter(|(id, pod)| pod.is_ready() && wanted.ids().any(|other| other == **id));
        status.ready_brokers = Some(format!("{}/{}", ready.count(), wanted.brokers()));
        status.rollout = Some(rollout(facts, wanted));
        status.bootstrap.clone_from(&facts.bootstrap);
    }
    status
}

fn rollout(facts: &Facts, wanted: &Wanted) -> RolloutStatus {
    let observed = facts.observed;
    let of_wanted = observed
        .pods
        .iter()
        .filter(|(id, _)| wanted.ids().any(|other| other == **id));
    let updated = of_wanted
        .filter(|(_, pod)| !is_outdated(wanted, pod))
        .count();
    let first = roll::outdated(wanted, observed).next();
    let (from, to) = match first {
        None => (None, None),
        Some((_, pod)) if pod.image != wanted.image => {
            (Some(pod.image.clone()), Some(wanted.image.clone()))
        }
        Some((_, pod)) => {
            let pool = wanted.pools.iter().find(|pool| pool.name == pod.pool);
            let to = pool.map(|pool| pool.revision.clone());
            (Some(pod.revision.clone()), to)
        }
    };
    RolloutStatus {
        from,
        to,
        updated: i32::try_from(updated).unwrap_or(i32::MAX),
        total: i32::try_from(wanted.brokers()).unwrap_or(i32::MAX),
        waiting_for: waiting_for(facts.waits),
    }
}

/// The first thing that is awaited; a roll's before others.
pub fn waiting_for(waits: &[(Waiting, String)]) -> Option<String> {
    let first = waits.iter().min_by_key(|(kind, _)| *kind);
    first.map(|(_, text)| text.clone())
}

/// How a status differs from the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Nothing,
    /// Numbers, and sentences about what is awaited.
    Progress,
    /// Something that somebody waits for.
    News,
}

fn change(before: &KafkaClusterStatus, after: &KafkaClusterStatus) -> Change {
    let holds = |status: &KafkaClusterStatus| {
        let conditions = status.conditions.iter();
        let of = conditions.map(|one| (one.type_.clone(), one.status.clone(), one.reason.clone()));
        let states = status
            .brokers
            .iter()
            .map(|broker| (broker.id, broker.state.clone()));
        (of.collect::<Vec<_>>(), states.collect::<Vec<_>>())
    };
    let facts = |status: &KafkaClusterStatus| {
        (
            status.observed_generation,
            status.cluster_id.clone(),
            status.version.clone(),
            status.bootstrap.clone(),
        )
    };
    if before == after {
        Change::Nothing
    } else if facts(before) != facts(after) || holds(before) != holds(after) {
        Change::News
    } else {
        Change::Progress
    }
}

/// Writes the status where it is to be written. What is left to write wants another look after the time returned.
pub async fn write(
    cluster: &KafkaCluster,
    status: KafkaClusterStatus,
    context: &Context,
    memory: &mut Memory,
) -> Result<Option<Duration>, kube::Error> {
    let key = Key::of(cluster);
    for kind in TYPES {
        let holds = status
            .conditions
            .iter()
            .any(|one| conditions::is_true(one, kind));
        context.metrics.condition(&key, kind, holds);
    }
    let before = cluster.status.clone().unwrap_or_default();
    let since = memory.status_written.map(|at| at.elapsed());
    match change(&before, &status) {
        Change::Nothing => return Ok(None),
        Change::Progress => {
            if let Some(since) = since.filter(|since| *since < PROGRESS_EVERY) {
                return Ok(Some(PROGRESS_EVERY - since));
            }
        }
        Change::News => {}
    }
    let clusters: Api<KafkaCluster> = Api::namespaced(context.client.clone(), &key.namespace);
    // The resource version goes along: what was decided on an older one is not written.
    let mut cluster = cluster.clone();
    cluster.metadata.managed_fields = None;
    cluster.status = Some(status);
    let name = cluster.name_any();
    clusters
        .replace_status(&name, &PostParams::default(), &cluster)
        .await?;
    memory.status_written = Some(Instant::now());
    Ok(None)
}

#[cfg(test)]
mod tests;
