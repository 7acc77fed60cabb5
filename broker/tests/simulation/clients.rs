//! Producers and readers, which note in the ledger what they were told.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use milena_client::{Connection, ConnectionOptions};
use milena_protocol::api::fetch::{FetchPartition, FetchRequest, FetchTopic};
use milena_protocol::api::init_producer_id::InitProducerIdRequest;
use milena_protocol::api::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use milena_protocol::api::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use milena_protocol::api::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use milena_protocol::records::{BatchBuilder, BatchOptions, OpenBatch, batches};
use milena_protocol::{ErrorCode, Records, Request, Str};
use rand::Rng;
use rand::rngs::StdRng;
use tokio::time::sleep;

use super::cluster::{self, CLIENTS_PORT};
use super::ledger::{At, Place, Shared};

/// The client's patience; a broker that is cut off is left after it.
const REQUEST_WITHIN: Duration = Duration::from_secs(4);
const CONNECT_WITHIN: Duration = Duration::from_millis(800);
/// How long a leader may wait for its followers before it says that it gave up.
const TIMEOUT_MS: std::ops::Range<i32> = 300..2_500;
const RECORDS_MAX: u32 = 4;
const BATCH_BYTES_MAX: usize = 1 << 20;

/// A client's connections, and whom it believes to lead.
pub struct Client {
    pub rng: StdRng,
    brokers: i32,
    connections: BTreeMap<i32, Connection>,
    leaders: BTreeMap<Place, i32>,
    /// The newest leader epoch that it was told of or has read records of: an older leader is not believed.
    epochs: BTreeMap<Place, i32>,
}

impl Client {
    pub fn new(rng: StdRng, brokers: i32) -> Self {
        Self {
            rng,
            brokers,
            connections: BTreeMap::new(),
            leaders: BTreeMap::new(),
            epochs: BTreeMap::new(),
        }
    }

    pub fn any_broker(&mut self) -> i32 {
        self.rng.random_range(1..=self.brokers)
    }

    async fn connection(&mut self, broker: i32) -> Result<Connection, String> {
        if let Some(open) = self
            .connections
            .get(&broker)
            .filter(|open| !open.is_closed())
        {
            return Ok(open.clone());
        }
        let options = ConnectionOptions {
            connect_timeout: CONNECT_WITHIN,
            request_timeout: REQUEST_WITHIN,
            ..ConnectionOptions::default()
        };
        let address = format!("{}:{CLIENTS_PORT}", cluster::name(broker));
        let open = Connection::open(&address, &options).await;
        let open = open.map_err(|error| error.to_string())?;
        self.connections.insert(broker, open.clone());
        Ok(open)
    }

    /// Asks a broker in the newest version up to `newest`.
    pub async fn ask<R: Request>(
        &mut self,
        broker: i32,
        request: &R,
        newest: i16,
    ) -> Result<R::Response, String> {
        let connection = self.connection(broker).await?;
        let version = connection
            .version_up_to::<R>(newest)
            .map_err(|error| error.to_string())?;
        let answer = async { connection.send(request, version).await?.receive().await };
        let answer = answer.await.map_err(|error| error.to_string());
        if answer.is_err() {
            self.connections.remove(&broker);
        }
        answer
    }

    pub async fn metadata(
        &mut self,
        broker: i32,
        topics: &[&'static str],
    ) -> Result<MetadataResponse, String> {
        let topics = topics.iter().map(|name| MetadataRequestTopic {
            name: Some(Str::from(*name)),
            ..MetadataRequestTopic::default()
        });
        let request = MetadataRequest {
            topics: Some(topics.collect()),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        self.ask(broker, &request, 12).await
    }

    /// Who leads, as far as this client knows or is told by some broker.
    pub async fn leader(&mut self, place: Place) -> Option<i32> {
        if let Some(leader) = self.leaders.get(&place) {
            return Some(*leader);
        }
        let broker = self.any_broker();
        let answer = self.metadata(broker, &[place.0]).await.ok()?;
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let (leader, epoch) = partitions
            .filter(|partition| partition.partition_index == place.1)
            .map(|partition| (partition.leader_id, partition.leader_epoch))
            .find(|(leader, _)| *leader > 0)?;
        if epoch < self.epoch(place) {
            return None;
        }
        self.learn(place, epoch);
        self.leaders.insert(place, leader);
        Some(leader)
    }

    fn epoch(&self, place: Place) -> i32 {
        self.epochs.get(&place).copied().unwrap_or(-1)
    }

    fn learn(&mut self, place: Place, epoch: i32) {
        let known = self.epochs.entry(place).or_insert(-1);
        *known = epoch.max(*known);
    }

    pub async fn back_off(&mut self, place: Place) {
        self.leaders.remove(&place);
        let pause = self.rng.random_range(10..100);
        sleep(Duration::from_millis(pause)).await;
    }
}

/// Sends batches one after the other until the ledger's owner says that it is enough.
pub async fn produce(
    mut client: Client,
    name: u32,
    place: Place,
    acks: i16,
    ledger: Shared,
    is_over: impl Fn() -> bool,
) {
    let mut number = 0;
    while !is_over() {
        let Some((id, epoch)) = producer_id(&mut client).await else {
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let mut sequence = 0;
        while !is_over() {
            let count = client.rng.random_range(1..=RECORDS_MAX);
            let values: Vec<String> = (0..count)
                .map(|at| format!("p{name}-{place:?}-{}", number + at))
                .collect();
            number += count;
            ledger.borrow_mut().sent += u64::from(count);
            let batch = batch(&values, id, epoch, sequence);
            let committed = ledger.borrow().reached(place);
            match deliver(&mut client, place, batch, acks, &is_over).await {
                // What only the leader has may be lost with it.
                Some(_) if acks != -1 => {}
                Some(offset) => {
                    let mut ledger = ledger.borrow_mut();
                    ledger.begins(place, offset.max(0));
                    for (at, value) in values.iter().enumerate() {
                        let at = match offset {
                            ..0 => At::From(committed),
                            _ => At::Offset(offset + at as i64),
                        };
                        ledger.acked(place, at, value);
                    }
                }
                // Whether it was taken is not known; what follows needs another id.
                None => break,
            }
            sequence += i32::try_from(count).unwrap_or(0);
            let pause = client.rng.random_range(0..60);
            sleep(Duration::from_millis(pause)).await;
        }
    }
}

async fn producer_id(client: &mut Client) -> Option<(i64, i16)> {
    let broker = client.any_broker();
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: 60_000,
        ..InitProducerIdRequest::default()
    };
    let answer = client.ask(broker, &request, 4).await.ok()?;
    answer
        .error_code
        .is_none()
        .then_some((answer.producer_id, answer.producer_epoch))
}

fn batch(values: &[String], producer_id: i64, producer_epoch: i16, base_sequence: i32) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions {
        producer_id,
        producer_epoch,
        base_sequence,
        ..BatchOptions::default()
    });
    let now_ms = milena_simulation::clock::now_ms();
    for value in values {
        builder
            .push(now_ms, None, Some(value.as_bytes()), &[])
            .expect("a small record");
    }
    builder.finish().expect("a small batch")
}

/// Sends until it is acknowledged; the first offset, or -1 where that is not told. `None` where it is given up.
async fn deliver(
    client: &mut Client,
    place: Place,
    batch: Bytes,
    acks: i16,
    is_over: &impl Fn() -> bool,
) -> Option<i64> {
    let mut last_tries = 50;
    let request = ProduceRequest {
        transactional_id: None,
        acks,
        timeout_ms: client.rng.random_range(TIMEOUT_MS),
        topic_data: vec![TopicProduceData {
            name: Str::from(place.0),
            partition_data: vec![PartitionProduceData {
                index: place.1,
                records: Some(batch),
            }],
            ..TopicProduceData::default()
        }],
    };
    loop {
        if is_over() {
            last_tries -= 1;
            if last_tries == 0 {
                return None;
            }
        }
        let answer = match client.leader(place).await {
            Some(leader) => client.ask(leader, &request, 9).await,
            None => Err("nobody leads".into()),
        };
        let result = answer.ok().and_then(|answer| {
            let topic = answer.responses.into_iter().next()?;
            topic.partition_responses.into_iter().next()
        });
        match result.map(|result| (result.error_code, result.base_offset)) {
            Some((ErrorCode::None, offset)) => return Some(offset),
            Some((ErrorCode::DuplicateSequenceNumber, _)) => return Some(-1),
            Some((
                ErrorCode::OutOfOrderSequenceNumber
                | ErrorCode::UnknownProducerId
                | ErrorCode::InvalidProducerEpoch,
                _,
            )) => return None,
            _ => client.back_off(place).await,
        }
    }
}

/// Reads a partition from its begin on, again and again from somewhere, until it is over.
pub async fn read(mut client: Client, place: Place, ledger: Shared, is_over: impl Fn() -> bool) {
    let (mut next, mut reached) = (0, 0);
    while !is_over() {
        match fetch(&mut client, place, next).await {
            Ok(records) => {
                let mut ledger = ledger.borrow_mut();
                for (offset, value) in records {
                    if offset > next && next >= ledger.start(place) {
                        ledger.wrong(format!(
                            "{place:?}: {next} was skipped, after it came {offset}"
                        ));
                    }
                    ledger.seen(place, offset, &value);
                    next = offset + 1;
                }
                reached = next.max(reached);
            }
            Err(ErrorCode::OffsetOutOfRange) => {
                let start = ledger.borrow().start(place);
                if next >= start {
                    let what = format!(
                        "{place:?}: a reader that has reached {reached} was told that {next} is out of range"
                    );
                    ledger.borrow_mut().wrong(what);
                }
                next = start;
                client.back_off(place).await;
            }
            Err(_) => client.back_off(place).await,
        }
        if client.rng.random_ratio(1, 60) {
            let start = ledger.borrow().start(place);
            next = client.rng.random_range(start..=reached.max(start));
        }
        if client.rng.random_ratio(1, 20) {
            check_latest(&mut client, place, reached, &ledger).await;
        }
    }
}

/// The latest offset is never told to be one that a reader is beyond: it would be reset.
async fn check_latest(client: &mut Client, place: Place, reached: i64, ledger: &Shared) {
    let Some(leader) = client.leader(place).await else {
        return;
    };
    let found = offset_at(client, leader, place, -1).await;
    if let Some(found) = found.filter(|found| *found < reached) {
        let what = format!(
            "{place:?}: broker {leader} says that the latest offset is {found}, where a reader has reached {reached}"
        );
        ledger.borrow_mut().wrong(what);
    }
}

/// The records from `offset` on that one fetch brings.
pub async fn fetch(
    client: &mut Client,
    place: Place,
    offset: i64,
) -> Result<Vec<(i64, String)>, ErrorCode> {
    let leader = client
        .leader(place)
        .await
        .ok_or(ErrorCode::LeaderNotAvailable)?;
    let request = FetchRequest {
        max_wait_ms: 200,
        min_bytes: 1,
        topics: vec![FetchTopic {
            topic: Str::from(place.0),
            partitions: vec![FetchPartition {
                partition: place.1,
                fetch_offset: offset,
                current_leader_epoch: client.epoch(place),
                partition_max_bytes: 8 << 10,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    let answer = client.ask(leader, &request, 12).await;
    let answer = answer.map_err(|_| ErrorCode::NetworkException)?;
    let mut partitions = answer
        .responses
        .into_iter()
        .flat_map(|topic| topic.partitions);
    let partition = partitions.next().ok_or(ErrorCode::UnknownServerError)?;
    if !partition.error_code.is_none() {
        return Err(partition.error_code);
    }
    match partition.records {
        Some(Records::Bytes(bytes)) => {
            let (found, epoch) = values(&bytes, offset);
            client.learn(place, epoch);
            Ok(found)
        }
        _ => Ok(Vec::new()),
    }
}

/// The records from an offset on, and the newest leader epoch of their batches.
fn values(bytes: &Bytes, from: i64) -> (Vec<(i64, String)>, i32) {
    let (mut found, mut epoch) = (Vec::new(), -1);
    // A last batch may be cut short.
    for (header, batch) in batches(bytes).map_while(Result::ok) {
        header.check_crc(&batch).expect("a batch's checksum");
        epoch = header.partition_leader_epoch.max(epoch);
        let open = OpenBatch::open(header, &batch, BATCH_BYTES_MAX).expect("a whole batch");
        for record in open.iter() {
            let record = record.expect("a record");
            let value = record.value.unwrap_or_default();
            if record.offset >= from {
                found.push((record.offset, String::from_utf8_lossy(&value).into_owned()));
            }
        }
    }
    (found, epoch)
}

/// All that the partition holds below its latest offset; `None` where that can't be had now.
pub async fn read_all(
    client: &mut Client,
    place: Place,
    from: i64,
) -> Option<BTreeMap<i64, String>> {
    let leader = client.leader(place).await?;
    let (start, end) = (
        offset_at(client, leader, place, -2).await?,
        offset_at(client, leader, place, -1).await?,
    );
    let mut held = BTreeMap::new();
    let mut next = start.max(from);
    while next < end {
        let records = fetch(client, place, next).await.ok()?;
        next = records.last()?.0 + 1;
        held.extend(records);
    }
    Some(held)
}

async fn offset_at(client: &mut Client, leader: i32, place: Place, timestamp: i64) -> Option<i64> {
    let request = list_offsets(place, client.epoch(place), timestamp);
    let answer = client.ask(leader, &request, 7).await.ok()?;
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    let mut found = partitions.filter(|partition| partition.error_code.is_none());
    found.next().map(|partition| partition.offset)
}

fn list_offsets(place: Place, epoch: i32, timestamp: i64) -> ListOffsetsRequest {
    ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: Str::from(place.0),
            partitions: vec![ListOffsetsPartition {
                partition_index: place.1,
                current_leader_epoch: epoch,
                timestamp,
                ..ListOffsetsPartition::default()
            }],
        }],
        ..ListOffsetsRequest::default()
    }
}
