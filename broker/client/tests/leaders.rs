//! What the client does while a partition has no leader, or another than it believes: against a broker of one
//! partition in this process, which says so as often as the test wants.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use milena_client::admin::When;
use milena_client::{
    Client, ClientOptions, Consumer, ConsumerOptions, Error, Producer, ProducerOptions, Record,
    StartAt,
};
use milena_protocol::api::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};
use milena_protocol::api::fetch::{
    FetchPartitionResponse, FetchRequest, FetchResponse, FetchTopicResponse,
};
use milena_protocol::api::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use milena_protocol::api::metadata::{
    MetadataRequest, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};
use milena_protocol::api::produce::{
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use milena_protocol::header::{RequestHeader, encode_response};
use milena_protocol::{ErrorCode, Records, Request, Str};
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const TOPIC: Str = Str::from_static("t");
/// Below this the header of no API but ApiVersions has tagged fields.
const METADATA_MAX: i16 = 8;
const PRODUCE_MAX: i16 = 8;
const FETCH_MAX: i16 = 11;
const LIST_OFFSETS_MAX: i16 = 5;

/// What the broker is to say, and what it has been asked and given.
#[derive(Default)]
struct Script {
    /// Metadata is answered without a leader so many times.
    leaderless: u32,
    /// Produce, Fetch and ListOffsets are answered with NOT_LEADER_OR_FOLLOWER so many times.
    refusals: u32,
    /// ListOffsets is answered with UNKNOWN_TOPIC_OR_PARTITION so many times.
    unheard: u32,
    metadata_asked: u32,
    batches: Vec<Bytes>,
}

impl Script {
    fn refusal(&mut self) -> ErrorCode {
        if self.refusals == 0 {
            return ErrorCode::None;
        }
        self.refusals -= 1;
        ErrorCode::NotLeaderOrFollower
    }
}

#[derive(Clone)]
struct FakeBroker {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

impl FakeBroker {
    async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let broker = Self {
            address: listener.local_addr().unwrap(),
            script: Arc::new(Mutex::new(script)),
        };
        let accepting = broker.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().serve(stream));
            }
        });
        broker
    }

    fn client(&self, deadline: Duration) -> Client {
        let mut options = ClientOptions::new(&self.address.to_string());
        options.deadline = deadline;
        Client::new(options)
    }

    /// Until the client goes.
    async fn serve(self, mut stream: TcpStream) {
        while let Ok(size) = stream.read_u32().await {
            let mut frame = vec![0; size as usize];
            if stream.read_exact(&mut frame).await.is_err() {
                return;
            }
            let flexible = |key, version| key == ApiVersionsRequest::KEY && version >= 3;
            let (header, body) = RequestHeader::read(frame.into(), flexible).unwrap();
            let answer = self.answer(&header, body);
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    }

    fn answer(&self, header: &RequestHeader, body: Bytes) -> Vec<u8> {
        let (version, id) = (header.api_version, header.correlation_id);
        let mut script = self.script.lock().unwrap();
        let frame = match header.api_key {
            ApiVersionsRequest::KEY => {
                encode_response::<ApiVersionsRequest>(&versions(), version, id)
            }
            MetadataRequest::KEY => {
                encode_response::<MetadataRequest>(&self.metadata(&mut script), version, id)
            }
            ProduceRequest::KEY => {
                let request = ProduceRequest::decode(body, version).unwrap();
                encode_response::<ProduceRequest>(&produce(&mut script, request), version, id)
            }
            FetchRequest::KEY => {
                let request = FetchRequest::decode(body, version).unwrap();
                encode_response::<FetchRequest>(&fetch(&mut script, &request), version, id)
            }
            ListOffsetsRequest::KEY => {
                encode_response::<ListOffsetsRequest>(&start_offset(&mut script), version, id)
            }
            key => panic!("nobody told this broker of API {key}"),
        };
        frame.to_vec()
    }

    fn metadata(&self, script: &mut Script) -> MetadataResponse {
        script.metadata_asked += 1;
        let is_leaderless = script.leaderless > 0;
        script.leaderless = script.leaderless.saturating_sub(1);
        let (leader_id, error_code) = match is_leaderless {
            true => (-1, ErrorCode::LeaderNotAvailable),
            false => (1, ErrorCode::None),
        };
        MetadataResponse {
            brokers: vec![MetadataResponseBroker {
                node_id: 1,
                host: Str::from(self.address.ip().to_string()),
                port: self.address.port().into(),
                ..Default::default()
            }],
            topics: vec![MetadataResponseTopic {
                name: Some(TOPIC),
                partitions: vec![MetadataResponsePartition {
                    error_code,
                    leader_id,
                    replica_nodes: vec![1],
                    isr_nodes: vec![1],
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }
    }
}

fn versions() -> ApiVersionsResponse {
    let api = |api_key, min_version, max_version| ApiVersion {
        api_key,
        min_version,
        max_version,
    };
    ApiVersionsResponse {
        api_keys: vec![
            api(ProduceRequest::KEY, 3, PRODUCE_MAX),
            api(FetchRequest::KEY, 4, FETCH_MAX),
            api(ListOffsetsRequest::KEY, 1, LIST_OFFSETS_MAX),
            api(MetadataRequest::KEY, 1, METADATA_MAX),
            api(ApiVersionsRequest::KEY, 0, 3),
        ],
        ..Default::default()
    }
}

fn produce(script: &mut Script, request: ProduceRequest) -> ProduceResponse {
    let error_code = script.refusal();
    let base_offset = script.batches.len() as i64;
    if error_code == ErrorCode::None {
        let data = &request.topic_data[0].partition_data[0];
        let mut batch = data.records.as_deref().unwrap().to_vec();
        batch[..8].copy_from_slice(&base_offset.to_be_bytes());
        script.batches.push(batch.into());
    }
    ProduceResponse {
        responses: vec![TopicProduceResponse {
            name: TOPIC,
            partition_responses: vec![PartitionProduceResponse {
                error_code,
                base_offset,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Each batch holds one record here, so that an offset is a place in the list.
fn fetch(script: &mut Script, request: &FetchRequest) -> FetchResponse {
    let error_code = script.refusal();
    let wanted = request.topics.first().map(|topic| &topic.partitions[0]);
    let offset = wanted.map_or(0, |wanted| wanted.fetch_offset as usize);
    let records = match error_code {
        ErrorCode::None => script.batches.get(offset).cloned(),
        _ => None,
    };
    FetchResponse {
        responses: vec![FetchTopicResponse {
            topic: TOPIC,
            partitions: vec![FetchPartitionResponse {
                error_code,
                high_watermark: script.batches.len() as i64,
                records: records.map(Records::Bytes),
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn start_offset(script: &mut Script) -> ListOffsetsResponse {
    let error_code = match script.unheard {
        0 => script.refusal(),
        _ => ErrorCode::UnknownTopicOrPartition,
    };
    script.unheard = script.unheard.saturating_sub(1);
    ListOffsetsResponse {
        topics: vec![ListOffsetsTopicResponse {
            name: TOPIC,
            partitions: vec![ListOffsetsPartitionResponse {
                error_code,
                offset: 0,
                ..Default::default()
            }],
        }],
        ..Default::default()
    }
}

/// Without an id, which this broker does not give.
fn options() -> ProducerOptions {
    ProducerOptions {
        idempotent: false,
        ..Default::default()
    }
}

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_record_waits_until_its_partition_has_a_leader() {
    let leaderless = 5;
    let broker = FakeBroker::start(Script {
        leaderless,
        ..Script::default()
    })
    .await;
    let producer = Producer::start(broker.client(PATIENCE), options())
        .await
        .unwrap();
    let sent = producer.send(Record::new("t").value("v")).await.unwrap();
    assert_eq!(sent.placed().await.unwrap().offset, 0);
    let script = broker.script.lock().unwrap();
    assert!(script.metadata_asked > leaderless);
    assert_eq!(script.batches.len(), 1);
}

#[tokio::test]
async fn a_leader_that_moved_is_looked_up_again_and_nothing_is_lost_or_stored_twice() {
    let broker = FakeBroker::start(Script {
        refusals: 3,
        ..Script::default()
    })
    .await;
    let client = broker.client(PATIENCE);
    let producer = Producer::start(client.clone(), options()).await.unwrap();
    for offset in 0..3 {
        let record = Record::new("t").value(format!("v{offset}"));
        let sent = producer.send(record).await.unwrap();
        assert_eq!(sent.placed().await.unwrap().offset, offset);
    }
    assert_eq!(broker.script.lock().unwrap().batches.len(), 3);
    broker.script.lock().unwrap().refusals = 3;
    let mut consumer = Consumer::new(client, ConsumerOptions::default());
    let partitions = [("t".to_owned(), 0)];
    consumer
        .start(&partitions, StartAt::When(When::Start))
        .await
        .unwrap();
    // The refusals met the lookup of the start. Now the leader moves while it is fetched from.
    {
        let mut script = broker.script.lock().unwrap();
        assert_eq!(script.refusals, 0);
        (script.refusals, script.leaderless) = (2, 2);
    }
    let mut values = Vec::new();
    while values.len() < 3 {
        let polled = tokio::time::timeout(PATIENCE, consumer.poll()).await;
        for fetched in polled.expect("no record in time").unwrap() {
            let records = fetched.records().unwrap();
            values.extend(records.into_iter().filter_map(|record| record.value));
        }
    }
    assert_eq!(values, ["v0", "v1", "v2"]);
}

#[tokio::test]
async fn a_leader_that_has_not_heard_of_its_partition_yet_is_asked_again() {
    let broker = FakeBroker::start(Script {
        unheard: 3,
        ..Script::default()
    })
    .await;
    let partition = ("t".to_owned(), 0);
    let asked = broker.client(PATIENCE);
    let found = asked.offsets(std::slice::from_ref(&partition), When::Start);
    assert_eq!(found.await.unwrap()[&partition], 0);
}

#[tokio::test]
async fn a_partition_that_gets_no_leader_is_given_up_within_the_deadline() {
    let broker = FakeBroker::start(Script {
        leaderless: u32::MAX,
        ..Script::default()
    })
    .await;
    let deadline = Duration::from_millis(300);
    let begun = Instant::now();
    let found = broker
        .client(deadline)
        .offsets(&[("t".to_owned(), 0)], When::End)
        .await;
    assert!(matches!(found, Err(Error::Deadline { .. })), "{found:?}");
    let delivery_timeout = deadline;
    let producer = ProducerOptions {
        delivery_timeout,
        ..options()
    };
    let producer = Producer::start(broker.client(deadline), producer)
        .await
        .unwrap();
    let failed = match producer.send(Record::new("t").value("v")).await {
        Ok(sent) => sent.placed().await.map(drop),
        Err(error) => Err(error),
    };
    assert!(failed.is_err());
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
}
