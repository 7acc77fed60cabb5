//! A survivor goes on alone, whatever a crash has left in its store.

use super::process::{BOUND, Places, Process, leader_of, until};
use super::*;
use crate::quorum::rescue::{Found, RescueError, Survivor};
use crate::quorum::store::{Change, SnapshotHead};

/// Has the leader take a snapshot of all that it has.
async fn snapshot(leader: &Process) -> (SnapshotHead, bytes::Bytes) {
    let Quorum { member, store, .. } = &*leader.quorum;
    let goal = leader.quorum.status().applied_index as u64;
    member.raft.trigger().snapshot().await.unwrap();
    let taken = || {
        let (head, bytes) = store.snapshot().unwrap()?;
        let is_of_all = head.meta.last_log_id.unwrap().index >= goal;
        is_of_all.then_some((head, bytes))
    };
    until("there is a snapshot", || taken().is_some()).await;
    taken().unwrap()
}

#[tokio::test]
async fn a_snapshot_in_place_of_entries_that_are_still_there_is_what_a_survivor_goes_on_from() {
    let places = Places::new(4);
    let mut all = places.found().await;
    all[0].quorum.request(registration_of(4)).await.unwrap();
    let leader = leader_of(&all).await;
    let survivor = all.swap_remove((leader + 1) % 3).kill();
    let options = places.options(&places.all[3], Told::Others);
    let joining = Process::start(places.all[3].clone(), options);
    all.push(joining.await.unwrap().unwrap());
    let fourth = &all[2].quorum;
    until("it has all", || fourth.image().brokers().count() == 1).await;
    fourth.add_voter(4, fourth.directory()).await.unwrap();
    fourth.request(registration_of(5)).await.unwrap();
    let (head, bytes) = snapshot(&all[leader_of(&all).await]).await;
    drop(all);

    // As if it had been killed after it took the leader's snapshot, and before the entries below it went.
    let dir = places.options(&survivor, Told::Others).dir;
    let store = Store::open(&dir).unwrap();
    let before = store.last_entry().unwrap().unwrap().log_id;
    let number = head.number;
    let installed = [
        Change::Part {
            number,
            part: 0,
            bytes,
        },
        Change::Publish(head.clone()),
    ];
    store.change_offline(&installed).unwrap();
    drop(store);
    let last = head.meta.last_log_id.unwrap().index;
    assert!(before.index + 1 < last);
    let rescue = Survivor::open(&dir).unwrap();
    let survey = rescue.survey().unwrap();
    assert_eq!((survey.last_entry, survey.known_decided), (last, last));
    assert_eq!(
        survey.voters.len(),
        4,
        "the voters are those of older entries"
    );
    rescue.go_on_alone().unwrap();
    drop(rescue);

    let options = places.options(&survivor, places.told(false));
    let alone = Process::start(survivor, options).await.unwrap().unwrap();
    alone.quorum.request(registration_of(6)).await.unwrap();
    let image = alone.quorum.image();
    let brokers = image.brokers().map(|one| (one.id.get(), one.fenced));
    assert_eq!(
        brokers.collect::<Vec<_>>(),
        [(4, true), (5, true), (6, false)],
        "who is not there is not in sync"
    );
    let votes_alone = || alone.quorum.status().voters.len() == 1;
    until("it is the only voter", votes_alone).await;
}

#[tokio::test]
async fn a_survivor_sees_which_of_the_voters_that_it_gives_up_are_alive() {
    let places = Places::new(3);
    let mut all = places.found().await;
    let survivor = all.remove(0).kill();
    let dir = places.options(&survivor, Told::Others).dir;
    let look = async || {
        let found = Survivor::open(&dir).unwrap().look().await;
        found
            .into_iter()
            .map(|(node, found)| (node.broker, found))
            .collect::<Vec<_>>()
    };
    assert_eq!(look().await, [(2, Found::Answers), (3, Found::Answers)]);
    let gone = all.remove(0).kill();
    drop(all);
    // Broker 2 has a new disk, and waits.
    std::fs::remove_dir_all(&gone.dir).unwrap();
    let waiting = Process::start(gone.clone(), places.options(&gone, places.told(false)));
    let replaced = async || look().await == [(2, Found::Replaced), (3, Found::Silent)];
    let within = std::time::Instant::now() + BOUND;
    while !replaced().await {
        assert!(std::time::Instant::now() < within, "{:?}", look().await);
    }
    waiting.abort();
}

#[test]
fn whoever_looks_draws_no_identity() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).unwrap());
    let looked = Survivor::open(dir.path()).map(drop);
    assert!(matches!(looked, Err(RescueError::Empty(_))));
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.known_identity().unwrap(), None);
}
