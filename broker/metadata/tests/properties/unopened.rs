//! A broker can't open its log of a partition: others lead on, and where no other could, nobody leads until its next life.

use milena_metadata::*;
use milena_protocol::ErrorCode;

use super::apply;
use super::asks::{Ask, broker, create, directory, register};

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
            (Some(broker(id)), Elected::InSync, None),
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

#[test]
fn whoever_else_is_in_sync_leads_as_soon_as_it_is_up() {
    let mut image = super::start();
    let [first, second, third] = state(&image, "a").isr[..] else {
        panic!("three are in sync")
    };
    let fence = |ids: &[BrokerId], fenced| {
        let ids = ids.iter();
        Ask::Change(
            ids.map(|id| (id.get(), [Some(fenced), None, None]))
                .collect(),
        )
    };
    let ask = fence(&[third], true).on(&image);
    apply(&mut image, &ask).unwrap();
    lose(&mut image, "a", first.get(), true).unwrap();
    let led = state(&image, "a");
    assert_eq!((led.leader, led.unopened), (Some(second), None));
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
