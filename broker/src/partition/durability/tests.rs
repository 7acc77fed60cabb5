//! What an acknowledgement says of the disk, on a broker whose syncs of logs are stalled, counted or failing.

use std::path::Path;
use std::time::Duration;

use milena_log::faults::{Fault, FaultGuard, inject};
use milena_protocol::api::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use milena_protocol::records::{BatchBuilder, BatchOptions};
use tokio::time::Instant;

use super::*;
use crate::api::produce;
use crate::broker::Broker;
use crate::broker::tests::{context, create_with};
use crate::config::Sources;
use crate::connection::pending::PendingProduce;
use crate::server::assemble_alone;

/// Longer than any test takes.
const FOR_EVER: Duration = Duration::from_secs(20);
const ACKS: [i16; 2] = [1, -1];
const PRODUCERS: usize = 40;

/// A broker with a topic of one partition, whose records are synced as `flush_messages` says.
struct Bench {
    broker: Arc<Broker>,
    dir: tempfile::TempDir,
}

impl Bench {
    async fn new(flush_messages: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display().to_string();
        let set = [
            ("log.dirs", path.as_str()),
            ("log.flush.interval.messages", flush_messages),
        ];
        let broker = assemble_alone(Sources::of(&set).load().unwrap().0).await;
        create_with(&broker, "t", 1).await;
        Self { broker, dir }
    }

    /// One with a record on the disk: what follows needs no sync but that of its segment.
    async fn with_a_record(flush_messages: &str) -> Self {
        let bench = Self::new(flush_messages).await;
        bench.produce(1).await.wait().await;
        bench.partition().flush().unwrap();
        bench
    }

    fn partition(&self) -> Arc<Partition> {
        self.broker.partitions().partition("t", 0).unwrap()
    }

    /// Meets the segment's file alone.
    fn inject(&self, fault: Fault) -> FaultGuard {
        inject(&self.segment().display().to_string(), fault)
    }

    fn segment(&self) -> std::path::PathBuf {
        let name = Path::new("t-0/00000000000000000000.log");
        self.dir.path().join(name)
    }

    /// Appends one record.
    async fn produce(&self, acks: i16) -> PendingProduce {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        let now_ms = self.broker.now_ms();
        builder.push(now_ms, None, Some(b"value"), &[]).unwrap();
        let request = ProduceRequest {
            acks,
            timeout_ms: FOR_EVER.as_millis() as i32,
            topic_data: vec![TopicProduceData {
                name: "t".into(),
                partition_data: vec![PartitionProduceData {
                    index: 0,
                    records: Some(builder.finish().unwrap()),
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let started = Instant::now();
        produce::start(&self.broker, &context(12), request, 1, started).await
    }
}

fn result(pending: &PendingProduce) -> (ErrorCode, i64) {
    assert!(pending.is_done());
    let result = &pending.response.responses[0].partition_responses[0];
    (result.error_code, result.base_offset)
}

/// Waits until a sync is under way.
async fn until_syncing(stall: &FaultGuard) {
    until(|| stall.syncs() > 0, "nothing is synced").await;
}

async fn until(is_so: impl Fn() -> bool, otherwise: &str) {
    let deadline = Instant::now() + FOR_EVER;
    while !is_so() {
        assert!(Instant::now() < deadline, "{otherwise}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn with_flush_messages_1_nothing_is_acknowledged_or_shown_before_it_is_on_disk() {
    for acks in ACKS {
        let bench = Bench::new("1").await;
        let partition = bench.partition();
        let stall = bench.inject(Fault::StallSyncs);
        let mut first = bench.produce(acks).await;
        until_syncing(&stall).await;
        // It came too late for the sync that is under way.
        let mut second = bench.produce(acks).await;
        assert!(!first.is_done() && !second.is_done());
        assert_eq!(
            (partition.high_watermark(), partition.claimed_end()),
            (0, 0)
        );
        let count = bench.inject(Fault::CountSyncs);
        drop(stall);
        for (pending, offset) in [(&mut first, 0), (&mut second, 1)] {
            pending.wait().await;
            assert!(partition.flusher.flushed() > offset);
            assert_eq!(result(pending), (ErrorCode::None, offset));
        }
        assert_eq!(count.syncs(), 1, "of the second; the first had begun");
        until(|| partition.high_watermark() == 2, "nothing is shown").await;
    }
}

#[tokio::test]
async fn what_comes_while_a_flush_is_under_way_shares_the_next() {
    let bench = Bench::with_a_record("1").await;
    let stall = bench.inject(Fault::StallSyncs);
    let mut waiting = vec![bench.produce(-1).await];
    until_syncing(&stall).await;
    for number in 1..PRODUCERS {
        waiting.push(bench.produce(ACKS[number % 2]).await);
    }
    let count = bench.inject(Fault::CountSyncs);
    drop(stall);
    for (pending, offset) in waiting.iter_mut().zip(1..) {
        pending.wait().await;
        assert_eq!(result(pending), (ErrorCode::None, offset));
    }
    assert_eq!(
        count.syncs(),
        1,
        "of {PRODUCERS} acknowledgements, but for the first"
    );
}

#[tokio::test]
async fn with_acks_0_a_flush_is_asked_for_and_nobody_waits() {
    let bench = Bench::with_a_record("1").await;
    let stall = bench.inject(Fault::StallSyncs);
    let pending = bench.produce(0).await;
    assert!(pending.is_done());
    until_syncing(&stall).await;
    assert_eq!(bench.partition().high_watermark(), 1);
    drop(stall);
    let partition = bench.partition();
    until(|| partition.high_watermark() == 2, "nothing is shown").await;
}

#[tokio::test]
async fn with_flush_messages_3_at_most_two_acknowledged_records_are_not_on_disk() {
    let bench = Bench::with_a_record("3").await;
    let stall = bench.inject(Fault::StallSyncs);
    for offset in [1, 2] {
        let pending = bench.produce(-1).await;
        assert_eq!(result(&pending), (ErrorCode::None, offset));
    }
    assert_eq!(stall.syncs(), 0);
    let mut third = bench.produce(-1).await;
    assert!(!third.is_done());
    until_syncing(&stall).await;
    drop(stall);
    third.wait().await;
    assert_eq!(result(&third), (ErrorCode::None, 3));
    assert_eq!(bench.partition().flusher.flushed(), 4);
}

#[tokio::test]
async fn a_flush_that_fails_ends_the_waits_with_an_error_and_is_never_followed_by_a_success() {
    for acks in ACKS {
        let bench = Bench::with_a_record("1").await;
        let stall = bench.inject(Fault::StallSyncs);
        let mut waiting = vec![bench.produce(acks).await];
        until_syncing(&stall).await;
        waiting.push(bench.produce(acks).await);
        let fails = bench.inject(Fault::FailSyncs);
        drop(stall);
        for pending in &mut waiting {
            pending.wait().await;
            assert_eq!(result(pending), (ErrorCode::KafkaStorageError, -1));
        }
        // After a failed sync the next may well succeed, and say nothing of what was dropped.
        drop(fails);
        bench.broker.partitions().flush_due(0);
        let refused = bench.produce(acks).await;
        assert_eq!(result(&refused), (ErrorCode::KafkaStorageError, -1));
        let partition = bench.partition();
        assert_eq!(
            (partition.high_watermark(), partition.claimed_end()),
            (1, 1)
        );
        assert!(!partition.claimed_all().await);
        assert!(
            !bench.dir.path().join(".milena-boot").exists(),
            "the next life would trust the page cache"
        );
    }
}

#[tokio::test]
async fn without_flush_messages_a_failed_sync_holds_the_high_watermark() {
    let bench = Bench::with_a_record("9223372036854775807").await;
    let partition = bench.partition();
    let pending = bench.produce(-1).await;
    assert_eq!(result(&pending), (ErrorCode::None, 1));
    let fails = bench.inject(Fault::FailSyncs);
    partition.flush().unwrap_err();
    drop(fails);
    assert_eq!(
        (partition.high_watermark(), partition.claimed_end()),
        (2, 1)
    );
    let refused = bench.produce(-1).await;
    assert_eq!(result(&refused), (ErrorCode::KafkaStorageError, -1));
}

#[tokio::test]
async fn records_that_wait_for_the_disk_are_not_left_waiting_when_a_write_fails() {
    let bench = Bench::with_a_record("1").await;
    let stall = bench.inject(Fault::StallSyncs);
    let mut first = bench.produce(-1).await;
    until_syncing(&stall).await;
    let mut second = bench.produce(-1).await;
    let full = bench.inject(Fault::FailWrites(10));
    let refused = bench.produce(-1).await;
    assert_eq!(result(&refused).0, ErrorCode::KafkaStorageError);
    drop((stall, full));
    // The sync that was under way has brought the first to disk: either answer is true.
    first.wait().await;
    second.wait().await;
    assert_eq!(result(&second).0, ErrorCode::KafkaStorageError);
}

#[tokio::test]
async fn a_roll_under_way_is_flushed_with_the_segment_before_it() {
    let bench = Bench::with_a_record("1").await;
    let stall = bench.inject(Fault::StallSyncs);
    let mut first = bench.produce(1).await;
    until_syncing(&stall).await;
    let mut second = bench.produce(1).await;
    bench.partition().log().await.roll(1).unwrap();
    let mut third = bench.produce(1).await;
    drop(stall);
    for pending in [&mut first, &mut second, &mut third] {
        pending.wait().await;
        assert_eq!(result(pending).0, ErrorCode::None);
    }
    let partition = bench.partition();
    assert_eq!(partition.flusher.flushed(), 4);
    // With the segment that takes no more, its indexes too.
    assert_eq!(partition.reader().recovery_point(), 4);
}

#[tokio::test]
async fn a_partition_that_is_removed_waits_for_no_disk() {
    let bench = Bench::with_a_record("1").await;
    let partition = bench.partition();
    let stall = bench.inject(Fault::StallSyncs);
    let mut pending = bench.produce(1).await;
    partition.retire();
    pending.wait().await;
    assert_eq!(result(&pending), (ErrorCode::NotLeaderOrFollower, -1));
    assert!(!partition.claimed_all().await);
    drop(stall);
}

#[tokio::test]
async fn a_topic_may_turn_to_flush_messages_1_and_back_while_it_is_written() {
    let bench = Bench::with_a_record("9223372036854775807").await;
    let partition = bench.partition();
    let mut pending = bench.produce(-1).await;
    pending.wait().await;
    let strict = Arc::new(TopicConfig {
        flush_messages: 1,
        ..TopicConfig::clone(&partition.config())
    });
    let before = partition.config();
    let stall = bench.inject(Fault::StallSyncs);
    partition.set_config(strict, &bench.broker.config());
    let pending = bench.produce(1).await;
    assert!(!pending.is_done());
    assert_eq!(partition.high_watermark(), 2, "never back");
    partition.set_config(before, &bench.broker.config());
    assert_eq!(partition.high_watermark(), 3);
    let pending = bench.produce(1).await;
    assert_eq!(result(&pending), (ErrorCode::None, 3));
    drop(stall);
}

#[tokio::test]
async fn a_record_is_on_disk_soon_after_flush_ms_and_nothing_waits_for_it() {
    let bench = Bench::with_a_record("9223372036854775807").await;
    let partition = bench.partition();
    let config = Arc::new(TopicConfig {
        flush_ms: 1_000,
        ..TopicConfig::clone(&partition.config())
    });
    partition.set_config(config, &bench.broker.config());
    let count = bench.inject(Fault::CountSyncs);
    partition.flush_due(50_000).unwrap();
    let pending = bench.produce(-1).await;
    assert_eq!(result(&pending), (ErrorCode::None, 1));
    partition.flush_due(50_999).unwrap();
    assert_eq!((count.syncs(), partition.flusher.flushed()), (0, 1));
    partition.flush_due(51_000).unwrap();
    until(|| partition.flusher.flushed() == 2, "nothing is synced").await;
    partition.flush_due(52_500).unwrap();
    assert_eq!(count.syncs(), 1, "there is nothing new");
    // Who puts the clock back keeps no record from the disk.
    let pending = bench.produce(-1).await;
    assert_eq!(result(&pending), (ErrorCode::None, 2));
    partition.flush_due(9_000).unwrap();
    until(|| partition.flusher.flushed() == 3, "nothing is synced").await;
}
