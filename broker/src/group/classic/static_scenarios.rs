use milena_protocol::ErrorCode;
use milena_protocol::api::join_group::JoinGroupResponse;

use super::script::*;
use super::*;

/// Static members `a` and `b`, the leader first.
fn stable_static(script: &mut Script) -> Vec<JoinGroupResponse> {
    let asked = ["a", "b"].map(|instance_id| {
        let offer = script.offer_static(instance_id);
        script.join_with(offer)
    });
    let joined = script.begin(asked.into());
    script.assign(&joined);
    joined
}

fn instance_of(member: &JoinGroupResponse) -> &'static str {
    if member.member_id.starts_with("a-") {
        "a"
    } else {
        "b"
    }
}

#[test]
fn a_static_follower_comes_back_without_a_rebalance_and_fences_its_past() {
    let mut script = Script::new();
    let old = stable_static(&mut script).remove(1);
    let instance_id = instance_of(&old);
    let offer = script.offer_static(instance_id);
    let new = script.join_with(offer).answer().unwrap();
    assert_eq!((new.error_code, new.generation_id), (ErrorCode::None, 1));
    assert_ne!(new.member_id, old.member_id);
    assert_eq!(script.group.state(), GroupState::Stable);
    assert_eq!(
        script.sync(&new, &[]).answer().unwrap().assignment,
        old.member_id.as_bytes()
    );
    let fenced = script
        .group
        .heartbeat(script.now, &old.member_id, Some(instance_id), 1);
    assert_eq!(fenced, Err(ErrorCode::FencedInstanceId));
    assert_eq!(script.heartbeat(&old), Err(ErrorCode::UnknownMemberId));
    let recorded = script.written.last().unwrap();
    assert!(
        recorded
            .members
            .iter()
            .any(|member| new.member_id == member.member_id.as_str())
    );
}

#[test]
fn a_static_leader_that_comes_back_is_told_to_skip_the_assignment() {
    let mut script = Script::new();
    let old = stable_static(&mut script).remove(0);
    let offer = script.offer_static(instance_of(&old));
    let new = script.join_with(offer).answer().unwrap();
    assert!(new.skip_assignment);
    assert_eq!((new.leader, new.members.len()), (new.member_id, 2));
}

#[test]
fn an_old_static_leader_that_comes_back_is_told_of_another_leader() {
    let mut script = Script::new();
    let old = stable_static(&mut script).remove(0);
    let offer = Join {
        can_skip_assignment: false,
        ..script.offer_static(instance_of(&old))
    };
    let new = script.join_with(offer).answer().unwrap();
    assert!(!new.skip_assignment);
    assert_eq!((new.leader, new.members.len()), (old.member_id, 0));
}

#[test]
fn a_static_member_with_another_assignor_calls_for_a_rebalance() {
    let mut script = Script::new();
    let both = |script: &mut Script, instance_id: &str, names: [&str; 2]| {
        let protocols = names.map(|name| protocol(name, b"")).to_vec();
        let offer = Join {
            protocols,
            ..script.offer_static(instance_id)
        };
        script.join_with(offer)
    };
    let asked = vec![
        both(&mut script, "a", ["x", "y"]),
        both(&mut script, "b", ["x", "y"]),
    ];
    let joined = script.begin(asked);
    script.assign(&joined);
    let protocols = vec![protocol("y", b"")];
    let offer = Join {
        protocols,
        ..script.offer_static("a")
    };
    assert!(script.join_with(offer).answer().is_none());
    assert_eq!(script.group.state(), GroupState::PreparingRebalance);
}

#[test]
fn the_return_of_a_static_member_is_taken_back_if_it_can_not_be_recorded() {
    let mut script = Script::new();
    let old = stable_static(&mut script).remove(1);
    script.write_result = Err(ErrorCode::NotLeaderOrFollower);
    let offer = script.offer_static(instance_of(&old));
    let answer = script.join_with(offer).answer().unwrap();
    assert_eq!(answer.error_code, ErrorCode::NotCoordinator);
    assert_eq!(script.heartbeat(&old), Ok(()));
}

#[test]
fn a_second_static_member_of_the_same_name_fences_the_waiting_first() {
    let mut script = Script::new();
    let first_offer = script.offer_static("a");
    let mut first = script.join_with(first_offer);
    let second_offer = script.offer_static("a");
    let mut second = script.join_with(second_offer);
    assert_eq!(
        first.answer().unwrap().error_code,
        ErrorCode::FencedInstanceId
    );
    script.wait(2 * INITIAL_DELAY_MS);
    assert_eq!(second.answer().unwrap().error_code, ErrorCode::None);
    assert_eq!(script.group.size(), 1);
}

#[test]
fn a_static_member_that_is_late_keeps_its_place_until_its_session_ends() {
    let mut script = Script::new();
    let joined = stable_static(&mut script);
    script
        .group
        .members
        .values_mut()
        .for_each(|member| member.session_timeout_ms = 10 * REBALANCE_MS);
    let ids = joined
        .iter()
        .map(|member| member.member_id.to_string())
        .collect::<Vec<_>>();
    let static_ids = [instance_of(&joined[0]), instance_of(&joined[1])];
    let join = Join {
        instance_id: Some(static_ids[0].to_owned()),
        ..script.offer(&ids[0])
    };
    for (id, instance_id) in ids.iter().zip(static_ids) {
        let beat = script.group.heartbeat(script.now, id, Some(instance_id), 1);
        assert_eq!(beat, Ok(()));
    }
    let mut again = script.join_with(join);
    script.wait(REBALANCE_MS);
    let answer = again.answer().unwrap();
    assert_eq!((answer.generation_id, answer.members.len()), (2, 2));
}

#[test]
fn an_administrator_removes_a_static_member_by_its_instance_id() {
    let mut script = Script::new();
    let joined = stable_static(&mut script);
    assert_eq!(
        script.leave("", Some(instance_of(&joined[1]))),
        ErrorCode::None
    );
    assert_eq!(script.leave("", Some("c")), ErrorCode::UnknownMemberId);
    assert_eq!(script.leave("", None), ErrorCode::UnknownMemberId);
    assert_eq!(script.group.size(), 1);
    assert_eq!(script.group.state(), GroupState::PreparingRebalance);
}

#[test]
fn a_member_id_of_another_instance_is_fenced() {
    let mut script = Script::new();
    let joined = stable_static(&mut script);
    let stranger = Syncing {
        member_id: joined[0].member_id.to_string(),
        instance_id: Some(instance_of(&joined[1]).to_owned()),
        generation: 1,
        ..Syncing::default()
    };
    let answer = script.ask_sync(stranger).answer().unwrap();
    assert_eq!(answer.error_code, ErrorCode::FencedInstanceId);
}
