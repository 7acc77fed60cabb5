//! Clients that leave while the broker works for them: their connections end, and what they had asked for stands.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use milena_log::faults::{Fault, inject};
use milena_metadata::{BrokerId, DirectoryId, Partition as State, Replica};
use milena_protocol::api::fetch::{FetchPartition, FetchRequest, FetchTopic};
use milena_protocol::api::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use milena_protocol::api::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use milena_protocol::api::sync_group::SyncGroupRequest;
use milena_protocol::header::{decode_response, encode_request};
use milena_protocol::records::{BatchBuilder, BatchOptions};
use milena_protocol::{ErrorCode, Records, Str};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::api::join_group;
use crate::broker::tests::beside::batch;
use crate::broker::tests::{append_batch, broker, context, create_with};
use crate::config::Sources;
use crate::group::host::GroupHost;
use crate::server::assemble_alone;

/// What the requests here may wait for others ...
const WAIT_MS: i32 = 60_000;
/// ... and sessions last ...
const SESSION_MS: i32 = 30_000;
/// ... but a connection's end does not.
const SOON: Duration = Duration::from_secs(20);
const PRODUCE_VERSION: i16 = 9;
const GROUP_VERSION: i16 = 3;
const GROUP: &str = "kitchen";

/// A client's end of a connection, and the broker's.
struct Conversation {
    client: TcpStream,
    served: JoinHandle<Result<(), ConnectionError>>,
}

impl Conversation {
    async fn begin(broker: &Arc<Broker>) -> Self {
        Self::begin_over(broker, None).await
    }

    /// Over sockets that hold so many bytes, where it is said.
    async fn begin_over(broker: &Arc<Broker>, buffer_size: Option<u32>) -> Self {
        let (listening, client) = (TcpSocket::new_v4().unwrap(), TcpSocket::new_v4().unwrap());
        if let Some(size) = buffer_size {
            listening.set_send_buffer_size(size).unwrap();
            client.set_recv_buffer_size(size).unwrap();
        }
        listening.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let listener = listening.listen(1).unwrap();
        let client = client.connect(listener.local_addr().unwrap());
        let client = client.await.unwrap();
        let (stream, address) = listener.accept().await.unwrap();
        let (in_flight, in_flight_max) = broker.in_flight();
        let call = Call {
            address,
            listener: "PLAINTEXT".into(),
        };
        let connection = Connection::new(
            stream,
            broker.clone(),
            call,
            FrameReader::new(1 << 20, in_flight, in_flight_max),
            CancellationToken::new(),
        );
        let served = tokio::spawn(connection.run());
        Self { client, served }
    }

    async fn send<R: milena_protocol::Request>(&mut self, request: &R, version: i16) {
        let frame = encode_request(request, version, 7, None).to_vec();
        self.client.write_all(&frame).await.unwrap();
    }

    /// The next answer to a Produce, with its correlation id.
    async fn receive(&mut self) -> (i32, ProduceResponse) {
        let length = self.client.read_u32().await.unwrap();
        let mut frame = vec![0; length as usize];
        self.client.read_exact(&mut frame).await.unwrap();
        decode_response::<ProduceRequest>(frame.into(), PRODUCE_VERSION).unwrap()
    }

    /// Closes the client's end; how the broker's has ended.
    async fn leave(self) -> Result<(), ConnectionError> {
        drop(self.client);
        let served = tokio::time::timeout(SOON, self.served).await;
        served.expect("the connection has ended").unwrap()
    }
}

/// With acks=all, of one record.
fn produce() -> ProduceRequest {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(1, None, Some(b"value"), &[]).unwrap();
    ProduceRequest {
        acks: -1,
        timeout_ms: WAIT_MS,
        topic_data: vec![TopicProduceData {
            name: Str::from("t"),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(builder.finish().unwrap()),
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Puts a replica into the in-sync set of `t` that never fetches.
async fn follow_by_nobody(broker: &Broker) {
    let (id, directory) = (BrokerId::new(101).unwrap(), DirectoryId::UNASSIGNED);
    let mut state = State::clone(broker.image().partition("t", 0).unwrap());
    state.replicas.push(Replica {
        broker: id,
        directory,
    });
    state.isr.push(id);
    state.leader_epoch += 1;
    state.partition_epoch += 1;
    let me = BrokerId::new(broker.node_id()).unwrap();
    let partition = broker.partitions().partition("t", 0).unwrap();
    partition.apply(me, &state).await;
}

/// Waits until so many records are in the log.
async fn stored(broker: &Broker, count: i64) {
    let partition = broker.partitions().partition("t", 0).unwrap();
    let all = async {
        while partition.reader().log_end_offset() < count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, all).await.expect("stored");
}

#[tokio::test]
async fn producers_that_leave_are_not_waited_for_and_their_records_are_stored() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    create_with(&broker, "t", 1).await;
    follow_by_nobody(&broker).await;
    let mut one = Conversation::begin(&broker).await;
    one.send(&produce(), PRODUCE_VERSION).await;
    stored(&broker, 1).await;
    assert!(!one.served.is_finished(), "it waits for the other replica");
    one.leave().await.unwrap();

    // So many that the socket is not read any more.
    let mut full = Conversation::begin(&broker).await;
    for _ in 0..=PENDING_MAX {
        full.send(&produce(), PRODUCE_VERSION).await;
    }
    stored(&broker, 1 + PENDING_MAX as i64).await;
    assert!(full.leave().await.is_err_and(|error| error.is_disconnect()));
}

#[tokio::test]
async fn who_says_that_it_sends_no_more_still_gets_its_answers() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    create_with(&broker, "t", 1).await;
    let mut conversation = Conversation::begin(&broker).await;
    for _ in 0..3 {
        conversation.send(&produce(), PRODUCE_VERSION).await;
    }
    conversation.client.shutdown().await.unwrap();
    let mut answers = Vec::new();
    let reading = conversation.client.read_to_end(&mut answers);
    tokio::time::timeout(SOON, reading).await.unwrap().unwrap();
    let mut count = 0;
    let mut rest = &answers[..];
    while let Some((length, after)) = rest.split_first_chunk() {
        rest = &after[u32::from_be_bytes(*length) as usize..];
        count += 1;
    }
    assert_eq!(count, 3);
    conversation.leave().await.unwrap();
}

#[tokio::test]
async fn a_connection_takes_no_more_than_its_bound_while_they_wait_and_answers_all_in_order() {
    const REQUESTS: i32 = PENDING_MAX as i32 + 20;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display().to_string();
    let set = [
        ("log.dirs", path.as_str()),
        ("log.flush.interval.messages", "1"),
    ];
    let broker = assemble_alone(Sources::of(&set).load().unwrap().0).await;
    create_with(&broker, "t", 1).await;
    let segment = dir.path().join("t-0/00000000000000000000.log");
    let stall = inject(&segment.display().to_string(), Fault::StallSyncs);
    let mut conversation = Conversation::begin(&broker).await;
    for id in 0..REQUESTS {
        let frame = encode_request(&produce(), PRODUCE_VERSION, id, None).to_vec();
        conversation.client.write_all(&frame).await.unwrap();
    }
    stored(&broker, PENDING_MAX as i64).await;
    // Had it a place for one more, nothing would keep it from taking that.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    let partition = broker.partitions().partition("t", 0).unwrap();
    assert_eq!(partition.reader().log_end_offset(), PENDING_MAX as i64);
    drop(stall);
    for id in 0..REQUESTS {
        let answer = tokio::time::timeout(SOON, conversation.receive());
        let (answered, response) = answer.await.expect("an answer");
        let result = &response.responses[0].partition_responses[0];
        let found = (answered, result.error_code, result.base_offset);
        assert_eq!(found, (id, ErrorCode::None, i64::from(id)));
    }
    conversation.leave().await.unwrap();
}

const IDLE_MAX: Duration = Duration::from_secs(10);
/// Much less than a record, of which a client asks for many.
const BUFFER_SIZE: u32 = 64 << 10;
const RECORD_SIZE: usize = 1 << 20;
const RECORDS: usize = 6;
/// Verbatim, so that the log's own bytes are sent.
const FETCH_VERSION: i16 = 12;

/// A broker with much to read, which ends connections after [`IDLE_MAX`]; and one that has asked for all of it.
async fn reading(dir: &std::path::Path) -> (Arc<Broker>, Conversation) {
    let path = dir.display().to_string();
    let idle_max = IDLE_MAX.as_millis().to_string();
    let set = [
        ("log.dirs", path.as_str()),
        ("connections.max.idle.ms", idle_max.as_str()),
        ("message.max.bytes", "2000000"),
    ];
    let broker = assemble_alone(Sources::of(&set).load().unwrap().0).await;
    create_with(&broker, "t", 1).await;
    for _ in 0..RECORDS {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder
            .push(broker.now_ms(), None, Some(&[7; RECORD_SIZE]), &[])
            .unwrap();
        append_batch(&broker, builder).await;
    }
    let mut conversation = Conversation::begin_over(&broker, Some(BUFFER_SIZE)).await;
    let fetch = FetchRequest {
        min_bytes: 1,
        max_bytes: i32::MAX,
        topics: vec![FetchTopic {
            topic: Str::from("t"),
            partitions: vec![FetchPartition {
                current_leader_epoch: -1,
                partition_max_bytes: i32::MAX,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    conversation.send(&fetch, FETCH_VERSION).await;
    (broker, conversation)
}

/// Asks for what both partitions of `t` have from offset 1 on; none where the connection ends instead.
async fn fetched_from_both(broker: &Arc<Broker>) -> Option<Vec<(ErrorCode, usize)>> {
    let partition = |partition| FetchPartition {
        partition,
        current_leader_epoch: -1,
        fetch_offset: 1,
        partition_max_bytes: i32::MAX,
        ..Default::default()
    };
    let fetch = FetchRequest {
        min_bytes: 1,
        max_bytes: i32::MAX,
        topics: vec![FetchTopic {
            topic: Str::from("t"),
            partitions: [0, 1].map(partition).to_vec(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut conversation = Conversation::begin(broker).await;
    conversation.send(&fetch, FETCH_VERSION).await;
    let length = conversation.client.read_u32().await.ok()?;
    let mut frame = vec![0; length as usize];
    conversation.client.read_exact(&mut frame).await.ok()?;
    let (_, answer) = decode_response::<FetchRequest>(frame.into(), FETCH_VERSION).unwrap();
    let bytes = |records: &Option<Records>| match records {
        Some(Records::Bytes(bytes)) => bytes.len(),
        _ => 0,
    };
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
    Some(
        partitions
            .map(|p| (p.error_code, bytes(&p.records)))
            .collect(),
    )
}

#[tokio::test]
async fn a_partition_whose_disk_can_not_be_read_costs_a_connection_once_and_is_offline() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    create_with(&broker, "t", 2).await;
    let partition = |index| broker.partitions().partition("t", index).unwrap();
    for index in [0, 1] {
        for _ in 0..2 {
            let appending = partition(index);
            appending.append(batch(0, 0), 1, 1).await.unwrap();
        }
    }
    let bad = partition(0).reader().folder().display().to_string();
    let _fault = inject(&bad, Fault::FailReads);
    assert_eq!(fetched_from_both(&broker).await, None);
    let size = batch(0, 0)[0].body.len();
    let found = vec![(ErrorCode::KafkaStorageError, 0), (ErrorCode::None, size)];
    assert_eq!(fetched_from_both(&broker).await, Some(found));
    let is_offline = [0, 1].map(|index| partition(index).reader().check_writable().is_err());
    assert_eq!(is_offline, [true, false]);
}

/// Has the clock stand still but for [`tokio::time::advance`], until the sender is dropped.
fn stop_the_clock() -> std::sync::mpsc::Sender<()> {
    tokio::time::pause();
    let (going_on, stopped) = std::sync::mpsc::channel();
    // While such a thread runs, the clock does not move by itself.
    tokio::task::spawn_blocking(move || stopped.recv());
    going_on
}

#[tokio::test]
async fn a_slow_reader_gets_all_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (_broker, mut conversation) = reading(dir.path()).await;
    let length = conversation.client.read_u32().await.unwrap() as usize;
    assert!(length > RECORDS * RECORD_SIZE, "{length} bytes");
    let _stopped = stop_the_clock();
    let mut part = vec![0; RECORD_SIZE];
    for _ in 0..RECORDS {
        tokio::time::advance(IDLE_MAX * 9 / 10).await;
        // More than both sockets hold, so that the broker has sent some of it meanwhile.
        conversation.client.read_exact(&mut part).await.unwrap();
    }
    let rest = &mut part[..length - RECORDS * RECORD_SIZE];
    conversation.client.read_exact(rest).await.unwrap();
    conversation.leave().await.unwrap();
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let (_broker, mut conversation) = reading(dir.path()).await;
    // The answer is on its way.
    conversation.client.read_u32().await.unwrap();
    let _stopped = stop_the_clock();
    let deadline = std::time::Instant::now() + SOON;
    while !conversation.served.is_finished() {
        assert!(std::time::Instant::now() < deadline, "it is still served");
        tokio::time::advance(IDLE_MAX / 10).await;
    }
    let ended = conversation.served.await.unwrap();
    assert!(matches!(ended, Err(ConnectionError::Idle(_))), "{ended:?}");
}

fn join(member_id: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: Str::from(GROUP),
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: WAIT_MS,
        member_id: Str::from(member_id),
        protocol_type: Str::from("consumer"),
        protocols: vec![JoinGroupRequestProtocol {
            name: Str::from("range"),
            metadata: Bytes::new(),
        }],
        ..Default::default()
    }
}

/// A member that has no connection here.
async fn joined(broker: &Broker, member_id: &str) -> JoinGroupResponse {
    let context = context(GROUP_VERSION);
    let joining = join_group::handle(broker, &context, join(member_id));
    let answer = tokio::time::timeout(SOON, joining).await.expect("joined");
    assert!(answer.error_code.is_none(), "{:?}", answer.error_code);
    answer
}

async fn members(broker: &Broker) -> usize {
    let described = broker.groups().describe(GROUP.to_owned()).await.unwrap();
    described.map_or(0, |group| group.members.len())
}

#[tokio::test]
async fn members_that_leave_while_their_group_rebalances_free_their_connections_and_stay_members() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    broker.ensure_offsets_topic().await.unwrap();
    let staying = joined(&broker, "").await;

    // Its join waits until the other joins again.
    let mut joining = Conversation::begin(&broker).await;
    joining.send(&join(""), GROUP_VERSION).await;
    while members(&broker).await < 2 {
        tokio::task::yield_now().await;
    }
    assert!(!joining.served.is_finished());
    let ended = joining.leave().await;
    assert!(matches!(ended, Err(ConnectionError::Left)), "{ended:?}");
    let leader = joined(&broker, &staying.member_id).await;
    assert_eq!(
        leader.members.len(),
        2,
        "it is a member until its session ends"
    );

    // Its sync waits until the leader has brought the assignments.
    let gone = leader
        .members
        .iter()
        .find(|member| member.member_id != leader.member_id)
        .unwrap();
    let mut syncing = Conversation::begin(&broker).await;
    let sync = SyncGroupRequest {
        group_id: Str::from(GROUP),
        generation_id: leader.generation_id,
        member_id: gone.member_id.clone(),
        ..Default::default()
    };
    syncing.send(&sync, GROUP_VERSION).await;
    let ended = syncing.leave().await;
    assert!(matches!(ended, Err(ConnectionError::Left)), "{ended:?}");
    assert_eq!(members(&broker).await, 2);
}
