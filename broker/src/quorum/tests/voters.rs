//! Who votes, and who must not.

use std::collections::BTreeSet;

use openraft::ChangeMembers;

use super::process::{Place, Places, Process, leader_of, until};
use super::*;

fn wipe(place: &Place) {
    std::fs::remove_dir_all(&place.dir).unwrap();
}

fn voter_directories(process: &Process) -> Vec<(i32, DirectoryId)> {
    let mut voters: Vec<_> = process
        .quorum
        .status()
        .voters
        .into_iter()
        .map(|voter| (voter.node.broker, voter.node.directory))
        .collect();
    voters.sort_unstable();
    voters
}

#[tokio::test]
async fn a_wiped_voter_comes_back_as_a_learner_and_replaces_itself() {
    let places = Places::new(3);
    let mut all = places.found().await;
    all[0].quorum.request(registration()).await.unwrap();
    let cluster = all[0].quorum.image().cluster_id().cloned();
    let follower = (leader_of(&all).await + 1) % 3;
    let former = all[follower].quorum.directory();
    let place = all.swap_remove(follower).kill();
    wipe(&place);
    // It is still told that the cluster is new, and does not found another.
    let options = places.options(&place, places.told(true));
    let back = Process::start(place.clone(), options)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(back.quorum.image().cluster_id().cloned(), cluster);
    assert_ne!(back.quorum.directory(), former);
    let leader = &all[leader_of(&all).await];
    assert!(voter_directories(leader).contains(&(place.broker, former)));
    assert_eq!(leader.quorum.status().learners.len(), 1);
    until("it has all", || back.quorum.image().brokers().count() == 1).await;
    // From any member: the leader is asked.
    back.quorum
        .add_voter(place.broker, back.quorum.directory())
        .await
        .unwrap();
    back.quorum
        .remove_voter(place.broker, former)
        .await
        .unwrap();
    until("the voters are three", || {
        let voters = voter_directories(leader);
        voters.len() == 3 && voters.contains(&(place.broker, back.quorum.directory()))
    })
    .await;
    assert!(
        leader.quorum.status().learners.is_empty(),
        "the former disk is nobody"
    );
    let unknown = back.quorum.remove_voter(9, former).await.unwrap_err();
    assert_eq!(unknown.code(), ErrorCode::VoterNotFound);
    let twice = back
        .quorum
        .add_voter(place.broker, back.quorum.directory())
        .await
        .unwrap_err();
    assert_eq!(twice.code(), ErrorCode::DuplicateVoter);
}

#[tokio::test]
async fn a_learner_joins_by_itself_and_votes_when_it_is_told_to() {
    let places = Places::new(4);
    let mut all = places.found().await;
    all[0].quorum.request(registration_of(2)).await.unwrap();
    let place = places.all[3].clone();
    let options = places.options(&place, Told::Others);
    let learner = Process::start(place, options).await.unwrap().unwrap();
    learner
        .quorum
        .request(topics(["from-a-learner".into()], 1))
        .await
        .unwrap();
    assert_eq!(learner.quorum.image().topics().count(), 1);
    until("it is caught up", || {
        let leader = all.iter().find(|member| member.leads());
        let status = leader.map(|leader| leader.quorum.status());
        status.is_some_and(|status| {
            status
                .learners
                .iter()
                .all(|one| one.matched_index == Some(status.last_index))
        })
    })
    .await;
    learner
        .quorum
        .add_voter(4, learner.quorum.directory())
        .await
        .unwrap();
    let gone = all.remove(0);
    learner
        .quorum
        .remove_voter(1, gone.quorum.directory())
        .await
        .unwrap();
    gone.kill();
    all.push(learner);
    let leader = leader_of(&all).await;
    until("the voters are three others", || {
        let brokers = voter_directories(&all[leader])
            .into_iter()
            .map(|(broker, _)| broker);
        brokers.collect::<Vec<_>>() == [2, 3, 4]
    })
    .await;
    let created = all[0]
        .quorum
        .request(topics(["after".into()], 1))
        .await
        .unwrap();
    assert!(created[0].is_ok());
}

#[tokio::test]
async fn two_of_three_wiped_voters_found_no_second_cluster() {
    let places = Places::new(3);
    let all = places.found().await;
    all[0].quorum.request(registration()).await.unwrap();
    until("all have it", || {
        all.iter()
            .all(|member| member.quorum.image().brokers().count() == 1)
    })
    .await;
    let cluster = all[0].quorum.image().cluster_id().cloned();
    let killed: Vec<Place> = all.into_iter().map(Process::kill).collect();
    killed.iter().take(2).for_each(wipe);
    // The two alone: the third may know of a cluster, so they wait.
    let start =
        |place: &Place| Process::start(place.clone(), places.options(place, places.told(true)));
    let (mut first, second) = (start(&killed[0]), start(&killed[1]));
    let bound = Duration::from_secs(1);
    let waiting = tokio::time::timeout(bound, &mut first).await;
    assert!(
        waiting.is_err() && !second.is_finished(),
        "neither has founded, nor joined"
    );
    // With the third, which can't have a majority any more, they still wait.
    let third = start(&killed[2]).await.unwrap().unwrap();
    assert_eq!(third.quorum.image().cluster_id().cloned(), cluster);
    let error = third
        .quorum
        .request(topics(["no".into()], 1))
        .await
        .unwrap_err();
    assert!(matches!(error, QuorumError::LostMajority { .. }), "{error}");
    assert!(!first.is_finished() && !second.is_finished());
    assert_eq!(third.quorum.image().cluster_id().cloned(), cluster);
}

#[tokio::test]
async fn a_learner_is_forgotten_when_its_broker_is_gone_and_not_before() {
    let places = Places::new(4);
    let all = places.found().await;
    let place = places.all[3].clone();
    let options = places.options(&place, Told::Others);
    let learner = Process::start(place, options).await.unwrap().unwrap();
    let directory = learner.quorum.directory();
    let leader = &all[leader_of(&all).await];
    until("it has answered", || {
        let learners = leader.quorum.status().learners;
        learners.iter().any(|one| one.last_contact.is_some())
    })
    .await;
    let forget = async || leader.quorum.remove_voter(4, directory).await;
    let code = |error: QuorumError| error.code();
    assert_eq!(forget().await.map_err(code), Err(ErrorCode::VoterNotFound));
    learner.kill();
    let begun = Instant::now();
    while let Err(error) = forget().await {
        assert_eq!(error.code(), ErrorCode::VoterNotFound);
        assert!(begun.elapsed() < Duration::from_secs(20), "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    until("it is nobody", || {
        leader.quorum.status().learners.is_empty()
    })
    .await;
}

#[tokio::test]
async fn while_a_voter_is_dead_no_living_one_is_taken_and_the_dead_one_can_be() {
    let places = Places::new(3);
    let mut all = places.found().await;
    all[0].quorum.request(registration()).await.unwrap();
    let dead = (leader_of(&all).await + 1) % 3;
    let dead = all.remove(dead);
    let (directory, broker) = (dead.quorum.directory(), dead.place.broker);
    dead.kill();
    let leader = &all[leader_of(&all).await];
    until("its silence is noticed", || {
        let voters = leader.quorum.status().voters;
        let long = |last: Option<Duration>| last.is_none_or(|last| last > Duration::from_secs(1));
        let mut of_it = voters.iter().filter(|voter| voter.node.broker == broker);
        of_it.all(|voter| long(voter.last_contact))
    })
    .await;
    for living in &all {
        let quorum = &leader.quorum;
        let taken = quorum.remove_voter(living.place.broker, living.quorum.directory());
        let refused = taken.await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::InvalidRequest);
        let why = format!("broker {broker}");
        assert!(refused.to_string().contains(&why), "{refused}");
    }
    let created = leader.quorum.request(topics(["decided".into()], 1)).await;
    assert!(created.unwrap()[0].is_ok());
    leader.quorum.remove_voter(broker, directory).await.unwrap();
    until("two are left", || voter_directories(leader).len() == 2).await;
}

/// A cluster of three voters and a learner that has all.
async fn with_learner(places: &Places) -> (Vec<Process>, Process) {
    let all = places.found().await;
    let place = places.all[3].clone();
    let options = places.options(&place, Told::Others);
    let learner = Process::start(place, options).await.unwrap().unwrap();
    let leader = &all[leader_of(&all).await];
    until("it is caught up", || {
        let status = leader.quorum.status();
        let mut learners = status.learners.iter();
        learners.any(|one| one.matched_index == Some(status.last_index))
    })
    .await;
    (all, learner)
}

fn sets_of_voters(process: &Process) -> usize {
    let metrics = process.quorum.member.raft.server_metrics();
    let metrics = metrics.borrow();
    let membership = metrics.membership_config.membership();
    membership.get_joint_config().len()
}

/// Begins to make it a voter, and goes when the first of the two steps is asked for.
async fn begin_to_add(leader: &Process, learner: &Process) {
    let raft = &leader.quorum.member.raft;
    let voter = BTreeSet::from([learner.quorum.member.id]);
    tokio::select! {
        biased;
        _ = raft.change_membership(ChangeMembers::AddVoterIds(voter), true) => {}
        () = std::future::ready(()) => {}
    }
    let applied = || leader.quorum.status().applied_index == leader.quorum.status().last_index;
    until("the first step is made", || {
        sets_of_voters(leader) == 2 && applied()
    })
    .await;
}

#[tokio::test]
async fn a_change_of_voters_that_died_halfway_with_its_leader_is_ended_by_the_next() {
    let places = Places::new(4);
    let (mut all, learner) = with_learner(&places).await;
    let leader = all.swap_remove(leader_of(&all).await);
    begin_to_add(&leader, &learner).await;
    leader.kill();
    all.push(learner);
    until("one set of four voters is left", || {
        all.iter().any(Process::leads)
            && all.iter().all(|member| sets_of_voters(member) == 1)
            && all
                .iter()
                .all(|member| voter_directories(member).len() == 4)
    })
    .await;
}

#[tokio::test]
async fn who_asks_again_for_a_change_of_voters_that_was_interrupted_has_it_done() {
    let places = Places::new(4);
    let (all, learner) = with_learner(&places).await;
    let leader = &all[leader_of(&all).await];
    begin_to_add(leader, &learner).await;
    let add = async || {
        let directory = learner.quorum.directory();
        leader.quorum.add_voter(4, directory).await
    };
    add().await.unwrap();
    until("one set of voters is left", || sets_of_voters(leader) == 1).await;
    assert_eq!(voter_directories(leader).len(), 4);
    assert_eq!(add().await.unwrap_err().code(), ErrorCode::DuplicateVoter);
}

#[tokio::test]
async fn a_change_of_voters_without_a_majority_fails_within_a_commands_time() {
    let places = Places::new(4);
    let (mut all, learner) = with_learner(&places).await;
    let leader = all.swap_remove(leader_of(&all).await);
    all.into_iter().for_each(|other| drop(other.kill()));
    let begun = Instant::now();
    let directory = learner.quorum.directory();
    let refused = leader.quorum.add_voter(4, directory).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::RequestTimedOut, "{refused}");
    // Three seconds here, and far more for one attempt after the other.
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
}
