//! The conditions. Each is always there, with a reason and, where there is something to say, a message.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::Facts;
use super::brokers::state;
use crate::cluster::brokers::brokers as in_words;
use crate::cluster::build::asked::differing;
use crate::cluster::observed::Pod;
use crate::cluster::step::{Waiting, roll, unsafe_topics};
use crate::cluster::wanted::Wanted;
use crate::crd::Conditions;

/// All types, in the status' order.
pub const TYPES: [&str; 7] = [
    "Available",
    "Progressing",
    "Degraded",
    "Rebalancing",
    "UnsafeTopics",
    "RestartRequired",
    "VolumeResize",
];

/// A broker that is away for longer than a restart takes is a fault.
const AWAY_MAX: Duration = Duration::from_secs(90);
/// Of names in a message, so many are listed.
const NAMES_MAX: usize = 5;
/// Of a message, in letters: what the definition takes.
const MESSAGE_MAX: usize = 32_768;

/// Whether the condition is of that type and holds.
pub fn is_true(condition: &Condition, kind: &str) -> bool {
    condition.type_ == kind && condition.status == "True"
}

/// A condition's answer.
struct Finding {
    /// `True`, `False` or `Unknown`.
    status: &'static str,
    reason: &'static str,
    message: String,
}

fn yes(reason: &'static str, message: impl Into<String>) -> Finding {
    Finding {
        status: "True",
        reason,
        message: message.into(),
    }
}

fn no(reason: &'static str, message: impl Into<String>) -> Finding {
    Finding {
        status: "False",
        reason,
        message: message.into(),
    }
}

/// It can't be said now: that is no all-clear.
fn unknown(reason: &'static str, message: impl Into<String>) -> Finding {
    Finding {
        status: "Unknown",
        reason,
        message: message.into(),
    }
}

/// What only the brokers know, while they do not say it.
fn no_answer(facts: &Facts) -> Finding {
    unknown(
        "NoAnswer",
        facts.observed.no_view.clone().unwrap_or_default(),
    )
}

/// What can't be compared with a spec that can't be followed.
fn invalid() -> Finding {
    unknown("InvalidSpec", "see Degraded")
}

/// All conditions; each keeps the time of its last change.
pub fn of(facts: &Facts, before: &Conditions) -> Conditions {
    let findings = [
        available(facts),
        progressing(facts),
        degraded(facts),
        rebalancing(facts),
        unsafe_found(facts),
        restart_required(facts),
        volume_resize(facts),
    ];
    let pairs = TYPES.iter().zip(findings);
    pairs
        .map(|(kind, finding)| condition(facts, before, kind, finding))
        .collect()
}

fn condition(facts: &Facts, before: &Conditions, kind: &str, finding: Finding) -> Condition {
    let known = before.iter().find(|one| one.type_ == kind);
    let same = known.filter(|known| known.status == finding.status);
    let now = || Time(facts.observed.now);
    Condition {
        type_: kind.to_owned(),
        status: finding.status.to_owned(),
        reason: finding.reason.to_owned(),
        message: bounded(finding.message),
        last_transition_time: same.map_or_else(now, |known| known.last_transition_time.clone()),
        observed_generation: facts.cluster.metadata.generation,
    }
}

/// The API server refuses a longer message, and with it the whole status.
pub(super) fn bounded(message: String) -> String {
    match message.char_indices().nth(MESSAGE_MAX) {
        None => message,
        Some(_) => {
            let kept = message.chars().take(MESSAGE_MAX - 1);
            kept.chain(['…']).collect()
        }
    }
}

fn available(facts: &Facts) -> Finding {
    let Some(view) = &facts.observed.view else {
        let why = facts.observed.no_view.clone().unwrap_or_default();
        return match facts.observed.is_founded() {
            true => no("NoQuorum", why),
            false => no("Installing", why),
        };
    };
    let health = &view.cluster.partitions;
    if !facts.observed.is_founded() {
        return no(
            "Installing",
            "not all voters of the metadata quorum are there yet",
        );
    }
    match health.offline {
        0 => yes("Serving", ""),
        1 => no("PartitionsOffline", "1 partition has no leader"),
        count => no(
            "PartitionsOffline",
            format!("{count} partitions have no leader"),
        ),
    }
}

fn progressing(facts: &Facts) -> Finding {
    let Ok(wanted) = facts.wanted else {
        return no(
            "InvalidSpec",
            "the spec can't be followed as it is: see Degraded",
        );
    };
    if wanted.paused {
        return no("Paused", "spec.paused is true: nothing is changed");
    }
    let first = facts.waits.iter().min_by_key(|(kind, _)| *kind);
    if let Some((kind, text)) = first.filter(|(kind, _)| kind.comes_about()) {
        let reason = match kind {
            Waiting::Roll => "Rolling",
            Waiting::ScaleDown => "ScalingDown",
            Waiting::Voters => "MovingVotes",
            Waiting::Volumes => "GrowingVolumes",
            Waiting::Replace => "ReplacingBroker",
            Waiting::Cordon | Waiting::VolumesRefused | Waiting::Refused => "LeavingNode",
        };
        return yes(reason, format!("waits for {text}"));
    }
    let away = wanted.ids().filter(|id| {
        let pod = facts.observed.pods.get(id);
        !pod.is_some_and(|pod| pod.is_ready())
    });
    let away: Vec<i32> = away.collect();
    match (away.is_empty(), facts.observed.is_founded()) {
        (true, _) => no("UpToDate", ""),
        (false, true) => yes("BrokersStarting", format!("{} not ready", in_words(&away))),
        (false, false) => yes("Installing", format!("{} not ready", in_words(&away))),
    }
}

fn degraded(facts: &Facts) -> Finding {
    let wanted = match facts.wanted {
        Ok(wanted) => wanted,
        Err(invalid) => return yes(reason_word(invalid), invalid.message()),
    };
    if !facts.failures.is_empty() {
        return yes("StepFailed", facts.failures.join("; "));
    }
    let troubles: Vec<String> = wanted.ids().filter_map(|id| trouble(facts, id)).collect();
    if !troubles.is_empty() {
        return yes("BrokersDown", listed(&troubles));
    }
    let refused = facts
        .waits
        .iter()
        .find(|(kind, _)| *kind == Waiting::Refused);
    if let Some((_, text)) = refused {
        return yes("Refused", text.clone());
    }
    let going: Vec<String> = wanted.ids().filter_map(|id| going(facts, id)).collect();
    if !going.is_empty() {
        return yes("ClaimDeleted", listed(&going));
    }
    let health = facts
        .observed
        .view
        .as_ref()
        .map(|view| view.cluster.partitions);
    match health {
        Some(health) if health.under_min_isr > 0 => {
            let count = health.under_min_isr;
            yes(
                "UnderMinIsr",
                format!("{count} partitions have too few replicas in sync to take acks=all"),
            )
        }
        _ => no("Healthy", ""),
    }
}

fn reason_word(invalid: &crate::cluster::validate::Invalid) -> &'static str {
    use crate::cluster::validate::Reason;
    match invalid.reason() {
        Reason::ClusterIdConflict => "ClusterIdConflict",
        Reason::InvalidConfig => "InvalidConfig",
        Reason::InvalidListener => "InvalidListener",
        Reason::InvalidPool => "InvalidPool",
        Reason::InvalidSpec => "InvalidSpec",
        Reason::UnsupportedVersion => "UnsupportedVersion",
        Reason::DowngradeRefused => "DowngradeRefused",
    }
}

/// What is wrong with a broker, where it does not come by itself within a restart's time.
fn trouble(facts: &Facts, id: i32) -> Option<String> {
    let observed = facts.observed;
    let pod = observed.pods.get(&id);
    let known = match (pod, facts.wanted) {
        (Some(pod), _) => pod.trouble.as_ref().map(|_| pod.trouble_text.as_str()),
        (None, Ok(wanted)) => {
            let pool = wanted.pool_of(id).map(|pool| pool.name.as_str());
            pool.and_then(|pool| observed.not_made.get(pool))
                .map(String::as_str)
        }
        (None, Err(_)) => None,
    };
    let long = facts.away.get(&id).is_some_and(|away| *away > AWAY_MAX);
    if known.is_none() && !long {
        return None;
    }
    let word = state(observed, id, pod);
    let claim = unbound(facts, id);
    Some(match known.unwrap_or_default() {
        "" => format!("broker {id} is {word}{claim}"),
        text => format!("broker {id} is {word}: {text}{claim}"),
    })
}

/// The first of these sentences, and how many others there are.
fn listed(sentences: &[String]) -> String {
    let first = sentences[..sentences.len().min(NAMES_MAX)].join("; ");
    match sentences.len().saturating_sub(NAMES_MAX) {
        0 => first,
        more => format!("{first}; and {more} more"),
    }
}

/// A claim that somebody has deleted: Kubernetes keeps it for as long as its pod runs.
fn going(facts: &Facts, id: i32) -> Option<String> {
    let claim = facts.observed.claims.get(&id)?;
    claim.terminating.then(|| {
        format!(
            "claim {} was deleted: its volume goes when broker {id} stops, and the broker is then rebuilt from other \
             replicas",
            claim.name
        )
    })
}

/// The claim that a broker waits for, where it has no volume yet.
fn unbound(facts: &Facts, id: i32) -> String {
    let claim = facts.observed.claims.get(&id);
    let Some(claim) = claim.filter(|claim| claim.capacity == 0) else {
        return String::new();
    };
    match &claim.class {
        Some(class) => format!(
            " (claim {} of StorageClass {class} is not bound)",
            claim.name
        ),
        None => format!(
            " (claim {} is not bound, and has no StorageClass)",
            claim.name
        ),
    }
}

fn rebalancing(facts: &Facts) -> Finding {
    let Some(view) = &facts.observed.view else {
        return no_answer(facts);
    };
    match view.cluster.partitions.reassigning {
        0 => no("Settled", ""),
        1 => yes("Reassigning", "1 partition is on its way to other brokers"),
        count => yes(
            "Reassigning",
            format!("{count} partitions are on their way to other brokers"),
        ),
    }
}

fn unsafe_found(facts: &Facts) -> Finding {
    let Ok(wanted) = facts.wanted else {
        return invalid();
    };
    if facts.observed.view.is_none() {
        return no_answer(facts);
    }
    let names: Vec<&str> = unsafe_topics(wanted, facts.observed)
        .map(|(name, _)| name)
        .collect();
    if names.is_empty() {
        return no("AllReplicated", "");
    }
    let named = named(&names);
    yes(
        "TooFewReplicas",
        format!(
            "{named}: no broker of theirs can stop without a pause, as they have no more replicas than \
             min.insync.replicas"
        ),
    )
}

/// The first of these names, and how many others there are.
fn named(names: &[&str]) -> String {
    let first = names[..names.len().min(NAMES_MAX)].join(", ");
    match names.len().saturating_sub(NAMES_MAX) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

fn restart_required(facts: &Facts) -> Finding {
    let Ok(wanted) = facts.wanted else {
        return invalid();
    };
    let outdated: Vec<(i32, &Pod)> = roll::outdated(wanted, facts.observed).collect();
    if !outdated.is_empty() {
        return yes("SpecChanged", waits_for_restart(wanted, &outdated));
    }
    let templates: BTreeMap<&str, &str> = wanted
        .pools
        .iter()
        .map(|pool| (pool.name.as_str(), pool.template_revision.as_str()))
        .collect();
    let differs = facts.observed.pods.iter().filter(|(_, pod)| {
        let wanted = templates.get(pod.pool.as_str());
        wanted.is_some_and(|wanted| *wanted != pod.template_revision)
    });
    let differs: Vec<i32> = differs.map(|(id, _)| *id).collect();
    match differs.is_empty() {
        true => no("UpToDate", ""),
        false => yes(
            "OperatorChanged",
            format!(
                "this operator would start {} in another way: set spec.restartedAt to have that now",
                in_words(&differs)
            ),
        ),
    }
}

/// What of the spec these brokers do not have yet: settings by their names, others by their fields'.
fn waits_for_restart(wanted: &Wanted, outdated: &[(i32, &Pod)]) -> String {
    let ids: Vec<i32> = outdated.iter().map(|(id, _)| *id).collect();
    let who = in_words(&ids);
    let parts: BTreeSet<&str> = outdated
        .iter()
        .filter_map(|(_, pod)| {
            let pool = wanted.pools.iter().find(|pool| pool.name == pod.pool)?;
            Some(differing(&pod.asked, &pool.asked))
        })
        .flatten()
        .collect();
    let parts: Vec<&str> = parts.into_iter().collect();
    match (parts.is_empty(), ids.len()) {
        (true, _) => format!("{who} still to be restarted for the spec as it is"),
        (false, 1) => format!("{}: {who} waits for its restart", named(&parts)),
        (false, _) => format!("{}: {who} wait for their restart", named(&parts)),
    }
}

fn volume_resize(facts: &Facts) -> Finding {
    let of = |wanted: Waiting| {
        let texts = facts.waits.iter().filter(move |(kind, _)| *kind == wanted);
        texts.map(|(_, text)| text.clone()).collect::<Vec<_>>()
    };
    let (refused, growing) = (of(Waiting::VolumesRefused), of(Waiting::Volumes));
    match (refused.is_empty(), growing.first()) {
        (false, _) => yes("Refused", listed(&refused)),
        (true, Some(text)) => yes("Growing", format!("waits for {text}")),
        (true, None) => no("Settled", ""),
    }
}
