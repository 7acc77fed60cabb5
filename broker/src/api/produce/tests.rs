//! A Produce to a partition that moves, or that has too few replicas: what its answer says, and when.

use std::path::Path;

use bytes::Bytes;
use milena_protocol::header::decode_response;
use milena_protocol::records::{BatchBuilder, BatchOptions, Codec, Compression};

use super::*;
use crate::broker::tests::beside::{batch, create_on, fence, partition, register, unfence};
use crate::broker::tests::context;
use crate::config::Sources;
use crate::server::assemble_alone;

/// The newest with names.
const VERSION: i16 = 12;
/// Longer than any test takes.
const FOR_EVER: Duration = Duration::from_secs(20);

async fn produce(broker: &Broker, timeout: Duration) -> PendingProduce {
    send(broker, &[broker.now_ms()], Compression::None, timeout).await
}

/// A batch of one record for each timestamp.
async fn send(
    broker: &Broker,
    timestamps: &[i64],
    compression: Compression,
    timeout: Duration,
) -> PendingProduce {
    let options = BatchOptions {
        codec: Codec::from(compression),
        ..BatchOptions::default()
    };
    send_as(broker, options, timestamps, timeout, "t").await
}

async fn send_as(
    broker: &Broker,
    options: BatchOptions,
    timestamps: &[i64],
    timeout: Duration,
    topic: &str,
) -> PendingProduce {
    let mut builder = BatchBuilder::new(options);
    for timestamp in timestamps {
        let pushed = builder.push(*timestamp, None, Some(b"value"), &[]);
        pushed.unwrap();
    }
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: timeout.as_millis() as i32,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(builder.finish().unwrap()),
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    start(broker, &context(VERSION), request, 1, Instant::now()).await
}

fn answer(broker: &Broker, pending: PendingProduce) -> ProduceResponse {
    let frame = pending.into_answer(broker).unwrap().unwrap();
    let bytes = Bytes::from(frame.to_vec()).slice(4..);
    decode_response::<ProduceRequest>(bytes, VERSION).unwrap().1
}

async fn cluster(dir: &Path, set: &[(&str, &str)]) -> Arc<Broker> {
    let dir = dir.display().to_string();
    let set = [&[("log.dirs", dir.as_str())], set].concat();
    let broker = assemble_alone(Sources::of(&set).load().unwrap().0).await;
    register(&broker, 101, Some("r1")).await;
    register(&broker, 102, None).await;
    broker
}

#[tokio::test]
async fn a_client_is_told_who_leads_and_where() {
    let dir = tempfile::tempdir().unwrap();
    let broker = cluster(dir.path(), &[]).await;
    // Hosted elsewhere, and followed here.
    for (topic, brokers) in [("other", [101, 102]), ("t", [101, broker.node_id()])] {
        create_on(&broker, topic, &[&brokers]).await;
    }
    let pending = produce(&broker, FOR_EVER).await;
    assert!(pending.is_done());
    let told = answer(&broker, pending);
    let result = &told.responses[0].partition_responses[0];
    assert_eq!(result.error_code, ErrorCode::NotLeaderOrFollower);
    assert_eq!(
        (
            result.current_leader.leader_id,
            result.current_leader.leader_epoch
        ),
        (101, 0)
    );
    let [node] = &told.node_endpoints[..] else {
        panic!("one leader: {told:?}");
    };
    assert_eq!(
        (node.node_id, &*node.host, node.port),
        (101, "host-101", 9092)
    );
    assert_eq!(node.rack.as_deref(), Some("r1"));
}

#[tokio::test]
async fn a_waiting_produce_ends_at_once_when_its_partition_moves_and_names_the_new_leader() {
    let dir = tempfile::tempdir().unwrap();
    let broker = cluster(dir.path(), &[]).await;
    let me = broker.node_id();
    create_on(&broker, "t", &[&[me, 101, 102]]).await;
    let mut pending = produce(&broker, FOR_EVER).await;
    assert!(!pending.is_done(), "nobody has fetched it");
    let waiting = tokio::spawn(async move {
        pending.wait().await;
        pending
    });
    fence(&broker, me).await;
    let waited = tokio::time::timeout(FOR_EVER / 2, waiting).await;
    let told = answer(&broker, waited.expect("it went on waiting").unwrap());
    let result = &told.responses[0].partition_responses[0];
    assert_eq!(result.error_code, ErrorCode::NotLeaderOrFollower);
    assert_eq!(result.base_offset, -1);
    assert_eq!(result.current_leader.leader_id, 101);
    assert_eq!(told.node_endpoints[0].node_id, 101);
    unfence(&broker, me).await;
    assert!(!partition(&broker, "t", 0).leads());
}

#[tokio::test]
async fn a_wait_that_ends_with_too_small_an_isr_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let broker = cluster(dir.path(), &[("min.insync.replicas", "2")]).await;
    create_on(&broker, "t", &[&[broker.node_id(), 101, 102]]).await;
    let short = Duration::from_millis(50);
    let mut slow = produce(&broker, short).await;
    slow.wait().await;
    let error =
        |pending: &PendingProduce| pending.response.responses[0].partition_responses[0].error_code;
    assert_eq!(error(&slow), ErrorCode::RequestTimedOut);
    let mut lonely = produce(&broker, short).await;
    fence(&broker, 101).await;
    fence(&broker, 102).await;
    lonely.wait().await;
    assert_eq!(error(&lonely), ErrorCode::NotEnoughReplicasAfterAppend);
    let refused = produce(&broker, short).await;
    assert_eq!(error(&refused), ErrorCode::NotEnoughReplicas);
}

#[tokio::test]
async fn offsets_alone_acknowledge_nothing_of_an_epoch_that_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let broker = cluster(dir.path(), &[]).await;
    let me = broker.node_id();
    create_on(&broker, "t", &[&[me, 101, 102]]).await;
    let mut pending = produce(&broker, FOR_EVER).await;
    let Wait {
        last_offset,
        leader_epoch,
        ..
    } = pending.waits.pop_front().unwrap();
    fence(&broker, me).await;
    let partition = partition(&broker, "t", 0);
    let now = partition.leader_epoch();
    assert!(now > leader_epoch && !partition.leads());
    let theirs = batch(last_offset + 1, now);
    let append = partition.append_fetched(&theirs, now, (last_offset + 2, 0), broker.now_ms());
    append.await.map_err(|refused| refused.code()).unwrap();
    assert!(partition.high_watermark() > last_offset);
    let appended = Appended {
        base_offset: last_offset,
        last_offset,
        log_append_time_ms: -1,
        log_start_offset: 0,
        leader_epoch,
    };
    for awaits in [Awaits::Replicas, Awaits::Disk] {
        wait_where_needed(&mut pending, (0, 0), &partition, (appended, awaits));
        assert!(!pending.is_done(), "{awaits:?}");
        pending.wait().await;
        let result = &mut pending.response.responses[0].partition_responses[0];
        let error = std::mem::take(&mut result.error_code);
        assert_eq!(error, ErrorCode::NotLeaderOrFollower, "{awaits:?}");
    }
}

const HOUR_MS: i64 = 3_600_000;
const CODECS: [Compression; 2] = [Compression::None, Compression::Gzip];
/// No timestamp.
const NONE_MS: i64 = -1;

/// What a topic of a broker with these settings answers to records so many ms from now, or without a time.
async fn told_of_times(
    set: &[(&str, &str)],
    from_now_ms: &[Option<i64>],
    compression: Compression,
) -> (PartitionProduceResponse, i64) {
    let dir = tempfile::tempdir().unwrap();
    let broker = cluster(dir.path(), set).await;
    create_on(&broker, "t", &[&[broker.node_id()]]).await;
    let at = |ms: &Option<i64>| ms.map_or(NONE_MS, |ms| broker.now_ms() + ms);
    let timestamps: Vec<i64> = from_now_ms.iter().map(at).collect();
    let mut pending = send(&broker, &timestamps, compression, FOR_EVER).await;
    pending.wait().await;
    let mut told = answer(&broker, pending).responses.remove(0);
    let end = partition(&broker, "t", 0).reader().log_end_offset();
    (told.partition_responses.remove(0), end)
}

#[tokio::test]
async fn records_whose_time_is_too_far_from_the_brokers_are_named_and_none_of_their_batch_is_stored()
 {
    let bounds = [
        ("log.message.timestamp.before.max.ms", "60000"),
        ("log.message.timestamp.after.max.ms", "60000"),
    ];
    for compression in CODECS {
        let times = [Some(0), Some(-HOUR_MS), None, Some(HOUR_MS), Some(-30_000)];
        let (told, end) = told_of_times(&bounds, &times, compression).await;
        assert_eq!((told.error_code, end), (ErrorCode::InvalidTimestamp, 0));
        assert_eq!(told.base_offset, -1);
        let named = told.record_errors.iter().map(|record| {
            let why = record.batch_index_error_message.as_deref().unwrap();
            assert!(why.contains("timestamp"), "{why}");
            record.batch_index
        });
        assert_eq!(named.collect::<Vec<_>>(), [1, 3]);
        assert!(told.error_message.is_some());

        let times = [Some(-50_000), None, Some(50_000)];
        let (told, end) = told_of_times(&bounds, &times, compression).await;
        assert_eq!((told.error_code, end), (ErrorCode::None, 3));
    }
}

/// Kafka's defaults: an hour ahead, and however long ago.
#[tokio::test]
async fn without_settings_the_past_is_taken_and_more_than_an_hour_ahead_is_not() {
    for (from_now_ms, code) in [
        (-HOUR_MS * 24 * 365, ErrorCode::None),
        (HOUR_MS / 2, ErrorCode::None),
        (HOUR_MS * 2, ErrorCode::InvalidTimestamp),
    ] {
        let (told, _) = told_of_times(&[], &[Some(from_now_ms)], Compression::None).await;
        assert_eq!(told.error_code, code, "{from_now_ms}");
    }
}

#[tokio::test]
async fn with_the_brokers_own_time_the_producers_is_not_looked_at() {
    let set = [
        ("log.message.timestamp.type", "LogAppendTime"),
        ("log.message.timestamp.before.max.ms", "60000"),
        ("log.message.timestamp.after.max.ms", "60000"),
    ];
    for compression in CODECS {
        let times = [Some(-HOUR_MS), Some(HOUR_MS), None];
        let begun_ms = crate::clock::Clock.now_ms();
        let (told, end) = told_of_times(&set, &times, compression).await;
        assert_eq!((told.error_code, end), (ErrorCode::None, 3));
        let stored_as = told.log_append_time_ms;
        assert!(
            (begun_ms..begun_ms + HOUR_MS / 2).contains(&stored_as),
            "{stored_as}"
        );
    }
}

#[tokio::test]
async fn an_old_batch_that_is_stored_is_told_from_a_gap_once_it_is_committed() {
    let dir = tempfile::tempdir().unwrap();
    let broker = cluster(dir.path(), &[]).await;
    let me = broker.node_id();
    create_on(&broker, "t", &[&[me]]).await;
    create_on(&broker, "replicated", &[&[me, 101]]).await;
    let send = async |topic: &str, sequence: i32| {
        let options = BatchOptions {
            producer_id: 7,
            producer_epoch: 0,
            base_sequence: sequence,
            ..BatchOptions::default()
        };
        let mut pending = send_as(&broker, options, &[broker.now_ms()], FOR_EVER, topic).await;
        let result = pending.response.responses[0].partition_responses.remove(0);
        (result.error_code, result.base_offset, pending.is_done())
    };
    for sequence in 0..8 {
        let stored = (ErrorCode::None, i64::from(sequence), true);
        assert_eq!(send("t", sequence).await, stored);
        let waiting = (ErrorCode::None, i64::from(sequence), false);
        assert_eq!(send("replicated", sequence).await, waiting);
    }
    let again = ErrorCode::DuplicateSequenceNumber;
    assert_eq!(send("t", 0).await, (again, -1, true));
    assert_eq!(send("replicated", 0).await, (again, -1, false));
    let gap = ErrorCode::OutOfOrderSequenceNumber;
    assert_eq!(send("t", 9).await, (gap, -1, true));
}
