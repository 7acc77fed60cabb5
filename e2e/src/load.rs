//! A client that produces and fetches all the while something else is done to its broker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use milena_client::admin::NewTopic;
use milena_client::{Client, ClientOptions};
use milena_protocol::api::fetch::{FetchPartition, FetchRequest, FetchTopic};
use milena_protocol::api::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use milena_protocol::records::{BatchBuilder, BatchOptions, Compression, batches};
use milena_protocol::{ErrorCode, Str};

use crate::wire::Wire;

/// Versions that carry topic names, so that no topic id has to be looked up.
pub const PRODUCE_VERSION: i16 = 9;
/// See [`PRODUCE_VERSION`].
pub const FETCH_VERSION: i16 = 12;
/// What a produce of these tests waits for its replicas.
const TIMEOUT_MS: i32 = 30_000;

/// Creates a topic with one partition or more.
pub fn create_topic(
    bootstrap: &str,
    name: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) -> Result<()> {
    let topic = NewTopic {
        name: name.to_owned(),
        partitions: Some(partitions),
        replication_factor: Some(1),
        configs: configs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    };
    let create = async {
        let client = Client::new(ClientOptions::new(bootstrap));
        client.create_topic(&topic, false).await
    };
    block_on(create)?.context("create a topic")
}

/// Runs a future on a runtime of its own.
pub fn block_on<F: Future>(future: F) -> Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    Ok(runtime.block_on(future))
}

/// One batch with one record for each value.
pub fn batch(values: &[Option<&[u8]>], compression: Compression) -> Bytes {
    let options = BatchOptions {
        codec: compression.into(),
        ..BatchOptions::default()
    };
    let mut builder = BatchBuilder::new(options);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let now_ms = now.map_or(0, |since| since.as_millis() as i64);
    for value in values {
        builder
            .push(now_ms, None, *value, &[])
            .expect("a test's batch is small enough");
    }
    builder.finish().expect("a test's batch compresses")
}

/// A request for one partition.
pub fn produce(topic: &str, partition: i32, acks: i16, records: Bytes) -> ProduceRequest {
    ProduceRequest {
        transactional_id: None,
        acks,
        timeout_ms: TIMEOUT_MS,
        topic_data: vec![TopicProduceData {
            name: Str::from(topic),
            partition_data: vec![PartitionProduceData {
                index: partition,
                records: Some(records),
            }],
            ..TopicProduceData::default()
        }],
    }
}

/// A request for one partition, without a session; it waits for at least one byte.
pub fn fetch(topic: &str, partition: i32, offset: i64, max_wait_ms: i32) -> FetchRequest {
    FetchRequest {
        max_wait_ms,
        min_bytes: 1,
        topics: vec![FetchTopic {
            topic: Str::from(topic),
            partitions: vec![FetchPartition {
                partition,
                fetch_offset: offset,
                partition_max_bytes: 1 << 20,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

/// Produces one batch; its base offset, or the partition's error code.
pub fn produce_one(
    wire: &mut Wire,
    topic: &str,
    partition: i32,
    records: Bytes,
) -> Result<Result<i64, ErrorCode>> {
    let request = produce(topic, partition, -1, records);
    let response = wire.ask(&request, PRODUCE_VERSION)?;
    let result = &response.responses[0].partition_responses[0];
    Ok(result.error_code.ok().map(|()| result.base_offset))
}

/// Fetches one partition; the batches that came, or the partition's error code.
pub fn fetch_one(
    wire: &mut Wire,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<Result<Bytes, ErrorCode>> {
    let response = wire.ask(&fetch(topic, partition, offset, 500), FETCH_VERSION)?;
    response.error_code.ok()?;
    let mut responses = response.responses.into_iter();
    let mut partitions = responses.next().context("no topic")?.partitions.into_iter();
    let result = partitions.next().context("no partition")?;
    let records = result.records.map_or_else(Bytes::new, |r| r.into_bytes());
    Ok(result.error_code.ok().map(|()| records))
}

/// Pause before a bystander asks again, and for how long it does: what waits longer is looked at by its round's time.
const ASK_AGAIN: Duration = Duration::from_millis(20);
const ASKED_AGAIN_FOR: Duration = Duration::from_secs(5);

/// Another client, at work in a thread of its own.
pub struct Bystander {
    stop: Arc<AtomicBool>,
    work: JoinHandle<Result<Rounds>>,
}

/// What a [`Bystander`] has done.
#[derive(Debug, Clone, Copy)]
pub struct Rounds {
    /// Records produced, fetched and found the same.
    pub count: u64,
    /// The longest that one produce and its fetch took.
    pub slowest: Duration,
}

impl Bystander {
    /// Produces to `topic` and fetches what it produced, again and again, on one connection.
    pub fn start(bootstrap: &str, topic: &str) -> Result<Self> {
        let mut wire = Wire::connect(bootstrap)?;
        let (stop, topic) = (Arc::new(AtomicBool::new(false)), topic.to_owned());
        let stopped = stop.clone();
        let work = std::thread::spawn(move || {
            let mut rounds = Rounds {
                count: 0,
                slowest: Duration::ZERO,
            };
            while !stopped.load(Ordering::Relaxed) {
                let begun = Instant::now();
                round(&mut wire, &topic, rounds.count)
                    .with_context(|| format!("the bystander's round {}", rounds.count))?;
                rounds.slowest = rounds.slowest.max(begun.elapsed());
                rounds.count += 1;
            }
            Ok(rounds)
        });
        Ok(Self { stop, work })
    }

    /// Ends the work; an error if a round failed.
    pub fn finish(self) -> Result<Rounds> {
        self.stop.store(true, Ordering::Relaxed);
        self.work.join().expect("the bystander does not panic")
    }
}

/// Asks again, as every client does, while a log's file can't be opened for want of descriptors; the time counts.
fn taken<T>(mut ask: impl FnMut() -> Result<Result<T, ErrorCode>>) -> Result<T> {
    let begun = Instant::now();
    loop {
        match ask()? {
            Err(ErrorCode::KafkaStorageError) if begun.elapsed() < ASKED_AGAIN_FOR => {
                std::thread::sleep(ASK_AGAIN);
            }
            answer => return Ok(answer?),
        }
    }
}

fn round(wire: &mut Wire, topic: &str, number: u64) -> Result<()> {
    let value = format!("value {number}");
    let sent = batch(&[Some(value.as_bytes())], Compression::None);
    let offset = taken(|| produce_one(wire, topic, 0, sent.clone()))?;
    let fetched = taken(|| fetch_one(wire, topic, 0, offset))?;
    let (_, bytes) = batches(&fetched).next().context("nothing fetched")??;
    ensure!(
        bytes.windows(value.len()).any(|w| w == value.as_bytes()),
        "another record at offset {offset} than was produced"
    );
    Ok(())
}
