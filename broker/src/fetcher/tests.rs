//! What a follower asks for, and what it does with the answer, on partitions of a broker without listeners that the
//! metadata, so the test says, has made follow broker 7.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena_log::faults::{Fault, inject};
use milena_metadata::{BrokerId, Partition as State, Replica};
use milena_protocol::api::fetch::{
    FetchEpochEndOffset, FetchPartitionResponse, FetchRequest, FetchTopic,
};
use milena_protocol::records::{BatchBuilder, BatchHeader, BatchOptions};
use milena_protocol::{ErrorCode, Records};
use tokio::time::Instant;

use super::copies::{Bounds, Copies, Key};
use super::take::{Taken, take};
use crate::broker::Broker;
use crate::broker::tests::{broker, create_with};
use crate::config::TopicConfig;
use crate::partition::Partition;

const BOUNDS: Bounds = Bounds {
    wait_max_ms: 500,
    response_bytes_max: 1 << 20,
    partition_bytes_max: 1 << 20,
};
const WAIT_MAX: Duration = Duration::from_secs(1);

fn id(number: i32) -> BrokerId {
    BrokerId::new(number).unwrap()
}

/// Partitions that follow broker 7 in epoch 5.
struct Replicas {
    broker: Arc<Broker>,
    copies: Copies,
    _dir: tempfile::TempDir,
}

impl Replicas {
    async fn of(partitions: i32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let broker = broker(dir.path()).await;
        create_with(&broker, "t", partitions).await;
        let mut replicas = Self {
            broker,
            copies: Copies::of(id(7)),
            _dir: dir,
        };
        for index in 0..partitions {
            replicas.follow(index, 7, 5).await;
        }
        replicas
    }

    fn partition(&self, index: i32) -> Arc<Partition> {
        self.broker.partitions().partition("t", index).unwrap()
    }

    fn key(&self, index: i32) -> Key {
        (self.partition(index).topic_id().0, index)
    }

    async fn follow(&mut self, index: i32, leader: i32, epoch: i32) {
        let image = self.broker.image();
        let mut state = State::clone(image.partition("t", index).unwrap());
        let me = self.broker.broker_id();
        state.replicas = [id(leader), me]
            .map(|broker| Replica {
                broker,
                directory: milena_metadata::DirectoryId::UNASSIGNED,
            })
            .to_vec();
        (state.leader, state.isr) = (Some(id(leader)), vec![id(leader)]);
        (state.leader_epoch, state.partition_epoch) = (epoch, epoch);
        let partition = self.partition(index);
        partition.apply(me, &state).await;
        self.copies.note(&partition);
    }

    fn request(&mut self) -> FetchRequest {
        self.copies.request((self.broker.broker_id(), 1), BOUNDS)
    }

    async fn take(&self, index: i32, epoch: i32, answer: FetchPartitionResponse) -> Taken {
        take(&self.partition(index), epoch, answer, self.broker.now_ms()).await
    }

    fn end(&self, index: i32) -> i64 {
        self.partition(index).reader().log_end_offset()
    }
}

/// Which partitions a request names.
fn named(topics: &[FetchTopic]) -> Vec<i32> {
    let partitions = topics.iter().flat_map(|topic| &topic.partitions);
    let mut named: Vec<i32> = partitions.map(|asked| asked.partition).collect();
    named.sort_unstable();
    named
}

fn forgotten(request: &FetchRequest) -> Vec<i32> {
    let topics = request.forgotten_topics_data.iter();
    topics
        .flat_map(|topic| topic.partitions.iter().copied())
        .collect()
}

/// A batch of one record that a leader of that epoch gave that offset.
fn batch(offset: i64, epoch: i32) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(1, None, Some(b"value"), &[]).unwrap();
    let body = builder.finish().unwrap();
    let header = BatchHeader {
        base_offset: offset,
        partition_leader_epoch: epoch,
        ..BatchHeader::parse(&body).unwrap()
    };
    let mut whole = header.to_bytes().to_vec();
    whole.extend_from_slice(&body[whole.len()..]);
    whole.into()
}

fn records(batches: &[Bytes], high_watermark: i64) -> FetchPartitionResponse {
    FetchPartitionResponse {
        high_watermark,
        log_start_offset: 0,
        records: Some(Records::Bytes(batches.concat().into())),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_session_names_a_partition_again_only_when_it_has_come_on() {
    let mut replicas = Replicas::of(3).await;
    let first = replicas.request();
    assert_eq!((first.session_id, first.session_epoch), (0, 0));
    assert_eq!(named(&first.topics), [0, 1, 2]);
    replicas.copies.answered(9);
    let second = replicas.request();
    assert_eq!((second.session_id, second.session_epoch), (9, 1));
    assert_eq!(named(&second.topics), [0; 0]);
    let key = replicas.key(1);
    replicas.copies.advanced(key, Some(5));
    let third = replicas.request();
    assert_eq!(third.session_epoch, 2);
    assert_eq!(named(&third.topics), [1]);
}

#[tokio::test]
async fn a_leader_without_room_for_a_session_is_told_everything_each_time() {
    let mut replicas = Replicas::of(2).await;
    replicas.request();
    replicas.copies.answered(0);
    let second = replicas.request();
    assert_eq!(second.session_id, 0);
    assert_eq!(named(&second.topics), [0, 1]);
}

#[tokio::test]
async fn a_partition_that_another_broker_leads_is_forgotten() {
    let mut replicas = Replicas::of(2).await;
    replicas.request();
    replicas.copies.answered(9);
    replicas.follow(0, 8, 6).await;
    assert!(replicas.copies.has_news());
    let request = replicas.request();
    assert_eq!(
        (named(&request.topics), forgotten(&request)),
        (vec![], vec![0])
    );
    replicas.follow(0, 8, 7).await;
    assert!(!replicas.copies.has_news(), "it was not ours before either");
}

#[tokio::test]
async fn a_new_epoch_of_the_same_leader_is_asked_for_anew() {
    let mut replicas = Replicas::of(1).await;
    replicas.request();
    replicas.copies.answered(9);
    replicas.follow(0, 7, 6).await;
    let request = replicas.request();
    assert_eq!(request.topics[0].partitions[0].current_leader_epoch, 6);
    assert_eq!(forgotten(&request), [0; 0]);
}

#[tokio::test]
async fn a_refused_partition_waits_longer_each_time_and_holds_up_no_other() {
    let mut replicas = Replicas::of(2).await;
    replicas.request();
    replicas.copies.answered(9);
    let (key, mut now) = (replicas.key(0), Instant::now());
    let mut before = Duration::ZERO;
    for _ in 0..12 {
        replicas.copies.refused(key, now, WAIT_MAX);
        let request = replicas.request();
        assert_eq!(
            (named(&request.topics), forgotten(&request)),
            (vec![], vec![0])
        );
        let wait = replicas.copies.next_retry().unwrap() - now;
        assert!(wait >= before && wait <= WAIT_MAX);
        (before, now) = (wait, now + wait);
        replicas.copies.retry(now);
        assert_eq!(named(&replicas.request().topics), [0]);
    }
    assert_eq!(before, WAIT_MAX);
}

#[tokio::test]
async fn batches_that_are_here_already_are_passed_over() {
    let replicas = Replicas::of(1).await;
    let both = [batch(0, 5), batch(1, 5)];
    let taken = replicas.take(0, 5, records(&both, 1)).await;
    assert!(matches!(taken, Taken::Appended { last_epoch: 5, .. }));
    assert_eq!(replicas.end(0), 2);
    assert_eq!(replicas.partition(0).high_watermark(), 1);
    let more = [batch(1, 5), batch(2, 5)];
    replicas.take(0, 5, records(&more, 3)).await;
    assert_eq!(replicas.end(0), 3);
    assert_eq!(replicas.partition(0).high_watermark(), 3);
}

#[tokio::test]
async fn what_was_asked_in_an_earlier_epoch_is_not_taken() {
    let mut replicas = Replicas::of(1).await;
    replicas.follow(0, 7, 6).await;
    let taken = replicas.take(0, 5, records(&[batch(0, 5)], 0)).await;
    assert_eq!((taken, replicas.end(0)), (Taken::Refused, 0));
}

#[tokio::test]
async fn a_batch_that_is_damaged_on_the_way_is_not_taken() {
    let replicas = Replicas::of(1).await;
    let mut bytes = batch(0, 5).to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let taken = replicas.take(0, 5, records(&[bytes.into()], 0)).await;
    assert_eq!((taken, replicas.end(0)), (Taken::Refused, 0));
}

#[tokio::test]
async fn a_batch_that_the_answers_bound_cuts_short_is_left_for_the_next() {
    let replicas = Replicas::of(1).await;
    let second = batch(1, 5);
    let cut = second.slice(..second.len() - 1);
    let taken = replicas.take(0, 5, records(&[batch(0, 5), cut], 0)).await;
    assert!(matches!(taken, Taken::Appended { .. }));
    assert_eq!(replicas.end(0), 1);
    // Not even a header.
    let cut = second.slice(..20);
    replicas
        .take(0, 5, records(&[second.clone(), batch(2, 5), cut], 0))
        .await;
    assert_eq!(replicas.end(0), 3);
}

#[tokio::test]
async fn an_answer_larger_than_a_segment_is_taken_in_pieces() {
    let replicas = Replicas::of(1).await;
    let size = batch(0, 5).len();
    let partition = replicas.partition(0);
    let config = TopicConfig {
        segment_bytes: i32::try_from(2 * size).unwrap(),
        ..TopicConfig::clone(&partition.config())
    };
    let broker_config = replicas.broker.config();
    partition.set_config(config.into(), &broker_config);
    let five: Vec<Bytes> = (0..5).map(|offset| batch(offset, 5)).collect();
    let taken = replicas.take(0, 5, records(&five, 5)).await;
    let (bytes, last_epoch) = (5 * size, 5);
    assert_eq!(taken, Taken::Appended { bytes, last_epoch });
    assert_eq!((replicas.end(0), partition.high_watermark()), (5, 5));
    assert_eq!(partition.reader().segments().len(), 3);
}

#[tokio::test]
async fn a_replica_that_begins_inside_a_batch_takes_all_of_it() {
    let replicas = Replicas::of(1).await;
    replicas.take(0, 5, records(&[batch(0, 4)], 1)).await;
    let gone = FetchPartitionResponse {
        error_code: ErrorCode::OffsetOutOfRange,
        log_start_offset: 101,
        ..Default::default()
    };
    replicas.take(0, 5, gone).await;
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: 100,
        partition_leader_epoch: 5,
        ..Default::default()
    });
    for value in [b"first", b"other"] {
        builder.push(1, None, Some(value), &[]).unwrap();
    }
    let answer = FetchPartitionResponse {
        log_start_offset: 101,
        ..records(&[builder.finish().unwrap()], 102)
    };
    let taken = replicas.take(0, 5, answer).await;
    assert!(matches!(taken, Taken::Appended { .. }), "{taken:?}");
    let reader = replicas.partition(0).reader().clone();
    assert_eq!((reader.log_start_offset(), replicas.end(0)), (101, 102));
    assert_eq!(replicas.partition(0).high_watermark(), 102);
}

#[tokio::test]
async fn records_that_the_leader_does_not_have_are_cut_off() {
    let replicas = Replicas::of(1).await;
    let three = [batch(0, 4), batch(1, 4), batch(2, 4)];
    replicas.take(0, 5, records(&three, 1)).await;
    let diverging = FetchPartitionResponse {
        diverging_epoch: FetchEpochEndOffset {
            epoch: 4,
            end_offset: 1,
        },
        ..records(&[], 1)
    };
    assert_eq!(replicas.take(0, 5, diverging).await, Taken::Cut);
    assert_eq!(replicas.end(0), 1);
}

#[tokio::test]
async fn records_of_an_epoch_that_the_leader_does_not_have_are_cut_off_though_its_log_is_longer() {
    let replicas = Replicas::of(1).await;
    let three = [batch(0, 3), batch(1, 4), batch(2, 4)];
    replicas.take(0, 5, records(&three, 1)).await;
    let diverging = FetchPartitionResponse {
        diverging_epoch: FetchEpochEndOffset {
            epoch: 3,
            end_offset: 10,
        },
        ..records(&[], 1)
    };
    assert_eq!(replicas.take(0, 5, diverging).await, Taken::Cut);
    assert_eq!(replicas.end(0), 1);
    assert_eq!(replicas.partition(0).last_epoch(), 3);
}

#[tokio::test]
async fn a_replica_behind_the_leaders_start_begins_there() {
    let replicas = Replicas::of(1).await;
    replicas.take(0, 5, records(&[batch(0, 4)], 1)).await;
    let gone = FetchPartitionResponse {
        error_code: ErrorCode::OffsetOutOfRange,
        log_start_offset: 100,
        ..Default::default()
    };
    assert_eq!(replicas.take(0, 5, gone).await, Taken::Cut);
    let partition = replicas.partition(0);
    assert_eq!(partition.reader().log_start_offset(), 100);
    assert_eq!((replicas.end(0), partition.high_watermark()), (100, 100));
}

#[tokio::test]
async fn with_flush_messages_1_a_fetch_claims_what_is_on_disk_and_others_go_on_meanwhile() {
    let mut replicas = Replicas::of(2).await;
    let partition = replicas.partition(0);
    let strict = TopicConfig {
        flush_messages: 1,
        ..TopicConfig::clone(&partition.config())
    };
    let config = replicas.broker.config();
    partition.set_config(Arc::new(strict), &config);
    assert!(replicas.copies.hold_unflushed().is_empty());
    replicas.request();
    replicas.copies.answered(9);
    let folder = partition.reader().folder().display().to_string();
    let stall = inject(&folder, Fault::StallSyncs);
    for index in [0, 1] {
        let answer = records(&[batch(0, 5)], 0);
        replicas.take(index, 5, answer).await;
        let key = replicas.key(index);
        replicas.copies.advanced(key, Some(5));
    }
    let held = replicas.copies.hold_unflushed();
    assert_eq!(held.len(), 1);
    let request = replicas.request();
    assert_eq!(named(&request.topics), [1]);
    // Or each answer would bring it again.
    assert_eq!(forgotten(&request), [0]);
    // What came by another answer meanwhile waits for the same.
    let (key, waiting) = held[0].clone();
    replicas.copies.advanced(key, Some(5));
    assert!(replicas.copies.hold_unflushed().is_empty());
    assert!(!replicas.copies.has_due());
    let claimed = tokio::spawn(async move { waiting.claimed_all().await });
    drop(stall);
    assert!(claimed.await.unwrap());
    replicas.copies.flushed(key);
    assert!(replicas.copies.hold_unflushed().is_empty());
    let request = replicas.request();
    assert_eq!(named(&request.topics), [0]);
    assert_eq!(request.topics[0].partitions[0].fetch_offset, 1);
}
