//! A broker can't open its log of a partition: others lead on, and where no other could, nobody leads until its next life.

use milena_metadata::*;
use milena_protocol::ErrorCode;

use super::apply;
use super::asks::{Ask, broker, create, directory, propose, register};

/// A partition that one broker has, and that broker.
fn alone() -> (Image, i32) {
    let mut image = super::start();
    apply(&mut image, &create("one", 2, 1, 1).into()).unwrap();
    let leader = state(&image, "one").leader.unwrap();
    (image, leader.get())
}

fn state(image: &Image, topic: &str) -> Partition {
    (**image.partition(topic, 0).unwrap()).clone()
}

/// What the quorum says to a broker that can't use its replica.
fn lose(image: &mut Image, topic: &str, id: i32, is_unopened: bool) -> Result<(), ErrorCode> {
    let ask = Ask::AssignDirectory(topic.into(), 0, id, DirectoryId::LOST, is_unopened);
    let ask = ask.on(image);
    match apply(image, &ask) {
        Ok(Outcome::AssignDirectories(answers)) => answers[0].clone().map_err(|no| no.code),
        other => panic!("{other:?}"),
    }
}

fn begin_anew(image: &mut Image, id: i32, last_end: LastEnd) {
    apply(image, &register(id, 9, last_end, false).into()).unwrap();
}

#[test]
fn nobody_leads_a_log_that_could_not_be_opened_before_its_brokers_next_life() {
    for last_end in [LastEnd::Clean, LastEnd::Killed] {
        let (mut image, id) = alone();
        let before = state(&image, "one");
        let why = lose(&mut image, "one", id, false);
        assert_eq!(why, Err(ErrorCode::NotEnoughReplicas), "it can be read");
        assert_eq!(state(&image, "one"), before);
        lose(&mut image, "one", id, true).unwrap();
        let shut = state(&image, "one");
        assert_eq!((shut.leader, shut.isr.len()), (None, 1));
        assert_eq!(shut.leader_epoch, before.leader_epoch + 1);
        assert_eq!(shut.replicas, before.replicas, "where it is stays known");
        lose(&mut image, "one", id, true).unwrap();
        for kind in [ElectionKind::Preferred, ElectionKind::Unclean] {
            let partitions = None;
            apply(&mut image, &ElectLeaders { kind, partitions }.into()).unwrap();
        }
        assert_eq!(state(&image, "one"), shut, "nothing changes that");
        begin_anew(&mut image, id, last_end);
        let after = state(&image, "one");
        assert_eq!(
            (after.leader, after.elected, after.unopened),
            (Some(broker(id)), Elected::InSync, vec![]),
        );
    }
}

#[test]
fn a_log_that_could_not_be_opened_is_missed_where_its_directory_is_gone_in_the_next_life() {
    let (mut image, id) = alone();
    lose(&mut image, "one", id, true).unwrap();
    let on_another = RegisterBroker {
        directories: vec![directory(99)],
        ..register(id, 9, LastEnd::Clean, false)
    };
    apply(&mut image, &on_another.into()).unwrap();
    let after = state(&image, "one");
    assert_eq!(
        (after.leader, after.elected),
        (Some(broker(id)), Elected::LastKnown)
    );
}

fn fence(ids: &[BrokerId], fenced: bool) -> Ask {
    let ids = ids.iter();
    Ask::Change(
        ids.map(|id| (id.get(), [Some(fenced), None, None]))
            .collect(),
    )
}

/// A broker begins a life that is fenced, as in a cluster, says that it could not open its log, and is unfenced.
fn begin_without_log(image: &mut Image, id: BrokerId) {
    let fenced = register(id.get(), 9, LastEnd::Killed, true);
    apply(image, &fenced.into()).unwrap();
    lose(image, "a", id.get(), true).unwrap();
    let ask = fence(&[id], false).on(image);
    apply(image, &ask).unwrap();
}

#[test]
fn a_broker_that_says_so_before_it_is_unfenced_keeps_who_has_the_log_electable() {
    let mut image = super::start();
    let [first, second, third] = state(&image, "a").isr[..] else {
        panic!("three are in sync")
    };
    for ids in [&[third][..], &[first, second]] {
        let ask = fence(ids, true).on(&image);
        apply(&mut image, &ask).unwrap();
    }
    let stopped = state(&image, "a");
    assert_eq!(
        (stopped.leader, &*stopped.isr),
        (None, &[first, second][..])
    );
    begin_without_log(&mut image, first);
    let shut = state(&image, "a");
    assert_eq!((shut.leader, &*shut.isr), (None, &[first, second][..]));
    assert_eq!(shut.replicas, stopped.replicas);
    apply(
        &mut image,
        &register(second.get(), 9, LastEnd::Clean, false).into(),
    )
    .unwrap();
    let after = state(&image, "a");
    assert_eq!(
        (after.leader, after.elected),
        (Some(second), Elected::InSync)
    );
}

#[test]
fn of_several_that_could_not_open_their_logs_none_is_elected_out_of_sync() {
    let mut image = super::start();
    let ids = state(&image, "a").isr;
    let ask = Ask::Unclean(true).on(&image);
    apply(&mut image, &ask).unwrap();
    for id in &ids {
        let _ = lose(&mut image, "a", id.get(), true);
    }
    let lost = state(&image, "a");
    assert_eq!(lost.leader, None);
    let epoch = lost.leader_epoch;
    for id in ids.iter().chain(&ids) {
        let _ = lose(&mut image, "a", id.get(), true);
    }
    assert_eq!(
        state(&image, "a").leader_epoch,
        epoch,
        "nobody leads in turns"
    );
}

#[test]
fn who_has_given_a_partition_up_may_be_in_sync_when_it_is_back() {
    let mut image = super::start();
    let before = state(&image, "a");
    let [first, second, third] = before.isr[..] else {
        panic!("three are in sync")
    };
    let ask = fence(&[second, third], true).on(&image);
    apply(&mut image, &ask).unwrap();
    lose(&mut image, "a", first.get(), true).unwrap();
    let ask = fence(&[second, third], false).on(&image);
    apply(&mut image, &ask).unwrap();
    let (kind, partitions) = (ElectionKind::Unclean, None);
    apply(&mut image, &ElectLeaders { kind, partitions }.into()).unwrap();
    let to = vec![second.get(), third.get()];
    let ask = Ask::Reassign("a".into(), 0, Some(to)).on(&image);
    apply(&mut image, &ask).unwrap();
    let join = propose(&image, "a", 0, &[second.get(), third.get()], 0, 0);
    apply(&mut image, &join).unwrap();
    let moved = state(&image, "a");
    assert_eq!(moved.brokers().collect::<Vec<_>>(), [second, third]);
    assert_eq!(moved.unopened, []);
}

#[test]
fn whoever_else_is_in_sync_leads_as_soon_as_it_is_up() {
    let mut image = super::start();
    let [first, second, third] = state(&image, "a").isr[..] else {
        panic!("three are in sync")
    };
    let ask = fence(&[third], true).on(&image);
    apply(&mut image, &ask).unwrap();
    lose(&mut image, "a", first.get(), true).unwrap();
    let led = state(&image, "a");
    assert_eq!((led.leader, led.unopened), (Some(second), vec![]));
    let replica = led.replicas.iter().find(|has| has.broker == first).unwrap();
    assert_eq!(replica.directory, DirectoryId::LOST);

    let mut image = super::start();
    let ask = fence(&[second, third], true).on(&image);
    apply(&mut image, &ask).unwrap();
    // They were in sync when they stopped, and the last that is left has every record that came since.
    assert_eq!(state(&image, "a").isr, [first]);
    lose(&mut image, "a", first.get(), true).unwrap();
    assert_eq!(state(&image, "a").leader, None);
    let ask = fence(&[second, third], false).on(&image);
    apply(&mut image, &ask).unwrap();
    assert_eq!(state(&image, "a").leader, None, "they may lack records");
    let (kind, partitions) = (ElectionKind::Unclean, None);
    apply(&mut image, &ElectLeaders { kind, partitions }.into()).unwrap();
    let after = state(&image, "a");
    assert_eq!(
        (after.leader, after.elected),
        (Some(second), Elected::Unclean)
    );
    assert!(!after.isr.contains(&first));
}
