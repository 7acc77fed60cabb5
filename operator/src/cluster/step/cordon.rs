//! Nodes that are to go: cordoned, or tainted by an autoscaler. The operator takes the stop lease of one broker on such
//! a node and has others lead its partitions, so that its eviction is admitted at once. Where replicas are to leave too,
//! they are moved, one broker at a time.
//!
//! A broker that is evicted instead of the one with the lease waits for its own lease: then the first gives its back.

use super::{Decision, Named, Step, Waiting};
use crate::cluster::brokers::State;
use crate::cluster::observed::{Claim, Leaving, Node, Observed, Pod, View};
use crate::cluster::wanted::Wanted;
use crate::crd::cluster::OnCordon;

/// A lease is asked for again when less than this is left of it.
const RENEW_MS: i64 = 120_000;

/// What is to be done for brokers whose node goes, and for those whose node stays after all.
pub fn next(wanted: &Wanted, observed: &Observed) -> Decision {
    let Some(view) = &observed.view else {
        return Decision::default();
    };
    let going: Vec<(i32, &Pod)> = going(wanted, observed).collect();
    let mut decision = over(wanted, observed, view, &going);
    if !decision.steps.is_empty() {
        return decision;
    }
    let holder = going.iter().find(|(id, _)| is_noted(observed, *id));
    let Some(&(id, pod)) = holder.or_else(|| going.first()) else {
        return decision;
    };
    let others = observed.pods.iter().filter(|(other, _)| **other != id);
    let mut others_away = others.filter(|(_, other)| !other.is_ready());
    if others_away.next().is_some() {
        return Decision::wait(
            Waiting::Cordon,
            format!("all others to be ready, so that broker {id} can leave its node"),
        );
    }
    let node = observed.node_of(pod);
    let replicas = wanted.drain.on_cordon == OnCordon::Replicas
        || node.is_some_and(|node| node.drain_replicas);
    decision.and(one(observed, view, id, replicas));
    decision
}

/// Brokers on nodes that go, and whose pods do not go yet.
fn going<'a>(wanted: &'a Wanted, observed: &'a Observed) -> impl Iterator<Item = (i32, &'a Pod)> {
    let going = observed.pods.iter().filter(move |(id, pod)| {
        let goes = observed
            .node_of(pod)
            .is_some_and(|node| minds(wanted, node));
        goes && pod.is_ready() && wanted.ids().any(|wanted| wanted == **id)
    });
    going.map(|(id, pod)| (*id, pod))
}

/// The node is to go, and its brokers are to mind.
fn minds(wanted: &Wanted, node: &Node) -> bool {
    node.leaving && (wanted.drain.on_cordon != OnCordon::Nothing || node.drain_replicas)
}

fn is_noted(observed: &Observed, id: i32) -> bool {
    let claim = observed.claims.get(&id);
    claim.is_some_and(|claim| claim.leaving == Some(Leaving::Cordon))
}

/// Where the reason is over: the node stays, or the broker has moved, or another is evicted first. A broker that drains
/// gets into no ISR, so that this must not wait for it to be ready.
fn over(wanted: &Wanted, observed: &Observed, view: &View, going: &[(i32, &Pod)]) -> Decision {
    let mut decision = Decision::default();
    let noted = observed
        .claims
        .iter()
        .filter(|(_, claim)| claim.leaving == Some(Leaving::Cordon));
    for (id, claim) in noted {
        let pod = observed.pods.get(id).filter(|pod| pod.deadline.is_none());
        let node = pod.and_then(|pod| observed.node_of(pod));
        let stays = node.is_some_and(|node| !minds(wanted, node));
        let goes = going.iter().any(|(other, _)| other == id);
        let another_ends = observed
            .pods
            .iter()
            .any(|(other, pod)| other != id && pod.deadline.is_some());
        if !wanted.paused && (stays || (goes && another_ends)) {
            let ready = pod.is_some_and(Pod::is_ready);
            decision.and(take_back(view, *id, claim, ready));
        }
    }
    decision
}

/// The lease of a life that is over ends by itself, once the next one has caught up.
fn take_back(view: &View, id: i32, claim: &Claim, ready: bool) -> Decision {
    let mut decision = Decision::default();
    let Some(broker) = view.brokers.get(&id) else {
        return decision;
    };
    if ready && broker.lease_expires_ms.is_some() {
        decision.steps.push(Step::GiveBackLease(id));
    }
    if broker.draining {
        decision.steps.push(Step::Drain(id, false));
    }
    if view.cluster.partitions.reassigning > 0 {
        decision.steps.push(Step::CancelMoves(id));
    }
    decision
        .steps
        .push(Step::NoteLeaving(Named::claim(claim), None));
    decision
}

/// The broker that is to leave its node now.
fn one(observed: &Observed, view: &View, id: i32, replicas: bool) -> Decision {
    let mut decision = Decision::default();
    let Some(broker) = view
        .brokers
        .get(&id)
        .filter(|broker| broker.state != State::Fenced)
    else {
        return decision;
    };
    let claim = observed.claims.get(&id);
    // What is drained for another reason is not taken over, so that it is not undone either.
    if let Some(claim) = claim.filter(|claim| claim.leaving.is_none() && !broker.draining) {
        let note = Step::NoteLeaving(Named::claim(claim), Some(Leaving::Cordon));
        decision.steps.push(note);
    }
    if replicas && broker.replicas > 0 {
        if !broker.draining {
            decision.steps.push(Step::Drain(id, true));
        }
        if view.cluster.partitions.reassigning == 0 {
            decision.steps.push(Step::MoveAway(vec![id]));
        }
        let left = broker.replicas;
        let text = format!("{left} replicas to leave broker {id}, whose node is to go");
        decision.and(Decision::wait(Waiting::Cordon, text));
        return decision;
    }
    let left_ms = broker
        .lease_expires_ms
        .map(|expires| expires - observed.now.as_millisecond());
    if left_ms.is_none_or(|left| left < RENEW_MS) || !broker.draining {
        decision.steps.push(Step::HandOver(id));
    }
    let text = format!("broker {id} to be evicted from its node, which is to go");
    decision.and(Decision::wait(Waiting::Cordon, text));
    decision
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::step::samples::{self, broker_of, node_of};

    fn cordoned(ids: &[i32]) -> (Wanted, Observed) {
        let (wanted, mut observed) = samples::healthy();
        for id in ids {
            node_of(&mut observed, *id).leaving = true;
        }
        (wanted, observed)
    }

    fn handed_over(observed: &mut Observed, id: i32) {
        observed.claims.get_mut(&id).unwrap().leaving = Some(Leaving::Cordon);
        let broker = broker_of(observed, id);
        (broker.draining, broker.state) = (true, State::Draining);
        broker.lease_expires_ms = Some(i64::MAX);
    }

    #[test]
    fn a_cordon_takes_the_lease_of_one_broker_and_renews_it() {
        let (wanted, mut observed) = cordoned(&[1, 2]);
        let note = Step::NoteLeaving(Named::claim(&observed.claims[&1]), Some(Leaving::Cordon));
        assert_eq!(next(&wanted, &observed).steps, [note, Step::HandOver(1)]);
        handed_over(&mut observed, 1);
        assert_eq!(next(&wanted, &observed).steps, []);
        let soon = observed.now.as_millisecond() + 60_000;
        broker_of(&mut observed, 1).lease_expires_ms = Some(soon);
        assert_eq!(next(&wanted, &observed).steps, [Step::HandOver(1)]);
    }

    #[test]
    fn an_uncordon_gives_everything_back() {
        let (wanted, mut observed) = samples::healthy();
        handed_over(&mut observed, 1);
        let undone = [
            Step::GiveBackLease(1),
            Step::Drain(1, false),
            Step::NoteLeaving(Named::claim(&observed.claims[&1]), None),
        ];
        assert_eq!(next(&wanted, &observed).steps, undone);
    }

    #[test]
    fn an_uncordon_cancels_what_is_on_its_way_and_so_does_a_spec_that_minds_cordons_no_more() {
        let (mut wanted, mut observed) = cordoned(&[1]);
        handed_over(&mut observed, 1);
        observed
            .view
            .as_mut()
            .unwrap()
            .cluster
            .partitions
            .reassigning = 3;
        assert!(
            !next(&wanted, &observed)
                .steps
                .contains(&Step::CancelMoves(1))
        );
        wanted.drain.on_cordon = OnCordon::Nothing;
        let steps = next(&wanted, &observed).steps;
        assert_eq!(steps[1..3], [Step::Drain(1, false), Step::CancelMoves(1)]);
        wanted.drain.on_cordon = OnCordon::Replicas;
        node_of(&mut observed, 1).leaving = false;
        let steps = next(&wanted, &observed).steps;
        assert_eq!(steps[1..3], [Step::Drain(1, false), Step::CancelMoves(1)]);
    }

    #[test]
    fn a_broker_that_was_evicted_takes_replicas_again_before_it_is_ready_and_not_before_it_is_placed()
     {
        let (wanted, mut observed) = samples::healthy();
        handed_over(&mut observed, 1);
        samples::unready(&mut observed, 1);
        let undone = [
            Step::Drain(1, false),
            Step::NoteLeaving(Named::claim(&observed.claims[&1]), None),
        ];
        assert_eq!(
            next(&wanted, &observed).steps,
            undone,
            "else it never gets ready"
        );
        observed.pods.get_mut(&1).unwrap().node = None;
        assert_eq!(next(&wanted, &observed).steps, []);
        observed.pods.get_mut(&1).unwrap().node = Some("node-1".to_owned());
        node_of(&mut observed, 1).leaving = true;
        assert_eq!(next(&wanted, &observed).steps, [], "its node still goes");
    }

    #[test]
    fn where_another_is_evicted_first_the_lease_goes_back_to_make_way() {
        let (wanted, mut observed) = cordoned(&[1, 2]);
        handed_over(&mut observed, 1);
        observed.pods.get_mut(&2).unwrap().deadline = Some(observed.now);
        assert!(
            next(&wanted, &observed)
                .steps
                .contains(&Step::GiveBackLease(1))
        );
    }

    #[test]
    fn replicas_leave_only_where_that_is_said() {
        let (mut wanted, mut observed) = cordoned(&[1]);
        node_of(&mut observed, 1).drain_replicas = true;
        let moves = |wanted: &Wanted, observed: &Observed| {
            let steps = next(wanted, observed).steps;
            steps.contains(&Step::MoveAway(vec![1])) && steps.contains(&Step::Drain(1, true))
        };
        assert!(moves(&wanted, &observed));
        node_of(&mut observed, 1).drain_replicas = false;
        assert!(!moves(&wanted, &observed));
        wanted.drain.on_cordon = OnCordon::Replicas;
        assert!(moves(&wanted, &observed));
        wanted.drain.on_cordon = OnCordon::Nothing;
        assert_eq!(next(&wanted, &observed), Decision::default());
    }

    #[test]
    fn nobody_goes_while_another_is_away() {
        let (wanted, mut observed) = cordoned(&[1]);
        samples::unready(&mut observed, 0);
        assert_eq!(next(&wanted, &observed).steps, []);
    }
}
