//! What links do beside asking, on partitions of a broker without listeners that the metadata, so the test says, has
//! made follow others.

use milena_log::Checkpoint;
use milena_log::faults::{Fault, inject};
use milena_metadata::{DirectoryId, Partition as State, Reassignment, Replica};
use milena_protocol::Records;
use milena_protocol::api::fetch::{
    FetchEpochEndOffset, FetchPartitionResponse, FetchTopicResponse,
};

use super::*;
use crate::broker::tests::beside::{batch, id, partition};
use crate::broker::tests::create_with;
use crate::config::{Sources, TopicConfig};
use crate::group::GroupsSnapshot;
use crate::partition::Partition;
use crate::server::assemble_alone;

/// Longer than any of it takes.
const SOON: Duration = Duration::from_secs(20);
const RATE: &str = "1000";

/// A broker with two directories, whose replicas may catch up with [`RATE`] bytes a second in all.
async fn broker_of_two_disks(dir: &std::path::Path) -> Arc<Broker> {
    let dirs = ["a", "b"].map(|name| dir.join(name).display().to_string());
    let dirs = dirs.join(",");
    let set = [
        ("log.dirs", dirs.as_str()),
        ("follower.replication.throttled.rate", RATE),
    ];
    let broker = assemble_alone(Sources::of(&set).load().unwrap().0).await;
    create_with(&broker, "t", 2).await;
    broker
}

/// A replica of `t`, out of sync, that follows a leader.
async fn replica(
    broker: &Broker,
    index: i32,
    leader: i32,
    reassignment: Option<Reassignment>,
) -> Arc<Partition> {
    let me = broker.broker_id();
    let state = State {
        replicas: [id(leader), me]
            .map(|broker| Replica {
                broker,
                directory: DirectoryId::UNASSIGNED,
            })
            .to_vec(),
        leader: Some(id(leader)),
        isr: vec![id(leader)],
        leader_epoch: 5,
        partition_epoch: 5,
        reassignment,
        ..State::clone(broker.image().partition("t", index).unwrap())
    };
    let replica = partition(broker, "t", index);
    replica.apply(me, &state).await;
    replica
}

fn throttle_by_config(broker: &Broker, replica: &Arc<Partition>) {
    let throttled = TopicConfig {
        follower_throttled_replicas: vec!["*".to_owned()],
        ..TopicConfig::clone(&replica.config())
    };
    replica.set_config(throttled.into(), &broker.config());
}

/// A link to a replica's leader, and the replica's key.
fn link(broker: &Arc<Broker>, replica: &Arc<Partition>, throttle: &Throttle) -> (Link, Key) {
    let leader = replica.following().unwrap().leader;
    let mut link = Link::new(broker.clone(), leader, Arc::default(), throttle.clone());
    link.copies.note(replica);
    (link, (replica.topic_id().0, replica.index()))
}

#[tokio::test]
async fn replicas_that_catch_up_from_several_leaders_share_one_rate() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker_of_two_disks(dir.path()).await;
    let now = Instant::now();
    let throttle = Throttle::new(now);
    for (leader, index, millis) in [(7, 0, 300), (8, 1, 600)] {
        let replica = replica(&broker, index, leader, None).await;
        throttle_by_config(&broker, &replica);
        let (mut link, key) = link(&broker, &replica, &throttle);
        link.hold_back(key, 300, now);
        let until = link.copies.next_retry().unwrap();
        assert_eq!(until - now, Duration::from_millis(millis));
    }
}

#[tokio::test]
async fn a_throttle_that_is_taken_off_is_over_within_a_second_whatever_was_owed() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker_of_two_disks(dir.path()).await;
    let now = Instant::now();
    let replica = replica(&broker, 0, 7, None).await;
    let unthrottled = replica.config();
    throttle_by_config(&broker, &replica);
    let (mut link, key) = link(&broker, &replica, &Throttle::new(now));
    link.hold_back(key, 1_000_000, now);
    for second in 1..3 {
        let look = now + Duration::from_secs(second);
        assert_eq!(link.copies.next_retry(), Some(look), "it owes for minutes");
        link.retry(look);
    }
    replica.set_config(unthrottled, &broker.config());
    link.retry(now + Duration::from_secs(3));
    assert_eq!(link.copies.next_retry(), None);
}

#[tokio::test]
async fn what_a_reassignment_adds_is_counted_apart_from_who_was_away() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker_of_two_disks(dir.path()).await;
    let throttle = Throttle::new(Instant::now());
    let added = Reassignment {
        from: vec![id(7)],
        to: vec![id(7), broker.broker_id()],
    };
    for (index, reassignment, bytes) in [(0, None, 30), (1, Some(added), 12)] {
        let replica = replica(&broker, index, 7, reassignment).await;
        let (mut link, key) = link(&broker, &replica, &throttle);
        let last_epoch = 5;
        link.note(key, Taken::Appended { bytes, last_epoch });
    }
    let groups = GroupsSnapshot {
        groups: Vec::new(),
        shards_unread: 0,
    };
    let page = broker.metrics().render(&broker, groups).unwrap();
    for line in [
        "milena_replication_bytes_total 42",
        "milena_replication_catch_up_bytes_total 42",
        "milena_reassignment_bytes_total 12",
    ] {
        assert!(page.lines().any(|is| is == line), "{line} is not in {page}");
    }
}

/// The leader's answer with one record for both partitions of `t`.
fn answer(replicas: &[Arc<Partition>; 2], offset: i64) -> FetchResponse {
    let part = |replica: &Arc<Partition>| FetchPartitionResponse {
        partition_index: replica.index(),
        records: Some(Records::Bytes(batch(offset, 5)[0].body.clone())),
        ..Default::default()
    };
    answer_of(&replicas[0], replicas.iter().map(part).collect())
}

/// The leader's answer that it has nothing of what a replica has.
fn diverging(replica: &Arc<Partition>) -> FetchResponse {
    let part = FetchPartitionResponse {
        partition_index: replica.index(),
        diverging_epoch: FetchEpochEndOffset {
            epoch: 4,
            end_offset: 0,
        },
        ..Default::default()
    };
    answer_of(replica, vec![part])
}

fn answer_of(replica: &Arc<Partition>, partitions: Vec<FetchPartitionResponse>) -> FetchResponse {
    FetchResponse {
        session_id: 9,
        responses: vec![FetchTopicResponse {
            topic_id: replica.topic_id().0,
            partitions,
            ..Default::default()
        }],
        ..Default::default()
    }
}

impl Link {
    /// Asks, as if the leader were there: the partitions named and those forgotten.
    fn names(&mut self) -> (Vec<i32>, Vec<i32>) {
        let bounds = self.bounds();
        let request = self.copies.request((self.broker.broker_id(), 1), bounds);
        let topics = request.topics.iter().flat_map(|topic| &topic.partitions);
        let mut named: Vec<i32> = topics.map(|asked| asked.partition).collect();
        named.sort_unstable();
        let forgotten = request.forgotten_topics_data.into_iter();
        (
            named,
            forgotten.flat_map(|topic| topic.partitions).collect(),
        )
    }

    /// Takes an answer to its end, also where a disk is slow.
    async fn take_all_of(&mut self, answer: FetchResponse) {
        self.take(answer).await.unwrap();
        while let Some(taken) = self.taking.next().await {
            self.note_taken(taken);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_disk_that_stalls_holds_up_what_lies_on_it_and_no_other_replica_of_the_leader() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker_of_two_disks(dir.path()).await;
    let replicas = [
        replica(&broker, 0, 7, None).await,
        replica(&broker, 1, 7, None).await,
    ];
    let end = |index: usize| replicas[index].reader().log_end_offset();
    assert_ne!(replicas[0].directory(), replicas[1].directory());
    let (mut link, _) = link(&broker, &replicas[0], &Throttle::new(Instant::now()));
    link.copies.note(&replicas[1]);
    assert_eq!(link.names().0, [0, 1]);

    let folder = replicas[0].reader().folder().display().to_string();
    let stall = inject(&folder, Fault::StallWrites);
    let taking = link.take(answer(&replicas, 0));
    tokio::time::timeout(SOON, taking).await.unwrap().unwrap();
    assert_eq!((end(0), end(1)), (0, 1));
    assert_eq!(link.names(), (vec![1], vec![0]));
    let again = link.take(answer(&replicas, 1));
    tokio::time::timeout(SOON, again).await.unwrap().unwrap();
    assert_eq!((end(0), end(1)), (0, 2));

    drop(stall);
    let taken = tokio::time::timeout(SOON, link.taking.next()).await;
    link.note_taken(taken.unwrap().unwrap());
    assert_eq!(end(0), 1);
    assert_eq!(link.names().0, [0, 1]);
}

/// A link to the leader of two replicas on two disks, which have one record each, on disk by their checkpoints.
async fn with_a_record_each(broker: &Arc<Broker>) -> (Link, [Arc<Partition>; 2]) {
    let replicas = [
        replica(broker, 0, 7, None).await,
        replica(broker, 1, 7, None).await,
    ];
    let (mut link, _) = link(broker, &replicas[0], &Throttle::new(Instant::now()));
    link.copies.note(&replicas[1]);
    link.names();
    link.take_all_of(answer(&replicas, 0)).await;
    for replica in &replicas {
        assert_eq!(replica.reader().log_end_offset(), 1);
        replica.flush().unwrap();
    }
    broker.partitions().checkpoint().unwrap();
    (link, replicas)
}

fn disk_of(replica: &Partition) -> std::path::PathBuf {
    replica.reader().folder().parent().unwrap().to_owned()
}

/// What the file says from where the log is checked after a crash.
fn noted(replica: &Partition) -> i64 {
    let noted = Checkpoint::RecoveryPoint.read(&disk_of(replica)).unwrap();
    noted[&("t".to_owned(), replica.index())]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cut_is_noted_on_its_disk_while_another_stalls() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker_of_two_disks(dir.path()).await;
    let (mut link, [beside, cut]) = with_a_record_each(&broker).await;
    assert_eq!(noted(&cut), 1);
    link.names();
    let all = format!("{}/", disk_of(&beside).display());
    let stall = inject(&all, Fault::StallWrites);
    // Whoever writes all checkpoints waits there.
    let partitions = broker.partitions().clone();
    let checkpointing = crate::blocking::spawn(move || partitions.checkpoint());
    while stall.stalled() == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    let taking = link.take_all_of(diverging(&cut));
    let taken = tokio::time::timeout(SOON, taking).await;
    let found = (taken.is_ok(), cut.reader().log_end_offset(), noted(&cut));
    drop(stall);
    checkpointing.await.unwrap().unwrap();
    assert_eq!(found, (true, 0, 0));
    assert!(link.names().0.contains(&1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cut_is_asked_for_more_once_it_is_noted_and_holds_up_no_replica_on_another_disk() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker_of_two_disks(dir.path()).await;
    let (mut link, [beside, cut]) = with_a_record_each(&broker).await;
    link.names();
    let file = disk_of(&cut).join(Checkpoint::RecoveryPoint.file_name());
    let stall = inject(&file.display().to_string(), Fault::StallWrites);
    let taken = tokio::time::timeout(SOON, link.take(diverging(&cut))).await;
    if taken.is_err() {
        drop(stall);
        panic!("the link waits for the disk");
    }
    while stall.stalled() == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!((cut.reader().log_end_offset(), noted(&cut)), (0, 1));
    let (named, forgotten) = link.names();
    assert!(!named.contains(&cut.index()), "{named:?}");
    assert_eq!(forgotten, [cut.index()]);
    assert_eq!(beside.reader().log_end_offset(), 1);
    drop(stall);
    let taken = tokio::time::timeout(SOON, link.taking.next()).await;
    link.note_taken(taken.unwrap().unwrap());
    assert_eq!(noted(&cut), 0);
    assert!(link.names().0.contains(&cut.index()));
}
