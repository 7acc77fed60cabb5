//! What the conditions say: each message names what is wrong and what to do about it.

use super::super::brokers::Misplaced;
use super::super::known::KnownTopic;
use super::super::moves::Moving;
use super::super::status::{self, CANNOT_SHRINK, Holds, Kind, Verdict};
use super::differences::Differences;
use super::{CREATING, Case, Seen};
use crate::crd::Topic;

/// Misplaced partitions told one by one; the others are counted.
const MISPLACED_TOLD_MAX: usize = 3;

pub const REASSIGNING: &str = "The replication factor changes once all replicas are copied; the condition Reassigning says how far that is.";
pub const PAUSED: &str =
    "The KafkaCluster is paused, and nothing is changed there: set its spec.paused to false.";

fn cluster(topic: &Topic) -> String {
    let reference = &topic.spec.cluster_ref;
    let own = topic.metadata.namespace.as_deref().unwrap_or_default();
    let namespace = reference.namespace.as_deref().unwrap_or(own);
    format!("{namespace}/{}", reference.name)
}

pub fn cluster_not_found(topic: &Topic) -> Verdict {
    let cluster = cluster(topic);
    Verdict::not_ready(
        "ClusterNotFound",
        format!(
            "There is no KafkaCluster {cluster}, or the operator may not see it: create it, or correct spec.clusterRef \
             by deleting this resource and applying it again."
        ),
    )
}

pub fn invalid(case: &Case<'_>, problem: &str) -> Verdict {
    let owned = case.known.filter(|known| case.owns(known));
    let verdict = match owned {
        Some(known) => self::owned(case, known),
        None => Verdict::default().say(Kind::Ready, Holds::False, "InvalidSpec", problem),
    };
    verdict.say(Kind::Synced, Holds::False, "InvalidSpec", problem)
}

pub fn not_permitted(topic: &Topic, name: &str) -> Verdict {
    let namespace = topic.metadata.namespace.as_deref().unwrap_or_default();
    let message = format!(
        "KafkaCluster {} allows no topic {name:?} to namespace {namespace}: its owner can add that to spec.topicAccess. \
         A topic that is there already is left as it is.",
        cluster(topic)
    );
    let verdict = Verdict::not_ready("NotPermitted", message.clone());
    verdict.say(Kind::NotPermitted, Holds::True, "TopicAccess", message)
}

/// Another operation would be allowed.
pub fn may_not(topic: &Topic, known: &KnownTopic, operation: &str) -> Verdict {
    let message = format!(
        "Topic {:?} exists already, and KafkaCluster {} does not allow namespace {} to {operation} it: its owner can add \
         that to spec.topicAccess.",
        known.name,
        cluster(topic),
        topic.metadata.namespace.as_deref().unwrap_or_default()
    );
    let verdict = Verdict::not_ready("NotPermitted", message.clone());
    verdict.say(Kind::NotPermitted, Holds::True, "Operation", message)
}

pub fn may_not_create(topic: &Topic, name: &str) -> Verdict {
    let message = format!(
        "There is no topic {name:?} yet, and KafkaCluster {} does not allow namespace {} to create it: its owner can add \
         that to spec.topicAccess.",
        cluster(topic),
        topic.metadata.namespace.as_deref().unwrap_or_default()
    );
    let verdict = Verdict::not_ready("NotPermitted", message.clone());
    verdict.say(Kind::NotPermitted, Holds::True, "Operation", message)
}

fn conflict(reason: &'static str, message: String) -> Verdict {
    let verdict = Verdict::not_ready("Conflict", message.clone());
    verdict.say(Kind::Conflict, Holds::True, reason, message)
}

pub fn internal(name: &str) -> Verdict {
    let message = format!(
        "{name:?} is one of Kafka's own topics, which no resource has: choose another topicName."
    );
    conflict("InternalTopic", message)
}

pub fn older(name: &str, older: &str) -> Verdict {
    let message = format!(
        "Topic resource {older} is older and has topic {name:?}: delete one of the two. The topic is left as it is."
    );
    conflict("OlderResource", message)
}

pub fn made_anew(known: &KnownTopic, own: &str) -> Verdict {
    let message = format!(
        "Topic {:?} was deleted and made again by somebody else: its id is {}, and this resource's was {own}. To take \
         the new topic over, delete this resource and apply it again; to have it made from this resource, delete the \
         topic.",
        known.name, known.id
    );
    conflict("MadeAnew", message)
}

pub fn exists(known: &KnownTopic) -> Verdict {
    let message = format!(
        "Topic {:?} exists already, and spec.adopt is Never: set it to IfIdentical or Always, choose another topicName, \
         or delete the topic.",
        known.name
    );
    conflict("Exists", message)
}

pub fn not_identical(known: &KnownTopic, differences: &Differences) -> Verdict {
    let message = format!(
        "Topic {:?} exists already and differs: {}. Change this spec accordingly, or set spec.adopt to Always to change \
         the topic.",
        known.name,
        differences.in_words()
    );
    conflict("NotIdentical", message)
}

pub fn missing(name: &str) -> Verdict {
    let message = format!(
        "Topic {name:?} was deleted by somebody else, and spec.driftPolicy is Report: set it to Correct to have an empty \
         topic made, or delete this resource."
    );
    Verdict::default()
        .say(Kind::Ready, Holds::False, "Missing", message.clone())
        .say(Kind::Synced, Holds::False, status::DRIFT, message)
}

pub fn creating(name: &str, again: bool) -> Verdict {
    let message = match again {
        true => format!(
            "Topic {name:?} was deleted by somebody else and is made again, without its records."
        ),
        false => format!("Topic {name:?} is being made."),
    };
    Verdict::default()
        .say(Kind::Ready, Holds::False, CREATING, message)
        .keep(Kind::Synced)
}

/// Nobody is heard: what was ready stays so.
pub fn unreachable(case: &Case<'_>, why: &str) -> Verdict {
    let message = format!(
        "No broker of KafkaCluster {} answers, and it is tried again: {why}",
        cluster(case.topic)
    );
    unknown(case, "ClusterUnreachable", message)
}

pub fn cluster_terminating(case: &Case<'_>) -> Verdict {
    let message = format!("KafkaCluster {} is being deleted.", cluster(case.topic));
    unknown(case, "ClusterTerminating", message)
}

fn unknown(case: &Case<'_>, reason: &'static str, message: String) -> Verdict {
    let stays = status::holds(case.status(), Kind::Ready)
        || status::holds(case.status(), Kind::Conflict)
        || super::is_creating(case);
    let verdict = Verdict::default();
    let verdict = match stays {
        true => verdict.keep(Kind::Ready),
        false => verdict.say(Kind::Ready, Holds::False, reason, message.clone()),
    };
    Verdict {
        reassignment: case.status().and_then(|status| status.reassignment.clone()),
        ..verdict
    }
    .say(Kind::Synced, Holds::Unknown, reason, message)
    .keep(Kind::Conflict)
    .keep(Kind::Reassigning)
    .keep(Kind::PlacementSatisfied)
}

/// The topic is there and ours; whether it is in step is for the caller to say.
pub fn owned(case: &Case<'_>, known: &KnownTopic) -> Verdict {
    let verdict = Verdict {
        owned: Some(super::owned(known)),
        ..Default::default()
    };
    let verdict = verdict.say(Kind::Ready, Holds::True, "Ready", "");
    let verdict = moving(case, verdict);
    placed(case, verdict)
}

fn moving(case: &Case<'_>, verdict: Verdict) -> Verdict {
    match case.moves {
        Seen::NotYet => Verdict {
            reassignment: case.status().and_then(|status| status.reassignment.clone()),
            ..verdict
        }
        .keep(Kind::Reassigning),
        Seen::As(None) => verdict,
        Seen::As(Some(moving)) => {
            let message = in_words(moving);
            Verdict {
                reassignment: Some(moving.status.clone()),
                ..verdict
            }
            .say(Kind::Reassigning, Holds::True, "Copying", message)
        }
    }
}

fn in_words(moving: &Moving) -> String {
    match moving.partitions {
        1 => "1 partition is on its way; nothing has to be done.".to_owned(),
        count => format!("{count} partitions are on their way; nothing has to be done."),
    }
}

fn placed(case: &Case<'_>, verdict: Verdict) -> Verdict {
    let kind = Kind::PlacementSatisfied;
    let before = status::condition(case.status(), kind).is_some();
    match (&case.topic.spec.placement, case.misplaced) {
        (None, _) if before => verdict.say(kind, Holds::True, "NoPlacement", ""),
        (None, _) => verdict,
        (Some(_), Seen::NotYet) => verdict.keep(kind),
        (Some(_), Seen::As([])) => verdict.say(kind, Holds::True, "Satisfied", ""),
        (Some(_), Seen::As(misplaced)) => {
            verdict.say(kind, Holds::False, "Misplaced", breaches(misplaced))
        }
    }
}

fn breaches(misplaced: &[Misplaced]) -> String {
    let told = misplaced.iter().take(MISPLACED_TOLD_MAX);
    let told: Vec<String> = told
        .map(|one| format!("partition {}: {}", one.partition, one.breaches.join(", ")))
        .collect();
    let told = told.join("; ");
    let more = match misplaced.len().saturating_sub(MISPLACED_TOLD_MAX) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!(
        "{told}{more}. Replicas are moved as soon as brokers allow it; `milena cluster repair` says what hinders them."
    )
}

pub fn cannot_shrink(verdict: Verdict, has: i32, wanted: i32) -> Verdict {
    let message = format!(
        "The topic has {has} partitions and can't have fewer: set spec.partitions to {has} (it is {wanted}), or make a \
         new topic."
    );
    verdict.say(Kind::Synced, Holds::False, CANNOT_SHRINK, message)
}

pub fn drift(differences: &Differences) -> String {
    format!(
        "Changed by somebody else: {}. Change this spec accordingly, or set spec.driftPolicy to Correct.",
        differences.in_words()
    )
}
