//! One promise after the other.

use super::*;

const SESSION: Duration = Duration::from_secs(3);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Some time after the machine's start, so that there is a before.
fn start() -> Instant {
    Instant::now() + Duration::from_secs(3_600)
}

/// A broker that has just answered, its connection open, watched since long.
fn healthy(id: i32, now: Instant) -> Seen {
    Seen {
        broker: BrokerId::new(id).unwrap(),
        since: now - Duration::from_secs(600),
        answered: Some(now),
        link: Link {
            open: true,
            ..Link::default()
        },
        dialled: None,
    }
}

/// It closed its connection then.
fn closed(id: i32, at: Instant) -> Seen {
    Seen {
        link: Link {
            lost: Some(at),
            ..Link::default()
        },
        ..healthy(id, at)
    }
}

/// It closed its connection then, and a dial was refused.
fn refused(id: i32, at: Instant) -> Seen {
    let mut seen = closed(id, at);
    seen.link.refused = Some(at);
    seen.dialled = Some(at);
    seen
}

fn fenced(now: Instant, seen: &[Seen], drops: &[Instant]) -> Vec<(i32, FenceReason)> {
    let verdicts = verdicts(now, SESSION, seen, drops);
    assert!(verdicts.again > now && verdicts.again <= now + LOOK);
    let named = verdicts.fence.into_iter();
    named.map(|(id, reason)| (id.get(), reason)).collect()
}

fn dialled(now: Instant, seen: &[Seen]) -> Vec<i32> {
    let verdicts = verdicts(now, SESSION, seen, &[]);
    verdicts.dial.into_iter().map(BrokerId::get).collect()
}

#[test]
fn a_silent_broker_is_fenced_after_the_session_and_no_earlier() {
    let now = start();
    let seen = [healthy(2, now), healthy(3, now + SESSION)];
    assert_eq!(fenced(now + SESSION - ms(1), &seen, &[]), []);
    assert_eq!(
        fenced(now + SESSION, &seen, &[]),
        [(2, FenceReason::Silent)]
    );
    assert!(dialled(now + ms(2_000), &seen).is_empty());
}

#[test]
fn a_broker_that_closed_and_refuses_a_dial_is_fenced_at_once() {
    let now = start();
    let seen = [healthy(2, now), refused(3, now)];
    assert_eq!(fenced(now, &seen, &[]), [(3, FenceReason::Refused)]);
}

#[test]
fn a_broker_that_closed_is_dialled_at_once_and_fenced_after_a_grace_without_an_answer() {
    let now = start();
    let mut seen = [healthy(2, now), closed(3, now)];
    assert_eq!(dialled(now, &seen), [3]);
    seen[1].dialled = Some(now);
    assert!(dialled(now + ms(1), &seen).is_empty());
    assert_eq!(
        verdicts(now, SESSION, &seen, &[]).again,
        now + DIAL_AGAIN,
        "it is looked at again before the usual time"
    );
    assert_eq!(dialled(now + DIAL_AGAIN, &seen), [3]);
    assert_eq!(fenced(now + GRACE - ms(1), &seen, &[]), []);
    assert_eq!(fenced(now + GRACE, &seen, &[]), [(3, FenceReason::Closed)]);
}

#[test]
fn a_broker_that_is_back_within_the_grace_is_left_alone() {
    let now = start();
    let mut seen = closed(3, now);
    seen.link = healthy(3, now).link;
    assert_eq!(fenced(now + GRACE, &[healthy(2, now), seen], &[]), []);
    assert!(dialled(now + GRACE, &[seen]).is_empty());
}

#[test]
fn a_connection_that_only_timed_out_waits_for_silence() {
    let now = start();
    let timed_out = Seen {
        link: Link::default(),
        dialled: Some(now),
        ..healthy(3, now)
    };
    let seen = [healthy(2, now + SESSION), timed_out];
    assert_eq!(fenced(now + ms(2_999), &seen, &[]), []);
    assert!(dialled(now + ms(500), &seen).is_empty());
    assert_eq!(
        fenced(now + SESSION, &seen, &[]),
        [(3, FenceReason::Silent)]
    );
}

#[test]
fn a_new_leader_gives_everybody_a_full_session() {
    let now = start();
    // Two did not answer the leader before, one was never connected to this one.
    let mut seen = [healthy(2, now), healthy(3, now), healthy(4, now)];
    for broker in &mut seen {
        (broker.since, broker.answered) = (now, Some(now - ms(2_900)));
        broker.link.open = false;
    }
    seen[2].answered = None;
    assert_eq!(fenced(now + SESSION - ms(1), &seen, &[]), []);
    assert_eq!(fenced(now + SESSION, &seen, &[]).len(), 3);
    assert_eq!(dialled(now, &seen), [2, 3, 4], "and dials whom it lacks");
}

#[test]
fn a_new_leader_fences_at_once_whom_its_own_first_dial_finds_gone() {
    let now = start();
    let mut gone = refused(3, now - ms(300));
    gone.since = now;
    let seen = [healthy(2, now), gone];
    assert_eq!(fenced(now, &seen, &[]), [], "a refusal of before is stale");
    assert_eq!(dialled(now, &seen), [3]);
    gone.link.refused = Some(now + ms(1));
    let seen = [healthy(2, now), gone];
    assert_eq!(fenced(now + ms(1), &seen, &[]), [(3, FenceReason::Refused)]);
}

#[test]
fn a_new_leader_remembers_who_closed_and_gives_them_a_grace() {
    let now = start();
    let mut gone = closed(3, now - ms(300));
    gone.since = now;
    let seen = [healthy(2, now), gone];
    assert_eq!(fenced(now + GRACE - ms(1), &seen, &[]), []);
    assert_eq!(fenced(now + GRACE, &seen, &[]), [(3, FenceReason::Closed)]);
}

#[test]
fn of_many_that_drop_together_all_but_the_first_few_wait_for_silence() {
    let now = start();
    // With the leader five are unfenced: one may be fenced at once.
    let seen = [
        refused(2, now),
        refused(3, now + ms(1)),
        refused(4, now + ms(2)),
        healthy(5, now + ms(900)),
    ];
    let first = [(2, FenceReason::Refused)];
    assert_eq!(fenced(now + ms(3), &seen, &[]), first);
    // When that one is fenced the others still wait, also when it was long ago.
    let rest = &seen[1..];
    assert_eq!(fenced(now + ms(4), rest, &[now]), []);
    assert_eq!(fenced(now + ms(2_900), rest, &[now]), []);
    let silent = fenced(now + SESSION + ms(2), rest, &[now]);
    assert_eq!(silent, [(3, FenceReason::Silent), (4, FenceReason::Silent)]);
}

#[test]
fn brokers_that_drop_one_by_one_are_each_fenced_at_once() {
    let now = start();
    let seen = [healthy(2, now), refused(3, now)];
    assert_eq!(
        fenced(now, &seen, &[now - TOGETHER]),
        [(3, FenceReason::Refused)]
    );
    assert_eq!(fenced(now, &seen, &[now - TOGETHER + ms(1)]), []);
}

#[test]
fn a_third_of_many_may_drop_together() {
    let now = start();
    let dead = (2..4).map(|id| refused(id, now));
    let seen: Vec<Seen> = dead.chain((4..7).map(|id| healthy(id, now))).collect();
    assert_eq!(fenced(now, &seen, &[]).len(), 2, "two of six");
    let seen = &seen[..4];
    assert_eq!(fenced(now, seen, &[]).len(), 1, "one of five");
}

#[test]
fn two_brokers_lose_one_at_once() {
    let now = start();
    assert_eq!(
        fenced(now, &[refused(2, now)], &[]),
        [(2, FenceReason::Refused)]
    );
}
