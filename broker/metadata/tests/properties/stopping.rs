//! The mark of a cluster that is being stopped as a whole.

use milena_metadata::*;

use super::apply;
use super::asks::{broker, change, register};

const NOW_MS: i64 = 1_700_000_000_000;

/// So many brokers that serve.
fn serving(brokers: i32) -> Image {
    let mut image = Image::default();
    for id in 0..brokers {
        apply(&mut image, &register(id, 0, LastEnd::None, false).into()).unwrap();
    }
    image
}

fn mark(image: &mut Image, stopping: bool, now_ms: i64) {
    apply(image, &SetStopping { stopping, now_ms }.into()).unwrap();
}

/// Starts a life of a broker that a cluster knows, fenced as in a cluster.
fn start(image: &mut Image, id: i32, life: u8) {
    apply(image, &register(id, life, LastEnd::Clean, true).into()).unwrap();
}

fn fence(image: &mut Image, id: i32, fenced: bool) {
    let changed = change(image, id, [Some(fenced), None, None]);
    apply(image, &changed.into()).unwrap();
}

/// What a broker is told for which nothing speaks.
fn request(image: &mut Image, id: i32, now_ms: i64) -> LeaseAnswer {
    let ask = RequestLease {
        broker: broker(id),
        now_ms,
        duration_ms: 60_000,
        max_unavailable: 1,
        never_safe: NeverSafe::Block,
        voters: Vec::new(),
        partitions: Vec::new(),
    };
    match apply(image, &ask.into()) {
        Ok(Outcome::RequestLease(answer)) => answer,
        other => panic!("{other:?}"),
    }
}

fn is_granted(answer: &LeaseAnswer) -> bool {
    matches!(answer, LeaseAnswer::Granted(granted) if granted.cluster_stopping)
}

#[test]
fn while_the_cluster_is_being_stopped_everybody_is_granted_a_lease_for_that_reason() {
    let mut image = serving(3);
    assert!(matches!(
        request(&mut image, 0, NOW_MS),
        LeaseAnswer::Refused(_)
    ));
    mark(&mut image, true, NOW_MS);
    for id in 0..3 {
        assert!(is_granted(&request(&mut image, id, NOW_MS)), "broker {id}");
    }
    mark(&mut image, false, NOW_MS);
    assert_eq!(image.stopping(), None);
    assert_eq!(image.leases().len(), 3, "they end as all others do");
}

#[test]
fn the_mark_is_over_when_the_cluster_has_come_back_and_not_before() {
    let mut image = serving(3);
    mark(&mut image, true, NOW_MS);
    // One is back already, while the others are still to stop.
    start(&mut image, 0, 1);
    fence(&mut image, 0, false);
    assert!(
        image.stopping().is_some(),
        "two serve on in their old lives"
    );
    // The second is seen to go, the third is not: the quorum had lost its majority.
    fence(&mut image, 1, true);
    start(&mut image, 1, 1);
    fence(&mut image, 1, false);
    assert!(image.stopping().is_some(), "one is not known to be gone");
    fence(&mut image, 2, true);
    assert_eq!(image.stopping(), None);
}

#[test]
fn a_broker_alone_that_starts_again_is_not_held_to_the_mark() {
    let mut image = serving(1);
    mark(&mut image, true, NOW_MS);
    assert!(is_granted(&request(&mut image, 0, NOW_MS)));
    apply(&mut image, &register(0, 1, LastEnd::Clean, false).into()).unwrap();
    assert_eq!((image.stopping(), image.leases().len()), (None, 0));
}

#[test]
fn the_mark_is_over_by_its_time() {
    let mut image = serving(3);
    mark(&mut image, true, NOW_MS);
    let end_ms = NOW_MS + STOPPING_MS_MAX;
    let early = ExpireLeases {
        now_ms: end_ms - 1,
        seen: Vec::new(),
    };
    apply(&mut image, &early.into()).unwrap();
    assert!(image.stopping().is_some());
    assert!(matches!(
        request(&mut image, 0, end_ms),
        LeaseAnswer::Refused(_)
    ));
    assert_eq!(image.stopping(), None);
}

#[test]
fn marking_again_and_again_writes_only_what_is_news() {
    let mut image = serving(2);
    mark(&mut image, false, NOW_MS);
    let before = image.position();
    mark(&mut image, true, NOW_MS);
    mark(&mut image, true, NOW_MS + 60_000);
    assert_eq!(image.position().offset, before.offset + 1);
    // A life has begun since: it is concerned, too.
    start(&mut image, 0, 1);
    mark(&mut image, true, NOW_MS + 60_000);
    fence(&mut image, 0, false);
    fence(&mut image, 1, true);
    assert!(image.stopping().is_some());
    // And its time is nearly over.
    let late = NOW_MS + STOPPING_MS_MAX;
    mark(&mut image, true, late);
    let mark = image.stopping().unwrap();
    assert_eq!(mark.until_ms, late + STOPPING_MS_MAX);
}

#[test]
fn a_snapshot_has_the_mark() {
    let mut image = serving(1);
    mark(&mut image, true, NOW_MS);
    let mut copy = Image::default();
    image
        .records()
        .for_each(|record| copy.apply(&record).unwrap());
    assert_eq!(copy.at(image.position()), image);
}
