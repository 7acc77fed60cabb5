use milena_protocol::ErrorCode;

use super::script::*;
use super::*;

#[test]
fn a_dynamic_member_is_told_its_id_before_it_may_join() {
    let mut script = Script::new();
    let offer = script.offer("");
    let answer = script.ask(offer).answer().unwrap();
    assert_eq!(answer.error_code, ErrorCode::MemberIdRequired);
    assert!(answer.member_id.starts_with("client-"));
    assert_eq!(script.group.size(), 0);

    script.wait(SESSION_MS);
    let offer = script.offer(&answer.member_id);
    let late = script.ask(offer).answer().unwrap();
    assert_eq!(
        late.error_code,
        ErrorCode::UnknownMemberId,
        "an id is kept for a session only"
    );
}

#[test]
fn no_more_ids_are_given_out_than_may_wait_for_their_second_join() {
    let mut script = Script::new();
    let ask = |script: &mut Script| {
        let offer = script.offer("");
        script.ask(offer).answer().unwrap()
    };
    let first = ask(&mut script);
    for _ in 1..PENDING_MEMBERS_MAX {
        assert_eq!(ask(&mut script).error_code, ErrorCode::MemberIdRequired);
    }
    let refused = ask(&mut script);
    assert_eq!(refused.error_code, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(refused.member_id, "", "it has no id to come back with");

    // Who has one joins with it, and leaves its place to another.
    let offer = script.offer(&first.member_id);
    assert!(script.ask(offer).answer().is_none(), "it waits for others");
    assert_eq!(ask(&mut script).error_code, ErrorCode::MemberIdRequired);
    assert_eq!(
        ask(&mut script).error_code,
        ErrorCode::CoordinatorNotAvailable
    );
    script.wait(SESSION_MS);
    assert_eq!(ask(&mut script).error_code, ErrorCode::MemberIdRequired);
}

#[test]
fn an_old_client_joins_at_once() {
    let mut script = Script::new();
    let offer = Join {
        requires_known_id: false,
        ..script.offer("")
    };
    let mut asked = script.ask(offer);
    script.wait(INITIAL_DELAY_MS);
    assert_eq!(asked.answer().unwrap().error_code, ErrorCode::None);
}

#[test]
fn members_that_come_during_the_initial_delay_share_the_first_generation() {
    let mut script = Script::new();
    let mut first = script.join("");
    script.wait(INITIAL_DELAY_MS - 1);
    let mut second = script.join("");
    script.wait(INITIAL_DELAY_MS - 1);
    assert!(
        first.answer().is_none(),
        "the second member extends the delay"
    );
    script.wait(2);
    let (first, second) = (first.answer().unwrap(), second.answer().unwrap());
    assert_eq!((first.generation_id, second.generation_id), (1, 1));
    assert_eq!(first.leader, second.leader);
    assert_eq!(
        first.members.len() + second.members.len(),
        2,
        "only the leader learns the members"
    );
}

#[test]
fn the_initial_delay_ends_with_the_rebalance_timeout() {
    let mut script = Script::new();
    let hasty = |script: &mut Script| Join {
        rebalance_timeout_ms: 5_000,
        ..script.offer("")
    };
    let offer = hasty(&mut script);
    let mut first = script.join_with(offer);
    for _ in 0..3 {
        script.wait(INITIAL_DELAY_MS - 1);
        let offer = hasty(&mut script);
        script.join_with(offer);
    }
    assert_eq!(first.answer().unwrap().error_code, ErrorCode::None);
}

#[test]
fn everybody_gets_what_the_leader_assigned() {
    let mut script = Script::new();
    let joined = script.stable(3);
    for member in &joined {
        let assignment = script.sync(member, &[]).answer().unwrap().assignment;
        assert_eq!(assignment, member.member_id.as_bytes());
        assert_eq!(script.heartbeat(member), Ok(()));
    }
    let recorded = script.written.last().unwrap();
    assert_eq!(recorded.generation, 1);
    assert!(
        recorded
            .members
            .iter()
            .all(|member| member.assignment == member.member_id.as_bytes())
    );
}

#[test]
fn a_member_that_the_leader_forgot_gets_an_empty_assignment() {
    let mut script = Script::new();
    let asked = vec![script.join(""), script.join("")];
    let joined = script.begin(asked);
    let mut follower = script.sync(&joined[1], &[]);
    assert!(
        follower.answer().is_none(),
        "a follower waits for the leader"
    );
    script.sync(&joined[0], &[("nobody", "all of it")]);
    let answer = follower.answer().unwrap();
    assert_eq!(
        (answer.error_code, answer.assignment.len()),
        (ErrorCode::None, 0)
    );
}

#[test]
fn a_new_member_makes_the_others_join_again() {
    let mut script = Script::new();
    let old = script.stable(1).remove(0);
    let mut new = script.join("");
    assert_eq!(script.heartbeat(&old), Err(ErrorCode::RebalanceInProgress));
    assert!(new.answer().is_none());
    let again = script.join(&old.member_id).answer().unwrap();
    assert_eq!(again.generation_id, 2);
    assert_eq!(new.answer().unwrap().generation_id, 2);
    assert_eq!(script.heartbeat(&old), Err(ErrorCode::IllegalGeneration));
}

#[test]
fn a_member_that_does_not_join_again_in_time_is_out() {
    let mut script = Script::new();
    let old = script.stable(2);
    let mut again = script.join(&old[1].member_id);
    for _ in 0..REBALANCE_MS / SESSION_MS * 2 {
        // Alive, but never back.
        let _ = script.heartbeat(&old[0]);
        script.wait(SESSION_MS / 2);
    }
    assert!(script.group.state() != GroupState::PreparingRebalance || again.answer().is_some());
}

#[test]
fn the_leader_may_call_for_a_rebalance_and_a_follower_may_not() {
    let mut script = Script::new();
    let joined = script.stable(2);
    let follower = script.join(&joined[1].member_id).answer().unwrap();
    assert_eq!(
        follower.generation_id, 1,
        "unchanged, so it is told of the current generation"
    );
    assert_eq!(script.group.state(), GroupState::Stable);
    assert!(script.join(&joined[0].member_id).answer().is_none());
    assert_eq!(script.group.state(), GroupState::PreparingRebalance);
}

#[test]
fn a_follower_with_another_subscription_calls_for_a_rebalance() {
    let mut script = Script::new();
    let joined = script.stable(2);
    let protocols = vec![protocol("range", b"other")];
    let offer = Join {
        protocols,
        ..script.offer(&joined[1].member_id)
    };
    assert!(script.ask(offer).answer().is_none());
    assert_eq!(script.group.state(), GroupState::PreparingRebalance);
}

#[test]
fn a_member_that_missed_its_answer_gets_it_again() {
    let mut script = Script::new();
    let mut asked = script.join("");
    script.wait(INITIAL_DELAY_MS);
    let joined = asked.answer().unwrap();
    assert_eq!(script.join(&joined.member_id).answer().unwrap(), joined);
}

#[test]
fn a_silent_member_is_expired_and_the_rest_goes_on() {
    let mut script = Script::new();
    let joined = script.stable(2);
    script.wait(SESSION_MS / 2);
    assert_eq!(script.heartbeat(&joined[0]), Ok(()));
    script.wait(SESSION_MS / 2);
    assert_eq!(
        script.heartbeat(&joined[0]),
        Err(ErrorCode::RebalanceInProgress)
    );
    assert_eq!(
        script.heartbeat(&joined[1]),
        Err(ErrorCode::UnknownMemberId)
    );
    let alone = script.join(&joined[0].member_id).answer().unwrap();
    assert_eq!((alone.generation_id, alone.members.len()), (2, 1));
}

#[test]
fn a_member_that_never_syncs_is_out_after_the_rebalance_timeout() {
    let mut script = Script::new();
    let asked = vec![script.join(""), script.join("")];
    let joined = script.begin(asked);
    let leader_id = joined[0].member_id.as_str();
    script.sync(&joined[0], &[(leader_id, "a")]);
    for _ in 0..REBALANCE_MS / 5_000 - 1 {
        script.wait(5_000);
        assert_eq!(
            [0, 1].map(|member| script.heartbeat(&joined[member])),
            [Ok(()), Ok(())]
        );
    }
    script.wait(5_000);
    assert_eq!(
        script.heartbeat(&joined[1]),
        Err(ErrorCode::UnknownMemberId)
    );
    assert_eq!(
        script.heartbeat(&joined[0]),
        Err(ErrorCode::RebalanceInProgress)
    );
}

#[test]
fn the_last_to_leave_empties_the_group_and_that_is_recorded() {
    let mut script = Script::new();
    let joined = script.stable(2);
    assert_eq!(script.leave(&joined[0].member_id, None), ErrorCode::None);
    assert_eq!(script.leave(&joined[1].member_id, None), ErrorCode::None);
    assert_eq!(script.group.state(), GroupState::Empty);
    let recorded = script.written.last().unwrap();
    assert_eq!((recorded.generation, recorded.members.len()), (2, 0));
    assert_eq!(
        (
            recorded.protocol_type.as_str(),
            &recorded.protocol,
            &recorded.leader
        ),
        (CONSUMER, &None, &None)
    );
    assert_eq!(recorded.state_timestamp_ms, script.now.wall_ms);
    assert_eq!(script.leave("nobody", None), ErrorCode::UnknownMemberId);
}

#[test]
fn a_member_that_leaves_while_it_waits_is_answered() {
    let mut script = Script::new();
    let mut asked = script.join("");
    let member_id = script.group.members().next().unwrap().id().to_owned();
    assert_eq!(script.leave(&member_id, None), ErrorCode::None);
    assert_eq!(
        asked.answer().unwrap().error_code,
        ErrorCode::UnknownMemberId
    );
    script.wait(INITIAL_DELAY_MS);
    assert_eq!(script.group.state(), GroupState::Empty);
}

#[test]
fn members_must_share_a_protocol_and_its_type() {
    let mut script = Script::new();
    let mut offer = Join {
        protocol_type: String::new(),
        ..script.offer("")
    };
    assert_eq!(
        script.ask(offer).answer().unwrap().error_code,
        ErrorCode::InconsistentGroupProtocol
    );
    offer = Join {
        protocols: Vec::new(),
        ..script.offer("")
    };
    assert_eq!(
        script.ask(offer).answer().unwrap().error_code,
        ErrorCode::InconsistentGroupProtocol
    );
    script.stable(1);
    offer = Join {
        protocols: vec![protocol("sticky", b"")],
        ..script.offer("")
    };
    assert_eq!(
        script.ask(offer).answer().unwrap().error_code,
        ErrorCode::InconsistentGroupProtocol
    );
    offer = Join {
        protocol_type: "connect".to_owned(),
        ..script.offer("")
    };
    assert_eq!(
        script.ask(offer).answer().unwrap().error_code,
        ErrorCode::InconsistentGroupProtocol
    );
}

#[test]
fn the_assignor_that_most_members_like_best_is_chosen() {
    let mut script = Script::new();
    let likes = [
        ["range", "sticky"],
        ["sticky", "range"],
        ["sticky", "range"],
    ];
    let mut asked: Vec<_> = likes
        .iter()
        .map(|names| {
            let protocols = names.iter().map(|name| protocol(name, b"")).collect();
            let offer = Join {
                protocols,
                ..script.offer("")
            };
            script.join_with(offer)
        })
        .collect();
    script.wait(2 * INITIAL_DELAY_MS);
    assert_eq!(asked[0].answer().unwrap().protocol_name.unwrap(), "sticky");
}

#[test]
fn a_full_group_takes_no_more() {
    let mut script = Script::new();
    let joined = script.stable(LIMITS.size_max);
    assert_eq!(
        script.join("").answer().unwrap().error_code,
        ErrorCode::GroupMaxSizeReached
    );
    assert_eq!(script.heartbeat(&joined[0]), Ok(()));
}

#[test]
fn a_failed_write_of_the_assignments_makes_the_members_join_again() {
    let mut script = Script::new();
    let mut asked = script.join("");
    script.wait(INITIAL_DELAY_MS);
    let joined = asked.answer().unwrap();
    script.write_result = Err(ErrorCode::NotEnoughReplicas);
    let answer = script
        .sync(&joined, &[(&joined.member_id, "a")])
        .answer()
        .unwrap();
    assert_eq!(answer.error_code, ErrorCode::CoordinatorNotAvailable);
    assert_eq!(script.group.state(), GroupState::PreparingRebalance);
    assert!(
        script
            .group
            .members()
            .all(|member| member.assignment().is_empty())
    );
}

#[test]
fn commits_are_taken_from_members_of_the_generation_only() {
    let mut script = Script::new();
    let joined = script.stable(1).remove(0);
    let id = joined.member_id.as_str();
    let mut commit =
        |id: &str, generation| script.group.check_commit(script.now, id, None, generation);
    assert_eq!(commit(id, 1), Ok(()));
    assert_eq!(commit(id, 0), Err(ErrorCode::IllegalGeneration));
    assert_eq!(commit("other", 1), Err(ErrorCode::UnknownMemberId));
    assert_eq!(
        commit("", -1),
        Err(ErrorCode::UnknownMemberId),
        "not while the group has members"
    );
    assert_eq!(script.leave(id, None), ErrorCode::None);
    assert_eq!(script.group.check_commit(script.now, "", None, -1), Ok(()));
    assert_eq!(
        script.group.check_commit(script.now, id, None, 1),
        Err(ErrorCode::UnknownMemberId)
    );
}

#[test]
fn a_commit_between_generations_is_put_off() {
    let mut script = Script::new();
    let mut asked = script.join("");
    script.wait(INITIAL_DELAY_MS);
    let joined = asked.answer().unwrap();
    let check = script
        .group
        .check_commit(script.now, &joined.member_id, None, 1);
    assert_eq!(check, Err(ErrorCode::RebalanceInProgress));
}

#[test]
fn a_recorded_group_goes_on_after_a_restart() {
    let mut script = Script::new();
    let joined = script.stable(2);
    let recorded = script.written.last().unwrap().clone();
    script.group = ClassicGroup::from_metadata(recorded.clone(), LIMITS);
    assert!(script.group.resume(script.now).is_none());
    assert_eq!(script.heartbeat(&joined[1]), Ok(()));
    assert_eq!(
        script.sync(&joined[1], &[]).answer().unwrap().assignment,
        joined[1].member_id.as_bytes()
    );
    assert_eq!(script.group.metadata_for(&Write::Empty), recorded);
    script.wait(SESSION_MS + REBALANCE_MS);
    assert_eq!(script.group.state(), GroupState::Empty, "nobody came back");
}

#[test]
fn generations_wrap_to_zero() {
    let mut script = Script::new();
    let joined = script.stable(1);
    script.group.generation = i32::MAX;
    assert!(
        script
            .join(&joined[0].member_id)
            .answer()
            .is_some_and(|answer| answer.generation_id == 0)
    );
}

#[test]
fn subscriptions_of_consumers_are_known() {
    let mut script = Script::new();
    let protocols = vec![protocol("range", b"\0\x03\0\0\0\x02\0\x01a\0\x02bc rest")];
    let offer = Join {
        protocols,
        ..script.offer("")
    };
    script.join_with(offer);
    script.wait(INITIAL_DELAY_MS);
    let is_subscribed = |topic| script.group.is_subscribed(topic);
    assert_eq!(["a", "bc", "d"].map(is_subscribed), [true, true, false]);
}

#[test]
fn unreadable_subscriptions_count_as_subscribed_to_everything() {
    let mut script = Script::new();
    script.stable(1);
    assert!(!script.group.knows_subscriptions());
    assert!(script.group.is_subscribed("anything"));
}
