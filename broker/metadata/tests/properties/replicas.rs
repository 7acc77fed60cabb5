//! AlterPartition, reassignments, elections and brokers' ends, each with the answers that Kafka gives.

use milena_metadata::*;
use milena_protocol::ErrorCode;

use super::apply;
use super::asks::{Ask, broker, change, create, epoch, propose, register};

/// Partition 0 of topic `a`, with its brokers: the leader first, and one that has no replica last.
fn start() -> (Image, Vec<i32>) {
    let image = super::start();
    let partition = image.partition("a", 0).unwrap();
    let mut brokers: Vec<i32> = partition.brokers().map(|id| id.get()).collect();
    let other = (0..4).find(|id| !brokers.contains(id)).unwrap();
    brokers.push(other);
    (image, brokers)
}

fn state(image: &Image) -> Partition {
    (**image.partition("a", 0).unwrap()).clone()
}

fn ids(brokers: &[i32]) -> Vec<BrokerId> {
    brokers.iter().map(|&id| broker(id)).collect()
}

fn refusal(image: &mut Image, command: impl Into<Command>) -> ErrorCode {
    match apply(image, &command.into()) {
        Err(refusal) => refusal.code,
        Ok(Outcome::AlterPartition(answers)) => answers[0].as_ref().unwrap_err().code,
        Ok(Outcome::AlterPartitionReassignments(answers)) => answers[0].as_ref().unwrap_err().code,
        Ok(Outcome::ElectLeaders(answers)) => answers[0].result.as_ref().unwrap_err().code,
        Ok(other) => panic!("{other:?}"),
    }
}

fn isr(image: &mut Image, members: &[i32]) {
    let ask = propose(image, "a", 0, members, 0, 0);
    let Ok(Outcome::AlterPartition(answers)) = apply(image, &ask) else {
        panic!("refused")
    };
    answers.into_iter().for_each(|answer| drop(answer.unwrap()));
}

fn reassign(to: Option<Vec<i32>>) -> Command {
    AlterPartitionReassignments {
        partitions: vec![WantedReplicas {
            topic: "a".into(),
            partition: 0,
            brokers: to,
        }],
        allow_replication_factor_change: false,
    }
    .into()
}

fn elect(kind: ElectionKind) -> Command {
    let partitions = Some(vec![("a".into(), 0)]);
    ElectLeaders { kind, partitions }.into()
}

fn set(image: &mut Image, id: i32, flags: [Option<bool>; 3]) {
    let ask = change(image, id, flags);
    apply(image, &ask.into()).unwrap();
}

#[test]
fn a_proposal_from_behind_ahead_or_of_somebody_else_is_refused_by_code() {
    let (mut image, b) = start();
    let all = &b[..3];
    let old = propose(&image, "a", 0, all, -1, 0);
    assert_eq!(refusal(&mut image, old), ErrorCode::FencedLeaderEpoch);
    let ahead = propose(&image, "a", 0, all, 1, 0);
    assert_eq!(refusal(&mut image, ahead), ErrorCode::NotController);
    let stale = propose(&image, "a", 0, all, 0, 0);
    isr(&mut image, &b[..2]);
    assert_eq!(refusal(&mut image, stale), ErrorCode::InvalidUpdateVersion);
    let life = propose(&image, "a", 0, all, 0, -1);
    assert_eq!(refusal(&mut image, life), ErrorCode::IneligibleReplica);
    let stranger = propose(&image, "a", 0, &[b[0], b[3]], 0, 0);
    assert_eq!(refusal(&mut image, stranger), ErrorCode::InvalidRequest);
    let leaderless = propose(&image, "a", 0, &b[1..3], 0, 0);
    assert_eq!(refusal(&mut image, leaderless), ErrorCode::InvalidRequest);
    let Command::AlterPartition(ask) = propose(&image, "a", 0, all, 0, 0) else {
        unreachable!()
    };
    let follower = AlterPartition {
        broker: broker(b[1]),
        broker_epoch: epoch(&image, broker(b[1])),
        ..ask.clone()
    };
    assert_eq!(refusal(&mut image, follower), ErrorCode::InvalidRequest);
    let dead = AlterPartition {
        broker_epoch: -1,
        ..ask
    };
    assert_eq!(refusal(&mut image, dead), ErrorCode::StaleBrokerEpoch);
}

#[test]
fn fenced_draining_and_stopping_brokers_do_not_join_an_isr() {
    let (mut image, b) = start();
    isr(&mut image, &b[..2]);
    for flags in [
        [Some(true), None, None],
        [None, Some(true), None],
        [None, None, Some(true)],
    ] {
        set(&mut image, b[2], flags);
        let join = propose(&image, "a", 0, &b[..3], 0, 0);
        assert_eq!(refusal(&mut image, join), ErrorCode::IneligibleReplica);
        set(&mut image, b[2], [Some(false); 3]);
    }
    isr(&mut image, &b[..3]);
    set(&mut image, b[2], [None, Some(true), None]);
    isr(&mut image, &[b[0], b[2]]);
    assert_eq!(state(&image).isr, ids(&[b[0], b[2]]), "who is in may stay");
}

#[test]
fn leaders_move_from_a_broker_that_drains_or_stops_and_it_stays_in_sync() {
    for flags in [[None, Some(true), None], [None, None, Some(true)]] {
        let (mut image, b) = start();
        set(&mut image, b[0], flags);
        assert_eq!(state(&image).leader, Some(broker(b[1])));
        assert_eq!(state(&image).isr.len(), 3);
    }
}

#[test]
fn draining_outlasts_a_life_and_stopping_does_not() {
    let (mut image, b) = start();
    set(&mut image, b[0], [None, Some(true), Some(true)]);
    apply(&mut image, &register(b[0], 9, LastEnd::Clean, false).into()).unwrap();
    let broker = image.broker(broker(b[0])).unwrap();
    assert_eq!((broker.draining, broker.stopping), (true, false));
}

#[test]
fn several_brokers_fenced_at_once_move_a_leader_once_to_one_that_stays() {
    let (mut image, b) = start();
    let before = state(&image);
    let both = Ask::Change(vec![
        (b[0], [Some(true), None, None]),
        (b[1], [Some(true), None, None]),
    ]);
    let both = both.on(&image);
    apply(&mut image, &both).unwrap();
    let after = state(&image);
    assert_eq!(
        (after.leader, after.isr),
        (Some(broker(b[2])), ids(&[b[2]]))
    );
    assert_eq!(after.leader_epoch, before.leader_epoch + 1);
    assert_eq!(after.partition_epoch, before.partition_epoch + 1);
}

#[test]
fn a_reassignment_grows_catches_up_and_shrinks_and_the_leader_leaves_last() {
    let (mut image, b) = start();
    let to = vec![b[3], b[1], b[2]];
    apply(&mut image, &reassign(Some(to.clone()))).unwrap();
    let moving = state(&image);
    assert_eq!(
        moving.brokers().collect::<Vec<_>>(),
        ids(&b),
        "the old serve, the new are added"
    );
    let both = moving.reassignment.clone().unwrap();
    assert_eq!(both.adding().collect::<Vec<_>>(), ids(&b[3..]));
    assert_eq!(both.removing().collect::<Vec<_>>(), ids(&b[..1]));
    assert_eq!((moving.leader, moving.isr.len()), (Some(broker(b[0])), 3));
    isr(&mut image, &b);
    let done = state(&image);
    assert_eq!(done.brokers().collect::<Vec<_>>(), ids(&to));
    assert_eq!((done.isr, done.reassignment), (ids(&to), None));
    assert_eq!(
        done.leader,
        Some(broker(b[3])),
        "the preferred leader of the new set"
    );
    assert_eq!(done.leader_epoch, moving.leader_epoch + 1);
}

#[test]
fn a_reassignment_waits_while_it_would_make_the_isr_smaller() {
    let (mut image, b) = start();
    let min = Ask::MinIsr(None, Some(2)).on(&image);
    apply(&mut image, &min).unwrap();
    apply(&mut image, &reassign(Some(vec![b[0], b[1], b[3]]))).unwrap();
    isr(&mut image, &[b[0], b[2]]);
    isr(&mut image, &[b[0], b[2], b[3]]);
    assert_eq!(
        state(&image).reassignment,
        None,
        "one for one: as many as before"
    );
    let (mut image, b) = start();
    apply(&mut image, &min).unwrap();
    apply(&mut image, &reassign(Some(vec![b[3], b[1], b[2]]))).unwrap();
    isr(&mut image, &[b[0], b[3]]);
    assert!(
        state(&image).reassignment.is_some(),
        "it would be alone, below the minimum"
    );
    isr(&mut image, &[b[0], b[1], b[3]]);
    assert_eq!(state(&image).isr, ids(&[b[3], b[1]]));
}

#[test]
fn a_reassignment_is_cancelled_to_what_was_and_replaced_from_what_was() {
    let (mut image, b) = start();
    let before = state(&image);
    assert_eq!(
        refusal(&mut image, reassign(None)),
        ErrorCode::NoReassignmentInProgress
    );
    apply(&mut image, &reassign(Some(vec![b[3], b[1], b[2]]))).unwrap();
    apply(&mut image, &reassign(None)).unwrap();
    let after = state(&image);
    assert_eq!(
        (after.replicas, after.isr, after.leader),
        (before.replicas, before.isr, before.leader)
    );
    apply(&mut image, &reassign(Some(vec![b[3], b[1], b[2]]))).unwrap();
    apply(&mut image, &reassign(Some(vec![b[0], b[1], b[3]]))).unwrap();
    let both = state(&image).reassignment.unwrap();
    assert_eq!(
        (both.from, both.to),
        (ids(&b[..3]), ids(&[b[0], b[1], b[3]]))
    );
}

#[test]
fn a_reassignment_to_nowhere_to_strangers_or_to_fewer_is_refused() {
    let (mut image, b) = start();
    let code = |image: &mut Image, to: &[i32]| refusal(image, reassign(Some(to.to_vec())));
    assert_eq!(code(&mut image, &[]), ErrorCode::InvalidReplicaAssignment);
    assert_eq!(code(&mut image, &[77]), ErrorCode::InvalidReplicaAssignment);
    assert_eq!(
        code(&mut image, &[b[0], b[0]]),
        ErrorCode::InvalidReplicaAssignment
    );
    assert_eq!(
        code(&mut image, &[b[0]]),
        ErrorCode::InvalidReplicationFactor
    );
    let shared = |id| RegisterBroker {
        node: Some("one".into()),
        ..register(id, 7, LastEnd::Clean, false)
    };
    apply(&mut image, &shared(b[0]).into()).unwrap();
    apply(&mut image, &shared(b[3]).into()).unwrap();
    assert_eq!(
        code(&mut image, &[b[0], b[1], b[3]]),
        ErrorCode::InvalidReplicaAssignment
    );
}

#[test]
fn elections_give_kafkas_answers() {
    let (mut image, b) = start();
    let (preferred, unclean) = (ElectionKind::Preferred, ElectionKind::Unclean);
    assert_eq!(
        refusal(&mut image, elect(preferred)),
        ErrorCode::ElectionNotNeeded
    );
    assert_eq!(
        refusal(&mut image, elect(unclean)),
        ErrorCode::ElectionNotNeeded
    );
    set(&mut image, b[0], [Some(true), None, None]);
    assert_eq!(
        refusal(&mut image, elect(preferred)),
        ErrorCode::PreferredLeaderNotAvailable
    );
    set(&mut image, b[0], [Some(false), None, None]);
    assert_eq!(plan::preferred(&image, 0), [], "it is not in sync yet");
    isr(&mut image, &b[..3]);
    let planned = plan::preferred(&image, 0);
    assert!(planned.contains(&("a".into(), 0)));
    let kind = preferred;
    let partitions = Some(planned);
    apply(&mut image, &ElectLeaders { kind, partitions }.into()).unwrap();
    assert_eq!(state(&image).leader, Some(broker(b[0])));
    assert_eq!(plan::preferred(&image, 0), []);
}

#[test]
fn an_unclean_leader_is_alone_and_nobody_else_is_eligible_any_more() {
    let (mut image, b) = start();
    let min = Ask::MinIsr(None, Some(3)).on(&image);
    apply(&mut image, &min).unwrap();
    isr(&mut image, &b[..2]);
    isr(&mut image, &b[..1]);
    let fence = |id| (id, [Some(true), None, None]);
    let all = Ask::Change(b[..3].iter().map(|&id| fence(id)).collect()).on(&image);
    apply(&mut image, &all).unwrap();
    let code = refusal(&mut image, elect(ElectionKind::Unclean));
    assert_eq!(code, ErrorCode::EligibleLeadersNotAvailable);
    assert_eq!(
        state(&image).elr,
        ids(&b[1..3]),
        "they were in the ISR while it was the minimum"
    );
    apply(
        &mut image,
        &register(b[1], 9, LastEnd::Unclean, true).into(),
    )
    .unwrap();
    assert_eq!(
        state(&image).elr,
        ids(&b[2..3]),
        "an unclean end leaves the ELR"
    );
    set(&mut image, b[1], [Some(false), None, None]);
    assert_eq!(state(&image).leader, None, "it may lack records");
    let kind = ElectionKind::Unclean;
    let partitions = None;
    apply(&mut image, &ElectLeaders { kind, partitions }.into()).unwrap();
    let after = state(&image);
    assert_eq!(
        (after.leader, after.elected),
        (Some(broker(b[1])), Elected::Unclean)
    );
    assert_eq!((after.isr, after.elr), (ids(&b[1..2]), vec![]));
}

#[test]
fn the_last_in_sync_that_comes_back_on_a_new_disk_leads_nobody_who_has_his() {
    let (mut image, b) = start();
    for id in [b[2], b[1]] {
        set(&mut image, id, [Some(true), None, None]);
    }
    assert_eq!(
        state(&image).isr,
        ids(&b[..1]),
        "the others have stopped before"
    );
    set(&mut image, b[0], [Some(true), None, None]);
    let on_new_disk = register(b[0], 9, LastEnd::None, false);
    apply(&mut image, &on_new_disk.into()).unwrap();
    assert_eq!(state(&image).leader, None, "its log is empty");
    for id in [b[1], b[2]] {
        apply(&mut image, &register(id, 9, LastEnd::Clean, false).into()).unwrap();
    }
    assert_eq!(state(&image).leader, None, "they may lack records");
    apply(&mut image, &elect(ElectionKind::Unclean)).unwrap();
    let after = state(&image);
    assert_eq!(
        (after.leader, after.elected),
        (Some(broker(b[1])), Elected::Unclean)
    );
}

#[test]
fn whose_only_replica_comes_back_on_a_new_disk_begins_anew() {
    let (mut image, b) = start();
    apply(&mut image, &create("alone", 77, 1, 1).into()).unwrap();
    let alone = |image: &Image| (**image.partition("alone", 0).unwrap()).clone();
    let host = alone(&image).leader.unwrap();
    assert!(b.contains(&host.get()));
    let on_new_disk = register(host.get(), 9, LastEnd::None, false);
    apply(&mut image, &on_new_disk.into()).unwrap();
    assert_eq!(alone(&image).leader, Some(host));
}

#[test]
fn a_broker_is_unregistered_when_it_is_stopped_and_hosts_nothing() {
    let (mut image, b) = start();
    let ask = |id| UnregisterBroker { id: broker(id) };
    assert_eq!(
        refusal(&mut image, ask(77)),
        ErrorCode::BrokerIdNotRegistered
    );
    let why = apply(&mut image, &ask(b[0]).into()).unwrap_err().message;
    assert!(why.contains("is running"), "{why}");
    set(&mut image, b[0], [Some(true), None, None]);
    let why = apply(&mut image, &ask(b[0]).into()).unwrap_err().message;
    assert!(
        why.contains("still has") && why.contains("drain it"),
        "{why}"
    );
    apply(&mut image, &register(8, 0, LastEnd::None, true).into()).unwrap();
    apply(&mut image, &ask(8).into()).unwrap();
    assert_eq!(image.broker(broker(8)), None);
}

#[test]
fn a_lost_directory_moves_its_leaders_and_no_others() {
    let (mut image, b) = start();
    let before = image.clone();
    let to = |directory| Ask::AssignDirectory("a".into(), 0, b[0], directory, false);
    let lose = to(DirectoryId::LOST).on(&image);
    apply(&mut image, &lose).unwrap();
    assert_eq!(state(&image).leader, Some(broker(b[1])));
    assert!(!image.broker(broker(b[0])).unwrap().fenced);
    assert_eq!(image.changed_partitions(&before).count(), 1);
    let join = propose(&image, "a", 0, &b[..3], 0, 0);
    assert_eq!(refusal(&mut image, join), ErrorCode::IneligibleReplica);
    let elsewhere = to(DirectoryId::UNASSIGNED).on(&image);
    apply(&mut image, &elsewhere).unwrap();
    isr(&mut image, &b[..3]);
}
