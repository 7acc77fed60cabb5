//! Who votes in the metadata quorum: first those that are missing are added, each once it has caught up, then those that
//! are too many removed, one in a turn, and only while a majority of the others answers.

use super::{Decision, Step, Waiting, replace};
use crate::cluster::brokers::{ShownQuorum, State};
use crate::cluster::observed::{Observed, View};
use crate::cluster::wanted::Wanted;

/// A learner that lacks more entries than this is still copying.
const LAG_MAX: i64 = 1_000;

/// The next change.
pub fn next(wanted: &Wanted, observed: &Observed) -> Decision {
    let Some(view) = observed.view.as_ref().filter(|_| observed.is_founded()) else {
        return Decision::default();
    };
    let Some(quorum) = &view.cluster.quorum else {
        return Decision::default();
    };
    if let Some(lost) = lost_disk(quorum) {
        return remove(quorum, &[lost]);
    }
    let voters = view.voters();
    // One that is about to lose its volume gets its vote with the new one, and until then no vote moves for a better place.
    let stays = |id: &&i32| !replace::is_pending(wanted, observed, **id);
    let mut named = wanted.replace.iter().map(|replace| replace.broker_id);
    let replaces = named.any(|id| !stays(&&id));
    let stay = voters
        .iter()
        .all(|id| wanted.ids().any(|wanted| wanted == *id));
    if replaces && stay && voters.len() >= wanted.voters.len() {
        return Decision::default();
    }
    let missing = wanted.voters.iter().filter(stays);
    let missing = missing.filter(|id| !voters.contains(id));
    // One that can't be added yet, or fails to be, does not keep the others.
    let added = missing.map(|id| add(view, quorum, *id));
    let added = added.reduce(|mut all, one| {
        all.and(one);
        all
    });
    if let Some(added) = added {
        return added;
    }
    let extra = voters
        .iter()
        .copied()
        .filter(|id| !wanted.voters.contains(id));
    let extra: Vec<i32> = extra.collect();
    match extra.is_empty() {
        true => Decision::default(),
        false => remove(quorum, &extra),
    }
}

/// A voter that is not heard while its broker is: it votes with a metadata directory that is no more.
fn lost_disk(quorum: &ShownQuorum) -> Option<i32> {
    let silent = quorum.voters.iter().filter(|voter| !quorum.answers(voter));
    let mut ids = silent.map(|voter| voter.broker);
    ids.find(|id| {
        let mut learners = quorum.learners.iter();
        learners.any(|one| one.broker == *id && quorum.answers(one))
    })
}

fn add(view: &View, quorum: &ShownQuorum, id: i32) -> Decision {
    let broker = view.brokers.get(&id);
    let serves = broker.is_some_and(|broker| broker.state == State::Serving);
    let learner = quorum.learners.iter().find(|learner| learner.broker == id);
    let caught_up = learner.is_some_and(|learner| learner.lag.is_some_and(|lag| lag <= LAG_MAX));
    match serves && caught_up {
        true => Decision::of(Step::AddVoter(id)),
        false => Decision::wait(
            Waiting::Voters,
            format!("broker {id} to have caught up with the metadata, so that it can vote"),
        ),
    }
}

/// One that is down goes first, the leader last.
pub(super) fn remove(quorum: &ShownQuorum, extra: &[i32]) -> Decision {
    let of = |id: i32| quorum.voters.iter().find(|voter| voter.broker == id);
    let there = |id: i32| of(id).is_some_and(|voter| quorum.answers(voter));
    let mut order: Vec<i32> = extra.to_vec();
    order.sort_by_key(|id| (*id == quorum.leader, there(*id), -id));
    let first = order[0];
    let others = quorum.voters.iter().filter(|voter| voter.broker != first);
    let (mut all, mut answering) = (0, 0);
    for voter in others {
        all += 1;
        answering += usize::from(quorum.answers(voter));
    }
    match answering > all / 2 {
        true => Decision::of(Step::RemoveVoter(first)),
        false => Decision::wait(Waiting::Voters, "a majority of the other voters to answer"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::observed::Node;
    use crate::cluster::step::samples;
    use crate::crd::cluster::Replace;

    #[test]
    fn a_vote_moves_by_adding_before_removing() {
        let (mut wanted, mut observed) = (samples::wanted(4), samples::observed(4));
        wanted.voters = vec![0, 1, 3];
        assert_eq!(next(&wanted, &observed), Decision::of(Step::AddVoter(3)));
        let quorum = samples::quorum_of(&mut observed);
        let learner = quorum.learners.remove(0);
        quorum.voters.push(learner);
        assert_eq!(next(&wanted, &observed), Decision::of(Step::RemoveVoter(2)));
    }

    #[test]
    fn a_cluster_is_at_rest_while_nothing_moves_stops_leaves_or_rolls() {
        assert!(samples::observed(4).is_at_rest());
        type Change = fn(&mut Observed);
        let changes: [Change; 11] = [
            |it| it.view = None,
            |it| samples::fence(it, 1),
            |it| samples::unready(it, 1),
            |it| samples::broker_of(it, 1).lease_expires_ms = Some(1),
            |it| samples::quorum_of(it).voters[1].silent_ms = Some(60_000),
            |it| samples::node_of(it, 1).leaving = true,
            |it| it.claims.get_mut(&1).unwrap().lost = true,
            |it| {
                it.claims
                    .values_mut()
                    .for_each(|claim| claim.founded = false)
            },
            |it| it.pods.get_mut(&1).unwrap().revision = "r2".to_owned(),
            |it| it.sets.get_mut("broker").unwrap().revision = "r2".to_owned(),
            |it| it.view.as_mut().unwrap().cluster.partitions.reassigning = 1,
        ];
        for (at, change) in changes.into_iter().enumerate() {
            let mut observed = samples::observed(4);
            change(&mut observed);
            assert!(!observed.is_at_rest(), "change {at}");
        }
        let mut observed = samples::observed(4);
        observed.claims.get_mut(&1).unwrap().node = Some("gone-for-good".to_owned());
        let gone = Node {
            gone: true,
            ..Node::default()
        };
        let nodes = observed.nodes.as_mut().unwrap();
        nodes.insert("gone-for-good".to_owned(), gone);
        assert!(observed.is_at_rest(), "its broker lives on another node");
    }

    #[test]
    fn no_vote_moves_for_a_better_place_while_a_volume_is_to_be_replaced() {
        let (mut wanted, mut observed) = (samples::wanted(5), samples::observed(5));
        wanted.voters = vec![0, 1, 3];
        wanted.replace = vec![Replace {
            broker_id: 1,
            claim_uid: "claim-1".to_owned(),
            accept_loss: false,
        }];
        assert_eq!(next(&wanted, &observed), Decision::default());
        let quorum = samples::quorum_of(&mut observed);
        let learner = quorum.learners.remove(0);
        quorum.voters.push(learner);
        assert_eq!(next(&wanted, &observed), Decision::default());
        (wanted.pools[0].ids, wanted.voters) = (0..3, vec![0, 1, 2]);
        let steps = next(&wanted, &observed).steps;
        assert_eq!(steps, [Step::RemoveVoter(3)], "who leaves votes no more");
    }

    #[test]
    fn places_are_known_of_brokers_that_are_away_but_not_of_a_cluster_that_is_still_founded() {
        let mut observed = samples::observed(4);
        samples::broker_of(&mut observed, 1).rack = Some("r".to_owned());
        samples::fence(&mut observed, 1);
        let place = observed.places()[&1].clone();
        assert_eq!((place.rack.as_deref(), place.serves), (Some("r"), false));
        for claim in observed.claims.values_mut() {
            claim.founded = false;
        }
        assert!(observed.places().is_empty());
    }

    #[test]
    fn a_voter_that_can_not_be_added_yet_does_not_keep_the_next_one() {
        let (mut wanted, mut observed) = (samples::wanted(5), samples::observed(5));
        wanted.voters = vec![0, 1, 2, 3, 4];
        let steps = [Step::AddVoter(3), Step::AddVoter(4)];
        assert_eq!(next(&wanted, &observed).steps, steps);
        samples::fence(&mut observed, 3);
        let decision = next(&wanted, &observed);
        assert_eq!(decision.steps, [Step::AddVoter(4)]);
        assert!(decision.waits[0].1.starts_with("broker 3 "));
    }

    #[test]
    fn a_broker_that_is_down_or_far_behind_gets_no_vote() {
        let (mut wanted, mut observed) = (samples::wanted(4), samples::observed(4));
        wanted.voters = vec![0, 1, 3];
        samples::fence(&mut observed, 3);
        assert_eq!(next(&wanted, &observed).steps, []);
        let mut observed = samples::observed(4);
        let quorum = samples::quorum_of(&mut observed);
        quorum.learners[0].lag = None;
        assert_eq!(next(&wanted, &observed).steps, []);
    }

    #[test]
    fn the_vote_of_a_lost_disk_is_taken_so_that_the_broker_can_vote_anew() {
        let (wanted, mut observed) = samples::healthy();
        let quorum = samples::quorum_of(&mut observed);
        let learner = quorum.voters[2].clone();
        quorum.voters[2].silent_ms = Some(60_000);
        assert_eq!(
            next(&wanted, &observed),
            Decision::default(),
            "it may come back"
        );
        let quorum = samples::quorum_of(&mut observed);
        quorum.learners.push(learner);
        assert_eq!(next(&wanted, &observed), Decision::of(Step::RemoveVoter(2)));
    }

    #[test]
    fn no_voter_is_removed_where_the_rest_has_no_majority() {
        let (mut wanted, mut observed) = samples::healthy();
        wanted.voters = vec![0];
        let quorum = samples::quorum_of(&mut observed);
        quorum.voters[1].silent_ms = Some(60_000);
        assert_eq!(
            next(&wanted, &observed),
            Decision::of(Step::RemoveVoter(1)),
            "the dead one"
        );
        let quorum = samples::quorum_of(&mut observed);
        quorum.voters[2].silent_ms = Some(60_000);
        assert_eq!(next(&wanted, &observed).steps, [], "one of two answers");
    }
}
