//! Several members.

use std::time::Instant;

use super::process::{Places, Process, leader_of, until};
use super::*;
use crate::peer::{CallError, Lane, Request};
use crate::quorum::rescue::Survivor;

#[tokio::test]
async fn three_empty_voters_found_one_cluster_and_each_has_commands_decided() {
    let places = Places::new(3);
    let all = places.found().await;
    let id = all[0].quorum.image().cluster_id().cloned();
    for member in &all {
        assert_eq!(member.quorum.image().cluster_id().cloned(), id);
    }
    all[0].quorum.request(registration()).await.unwrap();
    for (index, member) in all.iter().enumerate() {
        let name = format!("from-{index}");
        let created = member
            .quorum
            .request(topics([name.clone()], 1))
            .await
            .unwrap();
        assert!(created[0].is_ok());
        assert!(
            member.quorum.image().topic(&name).is_some(),
            "who asked has it at once"
        );
    }
    until("all have all", || {
        all.iter()
            .all(|member| member.quorum.image().topics().count() == 3)
    })
    .await;
    assert_eq!(*all[0].quorum.image(), *all[1].quorum.image());
    let status = all[leader_of(&all).await].quorum.status();
    assert_eq!((status.voters.len(), status.learners.len()), (3, 0));
    assert!(
        status
            .voters
            .iter()
            .all(|voter| voter.matched_index.is_some() && voter.last_contact.is_some())
    );
}

/// Whoever is killed, there is a broker left to place replicas on.
async fn register_all(member: &Process) {
    for broker in 1..=3 {
        let registered = member.quorum.request(registration_of(broker));
        registered.await.unwrap();
    }
}

/// cluster.md's figure is half a second; a debug build beside other tests is given four times that.
#[tokio::test]
async fn a_killed_leader_is_replaced_and_nothing_answered_is_lost() {
    let places = Places::new(3);
    let mut all = places.found().await;
    register_all(&all[0]).await;
    let leader = leader_of(&all).await;
    all[leader]
        .quorum
        .request(topics(["kept".into()], 1))
        .await
        .unwrap();
    let killed = all.swap_remove(leader).kill();
    let since = Instant::now();
    until("another leads", || all.iter().any(Process::leads)).await;
    let gap = since.elapsed();
    println!("a new leader after {gap:?}");
    assert!(gap < Duration::from_secs(2), "{gap:?}");
    let created = all[0]
        .quorum
        .request(topics(["after".into()], 1))
        .await
        .unwrap();
    assert!(created[0].is_ok() && all[0].quorum.image().topic("kept").is_some());
    let options = places.options(&killed, places.told(false));
    all.push(Process::start(killed, options).await.unwrap().unwrap());
    until("it has caught up", || {
        all[2].quorum.image().topic("after").is_some()
    })
    .await;
    let created = all[2]
        .quorum
        .request(topics(["again".into()], 1))
        .await
        .unwrap();
    assert!(created[0].is_ok());
}

#[tokio::test]
async fn a_voter_that_starts_alone_waits_for_the_others_and_says_so() {
    let places = Places::new(3);
    let all = places.found().await;
    let killed: Vec<_> = all.into_iter().map(Process::kill).collect();
    let start_wait = StartWait::default();
    let options = QuorumOptions {
        start_wait: start_wait.clone(),
        ..places.options(&killed[0], places.told(false))
    };
    let (starting, waits) = (
        Process::start(killed[0].clone(), options),
        start_wait.clone(),
    );
    let alone = tokio::spawn(async move {
        let alone = starting.await.unwrap().unwrap();
        alone.quorum.led(&waits).await;
        alone
    });
    until("it says what it waits for", || {
        let why = start_wait.why();
        why.is_some_and(|why| why.contains("majority") && why.contains("broker 2"))
    })
    .await;
    let options = places.options(&killed[1], places.told(false));
    let _other = Process::start(killed[1].clone(), options)
        .await
        .unwrap()
        .unwrap();
    until("it is led", || alone.is_finished()).await;
    assert_eq!(start_wait.why(), None);
}

#[tokio::test]
async fn a_start_goes_on_with_all_that_was_decided_while_it_was_away() {
    let places = Places::new(3);
    let mut all = places.found().await;
    register_all(&all[0]).await;
    let follower = (leader_of(&all).await + 1) % all.len();
    let killed = all.remove(follower).kill();
    for number in 0..20 {
        let created = all[0].quorum.request(topics([format!("t{number}")], 500));
        created.await.unwrap()[0].as_ref().unwrap();
    }
    let decided = all[0].quorum.image().position().offset;
    let options = places.options(&killed, places.told(false));
    let back = Process::start(killed, options).await.unwrap().unwrap();
    back.quorum.led(&StartWait::default()).await;
    assert!(back.quorum.image().position().offset >= decided);
}

#[tokio::test]
async fn a_lost_majority_is_named_and_the_image_can_still_be_read() {
    let places = Places::new(3);
    let mut all = places.found().await;
    let survivor = all.pop().unwrap();
    let registration = registration_of(survivor.place.broker);
    all[0].quorum.request(registration).await.unwrap();
    until("all have it", || {
        survivor.quorum.image().brokers().count() == 1
    })
    .await;
    let killed: Vec<_> = all.into_iter().map(Process::kill).collect();
    let error = survivor
        .quorum
        .request(topics(["no".into()], 1))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, QuorumError::LostMajority { voters: 3, .. }),
        "{error}"
    );
    assert_eq!(error.code(), ErrorCode::RequestTimedOut);
    assert_eq!(survivor.quorum.image().brokers().count(), 1);
    let back = killed[0].clone();
    let options = places.options(&back, places.told(false));
    let _back = Process::start(back, options).await.unwrap().unwrap();
    let created = survivor
        .quorum
        .request(topics(["yes".into()], 1))
        .await
        .unwrap();
    assert!(created[0].is_ok());
}

#[tokio::test]
async fn a_survivor_goes_on_alone_by_a_persons_word_and_others_follow_it() {
    let places = Places::new(3);
    let mut all = places.found().await;
    register_all(&all[0]).await;
    all[0]
        .quorum
        .request(topics(["kept".into()], 1))
        .await
        .unwrap();
    until("all have it", || {
        all.iter()
            .all(|member| member.quorum.image().topic("kept").is_some())
    })
    .await;
    let id = all[0].quorum.image().cluster_id().cloned();
    let survivor = all.pop().unwrap().kill();
    drop(all);
    let dir = places.options(&survivor, places.told(false)).dir;
    let rescue = Survivor::open(&dir).unwrap();
    let survey = rescue.survey().unwrap();
    assert_eq!((survey.voters.len(), survey.broker), (3, 3));
    assert!(survey.last_entry >= survey.known_decided);
    rescue.go_on_alone().unwrap();
    drop(rescue);
    let options = places.options(&survivor, places.told(false));
    let alone = Process::start(survivor, options).await.unwrap().unwrap();
    let created = alone.quorum.request(topics(["after".into()], 1)).await;
    assert!(created.unwrap()[0].is_ok());
    let image = alone.quorum.image();
    assert!(image.topic("kept").is_some() && image.cluster_id().cloned() == id);
    assert_eq!(alone.quorum.status().voters.len(), 1);
}

#[tokio::test]
async fn a_follower_that_lags_behind_the_log_gets_a_snapshot() {
    let places = Places::new(3);
    let mut starting = Vec::new();
    for place in &places.all {
        let options = QuorumOptions {
            log_bytes_max: 20_000,
            entries_kept: 5,
            ..places.options(place, places.told(true))
        };
        starting.push(Process::start(place.clone(), options));
    }
    let mut all = Vec::new();
    for started in starting {
        all.push(started.await.unwrap().unwrap());
    }
    let leader = leader_of(&all).await;
    let lagging = all.swap_remove((leader + 1) % 3).kill();
    let purged = |member: &Process| {
        member
            .quorum
            .member
            .raft
            .metrics()
            .borrow()
            .purged
            .map_or(0, |id| id.index)
    };
    let last = all[0].quorum.status().last_index as u64;
    let gone = |member: &Process| member.leads() && purged(member) > last;
    // By their number: how long each takes is the disk's affair.
    for request in 0.. {
        if all.iter().any(gone) {
            break;
        }
        assert!(request < 1_000, "entries are gone");
        let registration = registration_of(all[0].place.broker);
        all[0].quorum.request(registration).await.unwrap();
    }
    let options = places.options(&lagging, places.told(false));
    let back = Process::start(lagging, options).await.unwrap().unwrap();
    let goal = all[0].quorum.image().position().offset;
    until("it has caught up", || {
        back.quorum.image().position().offset >= goal
    })
    .await;
    assert_eq!(*back.quorum.image(), *all[0].quorum.image());
    assert!(back.quorum.store.snapshot_head().unwrap().is_some());
}

#[tokio::test]
async fn a_lone_brokers_metadata_starts_a_cluster_that_others_join() {
    let places = Places::new(2);
    let lone = QuorumOptions::alone(places.all[0].dir.clone(), 1);
    let quorum = Quorum::open(lone, rules(), None, Handle::current())
        .await
        .unwrap();
    quorum.request(registration()).await.unwrap();
    quorum.request(topics(["orders".into()], 1)).await.unwrap();
    let (cluster, orders) = {
        let image = quorum.image();
        (
            image.cluster_id().cloned(),
            image.topic("orders").unwrap().id,
        )
    };
    quorum.stop().await;
    drop(quorum);
    let first = Process::start(
        places.all[0].clone(),
        places.options(&places.all[0], Told::Others),
    );
    let first = first.await.unwrap().unwrap();
    let second = Process::start(
        places.all[1].clone(),
        places.options(&places.all[1], Told::Others),
    );
    let second = second.await.unwrap().unwrap();
    assert_eq!(second.quorum.image().cluster_id().cloned(), cluster);
    assert_eq!(first.quorum.status().learners.len(), 1);
    second
        .quorum
        .request(topics(["more".into()], 1))
        .await
        .unwrap();
    until("it has all", || second.quorum.image().topics().count() == 2).await;
    assert_eq!(second.quorum.image().topic("orders").unwrap().id, orders);
}

#[tokio::test]
async fn another_cluster_and_another_member_are_told_apart_at_the_door() {
    let places = Places::new(4);
    let all = places.found().await;
    let other = QuorumOptions::alone(places.all[3].dir.clone(), 4);
    let other = Quorum::open(other, rules(), None, Handle::current())
        .await
        .unwrap();
    let stranger = &other.member.peers;
    let within = Duration::from_secs(5);
    let port = all[0].place.port;
    let probed = stranger.call_address("127.0.0.1", port, &Request::Probe, within);
    let refused = probed.await.unwrap_err();
    assert!(
        matches!(&refused, CallError::Rejected { why, .. } if why.contains("is of cluster")),
        "{refused}"
    );
    let (leader, follower) = {
        let leader = leader_of(&all).await;
        (&all[leader], &all[(leader + 1) % 3])
    };
    let follower_at = (follower.quorum.member.id + 1, &follower.quorum.member.me);
    let peers = leader.quorum.member.peers.clone();
    let probed = peers.call(Lane::Bulk, follower_at, &Request::Probe, within);
    let refused = probed.await.unwrap_err();
    assert!(
        matches!(&refused, CallError::Rejected { why, .. } if why.contains("and not member")),
        "{refused}"
    );
    other.stop().await;
}
