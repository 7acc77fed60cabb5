//! What a fetch session sees of partitions that change, through the handler of a broker without listeners.

use std::future::poll_fn;
use std::os::unix::fs::FileExt;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use milena_log::BatchToAppend;
use milena_log::faults::{Fault, inject};
use milena_metadata::{DeleteTopics, TopicReference};
use milena_protocol::api::fetch::{
    FetchForgottenTopic, FetchPartition, FetchRequest, FetchResponse, FetchTopic,
};
use milena_protocol::records::{BatchBuilder, BatchHeader, BatchOptions};
use milena_protocol::{ErrorCode, Records, Str};

use super::handle;
use crate::broker::Broker;
use crate::broker::tests::{broker, context, create_with};

const TOPIC: &str = "t";
/// Names topics by name.
const VERSION: i16 = 12;
/// Longer than any test takes: whoever waits so long was not woken.
const FOR_EVER: Duration = Duration::from_secs(20);

/// A client of one session.
struct Client {
    broker: Arc<Broker>,
    id: i32,
    epoch: i32,
    bytes_max: i32,
}

impl Client {
    fn new(broker: &Arc<Broker>) -> Self {
        Self {
            broker: broker.clone(),
            id: 0,
            epoch: 0,
            bytes_max: i32::MAX,
        }
    }

    /// Fetches `changed` (partitions with their offsets) as the session's next step.
    async fn fetch(&mut self, changed: &[(i32, i64)], wait: Duration) -> FetchResponse {
        let mut request = self.request(changed, wait);
        self.send(&mut request).await
    }

    fn request(&self, changed: &[(i32, i64)], wait: Duration) -> FetchRequest {
        let partition = |&(partition, fetch_offset): &(i32, i64)| FetchPartition {
            partition,
            fetch_offset,
            partition_max_bytes: i32::MAX,
            current_leader_epoch: -1,
            ..Default::default()
        };
        FetchRequest {
            max_wait_ms: wait.as_millis() as i32,
            min_bytes: 1,
            max_bytes: self.bytes_max,
            topics: vec![FetchTopic {
                topic: Str::from(TOPIC),
                partitions: changed.iter().map(partition).collect(),
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    async fn send(&mut self, request: &mut FetchRequest) -> FetchResponse {
        (request.session_id, request.session_epoch) = (self.id, self.epoch);
        let (response, _) = handle(&self.broker, &context(VERSION), request.clone()).await;
        assert_eq!(response.error_code, ErrorCode::None);
        (self.id, self.epoch) = (response.session_id, self.epoch + 1);
        response
    }
}

#[tokio::test]
async fn a_fetch_that_waits_is_answered_when_the_broker_stops() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    create_with(&broker, TOPIC, 1).await;
    let mut client = Client::new(&broker);
    let waiting = client.fetch(&[(0, 0)], FOR_EVER);
    let stopped = async {
        while broker.fetch_sessions().is_empty() {
            tokio::task::yield_now().await;
        }
        broker.waits_ended().cancel();
    };
    let begun = std::time::Instant::now();
    tokio::join!(waiting, stopped);
    assert!(begun.elapsed() < FOR_EVER);
}

/// With the only thread that may block held, who asks the disk gets no further.
#[test]
fn only_a_place_that_memory_does_not_know_is_looked_up_where_it_may_block() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let broker = broker(dir.path()).await;
        create_with(&broker, TOPIC, 1).await;
        append(&broker, 0).await;
        let (mut hot, mut cold) = (Client::new(&broker), Client::new(&broker));
        let record = bytes_of(&hot.fetch(&[(0, 0)], Duration::ZERO).await);
        // As on a file system that can't tell what it has in memory.
        let _fault = inject(&dir.path().display().to_string(), Fault::MissCache);
        let (release, released) = std::sync::mpsc::channel::<()>();
        let held = tokio::task::spawn_blocking(move || released.recv());
        let mut looked_up = pin!(cold.fetch(&[(0, 0)], Duration::ZERO));
        for offset in 1..50 {
            let early = poll_fn(|task| Poll::Ready(looked_up.as_mut().poll(task).is_ready()));
            assert!(!early.await);
            let at_the_end = [(0, offset)];
            let (fetched, ()) = tokio::join!(
                tokio::time::timeout(FOR_EVER, hot.fetch(&at_the_end, FOR_EVER)),
                append(&broker, 0)
            );
            assert_eq!(bytes_of(&fetched.unwrap()), record);
        }
        drop(release);
        assert!(bytes_of(&looked_up.await) >= record && record > 0);
        assert!(held.await.unwrap().is_err(), "the thread is free");
    });
}

/// Bytes of records of the first partition.
fn bytes_of(response: &FetchResponse) -> usize {
    let records = response.responses[0].partitions[0].records.as_ref();
    records.map_or(0, Records::len)
}

/// The partitions that an answer names, with their errors.
fn named(response: &FetchResponse) -> Vec<(i32, ErrorCode)> {
    let topics = response.responses.iter();
    let partitions = topics.flat_map(|topic| &topic.partitions);
    let mut named: Vec<_> = partitions
        .map(|partition| (partition.partition_index, partition.error_code))
        .collect();
    named.sort_unstable_by_key(|(index, _)| *index);
    named
}

fn ok(indexes: &[i32]) -> Vec<(i32, ErrorCode)> {
    indexes.iter().map(|&i| (i, ErrorCode::None)).collect()
}

async fn append(broker: &Broker, index: i32) {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(1, None, Some(b"value"), &[]).unwrap();
    let body = builder.finish().unwrap();
    let header = BatchHeader::parse(&body).unwrap();
    let partition = broker.partitions().partition(TOPIC, index).unwrap();
    let batches = vec![BatchToAppend { header, body }];
    partition.append(batches, 1, broker.now_ms()).await.unwrap();
}

/// A broker with a topic of so many partitions, and a client that was told of all.
async fn following(dir: &std::path::Path, partitions: i32) -> (Arc<Broker>, Client) {
    let broker = broker(dir).await;
    create_with(&broker, TOPIC, partitions).await;
    let mut client = Client::new(&broker);
    let all: Vec<_> = (0..partitions).map(|index| (index, 0)).collect();
    let first = client.fetch(&all, Duration::ZERO).await;
    assert_eq!(named(&first).len(), partitions as usize);
    (broker, client)
}

#[tokio::test]
async fn an_answer_names_only_what_has_news() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, mut client) = following(dir.path(), 50).await;
    assert_eq!(named(&client.fetch(&[], Duration::ZERO).await), ok(&[]));
    append(&broker, 7).await;
    append(&broker, 31).await;
    let news = client.fetch(&[], Duration::ZERO).await;
    assert_eq!(named(&news), ok(&[7, 31]));
    // Served to their ends, they are silent again.
    let then = client.fetch(&[(7, 1), (31, 1)], Duration::ZERO).await;
    assert_eq!(named(&then), ok(&[]));
}

#[tokio::test]
async fn a_waiting_session_is_woken_by_any_of_its_partitions() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, mut client) = following(dir.path(), 20).await;
    for index in [19, 0, 11] {
        let waiting = tokio::spawn(async move {
            let answer = client.fetch(&[], FOR_EVER).await;
            (client, answer)
        });
        tokio::task::yield_now().await;
        append(&broker, index).await;
        let answered = tokio::time::timeout(FOR_EVER / 2, waiting).await;
        let (back, answer) = answered.expect("it was not woken").unwrap();
        client = back;
        assert_eq!(named(&answer), ok(&[index]));
        client.fetch(&[(index, 1)], Duration::ZERO).await;
    }
}

#[tokio::test]
async fn a_fetch_without_a_session_is_woken_too() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, client) = following(dir.path(), 3).await;
    let mut request = client.request(&[(0, 0), (1, 0)], FOR_EVER);
    request.session_epoch = -1;
    let serving = broker.clone();
    let waiting = tokio::spawn(async move {
        let (answer, _) = handle(&serving, &context(VERSION), request).await;
        answer
    });
    tokio::task::yield_now().await;
    append(&broker, 1).await;
    let answered = tokio::time::timeout(FOR_EVER / 2, waiting).await;
    let answer = answered.expect("it was not woken").unwrap();
    assert_eq!(named(&answer), ok(&[0, 1]));
}

#[tokio::test]
async fn each_partition_has_its_turn_where_an_answer_does_not_hold_all() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, mut client) = following(dir.path(), 3).await;
    client.bytes_max = 1;
    let mut ends = [0; 3];
    for index in [0, 1, 2, 0, 1, 2] {
        append(&broker, index).await;
    }
    let mut turns = Vec::new();
    let mut changed = Vec::new();
    for _ in 0..3 {
        let answer = client.fetch(&changed, Duration::ZERO).await;
        let filled = answer.responses[0].partitions.iter();
        let filled: Vec<i32> = filled
            .filter(|partition| partition.records.as_ref().is_some_and(|r| !r.is_empty()))
            .map(|partition| partition.partition_index)
            .collect();
        assert_eq!(filled.len(), 1, "one batch is all that fits");
        ends[filled[0] as usize] += 1;
        changed = vec![(filled[0], ends[filled[0] as usize])];
        turns.extend(filled);
    }
    turns.sort_unstable();
    assert_eq!(turns, [0, 1, 2]);
}

#[tokio::test]
async fn a_forgotten_partition_is_not_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, mut client) = following(dir.path(), 3).await;
    let mut request = client.request(&[], Duration::ZERO);
    request.forgotten_topics_data = vec![FetchForgottenTopic {
        topic: Str::from(TOPIC),
        partitions: vec![0, 2],
        ..Default::default()
    }];
    client.send(&mut request).await;
    for index in 0..3 {
        append(&broker, index).await;
    }
    assert_eq!(named(&client.fetch(&[], Duration::ZERO).await), ok(&[1]));
}

#[tokio::test]
async fn a_new_log_start_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, mut client) = following(dir.path(), 2).await;
    append(&broker, 0).await;
    client.fetch(&[], Duration::ZERO).await;
    client.fetch(&[(0, 1)], Duration::ZERO).await;
    let partition = broker.partitions().partition(TOPIC, 0).unwrap();
    let deleted = broker
        .partitions()
        .delete_records_before(vec![(partition, 1)])
        .await;
    assert!(matches!(deleted[..], [Ok(1)]));
    let answer = client.fetch(&[], Duration::ZERO).await;
    assert_eq!(named(&answer), ok(&[0]));
    assert_eq!(answer.responses[0].partitions[0].log_start_offset, 1);
}

#[tokio::test]
async fn a_topic_made_anew_under_its_name_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, mut client) = following(dir.path(), 1).await;
    let topics = vec![TopicReference::Name(TOPIC.to_owned())];
    broker.change(DeleteTopics { topics }).await.unwrap();
    let gone = client.fetch(&[], FOR_EVER).await;
    assert_eq!(named(&gone), [(0, ErrorCode::UnknownTopicOrPartition)]);
    create_with(&broker, TOPIC, 1).await;
    append(&broker, 0).await;
    assert_eq!(named(&client.fetch(&[], FOR_EVER).await), ok(&[0]));
    client.fetch(&[(0, 1)], Duration::ZERO).await;
    append(&broker, 0).await;
    assert_eq!(named(&client.fetch(&[], FOR_EVER).await), ok(&[0]));
}

#[tokio::test]
async fn a_partition_whose_bytes_are_no_batch_is_offline_and_its_neighbour_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let (broker, mut client) = following(dir.path(), 2).await;
    for index in [0, 1] {
        append(&broker, index).await;
    }
    let readers = [0, 1].map(|index| {
        let partition = broker.partitions().partition(TOPIC, index).unwrap();
        partition.reader().clone()
    });
    let segment = readers[0].folder().join("00000000000000000000.log");
    let file = std::fs::File::options().write(true).open(&segment).unwrap();
    // The format's version.
    file.write_all_at(&[9], 16).unwrap();
    let answer = client.fetch(&[], Duration::ZERO).await;
    let told = [(0, ErrorCode::KafkaStorageError), (1, ErrorCode::None)];
    assert_eq!(named(&answer), told);
    assert!(readers[1].check_writable().is_ok());
    let error = readers[0].check_writable().unwrap_err().to_string();
    let place = format!("{} is damaged at offset 0, byte 0", segment.display());
    assert!(error.contains(&place), "{error}");
}
