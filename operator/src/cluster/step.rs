//! What to do next, decided on values; [`perform`] does it.
//!
//! | order | file | decides |
//! | --- | --- | --- |
//! | always | `notes.rs` | zone and claim on pods, whose the pods are, `founded`, version and level on claims |
//! | always | `volumes.rs` | claims to grow, the StatefulSet to make anew for it |
//! | always | `voters.rs` | who votes in the quorum |
//! | always | `scale.rs` | brokers to drain, to forget, and what is left of them |
//! | 1 | `stuck.rs` | pods that nobody will end |
//! | 2 | `replace.rs` | brokers whose volume is gone, on an explicit word |
//! | 3 | `broken.rs` | pods that never worked and are of an old revision |
//! | 4 | `cordon.rs` | brokers whose node is to go |
//! | 5 | `unreplicated.rs` | what was moved away for a restart |
//! | 6 | `roll.rs` | pods of an old revision, one lease after the other |
//!
//! `budget.rs` decides how many brokers may be evicted, and `scale.rs` also what of them is kept: both for what is built.
//!
//! Of the numbered ones, the first that has something to do is the only one in its turn: at most one of them stops a
//! broker.

pub mod broken;
pub mod budget;
pub mod cordon;
pub mod notes;
pub mod perform;
pub mod replace;
pub mod roll;
pub mod scale;
pub mod stuck;
pub mod unreplicated;
pub mod volumes;
pub mod voters;

#[cfg(test)]
pub mod samples;

use std::collections::BTreeMap;

use super::observed::{Leaving, Observed, Pod};
use super::unreplicated::Moved;
use super::wanted::Wanted;
use crate::crd::cluster::{OnOperatorUpgrade, Unreplicated};

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Annotates a pod.
    AnnotatePod {
        /// Which.
        pod: Named,
        /// Keys and values.
        values: BTreeMap<&'static str, String>,
    },
    /// Annotates a claim.
    AnnotateClaim {
        /// Which.
        claim: Named,
        /// Keys and values.
        values: BTreeMap<&'static str, String>,
    },
    /// Has a pod belong to the cluster as well as to its StatefulSet.
    KeepPod(Named),
    /// Notes on a claim that the cluster has been available.
    NoteFounded(Named),
    /// Notes on a claim why its broker is drained, or that it is not any more.
    NoteLeaving(Named, Option<Leaving>),
    /// Deletes a pod that takes nothing away.
    DeletePod {
        /// Its broker.
        id: i32,
        /// Which.
        pod: Named,
        /// Why.
        why: String,
    },
    /// Deletes a pod of which nothing can run any more.
    ForceDeletePod {
        /// Its broker.
        id: i32,
        /// Which.
        pod: Named,
        /// Why.
        why: String,
    },
    /// Asks for the stop lease of the first, else the second…, and deletes the pod of the one that gets it.
    Restart(Vec<(i32, Named)>),
    /// Brings back what was moved away for a restart.
    BringBack {
        /// From which broker.
        id: i32,
        /// Where it is noted.
        claim: Named,
        /// What.
        moved: Vec<Moved>,
    },
    /// Asks for a broker's stop lease and has others lead its partitions.
    HandOver(i32),
    /// Gives a broker's lease back.
    GiveBackLease(i32),
    /// Has a broker take no replicas and no leadership, or take them again.
    Drain(i32, bool),
    /// Moves all replicas away from these brokers.
    MoveAway(Vec<i32>),
    /// Takes back what was begun for a broker that stays after all, and then what is noted of it; all of it, or it fails.
    Stay {
        /// The broker.
        id: i32,
        /// Where it is noted.
        claim: Named,
        /// What is to be taken back.
        undo: Undo,
    },
    /// Moves what breaks a rule of placement.
    Repair,
    /// Throttles these topics' copies no more.
    Unthrottle(Vec<String>),
    /// Lets a broker vote.
    AddVoter(i32),
    /// Takes a broker's vote.
    RemoveVoter(i32),
    /// Forgets a broker.
    Unregister(i32),
    /// Deletes the claim of a broker that is gone.
    DeleteClaim {
        /// Its broker.
        id: i32,
        /// Which.
        claim: Named,
        /// Why.
        why: String,
    },
    /// Replaces a broker's volume; see `replace.rs`.
    ReplaceVolume {
        /// Its broker.
        id: i32,
        /// The claim, where it is still there.
        claim: Option<Named>,
        /// The pod, where it is there.
        pod: Option<Named>,
        /// The broker lives, and has to get its stop lease first: with this word for what can't stay online.
        lease: Option<&'static str>,
    },
    /// Asks for a larger volume.
    GrowClaim {
        /// Which.
        claim: Named,
        /// As the spec writes it.
        size: String,
    },
    /// Deletes a StatefulSet and leaves its pods.
    OrphanSet(Named),
    /// Deletes a StatefulSet that has no pods.
    DeleteSet(Named),
    /// Has a StatefulSet of a pool that is not wanted any more keep fewer pods.
    ScaleSet(Named, i32),
    /// Says that the cluster is not being stopped after all.
    ClearStopping,
}

/// What was begun for a broker that was to leave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Undo {
    /// Replicas are on their way from it: they stay where they are.
    pub moves: bool,
    /// It has its stop lease.
    pub lease: bool,
    /// It takes no replicas and no leadership.
    pub draining: bool,
}

/// An object as it was seen: what is done to it is done to this one, or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl Named {
    /// A pod.
    pub fn pod(pod: &Pod) -> Self {
        Self {
            name: pod.name.clone(),
            uid: pod.uid.clone(),
        }
    }

    /// A claim.
    pub fn claim(claim: &super::observed::Claim) -> Self {
        Self {
            name: claim.name.clone(),
            uid: claim.uid.clone(),
        }
    }

    /// A StatefulSet.
    pub fn set(set: &super::observed::Set) -> Self {
        Self {
            name: set.name.clone(),
            uid: set.uid.clone(),
        }
    }
}

/// What something waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Waiting {
    /// A restart of brokers.
    Roll,
    /// Brokers that are taken away.
    ScaleDown,
    /// A change of voters.
    Voters,
    /// A volume that grows.
    Volumes,
    /// The replacement of a broker.
    Replace,
    /// A node that is to go.
    Cordon,
    /// A volume that the API server does not let grow.
    VolumesRefused,
    /// Something that is refused, and why: it does not come about by waiting.
    Refused,
}

impl Waiting {
    /// Whether it comes about by waiting.
    pub fn comes_about(self) -> bool {
        !matches!(self, Self::Refused | Self::VolumesRefused)
    }

    /// For metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::Roll => "roll",
            Self::ScaleDown => "scale_down",
            Self::Voters => "voters",
            Self::Volumes | Self::VolumesRefused => "volumes",
            Self::Replace => "replace",
            Self::Cordon => "cordon",
            Self::Refused => "refused",
        }
    }
}

/// What to do and what is awaited.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// In this order.
    pub steps: Vec<Step>,
    /// In words.
    pub waits: Vec<(Waiting, String)>,
}

impl Decision {
    /// One step.
    pub fn of(step: Step) -> Self {
        Self {
            steps: vec![step],
            waits: Vec::new(),
        }
    }

    /// Nothing to do but to wait.
    pub fn wait(kind: Waiting, text: impl Into<String>) -> Self {
        Self {
            steps: Vec::new(),
            waits: vec![(kind, text.into())],
        }
    }

    /// The topics whose copies are to be throttled no more.
    pub fn unthrottled(&self) -> &[String] {
        let mut steps = self.steps.iter();
        let found = steps.find_map(|step| match step {
            Step::Unthrottle(topics) => Some(topics.as_slice()),
            _ => None,
        });
        found.unwrap_or_default()
    }

    fn and(&mut self, other: Self) {
        self.steps.extend(other.steps);
        self.waits.extend(other.waits);
    }
}

/// Topics in a turn: a few requests.
const UNTHROTTLED_MAX: usize = 1_000;

/// Everything that is to be done in this turn.
pub fn next(wanted: &Wanted, observed: &Observed) -> Decision {
    let mut decision = Decision::default();
    for always in [
        notes::next,
        volumes::next,
        voters::next,
        scale::next,
        repair,
    ] {
        decision.and(always(wanted, observed));
    }
    for in_turn in [
        stuck::next,
        replace::next,
        broken::next,
        cordon::next,
        unreplicated::next,
        roll::next,
    ] {
        let next = in_turn(wanted, observed);
        let acts = !next.steps.is_empty();
        decision.and(next);
        if acts {
            break;
        }
    }
    decision
}

/// Misplaced partitions are moved once nothing else moves and everybody is there.
fn repair(wanted: &Wanted, observed: &Observed) -> Decision {
    let Some(view) = &observed.view else {
        return Decision::default();
    };
    let mut decision = Decision::default();
    if view.cluster.stopping {
        decision.steps.push(Step::ClearStopping);
    }
    let health = &view.cluster.partitions;
    if health.reassigning == 0 {
        let throttled = view.topics.iter().filter(|(_, facts)| facts.is_throttled);
        let names: Vec<String> = throttled
            .take(UNTHROTTLED_MAX)
            .map(|(name, _)| name.clone())
            .collect();
        if !names.is_empty() {
            decision.steps.push(Step::Unthrottle(names));
        }
    }
    let settled = health.reassigning == 0 && health.offline == 0 && health.under_replicated == 0;
    let complete = wanted.ids().all(|id| !view.is_fenced(id));
    if health.misplaced > 0 && settled && complete && !wanted.paused {
        decision.steps.push(Step::Repair);
    }
    decision
}

/// Whether a pod is to be restarted: the spec changed, or the operator did and may restart brokers for that.
pub fn is_outdated(wanted: &Wanted, pod: &Pod) -> bool {
    let Some(pool) = wanted.pools.iter().find(|pool| pool.name == pod.pool) else {
        return false;
    };
    let by_operator = pod.template_revision != pool.template_revision
        && wanted.rollout.on_operator_upgrade == OnOperatorUpgrade::Auto;
    pod.revision != pool.revision || by_operator
}

/// What to ask for where partitions can't meet the lease, in the broker's word.
pub fn never_safe(wanted: &Wanted) -> &'static str {
    match wanted.rollout.unreplicated {
        Unreplicated::Allow => "allow",
        Unreplicated::Move => "move",
        Unreplicated::Wait => "block",
    }
}

/// Whether none of a partition's brokers may stop, where its topic has so many replicas.
pub fn is_unsafe(wanted: &Wanted, observed: &Observed, topic: &str, replicas: usize) -> bool {
    let facts = observed
        .view
        .as_ref()
        .and_then(|view| view.topics.get(topic));
    let own = facts.and_then(|facts| facts.min_in_sync);
    let least = own
        .unwrap_or(wanted.topic_defaults.min_in_sync_replicas)
        .max(1);
    usize::try_from(least).is_ok_and(|least| replicas <= least)
}

/// Topics that can't keep a partition writable without one of its brokers, with their numbers of partitions.
pub fn unsafe_topics<'a>(
    wanted: &Wanted,
    observed: &'a Observed,
) -> impl Iterator<Item = (&'a str, i32)> {
    let default = wanted.topic_defaults.min_in_sync_replicas;
    let topics = observed.view.iter().flat_map(|view| view.topics.iter());
    topics.filter_map(move |(name, facts)| {
        let least = facts.min_in_sync.unwrap_or(default).max(1);
        (facts.replication_factor <= least).then_some((name.as_str(), facts.partitions))
    })
}
