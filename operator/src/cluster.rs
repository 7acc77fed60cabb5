//! `KafkaCluster`, reconciled: look at what is, work out what should be, apply the difference, take the next step, say so
//! in the status.

pub mod brokers;
pub mod build;
pub mod deletion;
pub mod fetch;
mod found;
pub mod growth;
pub mod observed;
pub mod settings;
pub mod status;
pub mod step;
pub mod throttle;
pub mod unreplicated;
pub mod validate;
pub mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::atomic::Ordering;
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;
use uuid::Uuid;

use crate::apply::{self, ApplyError};
use crate::context::{Context, Key, Memory};
use crate::crd::KafkaCluster;
use crate::events::{Events, Kind};
use crate::namespace;
use build::{Budget, Given};
use deletion::Deletion;
use fetch::Seen;
use observed::Observed;
use step::perform::{Outcome, Performer};
use step::{Decision, Step, Waiting, budget, scale};
use validate::{Invalid, Version};
use wanted::Wanted;

/// While something goes on.
const AGAIN_BUSY: Duration = Duration::from_secs(2);
/// While the brokers start, or a spec can't be followed.
const AGAIN_SOON: Duration = Duration::from_secs(5);
/// While all is well: the budget has to tell the truth.
const AGAIN_AT_REST: Duration = Duration::from_secs(10);
/// A new cluster waits so long for its Services' addresses before its brokers start without them.
const ADDRESSES_WITHIN: Duration = Duration::from_secs(60);

/// What a look at a cluster came to.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// For metrics.
    pub word: &'static str,
    /// When to look again, whatever happens until then.
    pub again: Option<Duration>,
}

/// Nothing is left to look at.
const DONE: Look = Look {
    word: "ok",
    again: None,
};

/// Why a look came to nothing.
#[derive(Debug, Error)]
#[error("{}", kube_words(.0))]
pub struct Error(#[from] kube::Error);

impl Error {
    /// What it was decided on has changed meanwhile.
    pub fn is_conflict(&self) -> bool {
        matches!(&self.0, kube::Error::Api(status) if status.is_conflict())
    }
}

/// The API server's own words, where it said any.
pub fn kube_words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Brings one `KafkaCluster` closer to its spec, and says in its status what is left.
pub async fn reconcile(key: &Key, context: &Context) -> Result<Look, Error> {
    let Some(cluster) = fetch::cluster(key, context).await? else {
        return Ok(match deletion::gone(key, context).await? {
            Deletion::Stopping => again("ok", AGAIN_BUSY),
            Deletion::Done => DONE,
        });
    };
    let uid = cluster.metadata.uid.as_deref().unwrap_or_default();
    let mut memory = context.memories.take(key, uid);
    let look = look(&cluster, context, &mut memory).await;
    context.memories.put(key, memory);
    look
}

async fn look(
    cluster: &KafkaCluster,
    context: &Context,
    memory: &mut Memory,
) -> Result<Look, Error> {
    memory.look();
    let mut seen = fetch::observe(cluster, context, memory).await?;
    if cluster.metadata.deletion_timestamp.is_some() {
        return deleted(cluster, &seen, context, memory).await;
    }
    if seen.observed.namespace_is_going {
        // Nothing can be made in it, and no broker comes back.
        if seen.observed.pods.is_empty() {
            namespace::look_again(&Key::of(cluster).namespace, context).await?;
            return Ok(again("ok", AGAIN_SOON));
        }
        deletion::see_stopping(&seen).await;
        return Ok(again("ok", AGAIN_BUSY));
    }
    let paused = cluster.spec.paused;
    if !paused && deletion::keep_finalizer(cluster, context).await? {
        // The resource has another version now.
        return Ok(again("ok", Duration::ZERO));
    }
    seen.observed.level = settings::level(&seen, memory).await;
    let found = found::of(cluster, &seen.observed);
    let wanted = match validate::check(cluster, &found, &context.options.operator) {
        Ok(wanted) => wanted,
        Err(invalid) => return refused(cluster, &seen, &invalid, context, memory).await,
    };
    let has_pod_monitors = context.pod_monitors.load(Ordering::Relaxed);
    let given = given(&wanted, &seen.observed, has_pod_monitors);
    let (decision, outcome) = match paused {
        true => (Decision::default(), Outcome::default()),
        false => act(cluster, &wanted, &given, &seen, context, memory).await,
    };
    report(
        cluster,
        &wanted,
        &seen,
        (decision, outcome),
        context,
        memory,
    )
    .await
}

/// Applies what was built, then takes the steps.
async fn act(
    cluster: &KafkaCluster,
    wanted: &Wanted,
    given: &Given,
    seen: &Seen,
    context: &Context,
    memory: &mut Memory,
) -> (Decision, Outcome) {
    let mut resources = build::all(wanted, given);
    if awaits_addresses(cluster, &seen.observed, &resources.unaddressed) {
        resources.stateful_sets.clear();
    }
    let applied = apply::apply(&resources, wanted, &context.client).await;
    for what in &applied.changed {
        tracing::info!(cluster = %Key::of(cluster), what, "applied");
    }
    let key = Key::of(cluster);
    let events = Events::new(&context.recorder, cluster);
    let decision = step::next(wanted, &seen.observed);
    let may_repair = memory.may_repair(decision.steps.contains(&Step::Repair));
    let may_unthrottle = memory.may_unthrottle(decision.unthrottled());
    let performer = Performer {
        context,
        key: &key,
        events: &events,
        wanted,
        observed: &seen.observed,
        door: seen.door.clone(),
        may_repair,
        may_unthrottle,
    };
    let mut outcome = performer.perform(&decision.steps).await;
    memory.growth.note(mem::take(&mut outcome.no_growth));
    outcome.failures.extend(
        applied
            .problems
            .iter()
            .filter(|one| !is_conflict(one))
            .map(ToString::to_string),
    );
    if let Err(error) = settings::follow(wanted, cluster, seen, context, memory).await {
        outcome.failures.push(format!("settings: {error}"));
    }
    let newest = newest_level(wanted, context);
    match settings::raise(wanted, seen, newest, memory).await {
        Ok(None) => {}
        Ok(Some(level)) => {
            let text = format!("Brokers write metadata of level {level} from now on");
            events
                .tell(Kind::Normal, "MetadataVersionRaised", &text)
                .await;
        }
        Err(error) => outcome.failures.push(format!("metadataVersion: {error}")),
    }
    outcome.done += applied.changed.len();
    (decision, outcome)
}

/// The newest level that the wanted version of the brokers knows.
fn newest_level(wanted: &Wanted, context: &Context) -> Option<i16> {
    let version: Version = wanted.version.parse().ok()?;
    let levels = context.options.operator.levels.iter();
    levels
        .filter(|(from, _)| *from <= version)
        .map(|(_, level)| *level)
        .max()
}

/// What it was decided on has changed: the next look does it.
fn is_conflict(problem: &ApplyError) -> bool {
    match problem {
        ApplyError::Kube {
            source: kube::Error::Api(status),
            ..
        } => status.is_conflict(),
        ApplyError::Terminating { .. } => true,
        _ => false,
    }
}

/// Brokers that are told their addresses at their start need not change them: a new cluster's wait a moment for what its
/// Services get. Where nodes may not be read their addresses are those of the brokers' pods, and there would be none.
fn awaits_addresses(cluster: &KafkaCluster, observed: &Observed, unaddressed: &[String]) -> bool {
    let created = cluster.metadata.creation_timestamp.as_ref();
    let age = created.map(|created| observed.now.duration_since(created.0));
    let young = age.is_some_and(|age| age < ADDRESSES_WITHIN.try_into().unwrap_or_default());
    let comes_first = observed.nodes.is_some() && observed.sets.is_empty();
    !unaddressed.is_empty() && comes_first && young
}

/// What the builders have to know besides.
fn given(wanted: &Wanted, observed: &Observed, has_pod_monitors: bool) -> Given {
    let kept = scale::kept(wanted, observed);
    let voters = observed
        .view
        .iter()
        .flat_map(|view| view.voters())
        .collect();
    Given {
        replicas: kept.replicas,
        leaving: kept.leaving,
        voters,
        surroundings: observed.surroundings.clone(),
        budget: Budget {
            max_unavailable: budget::max_unavailable(wanted, observed),
            resource_version: observed
                .budget
                .as_ref()
                .map(|it| it.resource_version.clone()),
        },
        fresh_token: format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()),
        has_pod_monitors,
    }
}

async fn report(
    cluster: &KafkaCluster,
    wanted: &Wanted,
    seen: &Seen,
    (decision, outcome): (Decision, Outcome),
    context: &Context,
    memory: &mut Memory,
) -> Result<Look, Error> {
    let key = Key::of(cluster);
    let observed = &seen.observed;
    let mut waits = decision.waits;
    waits.extend(outcome.waits);
    let kinds: BTreeSet<Waiting> = waits.iter().map(|(kind, _)| *kind).collect();
    context.metrics.waits(&key, &kinds);
    tell_refusal(cluster, &waits, context, memory).await;
    let facts = status::Facts {
        cluster,
        wanted: Ok(wanted),
        observed,
        waits: &waits,
        blocked: &outcome.blocked,
        failures: &outcome.failures,
        away: &away(wanted.ids(), observed, memory),
        bootstrap: build::advertised::bootstrap(wanted, &observed.surroundings),
        level: memory.level.map(|(level, _)| level),
    };
    let status = status::of(&facts);
    let later = status::write(cluster, status, context, memory).await?;
    let busy = outcome.done > 0 || kinds.iter().any(|kind| kind.comes_about());
    let ready = wanted
        .ids()
        .all(|id| observed.pods.get(&id).is_some_and(|pod| pod.is_ready()));
    let rest = match (
        busy,
        ready && observed.view.is_some() && outcome.failures.is_empty(),
    ) {
        (true, _) => AGAIN_BUSY,
        (false, false) => AGAIN_SOON,
        (false, true) => AGAIN_AT_REST,
    };
    Ok(again("ok", later.map_or(rest, |later| later.min(rest))))
}

/// What is refused is told once as an event, too.
async fn tell_refusal(
    cluster: &KafkaCluster,
    waits: &[(Waiting, String)],
    context: &Context,
    memory: &mut Memory,
) {
    let refused = waits.iter().find(|(kind, _)| *kind == Waiting::Refused);
    let text = refused.map(|(_, text)| text.clone());
    if text != memory.told
        && let Some(text) = &text
    {
        let events = Events::new(&context.recorder, cluster);
        events.tell(Kind::Warning, "Refused", text).await;
    }
    memory.told = text;
}

/// How long each broker has not been ready: as far as its pod says, else as far as this process saw. Its pod may be another
/// than before; and who has just begun to look has seen nothing yet.
fn away(
    ids: impl Iterator<Item = i32>,
    observed: &Observed,
    memory: &mut Memory,
) -> BTreeMap<i32, Duration> {
    let ready = |id: &i32| observed.pods.get(id).is_some_and(|pod| pod.is_ready());
    let away: BTreeSet<i32> = ids.filter(|id| !ready(id)).collect();
    memory.away_since.retain(|id, _| away.contains(id));
    let mut durations = BTreeMap::new();
    for id in away {
        let seen = memory.away_since.entry(id).or_insert_with(Instant::now);
        let said = observed.pods.get(&id).and_then(|pod| pod.unready_since);
        let said = said.and_then(|since| observed.now.duration_since(since).try_into().ok());
        durations.insert(id, seen.elapsed().max(said.unwrap_or_default()));
    }
    durations
}

fn again(word: &'static str, after: Duration) -> Look {
    Look {
        word,
        again: Some(after),
    }
}

/// The spec can't be followed: nothing is changed, and the status says why.
async fn refused(
    cluster: &KafkaCluster,
    seen: &Seen,
    invalid: &Invalid,
    context: &Context,
    memory: &mut Memory,
) -> Result<Look, Error> {
    let before = cluster
        .status
        .as_ref()
        .map(|status| status.bootstrap.clone());
    let facts = status::Facts {
        cluster,
        wanted: Err(invalid),
        observed: &seen.observed,
        waits: &[],
        blocked: &BTreeMap::new(),
        failures: &[],
        away: &BTreeMap::new(),
        bootstrap: before.unwrap_or_default(),
        level: memory.level.map(|(level, _)| level),
    };
    let status = status::of(&facts);
    let later = status::write(cluster, status, context, memory).await?;
    let rest = AGAIN_AT_REST;
    Ok(again(
        "invalid",
        later.map_or(rest, |later| later.min(rest)),
    ))
}

async fn deleted(
    cluster: &KafkaCluster,
    seen: &Seen,
    context: &Context,
    memory: &mut Memory,
) -> Result<Look, Error> {
    if deletion::go_on(cluster, seen, context).await? == Deletion::Done {
        return Ok(DONE);
    }
    let awaited = deletion::awaited(&seen.observed);
    let status = status::deleting::of(cluster, seen.observed.now, &awaited);
    status::write(cluster, status, context, memory).await?;
    Ok(again("ok", AGAIN_BUSY))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::build::samples;
    use super::*;

    #[test]
    fn a_broker_is_away_for_as_long_as_its_pod_says_whoever_looks() {
        let (wanted, mut observed) = step::samples::healthy();
        let ten_minutes = Duration::from_secs(600);
        let pod = observed.pods.get_mut(&1).unwrap();
        pod.ready_since = None;
        pod.unready_since = observed.now.checked_sub(ten_minutes).ok();
        let away = away(wanted.ids(), &observed, &mut Memory::default());
        assert_eq!(away.keys().collect::<Vec<_>>(), [&1]);
        assert!(away[&1] >= ten_minutes);
    }

    #[test]
    fn a_new_cluster_waits_for_addresses_unless_it_is_its_pods_that_bring_them() {
        let mut cluster = samples::cluster();
        let observed = Observed {
            nodes: Some(BTreeMap::new()),
            ..Observed::default()
        };
        cluster.metadata.creation_timestamp = Some(Time(observed.now));
        let unaddressed = ["broker 0, listener external".to_owned()];
        assert!(awaits_addresses(&cluster, &observed, &unaddressed));
        assert!(!awaits_addresses(&cluster, &observed, &[]));
        let unread = Observed {
            nodes: None,
            ..observed
        };
        assert!(!awaits_addresses(&cluster, &unread, &unaddressed));
    }
}
