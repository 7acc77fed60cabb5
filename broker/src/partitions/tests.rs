//! What outlives a topic's name and a broker's life, through a broker without listeners.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use milena_log::{Checkpoint, Offsets};
use milena_metadata::{
    AlterPartition, DeleteTopics, ElectLeaders, ElectionKind, IsrProposal, PartitionId,
    TopicReference,
};
use milena_protocol::ErrorCode;
use milena_protocol::records::{BatchBuilder, BatchOptions};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::broker::tests::beside::{create_on, fence, id, register};
use crate::broker::tests::{append_batch, create_with};
use crate::config::Sources;
use crate::group::GroupsSnapshot;
use crate::partitions::Partitions;
use crate::partitions::compaction::Allowance;
use crate::server::assemble_alone;

const UNHURRIED: Allowance = Allowance {
    map_bytes: 1 << 20,
    bytes_per_second: 0.0,
};

async fn broker(dir: &Path, policy: &str) -> Arc<Broker> {
    let dir = dir.display().to_string();
    let set = [("log.dirs", dir.as_str()), ("log.cleanup.policy", policy)];
    assemble_alone(Sources::of(&set).load().unwrap().0).await
}

/// Appends so many batches of one record, all of the same key.
async fn append(broker: &Broker, batches: usize) {
    for _ in 0..batches {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder
            .push(broker.now_ms(), Some(b"key"), Some(b"value"), &[])
            .unwrap();
        append_batch(broker, builder).await;
    }
}

/// How long it took.
async fn compact(
    partitions: Arc<Partitions>,
    allowance: Allowance,
    stopping: &CancellationToken,
) -> Duration {
    let (begun, stopping) = (Instant::now(), stopping.clone());
    let compacting =
        crate::blocking::spawn(move || partitions.compact(0, &|| allowance, &stopping));
    compacting.await.unwrap();
    begun.elapsed()
}

/// The bytes of all but the active segment after a compaction.
async fn compacted_bytes(broker: &Broker) -> u64 {
    let partition = broker.partitions().partition("t", 0).unwrap();
    partition.log().await.roll(broker.now_ms()).unwrap();
    let partitions = broker.partitions().clone();
    compact(partitions, UNHURRIED, &CancellationToken::new()).await;
    let segments = partition.reader().segments();
    segments.iter().map(|segment| segment.size).sum()
}

#[tokio::test]
async fn a_compacted_topic_that_was_made_anew_is_compacted_from_its_start() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path(), "compact").await;
    create_with(&broker, "t", 1).await;
    append(&broker, 9).await;
    let one_record = compacted_bytes(&broker).await;
    let key = ("t".to_owned(), 0);
    let cleaned_to = || Checkpoint::Cleaner.read(dir.path()).unwrap();
    assert_eq!(cleaned_to().get(&key), Some(&9));
    let topics = vec![TopicReference::Name("t".to_owned())];
    broker.change(DeleteTopics { topics }).await.unwrap();
    create_with(&broker, "t", 1).await;
    assert_eq!(cleaned_to().get(&key), None);
    append(&broker, 9).await;
    assert_eq!(compacted_bytes(&broker).await, one_record);
}

/// What is to be compacted of nine batches, and how many bytes that is.
async fn dirty(dir: &Path) -> (Arc<Broker>, u64) {
    let broker = broker(dir, "compact").await;
    create_with(&broker, "t", 1).await;
    append(&broker, 9).await;
    let partition = broker.partitions().partition("t", 0).unwrap();
    partition.log().await.roll(broker.now_ms()).unwrap();
    (broker, partition.reader().size_bytes())
}

#[tokio::test]
async fn compaction_reads_and_writes_no_faster_than_it_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, bytes) = dirty(dir.path()).await;
    let allowance = Allowance {
        bytes_per_second: bytes as f64 * 10.0,
        ..UNHURRIED
    };
    let took = compact(
        broker.partitions().clone(),
        allowance,
        &CancellationToken::new(),
    )
    .await;
    // Everything is read twice.
    assert!(took >= Duration::from_millis(200), "{took:?}");
    let cleaned_to = Checkpoint::Cleaner.read(dir.path()).unwrap();
    assert_eq!(cleaned_to.get(&("t".to_owned(), 0)), Some(&9));
}

#[tokio::test]
async fn a_broker_that_stops_does_not_wait_for_compaction() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, _) = dirty(dir.path()).await;
    let (allowance, stopping) = (
        Allowance {
            bytes_per_second: 1.0,
            ..UNHURRIED
        },
        CancellationToken::new(),
    );
    let compacting = compact(broker.partitions().clone(), allowance, &stopping);
    let stop = async {
        let is_compacting = || broker.metrics().is_compacting();
        while !is_compacting() {
            tokio::task::yield_now().await;
        }
        stopping.cancel();
    };
    let (took, ()) = tokio::join!(compacting, stop);
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(
        Checkpoint::Cleaner.read(dir.path()).unwrap(),
        Offsets::new()
    );
    assert!(!broker.metrics().is_compacting());
}

#[tokio::test]
async fn what_was_compacted_and_then_cut_is_not_written_down_as_compacted() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, _) = dirty(dir.path()).await;
    let partitions = broker.partitions();
    compact(partitions.clone(), UNHURRIED, &CancellationToken::new()).await;
    let cleaned_to = || {
        partitions.checkpoint().unwrap();
        Checkpoint::Cleaner.read(dir.path()).unwrap()[&("t".to_owned(), 0)]
    };
    assert_eq!(cleaned_to(), 9);
    let partition = partitions.partition("t", 0).unwrap();
    partition.log().await.truncate_to(3, 0).unwrap();
    append(&broker, 9).await;
    // Of what lay below the cut, compaction had left no batch.
    assert_eq!(cleaned_to(), 0);
}

#[tokio::test]
async fn where_a_log_starts_is_written_down_also_where_a_segment_does() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path(), "delete").await;
    create_with(&broker, "t", 1).await;
    append(&broker, 4).await;
    let partitions = broker.partitions();
    let partition = partitions.partition("t", 0).unwrap();
    partition.log().await.roll(broker.now_ms()).unwrap();
    append(&broker, 4).await;
    partitions
        .delete_records_before(vec![(partition.clone(), 4)])
        .await;
    let this = partitions.clone();
    crate::blocking::run(move || this.enforce_retention(0)).await;
    assert_eq!(partition.reader().segments()[0].base_offset, 4);
    partitions.checkpoint().unwrap();
    let starts = Checkpoint::LogStart.read(dir.path()).unwrap();
    assert_eq!(starts.get(&("t".to_owned(), 0)), Some(&4));
}

#[test]
fn a_log_that_can_not_be_opened_keeps_its_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    let key = ("t".to_owned(), 0);
    let known = || {
        let read = |checkpoint: Checkpoint| checkpoint.read(dir.path()).unwrap().remove(&key);
        [Checkpoint::RecoveryPoint, Checkpoint::LogStart].map(read)
    };
    let first_life = Runtime::new().unwrap();
    first_life.block_on(async {
        let broker = broker(dir.path(), "delete").await;
        create_with(&broker, "t", 1).await;
        append(&broker, 9).await;
        let partition = broker.partitions().partition("t", 0).unwrap();
        let wanted = vec![(partition.clone(), 2)];
        broker.partitions().delete_records_before(wanted).await;
        partition.flush().unwrap();
        broker.partitions().checkpoint().unwrap();
    });
    drop(first_life);
    assert_eq!(known(), [Some(9), Some(2)]);
    let segment = dir.path().join("t-0/00000000000000000000.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[16] = 9;
    std::fs::write(&segment, bytes).unwrap();
    Runtime::new().unwrap().block_on(async {
        let broker = broker(dir.path(), "delete").await;
        let offline = broker.partitions().partition("t", 0).unwrap_err();
        assert_eq!(offline, ErrorCode::KafkaStorageError);
        broker.partitions().checkpoint().unwrap();
    });
    assert_eq!(known(), [Some(9), Some(2)]);
}

#[tokio::test]
async fn an_election_that_may_lose_records_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path(), "delete").await;
    let life = register(&broker, 101, None).await;
    create_on(&broker, "t", &[&[101, broker.node_id()]]).await;
    let led = broker.image().partition("t", 0).unwrap().clone();
    let shrink = IsrProposal {
        topic: broker.image().topic("t").unwrap().id,
        partition: PartitionId::new(0).unwrap(),
        leader_epoch: led.leader_epoch,
        partition_epoch: led.partition_epoch,
        isr: vec![(id(101), life.epoch)],
    };
    let alone = AlterPartition {
        broker: id(101),
        broker_epoch: life.epoch,
        partitions: vec![shrink],
    };
    let shrunk = broker.change(alone).await.unwrap();
    assert!(shrunk.iter().all(Result::is_ok), "{shrunk:?}");
    fence(&broker, 101).await;
    let unclean = ElectLeaders {
        kind: ElectionKind::Unclean,
        partitions: Some(vec![("t".to_owned(), 0)]),
    };
    broker.change(unclean).await.unwrap();
    broker.take_over().await;
    assert!(broker.partitions().partition("t", 0).unwrap().leads());
    let groups = GroupsSnapshot {
        groups: Vec::new(),
        shards_unread: 0,
    };
    let page = broker.metrics().render(&broker, groups).unwrap();
    let counted = page
        .lines()
        .find(|line| line.starts_with("milena_lossy_elections_total"));
    assert_eq!(counted, Some("milena_lossy_elections_total 1"));
}
