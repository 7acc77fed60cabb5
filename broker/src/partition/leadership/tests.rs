//! What a leader may conclude from its followers' fetches.

use super::*;

const LAG_MAX: i64 = 10_000;
/// An end that no follower here has reached.
const END: i64 = 1_000_000;

fn id(number: i32) -> BrokerId {
    BrokerId::new(number).unwrap()
}

fn ids(numbers: &[i32]) -> Vec<BrokerId> {
    numbers.iter().map(|&number| id(number)).collect()
}

fn term(isr: &[i32], partition_epoch: i32) -> Term {
    Term {
        me: id(1),
        leader_epoch: 5,
        partition_epoch,
        replicas: ids(&[1, 2, 3]),
        isr: ids(isr),
        min_isr_max: 3,
        has_eligible: false,
    }
}

/// Epoch 5 began at offset 100 and time 0.
fn leading(isr: &[i32]) -> Leadership {
    Leadership::begin(term(isr, 7), 100, 0)
}

fn life(broker: i32) -> Member {
    Member {
        broker: id(broker),
        epoch: 1,
    }
}

fn all_eligible(_: BrokerId) -> Option<i64> {
    Some(1)
}

fn members(proposal: Option<Proposal>) -> Option<Vec<i32>> {
    let members = proposal?.members;
    Some(members.iter().map(|member| member.broker.get()).collect())
}

#[test]
fn the_high_watermark_is_what_all_in_sync_replicas_have() {
    let mut leader = leading(&[1, 2, 3]);
    assert_eq!(leader.high_watermark(90, 120, 1), 90, "nobody has asked");
    leader.fetched(life(2), 120, 120, 1);
    leader.fetched(life(3), 110, 120, 1);
    assert_eq!(leader.high_watermark(90, 120, 1), 110);
    assert_eq!(leader.high_watermark(115, 120, 1), 115, "never back");
}

#[test]
fn a_replica_outside_the_isr_does_not_hold_the_high_watermark() {
    let mut leader = leading(&[1, 2]);
    leader.fetched(life(2), 130, 130, 1);
    leader.fetched(life(3), 0, 130, 1);
    assert_eq!(leader.high_watermark(90, 130, 2), 130);
}

#[test]
fn nothing_is_committed_while_the_isr_is_below_the_minimum() {
    let leader = leading(&[1]);
    assert_eq!(leader.high_watermark(90, 120, 2), 90);
    assert_eq!(leader.high_watermark(90, 120, 1), 120);
    let mut lone = term(&[1], 7);
    (lone.replicas, lone.min_isr_max) = (ids(&[1]), 1);
    let lone = Leadership::begin(lone, 100, 0);
    assert_eq!(
        lone.high_watermark(90, 120, 2),
        120,
        "one replica can't be two"
    );
}

#[test]
fn nothing_is_committed_without_those_who_may_still_be_elected() {
    let mut state = term(&[1, 2], 7);
    state.has_eligible = true;
    let mut leader = Leadership::begin(state, 100, 0);
    leader.fetched(life(2), 120, 120, 1);
    assert_eq!(leader.high_watermark(90, 120, 1), 90);
    leader.learn(term(&[1, 2], 8));
    assert_eq!(leader.high_watermark(90, 120, 1), 120);
}

#[test]
fn who_is_proposed_counts_from_the_proposal_on() {
    let mut leader = leading(&[1, 2]);
    leader.fetched(life(2), 150, 150, 1);
    leader.fetched(life(3), 150, 150, 1);
    let proposal = leader.propose((140, END), 1, LAG_MAX, all_eligible);
    assert_eq!(members(proposal), Some(vec![1, 2, 3]));
    leader.fetched(life(2), 200, 200, 2);
    assert_eq!(leader.high_watermark(150, 200, 1), 150, "3 has 150");
    leader.answered(7);
    assert_eq!(leader.high_watermark(150, 200, 1), 200, "in vain");
}

#[test]
fn who_is_proposed_counts_until_the_metadata_tells_what_was_decided() {
    let proposed = || {
        let mut leader = leading(&[1]);
        leader.fetched(life(2), 150, 150, 1);
        let proposal = leader.propose((140, END), 1, LAG_MAX, all_eligible);
        assert_eq!(members(proposal), Some(vec![1, 2]));
        leader
    };
    let mut leader = proposed();
    leader.answered(8);
    assert_eq!(leader.high_watermark(150, 200, 1), 150, "2 may be in sync");
    leader.learn(term(&[1, 2], 8));
    assert_eq!(leader.high_watermark(150, 200, 1), 150, "and is");
    let mut leader = proposed();
    leader.learn(term(&[1], 8));
    leader.answered(8);
    assert_eq!(leader.high_watermark(150, 200, 1), 200, "and is not");
}

#[test]
fn who_is_to_leave_counts_until_it_has_left() {
    let mut leader = leading(&[1, 2, 3]);
    leader.fetched(life(2), 200, 200, LAG_MAX + 1);
    let proposal = leader.propose((100, END), LAG_MAX + 1, LAG_MAX, all_eligible);
    assert_eq!(members(proposal), Some(vec![1, 2]));
    assert_eq!(leader.high_watermark(100, 200, 1), 100);
    leader.learn(term(&[1, 2], 8));
    assert_eq!(leader.high_watermark(100, 200, 1), 200);
}

#[test]
fn a_follower_joins_at_the_high_watermark_and_the_epochs_start() {
    let mut leader = leading(&[1]);
    leader.fetched(life(2), 99, 99, 1);
    let early = leader.propose((90, END), 1, LAG_MAX, all_eligible);
    assert_eq!(
        early, None,
        "it may lack what the leader before had committed"
    );
    leader.fetched(life(2), 100, 130, 1);
    assert_eq!(leader.propose((101, END), 1, LAG_MAX, all_eligible), None);
    leader.fetched(life(2), 130, 130, 2);
    let proposal = leader.propose((101, END), 2, LAG_MAX, all_eligible);
    assert_eq!(members(proposal), Some(vec![1, 2]));
}

#[test]
fn a_fenced_draining_or_earlier_life_does_not_join() {
    for current in [None, Some(2)] {
        let mut leader = leading(&[1]);
        leader.fetched(life(2), 130, 130, 1);
        assert_eq!(leader.propose((100, END), 1, LAG_MAX, |_| current), None);
    }
}

#[test]
fn one_proposal_at_a_time_and_an_answer_allows_the_next() {
    let mut leader = leading(&[1]);
    leader.fetched(life(2), 130, 130, 1);
    assert!(
        leader
            .propose((100, END), 1, LAG_MAX, all_eligible)
            .is_some()
    );
    leader.fetched(life(3), 130, 130, 1);
    assert_eq!(leader.propose((100, END), 1, LAG_MAX, all_eligible), None);
    leader.learn(term(&[1, 2], 7));
    assert_eq!(
        leader.propose((100, END), 1, LAG_MAX, all_eligible),
        None,
        "old"
    );
    leader.learn(term(&[1, 2], 8));
    let next = leader
        .propose((100, END), 1, LAG_MAX, all_eligible)
        .unwrap();
    assert_eq!((next.leader_epoch, next.partition_epoch), (5, 8));
    assert_eq!(members(Some(next)), Some(vec![1, 2, 3]));
}

#[test]
fn a_follower_that_keeps_up_with_where_the_leader_was_stays() {
    let mut leader = leading(&[1, 2]);
    let (mut end, mut now) = (100, 0);
    for _ in 0..20 {
        now += LAG_MAX / 2;
        let had = end;
        end += 50;
        leader.fetched(life(2), had, end, now);
        assert_eq!(leader.propose((100, END), now, LAG_MAX, all_eligible), None);
    }
    // It asks, and gets nowhere.
    for _ in 0..3 {
        now += LAG_MAX / 2;
        leader.fetched(life(2), end - 50, end, now);
    }
    let proposal = leader.propose((100, END), now, LAG_MAX, all_eligible);
    assert_eq!(members(proposal), Some(vec![1]));
}

#[test]
fn a_new_life_starts_with_nothing_and_the_old_one_is_not_heard_again() {
    let mut leader = leading(&[1, 2]);
    leader.fetched(life(2), 150, 150, 1);
    let reborn = Member {
        epoch: 2,
        ..life(2)
    };
    assert!(leader.fetched(reborn, 120, 150, 2));
    assert!(!leader.fetched(life(2), 150, 150, 3));
    assert_eq!(leader.high_watermark(110, 150, 1), 120);
}

#[test]
fn strangers_are_not_heard() {
    let mut leader = leading(&[1, 2]);
    assert!(!leader.fetched(life(4), 150, 150, 1));
    assert!(!leader.fetched(life(1), 150, 150, 1));
}

#[test]
fn a_follower_that_has_everything_is_not_late_however_long_nothing_comes() {
    let mut leader = leading(&[1, 2]);
    leader.fetched(life(2), 100, 100, 1);
    let much_later = 1 + 100 * LAG_MAX;
    let quiet = leader.propose((100, 100), much_later, LAG_MAX, all_eligible);
    assert_eq!(quiet, None);
    leader.appending(100, much_later);
    let soon = leader.propose((100, 101), much_later + 1, LAG_MAX, all_eligible);
    assert_eq!(soon, None);
    let late = leader.propose((100, 101), much_later + LAG_MAX + 1, LAG_MAX, all_eligible);
    assert_eq!(members(late), Some(vec![1]));
}
