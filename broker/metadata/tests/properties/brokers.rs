//! A broker within one life: the rack that it moves to, where it is reached, its replicas that are not in sync, and what its software knows.

use milena_metadata::*;
use milena_protocol::ErrorCode;

use super::asks::{broker, change, create, epoch, register};
use super::{apply, start};

fn move_to(image: &mut Image, rack: &str, late_by: i64) -> Result<Outcome, Refusal> {
    let id = broker(1);
    let ask = ChangeRack {
        id,
        epoch: epoch(image, id) - late_by,
        rack: rack.into(),
    };
    apply(image, &ask.into())
}

#[test]
fn a_broker_moves_to_another_rack_within_its_life_and_nothing_else_of_it_changes() {
    let mut image = start();
    let before = (**image.broker(broker(1)).unwrap()).clone();
    move_to(&mut image, "zone-b", 0).unwrap();
    let moved = BrokerRecord {
        rack: Some("zone-b".into()),
        ..before
    };
    assert_eq!(**image.broker(broker(1)).unwrap(), moved);
    let position = image.position();
    move_to(&mut image, "zone-b", 0).unwrap();
    assert_eq!(image.position(), position, "it is there already");
    let refused = move_to(&mut image, "zone-c", 1).unwrap_err();
    assert_eq!(refused.code, ErrorCode::StaleBrokerEpoch);
}

#[test]
fn a_broker_is_reached_elsewhere_within_its_life_and_nothing_else_of_it_changes() {
    let mut image = start();
    let id = broker(1);
    let before = (**image.broker(id).unwrap()).clone();
    let elsewhere = Endpoint {
        listener: "EXTERNAL".into(),
        host: "10.0.0.2".into(),
        port: 31_001,
        security_protocol: "PLAINTEXT".into(),
    };
    let mut ask = ChangeEndpoints {
        id,
        epoch: before.epoch,
        endpoints: vec![elsewhere],
    };
    apply(&mut image, &ask.clone().into()).unwrap();
    let moved = BrokerRecord {
        endpoints: ask.endpoints.clone(),
        ..before
    };
    assert_eq!(**image.broker(id).unwrap(), moved);
    let position = image.position();
    apply(&mut image, &ask.clone().into()).unwrap();
    assert_eq!(image.position(), position, "it is reached there already");
    ask.epoch -= 1;
    let refused = apply(&mut image, &ask.into()).unwrap_err();
    assert_eq!(refused.code, ErrorCode::StaleBrokerEpoch);
}

#[test]
fn a_broker_that_was_fenced_is_out_of_sync_until_it_is_in_the_isr_again() {
    let mut image = start();
    let topic = image.topic("a").unwrap().clone();
    let (_, partition) = topic.partitions().next().unwrap();
    let id = partition.leader.unwrap();
    let hosted = topic.partitions().filter(|(_, p)| p.hosts(id)).count();
    assert_eq!(image.out_of_sync(id).count(), 0);
    for fenced in [true, false] {
        let ask = change(&image, id.get(), [Some(fenced), None, None]);
        apply(&mut image, &ask.into()).unwrap();
        assert_eq!(image.out_of_sync(id).count(), hosted, "fenced: {fenced}");
    }
}

#[test]
fn a_topic_with_too_many_replicas_is_told_who_drains() {
    let mut image = start();
    let wide = create("wide", 2, 1, 4);
    let ask = change(&image, 3, [None, Some(true), None]);
    apply(&mut image, &ask.into()).unwrap();
    let Outcome::CreateTopics(answers) = apply(&mut image, &wide.into()).unwrap() else {
        panic!("another outcome")
    };
    let refusal = answers[0].as_ref().unwrap_err();
    assert_eq!(refusal.code, ErrorCode::InvalidReplicationFactor);
    for words in ["only 3 broker(s)", "Those that drain take no replicas: 3."] {
        assert!(refusal.message.contains(words), "{}", refusal.message);
    }
}

fn knowing(id: i32, min: i16, max: i16) -> RegisterBroker {
    RegisterBroker {
        levels: Levels { min, max },
        software: "9.0".into(),
        ..register(id, 1, LastEnd::None, false)
    }
}

fn set_level(image: &mut Image, level: i16) -> Result<Outcome, Refusal> {
    let ask = SetFeatures {
        levels: vec![("milena.version".into(), level)],
        downgrade: false,
        validate_only: false,
    };
    apply(image, &ask.into())
}

#[test]
fn no_level_is_set_that_a_registered_broker_lacks_and_that_one_is_named() {
    let mut image = start();
    apply(&mut image, &knowing(7, 2, 3).into()).unwrap();
    let refused = set_level(&mut image, 1).unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidUpdateVersion);
    let names = refused
        .message
        .contains("Broker 7 only supports versions 2-3");
    assert!(names, "{}", refused.message);
    assert_eq!(image.feature("milena.version"), 0);
    apply(&mut image, &register(7, 2, LastEnd::Clean, false).into()).unwrap();
    set_level(&mut image, 1).unwrap();
    assert_eq!(image.feature("milena.version"), 1);
}

#[test]
fn a_broker_that_does_not_know_the_clusters_level_is_not_registered() {
    let mut image = start();
    set_level(&mut image, 1).unwrap();
    let refused = apply(&mut image, &knowing(7, 2, 3).into()).unwrap_err();
    assert_eq!(refused.code, ErrorCode::UnsupportedVersion);
    assert!(
        refused.message.contains("knows levels 2 to 3"),
        "{}",
        refused.message
    );
    assert_eq!(image.broker(broker(7)), None);
    apply(&mut image, &knowing(7, 1, 3).into()).unwrap();
}
