//! Brokers that are taken away: only the highest ids of a pool, or a whole pool that the spec names no more.
//!
//! Drain, move every replica away, move the vote away, then let the pod go, then forget the broker, and its claim by
//! `onScaleDown`. What began is noted on the claim, so that scaling up again takes it back.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Decision, Named, Step, Undo, Waiting};
use crate::cluster::brokers::{ShownBroker, brokers};
use crate::cluster::observed::{Claim, Leaving, Observed, View};
use crate::cluster::wanted::Wanted;
use crate::crd::cluster::OnScaleDown;

/// What is kept of brokers that are not wanted any more, for as long as something needs them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// How many pods each wanted pool's StatefulSet has for now, where that is more than wanted.
    pub replicas: BTreeMap<String, i32>,
    /// The brokers that are there and not wanted, by pool.
    pub leaving: BTreeMap<String, Vec<i32>>,
}

/// What is built besides what is wanted. The StatefulSet of a pool that the spec does not name is not built, but only
/// scaled, by [`next`].
pub fn kept(wanted: &Wanted, observed: &Observed) -> Kept {
    let mut kept = Kept::default();
    for pool in &wanted.pools {
        let there = there(observed, &pool.name, pool.ids.start);
        if there.end > pool.ids.end {
            let end = kept_until(wanted, observed, &pool.name, &there);
            if end > pool.ids.end {
                kept.replicas
                    .insert(pool.name.clone(), end - pool.ids.start);
            }
        }
    }
    let wants = |id: i32| wanted.ids().any(|wanted| wanted == id);
    for (id, pool) in known(observed) {
        if !wants(id) {
            kept.leaving.entry(pool).or_default().push(id);
        }
    }
    kept
}

/// All brokers of StatefulSets and pods with their pools, and those that still have replicas though somebody deleted
/// their StatefulSet while they were drained.
fn known(observed: &Observed) -> BTreeMap<i32, String> {
    let mut known = BTreeMap::new();
    for pool in observed.sets.keys() {
        known.extend(observed.set_ids(pool).map(|id| (id, pool.clone())));
    }
    let pods = observed.pods.iter();
    known.extend(pods.map(|(id, pod)| (*id, pod.pool.clone())));
    let halfway = observed.claims.iter().filter(|(id, claim)| {
        let leaves = claim.leaving == Some(Leaving::ScaleDown);
        leaves && !observed.sets.contains_key(&claim.pool) && !may_be_forgotten(observed, **id)
    });
    known.extend(halfway.map(|(id, claim)| (*id, claim.pool.clone())));
    known
}

/// Nothing of the broker is left, as far as the brokers say.
fn may_be_forgotten(observed: &Observed, id: i32) -> bool {
    observed.view.as_ref().is_some_and(|view| {
        let broker = view.brokers.get(&id);
        broker.is_none_or(|broker| broker.replicas == 0) && !view.voters().contains(&id)
    })
}

/// The ids of a pool that want a pod: those of its StatefulSet, or, where somebody deleted that, all that are known.
/// What a StatefulSet was told to let go does not come back, though nobody may answer at the moment.
fn there(observed: &Observed, pool: &str, start: i32) -> Range<i32> {
    if observed.sets.contains_key(pool) {
        return observed.set_ids(pool);
    }
    let known = known(observed).into_iter().filter(|(_, of)| of == pool);
    let last = known.map(|(id, _)| id).max();
    start..last.map_or(start, |last| last + 1)
}

/// StatefulSets of pools that the spec names no more.
pub fn unwanted_sets<'a>(
    wanted: &'a Wanted,
    observed: &'a Observed,
) -> impl Iterator<Item = (&'a String, &'a crate::cluster::observed::Set)> {
    let named = |pool: &String| wanted.pools.iter().any(|known| known.name == *pool);
    observed
        .sets
        .iter()
        .filter(move |(pool, set)| !named(pool) && !set.terminating)
}

/// The end of the ids that a StatefulSet has to keep: only the highest go, and only once nothing needs them.
fn kept_until(wanted: &Wanted, observed: &Observed, pool: &str, there: &Range<i32>) -> i32 {
    let floor = wanted.pools.iter().find(|known| known.name == pool);
    let floor = floor
        .map_or(there.start, |pool| pool.ids.end)
        .max(there.start);
    let mut ids = (floor..there.end).rev();
    ids.find(|id| !may_go(wanted, observed, *id))
        .map_or(floor, |id| id + 1)
}

/// Nothing needs it: no replica is there, nor on its way, and it does not vote.
fn may_go(wanted: &Wanted, observed: &Observed, id: i32) -> bool {
    let Some(view) = &observed.view else {
        return false;
    };
    let votes = view.voters().contains(&id);
    let holds = match view.brokers.get(&id) {
        Some(broker) => !broker.draining || broker.replicas > 0,
        None => false,
    };
    let voters_complete = wanted.voters.iter().all(|id| view.voters().contains(id));
    !votes && !holds && voters_complete && view.cluster.partitions.reassigning == 0
}

/// What is to be done for brokers that go, that stay after all, and that are gone.
pub fn next(wanted: &Wanted, observed: &Observed) -> Decision {
    let mut decision = cancelled(wanted, observed);
    let leaving: Vec<i32> = leaving(wanted, observed).collect();
    match too_few_would_stay(wanted, observed) {
        Some(why) if !leaving.is_empty() => decision.and(Decision::wait(Waiting::Refused, why)),
        None if !leaving.is_empty() => decision.and(drain(observed, &leaving)),
        _ => {}
    }
    for (pool, set) in unwanted_sets(wanted, observed) {
        let there = there(observed, pool, set.start);
        let keep = kept_until(wanted, observed, pool, &there) - set.start;
        let has_pods = observed.pods.values().any(|pod| pod.pool == *pool);
        if keep < set.replicas {
            decision.steps.push(Step::ScaleSet(Named::set(set), keep));
        } else if set.replicas == 0 && !has_pods {
            decision.steps.push(Step::DeleteSet(Named::set(set)));
        }
    }
    let ending: Vec<i32> = ending(wanted, observed).collect();
    if !ending.is_empty() {
        let text = format!("{} to stop", brokers(&ending));
        decision.and(Decision::wait(Waiting::ScaleDown, text));
    }
    decision.and(forget(wanted, observed));
    decision
}

/// Brokers that nothing wants any more, and whose pods still end.
fn ending<'a>(wanted: &'a Wanted, observed: &'a Observed) -> impl Iterator<Item = i32> + 'a {
    let wants = |id: i32| wanted.ids().any(|wanted| wanted == id);
    let pods = observed.pods.keys().copied();
    pods.filter(move |id| !wants(*id) && is_gone(observed, *id))
}

/// Topics of which a replica would have no broker, in words.
fn too_few_would_stay(wanted: &Wanted, observed: &Observed) -> Option<String> {
    let staying = wanted.ids().count();
    let topics = observed.view.iter().flat_map(|view| view.topics.iter());
    let mut large = topics.filter(|(_, facts)| {
        usize::try_from(facts.replication_factor).is_ok_and(|replicas| replicas > staying)
    });
    let (name, facts) = large.next()?;
    let more = match large.count() {
        0 => String::new(),
        more => format!(" ({more} more topics have too many, too)"),
    };
    Some(format!(
        "can't scale down to {staying}: topic {name} has {} replicas of each partition{more}; lower that first, or keep \
         more brokers",
        facts.replication_factor
    ))
}

/// Brokers that are there and that the spec does not want.
pub fn leaving<'a>(wanted: &'a Wanted, observed: &'a Observed) -> impl Iterator<Item = i32> + 'a {
    let wants = |id: i32| wanted.ids().any(|wanted| wanted == id);
    let known = known(observed).into_keys();
    known.filter(move |id| !wants(*id) && !is_gone(observed, *id))
}

/// Its pod ends, and nothing wants it again.
fn is_gone(observed: &Observed, id: i32) -> bool {
    let in_set = observed
        .sets
        .keys()
        .any(|pool| observed.set_ids(pool).contains(&id));
    !in_set && may_be_forgotten(observed, id)
}

fn drain(observed: &Observed, leaving: &[i32]) -> Decision {
    let Some(view) = &observed.view else {
        return Decision::wait(Waiting::ScaleDown, "the brokers to answer");
    };
    let mut decision = Decision::default();
    for id in leaving {
        let claim = observed.claims.get(id);
        if let Some(claim) = claim.filter(|claim| claim.leaving != Some(Leaving::ScaleDown)) {
            let note = Step::NoteLeaving(Named::claim(claim), Some(Leaving::ScaleDown));
            decision.steps.push(note);
        }
        if view.brokers.get(id).is_some_and(|broker| !broker.draining) {
            decision.steps.push(Step::Drain(*id, true));
        }
    }
    let holding: Vec<&ShownBroker> = leaving
        .iter()
        .filter_map(|id| view.brokers.get(id))
        .filter(|broker| broker.replicas > 0)
        .collect();
    if let Some(replicas) = holding
        .iter()
        .map(|broker| broker.replicas)
        .reduce(|a, b| a + b)
    {
        let ids: Vec<i32> = holding.iter().map(|broker| broker.id).collect();
        let who = brokers(&ids);
        let plural = if replicas == 1 { "" } else { "s" };
        decision.and(Decision::wait(
            Waiting::ScaleDown,
            format!("{replicas} replica{plural} to leave {who}"),
        ));
        if view.cluster.partitions.reassigning == 0 {
            decision.steps.push(Step::MoveAway(ids));
        }
        return decision;
    }
    let voting: Vec<i32> = leaving
        .iter()
        .copied()
        .filter(|id| view.voters().contains(id))
        .collect();
    let text = match voting.is_empty() {
        true => format!("{} to stop", brokers(leaving)),
        false => format!("the vote of {} to move", brokers(&voting)),
    };
    decision.and(Decision::wait(Waiting::ScaleDown, text));
    decision
}

/// Brokers that were to go, and are wanted again.
fn cancelled(wanted: &Wanted, observed: &Observed) -> Decision {
    let mut decision = Decision::default();
    let Some(view) = &observed.view else {
        return decision;
    };
    for id in wanted.ids() {
        let noted = observed
            .claims
            .get(&id)
            .filter(|claim| claim.leaving.is_some_and(Leaving::is_scale_down));
        let (Some(claim), Some(broker)) = (noted, view.brokers.get(&id)) else {
            continue;
        };
        let moves = claim.leaving.is_some_and(Leaving::moves_replicas);
        let undo = Undo {
            moves: moves && view.cluster.partitions.reassigning > 0,
            lease: false,
            draining: broker.draining,
        };
        let claim = Named::claim(claim);
        decision.steps.push(Step::Stay { id, claim, undo });
    }
    decision
}

/// Brokers that are gone: the quorum forgets them, then their claims go or stay.
fn forget(wanted: &Wanted, observed: &Observed) -> Decision {
    let mut decision = Decision::default();
    let Some(view) = &observed.view else {
        return decision;
    };
    let there = |id: i32| {
        let in_set = observed
            .sets
            .keys()
            .any(|pool| observed.set_ids(pool).contains(&id));
        in_set || observed.pods.contains_key(&id) || wanted.ids().any(|wanted| wanted == id)
    };
    let noted = |id: i32| {
        let claim = observed.claims.get(&id);
        claim.is_some_and(|claim| claim.leaving.is_some_and(Leaving::is_scale_down))
    };
    let gone = view.brokers.values().filter(|broker| !there(broker.id));
    for broker in gone.filter(|broker| broker.replicas == 0) {
        let (id, fenced) = (broker.id, view.is_fenced(broker.id));
        if fenced {
            decision.steps.push(Step::Unregister(id));
        }
        if fenced || noted(id) {
            let text = format!("broker {id} to be forgotten, once it has been silent for a moment");
            decision.waits.push((Waiting::ScaleDown, text));
        }
    }
    let left = observed
        .claims
        .iter()
        .filter(|(id, claim)| !there(**id) && !claim.terminating);
    let emptied = left.clone().filter(|(id, claim)| {
        claim.leaving == Some(Leaving::ScaleDown) && may_be_forgotten(observed, **id)
    });
    for (_, claim) in emptied {
        let note = Step::NoteLeaving(Named::claim(claim), Some(Leaving::Emptied));
        decision.steps.push(note);
    }
    for (id, claim) in left.filter(|(id, claim)| deletes(wanted, view, **id, claim)) {
        decision.steps.push(Step::DeleteClaim {
            id: *id,
            claim: Named::claim(claim),
            why: format!("broker {id} was taken away, and its pool says onScaleDown: Delete"),
        });
    }
    decision
}

/// Only what the operator itself has drained, and the quorum has forgotten. The volumes of a pool that is not in the
/// spec any more stay: nobody says what becomes of them.
fn deletes(wanted: &Wanted, view: &View, id: i32, claim: &Claim) -> bool {
    let pool = wanted.pools.iter().find(|pool| pool.name == claim.pool);
    claim.leaving == Some(Leaving::Emptied)
        && !view.brokers.contains_key(&id)
        && pool.is_some_and(|pool| pool.on_scale_down == OnScaleDown::Delete)
}

#[cfg(test)]
mod tests;
