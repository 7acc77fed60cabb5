use super::*;
use crate::cluster::brokers::State;
use crate::cluster::step::samples::{self, broker_of};

/// Four brokers, of which three are wanted.
fn shrinking() -> (Wanted, Observed) {
    (samples::wanted(3), samples::observed(4))
}

fn drained(observed: &mut Observed, id: i32) {
    let broker = broker_of(observed, id);
    (broker.draining, broker.replicas, broker.state) = (true, 0, State::Draining);
    observed.claims.get_mut(&id).unwrap().leaving = Some(Leaving::ScaleDown);
}

/// How many pods the pool keeps.
fn built(wanted: &Wanted, observed: &Observed) -> i32 {
    let wanted_pods = wanted.pools[0].ids.end - wanted.pools[0].ids.start;
    let kept = kept(wanted, observed).replicas;
    kept.get(&wanted.pools[0].name)
        .copied()
        .unwrap_or(wanted_pods)
}

#[test]
fn nothing_is_done_where_the_size_is_right() {
    let (wanted, observed) = samples::healthy();
    assert_eq!(next(&wanted, &observed), Decision::default());
    assert_eq!(kept(&wanted, &observed), Kept::default());
}

#[test]
fn a_broker_is_noted_drained_and_emptied_before_it_goes() {
    let (wanted, mut observed) = shrinking();
    let claim = Named::claim(&observed.claims[&3]);
    let decision = next(&wanted, &observed);
    let note = Step::NoteLeaving(claim, Some(Leaving::ScaleDown));
    assert_eq!(
        decision.steps,
        [note, Step::Drain(3, true), Step::MoveAway(vec![3])]
    );
    assert_eq!(decision.waits[0].1, "10 replicas to leave broker 3");
    assert_eq!(built(&wanted, &observed), 4);
    drained(&mut observed, 3);
    assert_eq!(next(&wanted, &observed).steps, []);
    assert_eq!(built(&wanted, &observed), 3);
}

#[test]
fn a_move_that_is_on_its_way_is_awaited_and_not_asked_for_again() {
    let (wanted, mut observed) = shrinking();
    drained(&mut observed, 3);
    broker_of(&mut observed, 3).replicas = 2;
    observed
        .view
        .as_mut()
        .unwrap()
        .cluster
        .partitions
        .reassigning = 2;
    assert_eq!(next(&wanted, &observed).steps, []);
    assert_eq!(built(&wanted, &observed), 4);
    broker_of(&mut observed, 3).replicas = 0;
    assert_eq!(
        built(&wanted, &observed),
        4,
        "something is still on its way"
    );
}

#[test]
fn a_voter_goes_only_once_another_votes_for_it() {
    let (mut wanted, mut observed) = (samples::wanted(2), samples::observed(3));
    wanted.voters = vec![0, 1, 1_000];
    drained(&mut observed, 2);
    assert_eq!(built(&wanted, &observed), 3);
    assert_eq!(
        next(&wanted, &observed).waits[0].1,
        "the vote of broker 2 to move"
    );
}

#[test]
fn without_the_brokers_word_nobody_goes() {
    let (wanted, mut observed) = shrinking();
    drained(&mut observed, 3);
    observed.view = None;
    assert_eq!(built(&wanted, &observed), 4);
    assert_eq!(next(&wanted, &observed).steps, []);
}

#[test]
fn scaling_up_again_takes_back_what_began() {
    let (wanted, mut observed) = (samples::wanted(4), samples::observed(4));
    drained(&mut observed, 3);
    let claim = Named::claim(&observed.claims[&3]);
    let view = observed.view.as_mut().unwrap();
    view.cluster.partitions.reassigning = 1;
    let undo = Undo {
        moves: true,
        lease: false,
        draining: true,
    };
    let stays = Step::Stay { id: 3, claim, undo };
    assert_eq!(next(&wanted, &observed).steps, [stays]);
    observed.claims.get_mut(&3).unwrap().leaving = None;
    assert_eq!(
        next(&wanted, &observed).steps,
        [],
        "who drained it otherwise may go on"
    );
}

#[test]
fn a_lower_id_that_can_not_go_keeps_itself_and_no_higher_one() {
    let (wanted, mut observed) = (samples::wanted(3), samples::observed(5));
    drained(&mut observed, 4);
    assert_eq!(built(&wanted, &observed), 4);
    let (wanted, mut observed) = (samples::wanted(3), samples::observed(5));
    drained(&mut observed, 3);
    assert_eq!(built(&wanted, &observed), 5);
}

#[test]
fn what_is_gone_is_forgotten_and_its_volume_stays_unless_deletion_was_chosen() {
    let (mut wanted, mut observed) = shrinking();
    drained(&mut observed, 3);
    observed.sets.get_mut("broker").unwrap().replicas = 3;
    assert_eq!(next(&wanted, &observed).steps, [], "its pod is still there");
    observed.pods.remove(&3);
    let decision = next(&wanted, &observed);
    let claim = Named::claim(&observed.claims[&3]);
    let emptied = Step::NoteLeaving(claim, Some(Leaving::Emptied));
    assert_eq!(
        decision.steps,
        [emptied],
        "the quorum still takes it for alive"
    );
    observed.claims.get_mut(&3).unwrap().leaving = Some(Leaving::Emptied);
    assert_eq!(next(&wanted, &observed).steps, []);
    let waits = [(
        Waiting::ScaleDown,
        "broker 3 to be forgotten, once it has been silent for a moment".to_owned(),
    )];
    assert_eq!(decision.waits, waits);
    broker_of(&mut observed, 3).state = State::Fenced;
    let decision = next(&wanted, &observed);
    assert_eq!(decision.steps, [Step::Unregister(3)]);
    assert_eq!(decision.waits, waits);
    observed.view.as_mut().unwrap().brokers.remove(&3);
    assert_eq!(next(&wanted, &observed).steps, []);
    wanted.pools[0].on_scale_down = OnScaleDown::Delete;
    let steps = next(&wanted, &observed).steps;
    assert!(
        matches!(&steps[..], [Step::DeleteClaim { id: 3, claim, .. }] if claim.uid == "claim-3")
    );
    observed.claims.get_mut(&3).unwrap().leaving = None;
    assert_eq!(
        next(&wanted, &observed).steps,
        [],
        "the operator did not drain it"
    );
}

#[test]
fn a_pool_that_is_not_wanted_any_more_is_emptied_first_and_removed_at_last() {
    let (mut wanted, mut observed) = shrinking();
    wanted.pools = vec![samples::pool("other", 1_000..1_003)];
    wanted.voters = vec![1_000, 1_001, 1_002];
    let decision = next(&wanted, &observed);
    assert!(decision.steps.contains(&Step::MoveAway(vec![0, 1, 2, 3])));
    let set = Named::set(&observed.sets["broker"]);
    let scales = |wanted: &Wanted, observed: &Observed| {
        let steps = next(wanted, observed).steps;
        steps.contains(&Step::ScaleSet(set.clone(), 0))
    };
    assert_eq!(kept(&wanted, &observed).leaving["broker"], [0, 1, 2, 3]);
    for id in 0..4 {
        drained(&mut observed, id);
    }
    assert!(!scales(&wanted, &observed), "they vote");
    let quorum = observed
        .view
        .as_mut()
        .unwrap()
        .cluster
        .quorum
        .as_mut()
        .unwrap();
    for (voter, id) in quorum.voters.iter_mut().zip(1_000..) {
        voter.broker = id;
    }
    assert!(scales(&wanted, &observed));
    observed.sets.get_mut("broker").unwrap().replicas = 0;
    assert_eq!(next(&wanted, &observed).steps, []);
    observed.pods.clear();
    for id in 0..4 {
        broker_of(&mut observed, id).state = State::Fenced;
    }
    let steps = next(&wanted, &observed).steps;
    assert!(steps.contains(&Step::DeleteSet(set)) && steps.contains(&Step::Unregister(0)));
}

#[test]
fn a_stateful_set_deleted_amid_a_drain_comes_back_with_all_that_was_not_drained() {
    let (wanted, mut observed) = shrinking();
    observed.claims.get_mut(&3).unwrap().leaving = Some(Leaving::ScaleDown);
    observed.sets.clear();
    observed.pods.clear();
    assert_eq!(built(&wanted, &observed), 4);
    drained(&mut observed, 3);
    assert_eq!(built(&wanted, &observed), 3);
}

#[test]
fn what_was_let_go_does_not_come_back_while_nobody_answers() {
    let (wanted, mut observed) = shrinking();
    drained(&mut observed, 3);
    observed.sets.get_mut("broker").unwrap().replicas = 3;
    observed.pods.get_mut(&3).unwrap().deadline = Some(observed.now);
    observed.view = None;
    assert_eq!(built(&wanted, &observed), 3);
    assert_eq!(
        kept(&wanted, &observed).leaving["broker"],
        [3],
        "it reads its settings until it is gone"
    );
}

#[test]
fn a_scale_down_below_a_topics_replicas_is_refused_before_anything_is_drained() {
    let (wanted, mut observed) = shrinking();
    samples::topic(&mut observed, "wide", 4);
    samples::topic(&mut observed, "usual", 3);
    let decision = next(&wanted, &observed);
    assert_eq!(decision.steps, []);
    let (kind, text) = &decision.waits[0];
    assert_eq!(*kind, Waiting::Refused);
    assert!(
        text.contains("can't scale down to 3: topic wide has 4 replicas"),
        "{text}"
    );
    assert_eq!(built(&wanted, &observed), 4, "its pod stays");
}

#[test]
fn a_broker_that_was_let_go_is_awaited_until_its_pod_has_ended() {
    let (wanted, mut observed) = shrinking();
    drained(&mut observed, 3);
    observed.sets.get_mut("broker").unwrap().replicas = 3;
    observed.pods.get_mut(&3).unwrap().deadline = Some(observed.now);
    let decision = next(&wanted, &observed);
    assert_eq!(
        decision.waits,
        [(Waiting::ScaleDown, "broker 3 to stop".to_owned())]
    );
    observed.pods.remove(&3);
    observed.view.as_mut().unwrap().brokers.remove(&3);
    assert_eq!(next(&wanted, &observed).waits, []);
}
