//! From the spec and what was found to [`Wanted`], or every reason why not. The schema and its rules have refused most of
//! what is wrong already; here is what they can't see.

mod config;
mod listeners;
mod version;
mod volumes;
mod voters;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;

use super::build;
pub use super::wanted::*;
use crate::crd::KafkaCluster;
use crate::crd::cluster::{
    Drain, Image, KafkaClusterSpec, PodMonitorMode, Pool, PullPolicy, Resources, Unreplicated,
};
pub use version::Version;
pub use voters::Standing;

/// What of the Kubernetes cluster and the brokers bears on what is wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The labels `milena.dev/cluster-id` of the cluster's claims.
    pub claim_cluster_ids: BTreeSet<String>,
    /// A broker has been part of this cluster: a claim says so.
    pub founded: bool,
    /// For a cluster that has no id yet: 22 letters of URL-safe base64, made anew for every try.
    pub fresh_cluster_id: String,
    /// Who votes, and where brokers are.
    pub standing: Standing,
    /// `spec.ordinals.start` of the pools' StatefulSets.
    pub pool_starts: BTreeMap<String, i32>,
    /// The level of the feature `milena.version` that the brokers write, if they have said.
    pub level: Option<i16>,
    /// The newest version that the cluster's claims have seen.
    pub claim_version: Option<Version>,
    /// The StorageClasses of the pools' claims.
    pub claim_classes: BTreeMap<String, BTreeSet<String>>,
    /// Brokers whose records are on claims of another pool than now has their ids.
    pub elsewhere: Vec<Elsewhere>,
}

/// A broker whose records are on the claim of a pool that had its id before.
#[derive(Clone, Debug, PartialEq)]
pub struct Elsewhere {
    /// The broker.
    pub id: i32,
    /// The pool that it was of.
    pub pool: String,
    /// The claim's name.
    pub claim: String,
}

/// What this operator brings.
#[derive(Clone, Debug, PartialEq)]
pub struct Operator {
    /// Its own version, which new clusters get.
    pub version: Version,
    /// The brokers' image without a tag.
    pub image_repository: String,
    /// From which version on brokers know which level of the feature `milena.version`, in rising order.
    pub levels: Vec<(Version, i16)>,
}

/// Why a spec can't be followed, for a condition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// The claims are of several clusters, or of another one than the status says.
    ClusterIdConflict,
    /// A broker setting is not known, has a value that is not allowed, or belongs to the operator.
    InvalidConfig,
    /// A listener can't be made.
    InvalidListener,
    /// A pool can't be made, or not as long as its old brokers are there.
    InvalidPool,
    /// Numbers that don't go together.
    InvalidSpec,
    /// The brokers' version or what they write is none that this operator knows.
    UnsupportedVersion,
    /// The version or what the brokers write would go back too far.
    DowngradeRefused,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Why, in one word.
    pub reason: Reason,
    /// Where: `spec.config`.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// All that is wrong; at least one thing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}", self.message())]
pub struct Invalid {
    /// In the spec's order.
    pub problems: Vec<Problem>,
}

/// A condition's message is for people: what is beyond is counted.
const PROBLEMS_SHOWN_MAX: usize = 5;

impl Invalid {
    /// The first problem's, for a condition.
    pub fn reason(&self) -> Reason {
        self.problems[0].reason
    }

    /// The first problems, one sentence each.
    pub fn message(&self) -> String {
        let shown = self.problems.iter().take(PROBLEMS_SHOWN_MAX);
        let shown: Vec<_> = shown
            .map(|it| format!("{}: {}", it.field, it.message))
            .collect();
        match self.problems.len().saturating_sub(PROBLEMS_SHOWN_MAX) {
            0 => shown.join("; "),
            more => format!("{}; and {more} more", shown.join("; ")),
        }
    }
}

/// Gathers what is wrong, so that all of it is said at once.
#[derive(Debug, Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, reason: Reason, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem {
            reason,
            field: field.into(),
            message: message.into(),
        });
    }
}

/// What the resource asks for, with everything defaulted.
pub fn check(
    cluster: &KafkaCluster,
    found: &Found,
    operator: &Operator,
) -> Result<Wanted, Invalid> {
    let mut problems = Problems::default();
    let spec = &cluster.spec;
    let pinned = cluster.status.as_ref().and_then(|it| it.version.clone());
    let pinned = pinned.or_else(|| found.claim_version.as_ref().map(ToString::to_string));
    let (version, metadata_version) = version::check(spec, pinned, found, operator, &mut problems);
    let pools = pools(spec, found, &mut problems);
    let brokers = pools.iter().map(|pool| pool.ids.len()).sum::<usize>();
    let topic_defaults = topic_defaults(spec, brokers, &mut problems);
    let (broker_config, live_config) =
        config::check(spec, &version, &topic_defaults, &mut problems);
    let listeners = listeners::check(spec, &pools, &mut problems);
    let cluster_id = cluster_id(cluster, found, &mut problems);
    let voters = voters::check(spec, &pools, &found.standing, &mut problems);
    if !problems.0.is_empty() {
        return Err(Invalid {
            problems: problems.0,
        });
    }
    let mut wanted = Wanted {
        name: cluster.name_any(),
        namespace: cluster.namespace().unwrap_or_default(),
        uid: cluster.uid().unwrap_or_default(),
        cluster_id,
        founding: !found.founded,
        image: image(spec.image.as_ref(), &version, operator),
        pull_policy: pull_policy(spec.image.as_ref()),
        pull_secrets: pull_secrets(spec.image.as_ref()),
        version: version.to_string(),
        metadata_version,
        pools,
        voters,
        listeners,
        placement: spec.placement.clone(),
        topic_defaults,
        broker_config,
        live_config,
        rollout: rollout(spec, brokers),
        drain: drain(spec),
        replace: spec.replace.clone(),
        pod_monitor: spec.monitoring.pod_monitor == PodMonitorMode::Auto,
        paused: spec.paused,
    };
    build::revise(&mut wanted, spec);
    Ok(wanted)
}

fn pools(spec: &KafkaClusterSpec, found: &Found, problems: &mut Problems) -> Vec<WantedPool> {
    if spec.pools.is_empty() {
        problems.add(
            Reason::InvalidPool,
            "spec.pools",
            "a cluster needs at least one pool",
        );
    }
    let pools = spec.pools.iter().enumerate();
    pools
        .map(|(at, pool)| self::pool(at, pool, found, problems))
        .collect()
}

fn pool(at: usize, pool: &Pool, found: &Found, problems: &mut Problems) -> WantedPool {
    let field = format!("spec.pools[{at}]");
    let start = pool.first_broker_id;
    if let Some(was) = found
        .pool_starts
        .get(&pool.name)
        .filter(|was| **was != start)
    {
        let message = format!(
            "the brokers of pool {} that are still there begin with {was}: leave firstBrokerId at that, or give the new \
             pool another name",
            pool.name
        );
        problems.add(
            Reason::InvalidPool,
            format!("{field}.firstBrokerId"),
            message,
        );
    }
    // Its brokers would be started a second time, on empty volumes, and take over from those that run.
    let mut others = found.pool_starts.iter();
    if let Some((other, was)) = others.find(|(name, was)| {
        **name != pool.name
            && i64::from(**was).abs_diff(start.into()) < POOL_IDS.unsigned_abs().into()
    }) {
        let message = format!(
            "the ids from {was} on belong to the brokers of pool {other}, which are still there: give pool {} another \
             firstBrokerId; a pool is renamed by adding one with another firstBrokerId and taking out the old one",
            pool.name
        );
        problems.add(
            Reason::InvalidPool,
            format!("{field}.firstBrokerId"),
            message,
        );
    }
    let volume = pool.volumes.first().cloned().unwrap_or_default();
    volumes::check(&field, pool, &volume, found, problems);
    let volume_bytes = bytes(&volume.size)
        .filter(|bytes| *bytes > 0)
        .unwrap_or_else(|| {
            let message = format!("{:?} is no size: write one such as 100Gi", volume.size);
            problems.add(
                Reason::InvalidPool,
                format!("{field}.volumes[0].size"),
                message,
            );
            0
        });
    WantedPool {
        name: pool.name.clone(),
        ids: start..start.saturating_add(pool.replicas.clamp(0, POOL_IDS)),
        volume_size: volume.size,
        volume_bytes,
        volume_class: volume.class_name,
        on_scale_down: pool.on_scale_down,
        resources: resources(pool.resources.as_ref()),
        template: pool.pod_template.clone(),
        grace_seconds: pool
            .pod_template
            .termination_grace_period_seconds
            .unwrap_or(GRACE_SECONDS),
        revision: String::new(),
        asked: BTreeMap::new(),
        template_revision: String::new(),
    }
}

/// Time for a broker to hand over and stop: as long as a big cluster needs to catch up once.
const GRACE_SECONDS: i64 = 600;

/// What a broker asks for where nothing is said: what a small one needs.
fn resources(given: Option<&Resources>) -> ResourceRequirements {
    let quantities = |amounts: &BTreeMap<String, crate::crd::Amount>| {
        let quantity = |(name, amount): (&String, &crate::crd::Amount)| {
            (name.clone(), Quantity(amount.0.clone()))
        };
        (!amounts.is_empty()).then(|| amounts.iter().map(quantity).collect::<BTreeMap<_, _>>())
    };
    match given {
        Some(given) => ResourceRequirements {
            requests: quantities(&given.requests),
            limits: quantities(&given.limits),
            ..ResourceRequirements::default()
        },
        None => ResourceRequirements {
            requests: Some(BTreeMap::from([
                ("cpu".to_owned(), Quantity("100m".to_owned())),
                ("memory".to_owned(), Quantity("256Mi".to_owned())),
            ])),
            ..ResourceRequirements::default()
        },
    }
}

fn topic_defaults(
    spec: &KafkaClusterSpec,
    brokers: usize,
    problems: &mut Problems,
) -> WantedTopicDefaults {
    let brokers = i32::try_from(brokers).unwrap_or(i32::MAX);
    let given = spec.topic_defaults.clone().unwrap_or_default();
    let replication_factor = given.replication_factor.unwrap_or(brokers.clamp(1, 3));
    if replication_factor > brokers {
        let message = format!("{replication_factor} is more than there are brokers, {brokers}");
        problems.add(
            Reason::InvalidSpec,
            "spec.topicDefaults.replicationFactor",
            message,
        );
    }
    let derived = if replication_factor >= 3 { 2 } else { 1 };
    let min_in_sync_replicas = given.min_in_sync_replicas.unwrap_or(derived);
    if min_in_sync_replicas > replication_factor {
        let message = format!(
            "{min_in_sync_replicas} is more than replicationFactor, {replication_factor}: no record could be written \
             with acks=all"
        );
        problems.add(
            Reason::InvalidSpec,
            "spec.topicDefaults.minInSyncReplicas",
            message,
        );
    }
    WantedTopicDefaults {
        replication_factor,
        min_in_sync_replicas,
    }
}

fn cluster_id(cluster: &KafkaCluster, found: &Found, problems: &mut Problems) -> String {
    let mut known: BTreeSet<&str> = found.claim_cluster_ids.iter().map(String::as_str).collect();
    known.extend(
        cluster
            .status
            .as_ref()
            .and_then(|it| it.cluster_id.as_deref()),
    );
    if known.len() > 1 {
        let ids: Vec<_> = known.iter().copied().collect();
        let message = format!(
            "the claims and the status are of different clusters, {}: nothing is touched; keep the claims of one, and \
             rename or delete the others",
            ids.join(" and ")
        );
        problems.add(Reason::ClusterIdConflict, "status.clusterId", message);
    }
    known
        .first()
        .map_or_else(|| found.fresh_cluster_id.clone(), |id| (*id).to_owned())
}

fn image(given: Option<&Image>, version: &Version, operator: &Operator) -> String {
    let given = given.cloned().unwrap_or_default();
    let repository = given
        .repository
        .unwrap_or_else(|| operator.image_repository.clone());
    match given.digest {
        Some(digest) => format!("{repository}@{digest}"),
        None => format!(
            "{repository}:{}",
            given.tag.unwrap_or_else(|| version.to_string())
        ),
    }
}

fn pull_policy(given: Option<&Image>) -> PullPolicy {
    given
        .and_then(|image| image.pull_policy)
        .unwrap_or(PullPolicy::IfNotPresent)
}

fn pull_secrets(given: Option<&Image>) -> Vec<String> {
    let secrets = given
        .map(|image| image.pull_secrets.as_slice())
        .unwrap_or_default();
    secrets.iter().map(|secret| secret.name.clone()).collect()
}

fn rollout(spec: &KafkaClusterSpec, brokers: usize) -> WantedRollout {
    let given = &spec.rollout;
    let derived = if brokers < 2 {
        Unreplicated::Allow
    } else {
        Unreplicated::Move
    };
    WantedRollout {
        max_unavailable: given.max_unavailable.max(1),
        soak: Duration::from_secs(u64::try_from(given.soak_seconds).unwrap_or(0)),
        unreplicated: given.unreplicated.unwrap_or(derived),
        on_operator_upgrade: given.on_operator_upgrade,
    }
}

fn drain(spec: &KafkaClusterSpec) -> WantedDrain {
    WantedDrain {
        on_cordon: spec.drain.on_cordon,
        bytes_per_second_max: bytes_per_second_max(&spec.drain),
    }
}

/// Of each broker while replicas move: far below what a disk or a network bears, so that clients go first.
const BYTES_PER_SECOND_MAX: u64 = 50 << 20;

/// How fast replicas move by the operator's doing, in bytes a second of each broker; none is no bound.
pub fn bytes_per_second_max(drain: &Drain) -> Option<u64> {
    let given = drain.max_bytes_per_second.as_ref();
    let given = given.and_then(|given| bytes(&given.0));
    Some(given.unwrap_or(BYTES_PER_SECOND_MAX)).filter(|bytes| *bytes > 0)
}

/// The bytes of a quantity such as `1.5Gi`, rounded up; none where it is no quantity, or of more than fit.
pub fn bytes(quantity: &str) -> Option<u64> {
    const SUFFIXES: &[(&str, u64)] = &[
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("Pi", 1 << 50),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("P", 1_000_000_000_000_000),
    ];
    let suffix = SUFFIXES
        .iter()
        .find_map(|(suffix, unit)| Some((quantity.strip_suffix(suffix)?, *unit)));
    let (number, unit) = suffix.unwrap_or((quantity, 1));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 3 {
        return None;
    }
    let thousandths: u64 = format!("{fraction:0<3}").parse().ok()?;
    let part = u64::try_from((u128::from(thousandths) * u128::from(unit)).div_ceil(1_000)).ok()?;
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(unit)?
        .checked_add(part)
}

#[cfg(test)]
mod tests;
