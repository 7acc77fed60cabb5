//! Nodes that are to go: cordoned, or tainted by an autoscaler. The operator takes the stop lease of one broker on such
//! a node and has others lead its partitions, so that its eviction is admitted at once. Where replicas are to leave too,
//! they are moved, one broker at a time.
//!
//! A broker that is evicted instead of the one with the lease waits for its own lease: then the first gives its back.

use super::{Decision, Named, Step, Undo, Waiting};
use crate::cluster::brokers::State;
use crate::cluster::observed::{Leaving, Node, Observed, Pod, View};
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
    let replicas = observed
        .node_of(pod)
        .is_some_and(|node| replicas_leave(wanted, node));
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

/// Of brokers on a node that goes, replicas are to leave, too.
fn replicas_leave(wanted: &Wanted, node: &Node) -> bool {
    wanted.drain.on_cordon == OnCordon::Replicas || node.drain_replicas
}

fn is_noted(observed: &Observed, id: i32) -> bool {
    let claim = observed.claims.get(&id);
    claim.is_some_and(|claim| claim.leaving.is_some_and(Leaving::is_cordon))
}

/// Where the reason is over: the node stays, or its replicas do, or the broker has moved, or another is evicted first. A
/// broker that drains gets into no ISR, so that this must not wait for it to be ready.
fn over(wanted: &Wanted, observed: &Observed, view: &View, going: &[(i32, &Pod)]) -> Decision {
    let mut decision = Decision::default();
    for (id, claim) in &observed.claims {
        let Some(leaving) = claim.leaving.filter(|leaving| leaving.is_cordon()) else {
            continue;
        };
        let Some(broker) = view.brokers.get(id) else {
            continue;
        };
        let pod = observed.pods.get(id).filter(|pod| pod.deadline.is_none());
        // The lease of a life that is over ends by itself, once the next one has caught up.
        let lease = broker.lease_expires_ms.is_some() && pod.is_some_and(Pod::is_ready);
        let moves = leaving.moves_replicas();
        let stays = pod
            .and_then(|pod| observed.node_of(pod))
            .is_some_and(|node| !minds(wanted, node) || (moves && !replicas_leave(wanted, node)));
        let makes_way = going.iter().any(|(other, _)| other == id)
            && observed
                .pods
                .iter()
                .any(|(other, pod)| other != id && pod.deadline.is_some());
        if stays || (makes_way && !moves) {
            let undo = Undo {
                moves: moves && view.cluster.partitions.reassigning > 0,
                lease,
                draining: broker.draining,
            };
            let claim = Named::claim(claim);
            decision.steps.push(Step::Stay {
                id: *id,
                claim,
                undo,
            });
        } else if makes_way && lease {
            decision.steps.push(Step::GiveBackLease(*id));
        }
    }
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
    let why = match replicas {
        true => Leaving::CordonReplicas,
        false => Leaving::Cordon,
    };
    // What is drained for another reason is not taken over, so that it is not undone either.
    let noted = observed
        .claims
        .get(&id)
        .filter(|claim| match claim.leaving {
            None => !broker.draining,
            Some(before) => before.is_cordon() && before != why,
        });
    if let Some(claim) = noted {
        let note = Step::NoteLeaving(Named::claim(claim), Some(why));
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

    fn noted_replicas(observed: &mut Observed, id: i32) {
        handed_over(observed, id);
        observed.claims.get_mut(&id).unwrap().leaving = Some(Leaving::CordonReplicas);
        let view = observed.view.as_mut().unwrap();
        view.cluster.partitions.reassigning = 3;
    }

    fn stays(observed: &Observed, id: i32, undo: Undo) -> [Step; 1] {
        let claim = Named::claim(&observed.claims[&id]);
        [Step::Stay { id, claim, undo }]
    }

    const LEADS_AGAIN: Undo = Undo {
        moves: false,
        lease: true,
        draining: true,
    };
    const KEEPS_ALL: Undo = Undo {
        moves: true,
        ..LEADS_AGAIN
    };

    #[test]
    fn an_uncordon_gives_everything_back_and_leaves_the_moves_of_others_alone() {
        let (wanted, mut observed) = samples::healthy();
        handed_over(&mut observed, 1);
        let view = observed.view.as_mut().unwrap();
        view.cluster.partitions.reassigning = 3;
        let undone = stays(&observed, 1, LEADS_AGAIN);
        assert_eq!(next(&wanted, &observed).steps, undone);
    }

    #[test]
    fn replicas_that_leave_stay_once_the_node_does_or_the_word_is_taken_back() {
        let (mut wanted, mut observed) = cordoned(&[1]);
        noted_replicas(&mut observed, 1);
        wanted.drain.on_cordon = OnCordon::Replicas;
        assert_eq!(next(&wanted, &observed).steps, [], "they are on their way");
        for on_cordon in [OnCordon::Leaders, OnCordon::Nothing] {
            wanted.drain.on_cordon = on_cordon;
            let undone = stays(&observed, 1, KEEPS_ALL);
            assert_eq!(next(&wanted, &observed).steps, undone);
        }
        wanted.drain.on_cordon = OnCordon::Replicas;
        node_of(&mut observed, 1).leaving = false;
        let undone = stays(&observed, 1, KEEPS_ALL);
        assert_eq!(next(&wanted, &observed).steps, undone);
    }

    #[test]
    fn a_broker_that_was_evicted_takes_replicas_again_before_it_is_ready_and_not_before_it_is_placed()
     {
        let (wanted, mut observed) = samples::healthy();
        handed_over(&mut observed, 1);
        samples::unready(&mut observed, 1);
        let draining = Undo {
            draining: true,
            ..Undo::default()
        };
        let undone = stays(&observed, 1, draining);
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
        let (mut wanted, mut observed) = cordoned(&[1, 2]);
        handed_over(&mut observed, 1);
        observed.pods.get_mut(&2).unwrap().deadline = Some(observed.now);
        let undone = stays(&observed, 1, LEADS_AGAIN);
        assert_eq!(next(&wanted, &observed).steps, undone);
        wanted.drain.on_cordon = OnCordon::Replicas;
        noted_replicas(&mut observed, 1);
        let steps = next(&wanted, &observed).steps;
        assert_eq!(
            steps,
            [Step::GiveBackLease(1)],
            "its replicas go on leaving"
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
