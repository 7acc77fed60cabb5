//! What to do next for one Topic, and what its status says: decided from values, and performed elsewhere.
//!
//! In this order, the first that holds: it is being deleted; its cluster can't be seen; its spec is wrong; the cluster
//! does not allow it; the topic is Kafka's own; an older resource has the topic; the brokers can't be asked; the topic
//! belongs to somebody else; it is to be made; it is to be changed.

mod deletion;
mod differences;
mod said;

use crate::crd::topic::{Adopt, DriftPolicy, TopicDeletionPolicy, TopicStatus};
use crate::crd::{KafkaCluster, Topic};

use super::access::{Access, NamespaceView, access};
use super::brokers::{ConfigChanges, Misplaced, NewTopic};
use super::known::KnownTopic;
use super::moves::Moving;
use super::status::{self, DRIFT, Holds, Kind, Owned, Verdict};
use super::wanted::{self, Wanted};
use differences::Differences;

/// Keeps a resource until its topic is deleted; there only while `deletionPolicy` is `Delete`.
pub const FINALIZER: &str = "milena.dev/topic";
/// Ready's reason from before the creation on, where a crash must not make the topic look like a stranger's.
const CREATING: &str = "Creating";

/// All that a decision rests on.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    pub topic: &'a Topic,
    /// Why the spec can't be read, where it can't.
    pub unreadable: Option<&'a str>,
    pub cluster: Option<&'a KafkaCluster>,
    pub namespace: &'a NamespaceView,
    /// The older resource for the same topic, as `namespace/name`.
    pub older: Option<&'a str>,
    pub feed: Feed<'a>,
    /// The topic of that name.
    pub known: Option<&'a KnownTopic>,
    /// The id of the topic that the brokers made for this resource, before the status says so.
    pub made: Option<&'a str>,
    /// The brokers were asked to make it, and did not answer.
    pub tried: bool,
    /// The brokers have said that the resource's topic is no more.
    pub gone: bool,
    /// Why the brokers refused the present spec, until it is tried again.
    pub refused: Option<&'a str>,
    pub moves: Seen<Option<&'a Moving>>,
    /// The misplaced partitions of this topic.
    pub misplaced: Seen<&'a [Misplaced]>,
}

/// Whether the brokers are heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed<'a> {
    /// Nothing has come yet.
    Starting,
    Live,
    /// For long enough to say so, and why.
    Down(&'a str),
}

/// What has to be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen<T> {
    NotYet,
    As(T),
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Rest,
    /// Put the finalizer on.
    Hold,
    /// Take the finalizer off; the topic stays for this reason, where it might have been deleted.
    LetGo(Option<String>),
    /// Ask what is on its way.
    Look,
    Create(NewTopic),
    Alter(ConfigChanges),
    /// So many partitions in all.
    Grow(i32),
    /// So many replicas.
    Replicate(i32),
    /// The topic of that id.
    Delete(String),
}

/// A decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub step: Step,
    /// What the status is to say; `None` leaves it.
    pub verdict: Option<Verdict>,
    /// The status has to say so before the step is taken.
    pub say_first: bool,
    /// A topic that was there already becomes this resource's.
    pub adopts: bool,
}

impl Plan {
    fn rest(verdict: Verdict) -> Self {
        Self {
            verdict: Some(verdict),
            ..Self::only(Step::Rest)
        }
    }

    fn only(step: Step) -> Self {
        Self {
            step,
            verdict: None,
            say_first: false,
            adopts: false,
        }
    }
}

impl<'a> Case<'a> {
    fn status(&self) -> Option<&'a TopicStatus> {
        self.topic.status.as_ref()
    }

    fn own_id(&self) -> Option<&'a str> {
        self.status()?.topic_id.as_deref()
    }

    fn held(&self) -> bool {
        let finalizers = self.topic.metadata.finalizers.as_ref();
        finalizers.is_some_and(|all| all.iter().any(|one| one == FINALIZER))
    }

    fn deletes(&self) -> bool {
        self.topic.spec.deletion_policy == TopicDeletionPolicy::Delete
    }

    fn access(&self, cluster: &KafkaCluster, name: &str) -> Access {
        let namespace = self.topic.metadata.namespace.as_deref().unwrap_or_default();
        access(cluster, namespace, self.namespace, name)
    }

    /// The topic is this resource's own as far as the status says.
    fn owns(&self, known: &KnownTopic) -> bool {
        self.own_id() == Some(known.id.as_str())
    }
}

/// What to do next.
pub fn next(case: &Case<'_>) -> Plan {
    if case.topic.metadata.deletion_timestamp.is_some() {
        return deletion::next(case);
    }
    if let Some(problem) = case.unreadable {
        return Plan::rest(said::invalid(case, problem));
    }
    if case.held() && !case.deletes() {
        return Plan::only(Step::LetGo(None));
    }
    let Some(cluster) = case.cluster else {
        return Plan::rest(said::cluster_not_found(case.topic));
    };
    let wanted = match Wanted::of(case.topic) {
        Ok(wanted) => wanted,
        Err(problem) => return Plan::rest(said::invalid(case, &problem)),
    };
    let access = case.access(cluster, &wanted.name);
    if !access.any() {
        return Plan::rest(said::not_permitted(case.topic, &wanted.name));
    }
    if wanted::is_internal(&wanted.name) || case.known.is_some_and(|known| known.internal) {
        return Plan::rest(said::internal(&wanted.name));
    }
    if let Some(older) = case.older {
        return Plan::rest(said::older(&wanted.name, older));
    }
    match case.feed {
        Feed::Starting => return Plan::only(Step::Rest),
        Feed::Down(why) => return Plan::rest(said::unreachable(case, why)),
        Feed::Live => {}
    }
    if cluster.metadata.deletion_timestamp.is_some() {
        return Plan::rest(said::cluster_terminating(case));
    }
    let plan = match standing(case, &wanted, access) {
        Standing::Foreign(verdict) => Plan::rest(verdict),
        Standing::Absent => make(case, &wanted, access),
        Standing::Owned(known) => keep_in_step(case, &wanted, known),
    };
    hold_back(case, cluster, plan)
}

/// Whose the topic is.
enum Standing<'a> {
    Owned(&'a KnownTopic),
    /// There is none.
    Absent,
    Foreign(Verdict),
}

fn standing<'a>(case: &Case<'a>, wanted: &Wanted, access: Access) -> Standing<'a> {
    let Some(known) = case.known else {
        return Standing::Absent;
    };
    let ours = case.owns(known) || case.made == Some(known.id.as_str());
    let perhaps_ours = is_creating(case) || (case.tried && case.own_id().is_none());
    if ours || (perhaps_ours && is_identical(wanted, known)) {
        return Standing::Owned(known);
    }
    if let Some(own) = case.own_id() {
        return Standing::Foreign(said::made_anew(known, own));
    }
    if !access.adopt {
        return Standing::Foreign(said::may_not(case.topic, known, "adopt"));
    }
    let differences = Differences::between(wanted, known);
    match case.topic.spec.adopt {
        Adopt::Never => Standing::Foreign(said::exists(known)),
        Adopt::IfIdentical if !differences.is_empty() => {
            Standing::Foreign(said::not_identical(known, &differences))
        }
        Adopt::IfIdentical | Adopt::Always => Standing::Owned(known),
    }
}

/// A creation was begun, and its end is not known.
fn is_creating(case: &Case<'_>) -> bool {
    let ready = status::condition(case.status(), Kind::Ready);
    ready.is_some_and(|ready| ready.status == "False" && ready.reason == CREATING)
}

fn is_identical(wanted: &Wanted, known: &KnownTopic) -> bool {
    Differences::between(wanted, known).is_empty()
}

/// Makes the topic, or makes it again where somebody deleted it.
fn make(case: &Case<'_>, wanted: &Wanted, access: Access) -> Plan {
    let vanished = case.own_id().is_some();
    if vanished && case.topic.spec.drift_policy == DriftPolicy::Report && !is_creating(case) {
        return Plan::rest(said::missing(&wanted.name));
    }
    if !access.create {
        let verdict = said::may_not_create(case.topic, &wanted.name);
        return Plan::rest(verdict);
    }
    if case.deletes() && !case.held() {
        return Plan::only(Step::Hold);
    }
    let step = Step::Create(NewTopic {
        name: wanted.name.clone(),
        partitions: wanted.partitions,
        replication_factor: wanted.replication_factor,
        configs: wanted.configs.clone(),
    });
    // Where the new topic would not be taken for ours after a crash, the status says first that it is being made.
    let say_first = vanished || case.topic.spec.adopt == Adopt::Never;
    Plan {
        verdict: say_first.then(|| said::creating(&wanted.name, vanished)),
        say_first,
        ..Plan::only(step)
    }
}

/// Brings the resource's own topic to its spec: settings first, so that new partitions and replicas go where they should.
fn keep_in_step(case: &Case<'_>, wanted: &Wanted, known: &KnownTopic) -> Plan {
    if case.deletes() && !case.held() {
        return Plan::only(Step::Hold);
    }
    let made = case.made == Some(known.id.as_str()) || case.tried || is_creating(case);
    let adopts = !case.owns(known) && !made;
    let differences = Differences::between(wanted, known);
    let step = towards(case, &differences);
    let verdict = said::owned(case, known);
    let drifted = !differences.is_empty() && is_applied(case);
    if drifted && case.topic.spec.drift_policy == DriftPolicy::Report && !is_moving(case) {
        let verdict = verdict.say(Kind::Synced, Holds::False, DRIFT, said::drift(&differences));
        return Plan {
            adopts,
            ..Plan::rest(verdict)
        };
    }
    let verdict = match (&step, differences.shrink) {
        (Step::Look, _) => verdict.keep(Kind::Synced),
        (Step::Rest, Some((has, wanted))) => said::cannot_shrink(verdict, has, wanted),
        (Step::Rest, None) if differences.replicas.is_some() => {
            verdict.say(Kind::Synced, Holds::False, "Reassigning", said::REASSIGNING)
        }
        (Step::Rest, None) => verdict.say(Kind::Synced, Holds::True, "InSync", ""),
        // What the status says stands until the step's end is known.
        _ => {
            return Plan {
                adopts,
                ..Plan::only(step)
            };
        }
    };
    Plan {
        step,
        adopts,
        ..Plan::rest(verdict)
    }
}

/// The first thing that brings the topic closer to its spec.
fn towards(case: &Case<'_>, differences: &Differences) -> Step {
    if !differences.configs.is_empty() {
        return Step::Alter(differences.configs.clone());
    }
    if let Some((_, count)) = differences.grow {
        return Step::Grow(count);
    }
    if let Some((_, factor)) = differences.replicas {
        return match case.moves {
            Seen::NotYet => Step::Look,
            Seen::As(Some(_)) => Step::Rest,
            Seen::As(None) => Step::Replicate(factor),
        };
    }
    let moving = status::holds(case.status(), Kind::Reassigning);
    match moving && case.moves == Seen::NotYet {
        true => Step::Look,
        false => Step::Rest,
    }
}

/// The present spec was brought into effect once.
fn is_applied(case: &Case<'_>) -> bool {
    let applied = status::applied_generation(case.status());
    applied.is_some() && applied == case.topic.metadata.generation
}

fn is_moving(case: &Case<'_>) -> bool {
    matches!(case.moves, Seen::As(Some(_)))
}

/// Nothing is asked of the brokers of a paused cluster, nor again what they have just refused.
fn hold_back(case: &Case<'_>, cluster: &KafkaCluster, plan: Plan) -> Plan {
    let asks = matches!(
        plan.step,
        Step::Create(_) | Step::Alter(_) | Step::Grow(_) | Step::Replicate(_)
    );
    if !asks {
        return plan;
    }
    let (holds, reason, message) = match case.refused {
        Some(words) => (Holds::False, "Refused", words.to_owned()),
        None if cluster.spec.paused => (Holds::Unknown, "ClusterPaused", said::PAUSED.to_owned()),
        None => return plan,
    };
    let owned = case.known.filter(|_| !matches!(plan.step, Step::Create(_)));
    let verdict = match owned {
        Some(known) => said::owned(case, known),
        // Whoever begins to make it again must still be taken for its maker after a crash.
        None if is_creating(case) => Verdict::default().keep(Kind::Ready),
        None => Verdict::default().say(Kind::Ready, Holds::False, reason, message.clone()),
    };
    let verdict = verdict.say(Kind::Synced, holds, reason, message);
    Plan {
        adopts: plan.adopts,
        ..Plan::rest(verdict)
    }
}

fn owned(known: &KnownTopic) -> Owned {
    Owned {
        id: known.id.clone(),
        partitions: known.partitions,
        replication_factor: known.replication_factor,
    }
}

#[cfg(test)]
mod tests;
