//! What a leader tells its followers, and what their fetches do: through the handler of a broker that the metadata, so
//! the test says, has made the leader of three replicas.

use std::sync::Arc;
use std::time::Duration;

use milena_log::BatchToAppend;
use milena_log::faults::{Fault, inject};
use milena_metadata::{BrokerId, DirectoryId, Partition as State, Replica};
use milena_protocol::ErrorCode;
use milena_protocol::api::fetch::{
    FetchPartition, FetchPartitionResponse, FetchReplicaState, FetchRequest, FetchResponse,
    FetchTopic,
};
use milena_protocol::records::{BatchBuilder, BatchHeader, BatchOptions};

use super::handle;
use crate::api::RequestContext;
use crate::broker::Broker;
use crate::broker::tests::{broker_with_peers, context, create_with};
use crate::partition::leadership::Member;
use crate::partition::{Commit, Partition, Refused};

/// Names topics by id, and followers by their life.
const VERSION: i16 = 17;
/// Longer than any test takes: whoever waits so long was not woken.
const FOR_EVER: Duration = Duration::from_secs(20);

/// One partition, led here; replicas 101 and 102 are elsewhere.
struct Led {
    broker: Arc<Broker>,
    partition: Arc<Partition>,
    state: State,
    _dir: tempfile::TempDir,
}

fn id(number: i32) -> BrokerId {
    BrokerId::new(number).unwrap()
}

impl Led {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    async fn with(more: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let broker = broker_with_peers(dir.path(), more).await;
        create_with(&broker, "t", 1).await;
        let partition = broker.partitions().partition("t", 0).unwrap();
        let mut state = State::clone(broker.image().partition("t", 0).unwrap());
        for other in [101, 102] {
            let directory = DirectoryId::UNASSIGNED;
            let broker = id(other);
            state.replicas.push(Replica { broker, directory });
        }
        state.isr.push(id(101));
        state.leader_epoch += 1;
        state.partition_epoch += 1;
        let led = Self {
            broker,
            partition,
            state,
            _dir: dir,
        };
        led.apply(&led.state).await;
        led
    }

    async fn apply(&self, state: &State) {
        let me = id(self.broker.node_id());
        self.partition.apply(me, state).await;
    }

    async fn append(&self) -> i64 {
        self.try_append().await.unwrap()
    }

    async fn try_append(&self) -> Result<i64, Refused> {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(1, None, Some(b"value"), &[]).unwrap();
        let body = builder.finish().unwrap();
        let header = BatchHeader::parse(&body).unwrap();
        let batches = vec![BatchToAppend { header, body }];
        let now_ms = self.broker.now_ms();
        let appended = self.partition.append(batches, -1, now_ms).await?;
        Ok(appended.last_offset)
    }

    fn request(&self, follower: i32, asked: FetchPartition, wait: Duration) -> FetchRequest {
        FetchRequest {
            max_wait_ms: wait.as_millis() as i32,
            min_bytes: 1,
            max_bytes: i32::MAX,
            session_epoch: -1,
            replica_state: FetchReplicaState {
                replica_id: follower,
                replica_epoch: 1,
            },
            topics: vec![FetchTopic {
                topic_id: self.partition.topic_id().0,
                partitions: vec![asked],
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    async fn fetch(&self, follower: i32, asked: FetchPartition, wait: Duration) -> FetchResponse {
        let request = self.request(follower, asked, wait);
        let peers = RequestContext {
            listener: if follower >= 0 { "PEERS" } else { "PLAINTEXT" }.into(),
            ..context(VERSION)
        };
        handle(&self.broker, &peers, request).await.0
    }

    /// A fetch of what is there now.
    async fn fetch_from(&self, follower: i32, offset: i64) -> FetchPartitionResponse {
        let mut answer = self.fetch(follower, asked(offset), Duration::ZERO).await;
        assert_eq!(answer.error_code, ErrorCode::None);
        answer.responses.remove(0).partitions.remove(0)
    }
}

fn asked(fetch_offset: i64) -> FetchPartition {
    FetchPartition {
        fetch_offset,
        partition_max_bytes: i32::MAX,
        ..Default::default()
    }
}

fn has_records(partition: &FetchPartitionResponse) -> bool {
    partition.records.as_ref().is_some_and(|r| !r.is_empty())
}

#[tokio::test]
async fn a_follower_reads_to_the_end_and_a_consumer_to_what_is_committed() {
    let led = Led::new().await;
    led.append().await;
    assert!(!has_records(&led.fetch_from(-1, 0).await));
    assert!(has_records(&led.fetch_from(101, 0).await));
    let then = led.fetch_from(101, 1).await;
    assert_eq!(then.high_watermark, 1, "its own fetch has committed it");
    assert!(has_records(&led.fetch_from(-1, 0).await));
}

#[tokio::test]
async fn what_followers_copy_does_not_count_as_what_consumers_are_sent() {
    let led = Led::new().await;
    led.append().await;
    let counted = |led: &Led| {
        let page = led.broker.metrics().render_starting().unwrap();
        let mut lines = page.lines();
        let line = lines.find(|line| line.starts_with("milena_topic_records_out_total{"));
        line.and_then(|line| line.rsplit(' ').next().unwrap().parse().ok())
    };
    assert!(has_records(&led.fetch_from(101, 0).await));
    led.fetch_from(101, 1).await;
    assert_eq!(counted(&led), Some(0));
    assert!(has_records(&led.fetch_from(-1, 0).await));
    assert_eq!(counted(&led), Some(1));
}

#[tokio::test]
async fn an_append_is_committed_when_all_in_sync_replicas_have_fetched_beyond_it() {
    let led = Led::new().await;
    let (last, epoch) = (led.append().await, led.state.leader_epoch);
    led.fetch_from(102, 1).await;
    assert_eq!(
        led.partition.commit(last, epoch),
        Commit::Waiting,
        "102 is not in sync, and does not count"
    );
    led.fetch_from(101, 0).await;
    assert_eq!(led.partition.commit(last, epoch), Commit::Waiting);
    led.fetch_from(101, 1).await;
    assert_eq!(led.partition.commit(last, epoch), Commit::Done);
}

#[tokio::test]
async fn an_append_that_could_not_be_committed_is_refused_though_this_broker_asks_for_less_in_sync()
{
    let led = Led::with(&[("min.insync.replicas", "1")]).await;
    let mut state = led.state.clone();
    // The quorum asks for two: whoever leaves may still be elected.
    state.isr.retain(|&broker| broker != id(101));
    state.elr.push(id(101));
    state.partition_epoch += 1;
    led.apply(&state).await;
    let Err(Refused::Code(refused)) = led.try_append().await else {
        panic!("it would wait for good");
    };
    assert_eq!(refused, ErrorCode::NotEnoughReplicas);
    state.elr.clear();
    state.partition_epoch += 1;
    led.apply(&state).await;
    led.append().await;
}

#[tokio::test]
async fn what_a_follower_claims_in_another_epoch_counts_for_nothing() {
    let led = Led::new().await;
    let (last, epoch) = (led.append().await, led.state.leader_epoch);
    let member = Member {
        broker: id(101),
        epoch: 1,
    };
    // As of a fetch that was looked at before this epoch began.
    let claim = |epoch| led.partition.follower_fetched(member, (epoch, last + 1));
    assert_eq!(claim(epoch - 1), Err(ErrorCode::FencedLeaderEpoch));
    assert_eq!(led.partition.commit(last, epoch), Commit::Waiting);
    assert_eq!(claim(epoch), Ok(false));
    assert_eq!(led.partition.commit(last, epoch), Commit::Done);
}

#[tokio::test]
async fn a_waiting_follower_is_woken_by_an_append_and_a_waiting_consumer_by_its_commit() {
    let led = Arc::new(Led::new().await);
    let wait = |reader: i32| {
        let led = led.clone();
        tokio::spawn(async move { led.fetch(reader, asked(0), FOR_EVER).await })
    };
    let (follower, consumer) = (wait(101), wait(-1));
    tokio::task::yield_now().await;
    led.append().await;
    let woken = tokio::time::timeout(FOR_EVER / 2, follower).await;
    let answer = woken.expect("the follower was not woken").unwrap();
    assert!(has_records(&answer.responses[0].partitions[0]));
    assert!(!consumer.is_finished());
    led.fetch_from(101, 1).await;
    let woken = tokio::time::timeout(FOR_EVER / 2, consumer).await;
    let answer = woken.expect("the consumer was not woken").unwrap();
    assert!(has_records(&answer.responses[0].partitions[0]));
}

#[tokio::test]
async fn a_lost_leadership_ends_waits_and_appends() {
    let led = Led::new().await;
    let (last, epoch) = (led.append().await, led.state.leader_epoch);
    let mut state = led.state.clone();
    state.leader = Some(id(101));
    state.leader_epoch += 1;
    state.partition_epoch += 1;
    led.apply(&state).await;
    let lost = Commit::Lost(ErrorCode::NotLeaderOrFollower);
    assert_eq!(led.partition.commit(last, epoch), lost);
    let answer = led.fetch_from(101, 0).await;
    assert_eq!(answer.error_code, ErrorCode::NotLeaderOrFollower);
    let consumer = led.fetch_from(-1, 0).await;
    assert_eq!(
        consumer.error_code,
        ErrorCode::None,
        "read as from any follower"
    );
    assert!(!has_records(&consumer), "it was not committed");
    let refused = led.partition.append(Vec::new(), 1, 1).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::NotLeaderOrFollower);
    led.apply(&led.state).await;
    assert!(!led.partition.leads(), "an old state changes nothing");
}

#[tokio::test]
async fn a_follower_that_has_come_apart_is_told_where_to_cut() {
    let led = Led::new().await;
    led.append().await;
    let first_epoch = led.state.leader_epoch;
    let mut state = led.state.clone();
    state.leader_epoch += 3;
    state.partition_epoch += 1;
    led.apply(&state).await;
    led.append().await;
    // It has three records of the first epoch, of which one was ever in this log.
    let answer = led.fetch(
        101,
        FetchPartition {
            last_fetched_epoch: first_epoch,
            ..asked(3)
        },
        FOR_EVER,
    );
    let answer = answer.await.responses.remove(0).partitions.remove(0);
    let told = (
        answer.diverging_epoch.epoch,
        answer.diverging_epoch.end_offset,
    );
    assert_eq!(told, (first_epoch, 1));
    assert!(!has_records(&answer));
    let known = led.partition.commit(0, state.leader_epoch);
    assert_eq!(known, Commit::Waiting, "what it claims is not its log");
}

#[tokio::test]
async fn a_follower_with_records_of_an_epoch_that_its_leader_has_none_of_is_told_where_to_cut() {
    let led = Led::new().await;
    let mut state = led.state.clone();
    for has_records in [false, true] {
        if has_records {
            led.append().await;
        }
        let (known, end) = (state.leader_epoch, led.partition.reader().log_end_offset());
        // Another led meanwhile, and this one heard nothing of it; in its new epoch it has appended nothing yet, and may
        // be allowed to only when the follower is in sync again.
        state.leader_epoch += 2;
        state.partition_epoch += 2;
        led.apply(&state).await;
        let asked = FetchPartition {
            last_fetched_epoch: state.leader_epoch - 1,
            ..asked(end + 5)
        };
        let mut answer = led.fetch(101, asked, Duration::ZERO).await;
        let answer = answer.responses.remove(0).partitions.remove(0);
        assert_eq!(answer.error_code, ErrorCode::None);
        let told = answer.diverging_epoch;
        let common = if has_records {
            known
        } else {
            state.leader_epoch - 1
        };
        assert_eq!((told.epoch, told.end_offset), (common, end));
    }
}

fn fetched(base_offset: i64, leader_epoch: i32) -> Vec<BatchToAppend> {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset,
        partition_leader_epoch: leader_epoch,
        ..BatchOptions::default()
    });
    builder.push(1, None, Some(b"value"), &[]).unwrap();
    let body = builder.finish().unwrap();
    let header = BatchHeader::parse(&body).unwrap();
    vec![BatchToAppend { header, body }]
}

#[tokio::test]
async fn a_follower_takes_what_its_leader_has_and_nothing_of_another_epoch() {
    let led = Led::new().await;
    let mut state = led.state.clone();
    state.leader = Some(id(101));
    state.leader_epoch += 1;
    state.partition_epoch += 1;
    led.apply(&state).await;
    let (partition, epoch) = (&led.partition, state.leader_epoch);
    for offset in 0..3 {
        let batches = fetched(offset, epoch);
        let appended = partition.append_fetched(&batches, epoch, (offset, 0), 1);
        assert_eq!(appended.await.unwrap().last_offset, offset);
        assert_eq!(partition.high_watermark(), offset, "the leader's");
    }
    let batches = fetched(3, epoch);
    let old = partition.append_fetched(&batches, epoch - 1, (3, 0), 1);
    let refused = old.await.unwrap_err().code();
    assert_eq!(refused, ErrorCode::FencedLeaderEpoch);
    let cut = partition.truncate_following((epoch, 1), epoch, 1).await;
    assert_eq!(cut.unwrap(), 1);
    let end = partition.reader().log_end_offset();
    assert_eq!((end, partition.high_watermark()), (1, 1));
    assert!(
        led.partition
            .truncate_following((epoch, 0), epoch - 1, 1)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn followers_are_heard_on_the_peers_listener_alone() {
    let led = Led::new().await;
    let request = FetchRequest {
        replica_state: FetchReplicaState {
            replica_id: 101,
            replica_epoch: 1,
        },
        session_epoch: -1,
        ..Default::default()
    };
    let (answer, _) = handle(&led.broker, &context(VERSION), request).await;
    assert_eq!(answer.error_code, ErrorCode::ClusterAuthorizationFailed);
    let stranger = led.fetch_from(555, 0).await;
    assert_eq!(stranger.error_code, ErrorCode::IneligibleReplica);
}

#[tokio::test]
async fn a_followers_fetch_ends_its_wait_when_another_request_is_behind_it() {
    let led = Arc::new(Led::new().await);
    let hurry = tokio_util::sync::CancellationToken::new();
    let peers = |hurry| RequestContext {
        listener: "PEERS".into(),
        hurry,
        ..context(VERSION)
    };
    let request = led.request(101, asked(0), FOR_EVER);
    let waiting = {
        let (led, context) = (led.clone(), peers(Some(hurry.clone())));
        tokio::spawn(async move { handle(&led.broker, &context, request).await.0 })
    };
    while !led.partition.waiters().is_waited_for() {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished());
    hurry.cancel();
    let answer = tokio::time::timeout(FOR_EVER / 2, waiting).await;
    let answer = answer.expect("it waits on").unwrap();
    assert_eq!(answer.error_code, ErrorCode::None);
}

#[tokio::test]
async fn with_flush_messages_1_the_leaders_disk_counts_as_one_of_the_replicas() {
    let led = Led::with(&[("log.flush.interval.messages", "1")]).await;
    let folder = led.partition.reader().folder().display().to_string();
    let stall = inject(&folder, Fault::StallSyncs);
    let (last, epoch) = (led.append().await, led.state.leader_epoch);
    assert!(has_records(&led.fetch_from(101, 0).await), "unflushed");
    // The follower's disk was the quicker.
    let answer = led.fetch_from(101, last + 1).await;
    assert_eq!(answer.high_watermark, 0);
    assert_eq!(led.partition.commit(last, epoch), Commit::Waiting);
    drop(stall);
    let committed = async {
        while led.partition.commit(last, epoch) != Commit::Done {
            tokio::task::yield_now().await;
        }
    };
    let committed = tokio::time::timeout(FOR_EVER, committed).await;
    committed.expect("it is on both disks");
}

const NEARBY: (&str, &str) = (
    "replica.selector.class",
    "org.apache.kafka.common.replica.RackAwareReplicaSelector",
);

/// What a follower that has everything is told where its fetch waits so long, and the other one, whom the high watermark
/// needs, claims everything meanwhile; and when.
async fn told_while_waiting(led: &Led, wait: Duration) -> (i64, Duration) {
    led.append().await;
    let peers = RequestContext {
        listener: "PEERS".into(),
        ..context(VERSION)
    };
    let session = FetchRequest {
        session_epoch: 0,
        ..led.request(102, asked(0), Duration::ZERO)
    };
    let opened = handle(&led.broker, &peers, session).await.0;
    let waiting = FetchRequest {
        session_id: opened.session_id,
        session_epoch: 1,
        ..led.request(102, asked(1), wait)
    };
    let begun = std::time::Instant::now();
    let (answer, _) = tokio::join!(handle(&led.broker, &peers, waiting), led.fetch_from(101, 1));
    let told = answer.0.responses.first().map(|topic| &topic.partitions[0]);
    let high_watermark = told.map_or(-1, |told| told.high_watermark);
    (high_watermark, begun.elapsed())
}

#[tokio::test]
async fn a_follower_that_waits_hears_of_the_high_watermark_when_its_wait_is_over() {
    let wait = Duration::from_millis(200);
    let (high_watermark, after) = told_while_waiting(&Led::new().await, wait).await;
    assert_eq!(high_watermark, 1);
    assert!(after >= wait, "a fetch more for each commit: {after:?}");
}

#[tokio::test]
async fn a_follower_from_which_consumers_read_hears_of_the_high_watermark_at_once() {
    let led = Led::with(&[NEARBY]).await;
    let (high_watermark, after) = told_while_waiting(&led, FOR_EVER).await;
    assert_eq!(high_watermark, 1);
    assert!(after < FOR_EVER, "{after:?}");
}
