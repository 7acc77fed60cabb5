//! What a Topic's status says: made from what was decided and from what it says already, so that saying the same again
//! changes nothing, be it after a restart.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::crd::topic::{ReassignmentStatus, TopicStatus};

/// The longest message: lists of differences and brokers' words are cut there.
const MESSAGE_CHARS_MAX: usize = 1_000;

/// Synced's reason where a change made elsewhere is only reported.
pub const DRIFT: &str = "Drift";
/// Synced's reason where the topic has more partitions than the spec.
pub const CANNOT_SHRINK: &str = "PartitionsCannotShrink";

/// The conditions of a Topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The topic is there and belongs to this resource.
    Ready,
    /// It is as the spec says.
    Synced,
    /// Its replicas are on their way.
    Reassigning,
    /// It belongs to somebody else.
    Conflict,
    /// The cluster does not allow it.
    NotPermitted,
    /// Its replicas are where `spec.placement` wants them.
    PlacementSatisfied,
    /// This resource is being deleted, and waits.
    Deleting,
}

/// What holds of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    True,
    False,
    Unknown,
}

/// What is said of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub holds: Holds,
    pub reason: &'static str,
    pub message: String,
}

/// All that was found out of a topic.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Conditions with what is said of them; `None` where it stays what it was. One that is not named here no longer
    /// holds.
    pub conditions: Vec<(Kind, Option<Said>)>,
    /// The topic that belongs to the resource; what it was where `None`.
    pub owned: Option<Owned>,
    pub reassignment: Option<ReassignmentStatus>,
}

/// The topic as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    pub id: String,
    pub partitions: i32,
    pub replication_factor: i32,
}

impl Kind {
    /// As it stands in the status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Synced => "Synced",
            Self::Reassigning => "Reassigning",
            Self::Conflict => "Conflict",
            Self::NotPermitted => "NotPermitted",
            Self::PlacementSatisfied => "PlacementSatisfied",
            Self::Deleting => "Deleting",
        }
    }
}

impl Holds {
    fn word(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl Verdict {
    /// Says something of a condition.
    pub fn say(
        mut self,
        kind: Kind,
        holds: Holds,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        let message = message.into().chars().take(MESSAGE_CHARS_MAX).collect();
        let said = Said {
            holds,
            reason,
            message,
        };
        self.conditions.push((kind, Some(said)));
        self
    }

    /// Leaves a condition as it was.
    pub fn keep(mut self, kind: Kind) -> Self {
        self.conditions.push((kind, None));
        self
    }

    /// Neither ready nor in step, for the same reason.
    pub fn not_ready(reason: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self::default()
            .say(Kind::Ready, Holds::False, reason, message.clone())
            .say(Kind::Synced, Holds::Unknown, reason, message)
    }

    /// What is said of a condition.
    #[cfg(test)]
    pub fn said(&self, kind: Kind) -> Option<&Said> {
        let found = self.conditions.iter().find(|(known, _)| *known == kind);
        found.and_then(|(_, said)| said.as_ref())
    }
}

/// The condition of that kind.
pub fn condition(status: Option<&TopicStatus>, kind: Kind) -> Option<&Condition> {
    let mut conditions = status?.conditions.iter();
    conditions.find(|condition| condition.type_ == kind.name())
}

/// Whether the status says that it holds.
pub fn holds(status: Option<&TopicStatus>, kind: Kind) -> bool {
    condition(status, kind).is_some_and(|condition| condition.status == "True")
}

/// The generation of the spec that the topic was last brought to; differences since then were made elsewhere.
pub fn applied_generation(status: Option<&TopicStatus>) -> Option<i64> {
    let synced = condition(status, Kind::Synced)?;
    let applied = match synced.status.as_str() {
        "True" | "Unknown" => true,
        _ => [DRIFT, CANNOT_SHRINK].contains(&synced.reason.as_str()),
    };
    synced.observed_generation.filter(|_| applied)
}

/// The status after a verdict at `now`.
pub fn next(
    old: Option<&TopicStatus>,
    verdict: &Verdict,
    name: &str,
    generation: Option<i64>,
    now: Timestamp,
) -> TopicStatus {
    let mut status = old.cloned().unwrap_or_default();
    status.observed_generation = generation;
    status.topic_name = Some(name.to_owned());
    if let Some(owned) = &verdict.owned {
        status.topic_id = Some(owned.id.clone());
        status.partitions = Some(owned.partitions);
        status.replication_factor = Some(owned.replication_factor);
    }
    status.reassignment = verdict.reassignment.clone();
    status.conditions = conditions(old, verdict, generation, now);
    status
}

fn conditions(
    old: Option<&TopicStatus>,
    verdict: &Verdict,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    // The server keeps whole seconds.
    let now = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
    let mut all: Vec<Condition> = old.map(|old| old.conditions.clone()).unwrap_or_default();
    let named = |kind: &str| {
        verdict
            .conditions
            .iter()
            .any(|(known, _)| known.name() == kind)
    };
    for condition in &mut all {
        if !named(&condition.type_) && condition.status != "False" {
            condition.last_transition_time = now.clone();
            condition.status = "False".into();
            condition.reason = "NoLonger".into();
            condition.message = String::new();
            condition.observed_generation = generation;
        }
    }
    for (kind, said) in &verdict.conditions {
        let Some(said) = said else {
            continue;
        };
        let place = all.iter().position(|known| known.type_ == kind.name());
        let since = place
            .map(|place| &all[place])
            .filter(|known| known.status == said.holds.word())
            .map_or_else(|| now.clone(), |known| known.last_transition_time.clone());
        // What can't be known now leaves standing to which generation the topic was brought.
        let observed = match (kind, said.holds) {
            (Kind::Synced, Holds::Unknown) => applied_generation(old),
            _ => generation,
        };
        let condition = Condition {
            type_: kind.name().into(),
            status: said.holds.word().into(),
            reason: said.reason.into(),
            message: said.message.clone(),
            observed_generation: observed,
            last_transition_time: since,
        };
        match place {
            Some(place) => all[place] = condition,
            None => all.push(condition),
        }
    }
    all
}

/// The merge patch that makes `new` of `old`, tied to the resource as it was seen; `None` where there is nothing to write.
pub fn patch(
    old: Option<&TopicStatus>,
    new: &TopicStatus,
    uid: Option<&str>,
    resource_version: Option<&str>,
) -> Option<Value> {
    if old == Some(new) {
        return None;
    }
    let before = old.map(fields).unwrap_or_default();
    let mut after = fields(new);
    for gone in before.keys() {
        after.entry(gone.clone()).or_insert(Value::Null);
    }
    after.retain(|key, value| before.get(key) != Some(value));
    let metadata = json!({ "uid": uid, "resourceVersion": resource_version });
    Some(json!({ "metadata": metadata, "status": after }))
}

fn fields(status: &TopicStatus) -> Map<String, Value> {
    match serde_json::to_value(status) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ready() -> Verdict {
        let owned = Owned {
            id: "id".into(),
            partitions: 3,
            replication_factor: 1,
        };
        Verdict {
            owned: Some(owned),
            ..Default::default()
        }
        .say(Kind::Ready, Holds::True, "Ready", "")
        .say(Kind::Synced, Holds::True, "InSync", "")
    }

    #[test]
    fn the_same_verdict_again_changes_nothing_and_writes_nothing() {
        let first = next(None, &ready(), "t", Some(1), at(10));
        let again = next(Some(&first), &ready(), "t", Some(1), at(99));
        assert_eq!(first, again);
        assert_eq!(patch(Some(&first), &again, None, None), None);
    }

    #[test]
    fn a_transition_has_its_time_and_another_message_has_not() {
        let first = next(None, &ready(), "t", Some(1), at(10));
        let refused = |words| {
            Verdict::default()
                .say(Kind::Ready, Holds::True, "Ready", "")
                .say(Kind::Synced, Holds::False, "Refused", words)
        };
        let second = next(Some(&first), &refused("a"), "t", Some(2), at(20));
        let third = next(Some(&second), &refused("b"), "t", Some(2), at(30));
        let synced = condition(Some(&third), Kind::Synced).unwrap();
        assert_eq!(
            (synced.last_transition_time.0, synced.message.as_str()),
            (at(20), "b")
        );
        let ready = condition(Some(&third), Kind::Ready).unwrap();
        assert_eq!(ready.last_transition_time.0, at(10));
        assert_eq!(
            third.topic_id.as_deref(),
            Some("id"),
            "it still owns its topic"
        );
    }

    #[test]
    fn what_no_longer_holds_says_so_and_what_is_kept_stays() {
        let conflict =
            Verdict::not_ready("Conflict", "x").say(Kind::Conflict, Holds::True, "Older", "x");
        let first = next(None, &conflict, "t", Some(1), at(10));
        let kept = next(
            Some(&first),
            &ready().keep(Kind::Conflict),
            "t",
            Some(1),
            at(20),
        );
        assert!(holds(Some(&kept), Kind::Conflict));
        let healed = next(Some(&first), &ready(), "t", Some(1), at(20));
        let condition = condition(Some(&healed), Kind::Conflict).unwrap();
        assert_eq!(
            (condition.status.as_str(), condition.reason.as_str()),
            ("False", "NoLonger")
        );
        let later = next(Some(&healed), &ready(), "t", Some(1), at(50));
        assert_eq!(later, healed);
    }

    #[test]
    fn a_patch_has_what_differs_takes_away_what_is_gone_and_is_tied_to_what_was_seen() {
        let moving = Verdict {
            reassignment: Some(ReassignmentStatus {
                bytes_left: 5,
                eta: None,
            }),
            ..ready()
        };
        let old = next(None, &moving, "t", Some(1), at(10));
        let new = next(Some(&old), &ready(), "t", Some(2), at(10));
        let patch = patch(Some(&old), &new, Some("u"), Some("7")).unwrap();
        assert_eq!(
            patch["metadata"],
            json!({ "uid": "u", "resourceVersion": "7" })
        );
        assert_eq!(patch["status"]["reassignment"], Value::Null);
        assert_eq!(patch["status"]["observedGeneration"], 2);
        let status = patch["status"].as_object().unwrap();
        assert!(status.contains_key("reassignment") && !status.contains_key("topicId"));
    }

    #[test]
    fn an_outage_does_not_hide_whether_the_spec_was_applied() {
        let out = || {
            Verdict::default()
                .keep(Kind::Ready)
                .say(Kind::Synced, Holds::Unknown, "Out", "")
        };
        let first = next(None, &ready(), "t", Some(4), at(10));
        assert_eq!(applied_generation(Some(&first)), Some(4));
        let second = next(Some(&first), &out(), "t", Some(5), at(20));
        assert_eq!(
            applied_generation(Some(&second)),
            Some(4),
            "5 was never applied"
        );
        assert_eq!(second.observed_generation, Some(5));
        let never = next(None, &out(), "t", Some(1), at(20));
        assert_eq!(applied_generation(Some(&never)), None);
    }

    #[test]
    fn messages_are_bounded() {
        let long = Verdict::not_ready("Refused", "x".repeat(9_999));
        let said = long.said(Kind::Ready).unwrap();
        assert_eq!(said.message.len(), MESSAGE_CHARS_MAX);
    }
}
