//! Stop leases: no set of them breaks the quorum or a partition, and some can always be had once all are back.

use milena_metadata::*;
use proptest::prelude::*;

use super::asks::{Ask, asks, broker, change, configure, create, epoch, register};
use super::{apply, check::is_up};

/// What its leaders would say of all partitions: each follower in the ISR has caught up, unless it is `behind`.
fn progress(image: &Image, behind: &[BrokerId]) -> Vec<PartitionProgress> {
    let of = |topic: &Topic| {
        let id = topic.id;
        let said = |(partition, state): (PartitionId, &std::sync::Arc<Partition>)| {
            let (slow, fast) = state
                .brokers()
                .partition::<Vec<_>, _>(|b| behind.contains(b));
            PartitionProgress {
                topic: id,
                partition,
                leader_epoch: state.leader_epoch,
                caught_up: fast,
                behind: slow.into_iter().map(|id| (id, 7)).collect(),
                log_bytes: None,
            }
        };
        topic.partitions().map(said).collect::<Vec<_>>()
    };
    image.topics().flat_map(|topic| of(topic)).collect()
}

fn ask(image: &Image, id: i32, never_safe: NeverSafe, behind: &[BrokerId]) -> RequestLease {
    let voter = |id: i32| VoterProgress {
        broker: broker(id),
        caught_up: !behind.contains(&broker(id))
            && image
                .broker(broker(id))
                .is_some_and(|broker| !broker.fenced),
    };
    RequestLease {
        broker: broker(id),
        now_ms: 1_000,
        duration_ms: 60_000,
        max_unavailable: 5,
        never_safe,
        voters: (0..3).map(voter).collect(),
        partitions: progress(image, behind),
    }
}

fn request(image: &mut Image, ask: RequestLease) -> LeaseAnswer {
    match apply(image, &ask.into()) {
        Ok(Outcome::RequestLease(answer)) => answer,
        other => panic!("{other:?}"),
    }
}

/// As a leader of the quorum asks that has seen all leases for so long, whatever its clock says.
fn expire(image: &mut Image, seen_ms: i64) {
    let leases = image.leases().cloned();
    let seen = leases.map(|lease| SeenLease { lease, seen_ms }).collect();
    apply(image, &ExpireLeases { now_ms: 0, seen }.into()).unwrap();
}

fn needed(image: &Image, topic: &Topic) -> usize {
    TopicPolicy::of(image, &NoConfigRules, &topic.name).min_insync_replicas
}

/// Every broker starts anew, every replica is in sync, and time has gone by.
fn bring_back(image: &mut Image) {
    let ids: Vec<i32> = image.brokers().map(|broker| broker.id.get()).collect();
    for &id in &ids {
        apply(image, &register(id, 200, LastEnd::Clean, false).into()).unwrap();
        let here = change(image, id, [Some(false), Some(false), Some(false)]);
        apply(image, &here.into()).unwrap();
    }
    let kind = ElectionKind::Unclean;
    let partitions = None;
    apply(image, &ElectLeaders { kind, partitions }.into()).unwrap();
    let topics: Vec<_> = image.topics().cloned().collect();
    for topic in topics {
        for (number, partition) in topic.partitions() {
            let leader = partition.leader.expect("all are up");
            let proposal = AlterPartition {
                broker: leader,
                broker_epoch: epoch(image, leader),
                partitions: vec![IsrProposal {
                    topic: topic.id,
                    partition: number,
                    leader_epoch: partition.leader_epoch,
                    partition_epoch: partition.partition_epoch,
                    isr: partition
                        .brokers()
                        .map(|id| (id, epoch(image, id)))
                        .collect(),
                }],
            };
            let Ok(Outcome::AlterPartition(answers)) = apply(image, &proposal.into()) else {
                panic!("refused")
            };
            answers[0].as_ref().unwrap();
        }
    }
    expire(image, i64::MAX);
}

proptest! {
    #[test]
    fn no_set_of_leases_breaks_the_quorum_or_a_partition(
        asks in asks(),
        whole in any::<bool>(),
        order in Just((0..5).collect::<Vec<i32>>()).prop_shuffle(),
        behind in prop::sample::subsequence(vec![0, 1, 2, 3, 4], 0..2),
    ) {
        let mut image = super::start();
        for ask in asks {
            let command = ask.on(&image);
            let _ = apply(&mut image, &command);
        }
        if whole {
            bring_back(&mut image);
        }
        let behind: Vec<BrokerId> = behind.into_iter().map(broker).collect();
        for id in order {
            if image.broker(broker(id)).is_none() {
                continue;
            }
            let ask = ask(&image, id, NeverSafe::Block, &behind);
            let voters = ask.voters.clone();
            let LeaseAnswer::Granted(granted) = request(&mut image, ask) else { continue };
            prop_assert_eq!(granted.pausing_count, 0);
            let stays = |id: BrokerId| image.lease(id).is_none();
            let staying = voters.iter().filter(|voter| voter.caught_up && stays(voter.broker));
            prop_assert!(staying.count() * 2 > voters.len());
            for topic in image.topics() {
                for (_, partition) in topic.partitions() {
                    // A log that could not be opened is served by nobody there, and its broker's next life may mend it.
                    let serve = |id: &BrokerId| !partition.unopened.contains(id);
                    if partition.brokers().filter(serve).all(stays) {
                        continue;
                    }
                    let counts = |id: &&BrokerId| {
                        let in_step = partition.leader == Some(**id) || !behind.contains(id);
                        stays(**id) && in_step && is_up(&image, partition, **id)
                    };
                    let staying = partition.isr.iter().filter(counts).count();
                    prop_assert!(staying >= needed(&image, topic));
                }
            }
        }
    }

    #[test]
    fn some_lease_can_be_had_once_every_broker_is_back(asks in asks(), granted in 0..5i32) {
        let mut image = super::start();
        if image.broker(broker(granted)).is_some() {
            let ask = ask(&image, granted, NeverSafe::Allow, &[]);
            request(&mut image, ask);
        }
        for ask in asks {
            let command = ask.on(&image);
            let _ = apply(&mut image, &command);
        }
        bring_back(&mut image);
        prop_assert_eq!(image.leases().len(), 0, "all are back in every ISR");
        let ids: Vec<i32> = image.brokers().map(|broker| broker.id.get()).collect();
        let voters = ids.iter().filter(|id| **id < 3).count();
        let mut can = ids.iter().filter(|&&id| {
            let ask = RequestLease { max_unavailable: 1, ..ask(&image, id, NeverSafe::Allow, &[]) };
            matches!(request(&mut image.clone(), ask), LeaseAnswer::Granted(_))
        });
        prop_assert!(voters < 3 || can.next().is_some());
    }

    /// Draining brokers join no ISR, and not every replica needs to have caught up.
    #[test]
    fn no_lease_outlasts_its_time_once_its_broker_serves(asks in asks(), granted in 0..4i32) {
        let mut image = super::start();
        let lease = ask(&image, granted, NeverSafe::Allow, &[]);
        request(&mut image, lease);
        for ask in asks {
            let command = ask.on(&image);
            let _ = apply(&mut image, &command);
        }
        expire(&mut image, i64::MAX);
        for lease in image.leases() {
            prop_assert!(image.broker(lease.broker).unwrap().fenced);
        }
    }
}

fn three() -> Image {
    let mut image = super::start();
    let key = "min.insync.replicas";
    apply(
        &mut image,
        &configure(ConfigResource::broker(None), key, Some("2")),
    )
    .unwrap();
    image
}

fn refused(answer: LeaseAnswer) -> LeaseRefusal {
    match answer {
        LeaseAnswer::Refused(refusal) => refusal,
        LeaseAnswer::Granted(_) => panic!("granted"),
    }
}

#[test]
fn a_refusal_names_partition_follower_and_bytes() {
    let mut image = three();
    let slow = image.partition("a", 0).unwrap().isr[1];
    let asker = image.partition("a", 0).unwrap().leader.unwrap().get();
    let ask = ask(&image, asker, NeverSafe::Block, &[slow]);
    let refusal = refused(request(&mut image, ask));
    assert!(refusal.blocking_count >= 1);
    let blocks = &refusal.blocking[0];
    assert_eq!(
        (blocks.topic.as_str(), blocks.needed, blocks.staying),
        ("a", 2, 1)
    );
    assert_eq!(
        blocks.followers,
        [BlockingFollower {
            broker: slow,
            reason: NotStaying::Behind,
            bytes_behind: Some(7)
        }]
    );
}

#[test]
fn a_leader_that_was_not_heard_or_speaks_of_another_epoch_blocks() {
    let mut image = three();
    let silent = RequestLease {
        partitions: Vec::new(),
        ..ask(&image, 0, NeverSafe::Block, &[])
    };
    assert!(refused(request(&mut image, silent)).blocking_count > 0);
    let mut old = ask(&image, 0, NeverSafe::Block, &[]);
    old.partitions
        .iter_mut()
        .for_each(|said| said.leader_epoch -= 1);
    assert!(refused(request(&mut image, old)).blocking_count > 0);
}

#[test]
fn partitions_that_can_never_be_safe_are_listed_apart_and_follow_the_policy() {
    let mut image = three();
    apply(&mut image, &create("one", 2, 4, 1).into()).unwrap();
    let id = image.partition("one", 0).unwrap().leader.unwrap().get();
    for policy in [NeverSafe::Block, NeverSafe::Move] {
        let ask = ask(&image, id, policy, &[]);
        let refusal = refused(request(&mut image, ask));
        assert_eq!((refusal.never_safe_count, refusal.blocking_count), (1, 0));
        assert_eq!(refusal.never_safe[0].0.as_str(), "one");
    }
    let ask = ask(&image, id, NeverSafe::Allow, &[]);
    let LeaseAnswer::Granted(granted) = request(&mut image, ask) else {
        panic!("refused")
    };
    assert_eq!(
        (granted.pausing_count, granted.pausing[0].0.as_str()),
        (1, "one")
    );
}

#[test]
fn a_log_that_could_not_be_opened_keeps_its_broker_from_no_stop() {
    let mut image = three();
    apply(&mut image, &create("one", 2, 1, 1).into()).unwrap();
    let id = image.partition("one", 0).unwrap().leader.unwrap().get();
    let lose = Ask::AssignDirectory("one".into(), 0, id, DirectoryId::LOST, true);
    let lose = lose.on(&image);
    apply(&mut image, &lose).unwrap();
    let ask = ask(&image, id, NeverSafe::Block, &[]);
    assert!(matches!(request(&mut image, ask), LeaseAnswer::Granted(_)));
}

#[test]
fn the_only_broker_of_a_cluster_may_stop_where_pausing_is_allowed() {
    let mut image = Image::default();
    apply(&mut image, &register(0, 0, LastEnd::None, false).into()).unwrap();
    let voters = vec![VoterProgress {
        broker: broker(0),
        caught_up: true,
    }];
    let block = RequestLease {
        voters,
        ..ask(&image, 0, NeverSafe::Block, &[])
    };
    assert!(refused(request(&mut image, block.clone())).quorum.is_some());
    let never_safe = NeverSafe::Allow;
    let allow = RequestLease {
        never_safe,
        ..block
    };
    let LeaseAnswer::Granted(granted) = request(&mut image, allow) else {
        panic!("refused")
    };
    assert!(granted.quorum_pauses);
}

#[test]
fn a_lease_is_of_a_life_and_lasts_until_the_next_is_in_every_isr() {
    let mut image = three();
    let one = |image: &Image, id, now_ms| RequestLease {
        now_ms,
        max_unavailable: 1,
        ..ask(image, id, NeverSafe::Allow, &[])
    };
    let first = one(&image, 0, 1_000);
    let LeaseAnswer::Granted(granted) = request(&mut image, first) else {
        panic!("refused")
    };
    let again = one(&image, 0, 2_000);
    let LeaseAnswer::Granted(same) = request(&mut image, again) else {
        panic!("refused")
    };
    assert_eq!(granted.lease, same.lease, "asking again returns it");
    let mut copy = Image::default();
    image
        .records()
        .for_each(|record| copy.apply(&record).unwrap());
    assert_eq!(
        copy.lease(broker(0)),
        Some(&granted.lease),
        "a snapshot has it"
    );
    let other = one(&image, 1, 2_000);
    assert_eq!(refused(request(&mut image, other)).leases_out, [broker(0)]);

    // It stops, and its time is over: it is away, so the lease stays.
    let away = change(&image, 0, [Some(true), None, None]);
    apply(&mut image, &away.into()).unwrap();
    expire(&mut image, i64::MAX);
    assert!(image.lease(broker(0)).is_some());
    apply(&mut image, &register(0, 1, LastEnd::Clean, false).into()).unwrap();
    assert!(image.lease(broker(0)).is_some(), "not in every ISR yet");
    bring_back(&mut image);
    assert_eq!(image.lease(broker(0)), None);

    // One that serves on loses it by time, or gives it back.
    let second = one(&image, 1, 1_000);
    request(&mut image, second);
    expire(&mut image, 59_999);
    assert!(image.lease(broker(1)).is_some());
    expire(&mut image, 60_000);
    assert_eq!(image.lease(broker(1)), None);
    let third = one(&image, 2, 1_000);
    request(&mut image, third);
    let back = ReleaseLease { broker: broker(2) };
    assert_eq!(
        apply(&mut image, &back.into()),
        Ok(Outcome::ReleaseLease(true))
    );
    assert_eq!(image.leases().len(), 0);
    let stranger = ask(&image, 77, NeverSafe::Block, &[]);
    assert!(apply(&mut image, &stranger.into()).is_err());
}

#[test]
fn a_lease_of_a_broker_that_is_back_and_drains_is_over_by_its_time() {
    let mut image = three();
    let first = ask(&image, 0, NeverSafe::Allow, &[]);
    request(&mut image, first);
    let away = change(&image, 0, [Some(true), Some(true), None]);
    apply(&mut image, &away.into()).unwrap();
    apply(&mut image, &register(0, 1, LastEnd::Clean, true).into()).unwrap();
    expire(&mut image, 60_000);
    assert!(image.lease(broker(0)).is_some(), "it does not serve yet");
    let back = change(&image, 0, [Some(false), None, None]);
    apply(&mut image, &back.into()).unwrap();
    expire(&mut image, 59_999);
    assert!(image.lease(broker(0)).is_some(), "its time is not over");
    expire(&mut image, 60_000);
    assert_eq!(image.lease(broker(0)), None);
}

#[test]
fn no_jump_of_the_leaders_clock_ends_a_lease_that_is_out() {
    let mut image = three();
    let granted = ask(&image, 0, NeverSafe::Allow, &[]);
    request(&mut image, granted);
    let lease = image.lease(broker(0)).cloned().unwrap();
    let late_ms = lease.expires_ms + 3_600_000;
    let other = RequestLease {
        now_ms: late_ms,
        max_unavailable: 1,
        ..ask(&image, 1, NeverSafe::Allow, &[])
    };
    assert_eq!(refused(request(&mut image, other)).leases_out, [broker(0)]);
    let seen = SeenLease {
        lease: lease.clone(),
        seen_ms: 59_999,
    };
    let jumped = ExpireLeases {
        now_ms: late_ms,
        seen: vec![seen],
    };
    assert_eq!(
        apply(&mut image, &jumped.into()),
        Ok(Outcome::ExpireLeases(Vec::new()))
    );
    assert_eq!(image.lease(broker(0)), Some(&lease));
}

#[test]
fn who_asks_again_behind_the_time_that_was_shown_is_judged_anew() {
    let mut image = three();
    let first = ask(&image, 0, NeverSafe::Allow, &[]);
    request(&mut image, first);
    let lease = image.lease(broker(0)).cloned().unwrap();
    let again = |image: &Image, behind: &[BrokerId]| RequestLease {
        now_ms: lease.expires_ms,
        ..ask(image, 0, NeverSafe::Block, behind)
    };
    let slow = again(&image, &[broker(1), broker(2), broker(3)]);
    assert!(refused(request(&mut image, slow)).blocking_count > 0);
    assert_eq!(image.lease(broker(0)), Some(&lease), "others count on it");
    let whole = again(&image, &[]);
    let LeaseAnswer::Granted(granted) = request(&mut image, whole) else {
        panic!("refused")
    };
    assert_eq!(granted.lease.expires_ms, lease.expires_ms + 60_000);
    assert_eq!(image.lease(broker(0)), Some(&granted.lease));
    // What was seen of the one before says nothing of this one.
    let seen = vec![SeenLease {
        lease,
        seen_ms: i64::MAX,
    }];
    apply(&mut image, &ExpireLeases { now_ms: 0, seen }.into()).unwrap();
    assert_eq!(image.lease(broker(0)), Some(&granted.lease));
}

#[test]
fn a_lease_of_older_software_lasts_as_long_as_any_may() {
    let mut image = three();
    let old = LeaseRecord {
        broker: broker(0),
        incarnation: image.broker(broker(0)).unwrap().incarnation,
        expires_ms: 1,
        duration_ms: None,
    };
    image.apply(&old.into()).unwrap();
    expire(&mut image, LEASE_MS_MAX - 1);
    assert!(image.lease(broker(0)).is_some());
    expire(&mut image, LEASE_MS_MAX);
    assert_eq!(image.lease(broker(0)), None);
}
