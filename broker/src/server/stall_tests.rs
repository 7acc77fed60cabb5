//! What a stalled disk holds up: the appends to it, and nothing else.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Instant;

use milena_log::faults::{Fault, inject};
use milena_metadata::{
    ConfigChange, ConfigOperation, ConfigResource, CreateTopics, DeleteTopics,
    IncrementalAlterConfigs, NewTopic, TopicId, TopicReference,
};
use milena_protocol::api::fetch::FetchRequest;
use milena_protocol::api::list_offsets::ListOffsetsRequest;
use milena_protocol::api::metadata::MetadataRequest;
use milena_protocol::api::offset_commit::OffsetCommitRequest;
use milena_protocol::api::offset_fetch::OffsetFetchRequest;
use milena_protocol::api::produce::ProduceRequest;
use milena_protocol::header::{decode_response, encode_request};
use milena_protocol::{ErrorCode, Request};

use super::*;
use crate::config::Sources;
use crate::group::host::GroupHost;
use requests::{commit, epoch_end, fetch, list_offsets, offset_of, produce};

mod lookups;
pub(super) mod requests;

/// How long a write is stalled.
pub(super) const STALL: Duration = Duration::from_secs(2);
/// What others may notice of it: well below the stall, and far above what they need on a busy machine.
const NOTICED_MAX: Duration = Duration::from_secs(1);
const PRODUCERS: usize = 64;
pub(super) const PRODUCE_VERSION: i16 = 9;
pub(super) const FETCH_VERSION: i16 = 12;
pub(super) const LIST_OFFSETS_VERSION: i16 = 5;
pub(super) const EPOCH_END_VERSION: i16 = 2;
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
pub(super) const TIMEOUT_MS: i32 = 30_000;

/// A broker in this process, on the runtimes that a real one has.
pub(super) struct Running {
    pub(super) broker: Arc<Broker>,
    address: SocketAddr,
    http: http::Http,
    pub(super) data: Runtime,
    _control: Runtime,
}

impl Running {
    fn start(dir: &Path) -> Self {
        Self::start_on(&[dir], &[])
    }

    /// One with several data directories, and further settings.
    pub(super) fn start_on(dirs: &[&Path], more: &[(&str, &str)]) -> Self {
        let data = runtime("data", workers(), dirs.len()).unwrap();
        let dirs: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
        let dirs = dirs.join(",");
        let set = [
            ("log.dirs", dirs.as_str()),
            ("http.listener", "127.0.0.1:0"),
            ("listeners", "PLAINTEXT://127.0.0.1:0"),
            ("offsets.topic.num.partitions", "1"),
        ];
        let set = [&set, more].concat();
        let config = Arc::new(Sources::of(&set).load().unwrap().0);
        let control = runtime("control", 1, 1).unwrap();
        let (broker, address, http) = data.block_on(async {
            let stopping = CancellationToken::new();
            let listeners = listen::bind_all(&config).unwrap();
            let address = listeners[0].address;
            let http = http::start(&config, control.handle(), &stopping).unwrap();
            let locked = LockedData::lock(&config).unwrap();
            let opening = Opening {
                start_wait: crate::quorum::StartWait::default(),
                config: &config,
                control: control.handle().clone(),
                peers: None,
            };
            let endpoints = life::endpoints(&listeners);
            let broker = assemble(opening, locked, endpoints, None).await.unwrap();
            control.spawn(pulse::beat(Handle::current(), broker.partitions().clone()));
            accept_all(listeners, &broker, &stopping, &TaskTracker::new());
            http.show(broker.clone());
            http.readiness().latch();
            broker.ensure_offsets_topic().await.unwrap();
            (broker, address, http)
        });
        Self {
            broker,
            address,
            http,
            data,
            _control: control,
        }
    }

    pub(super) fn create(&self, name: &str, partitions: i32) {
        let topic = NewTopic {
            name: name.to_owned(),
            id: TopicId::random(),
            partitions,
            replication_factor: 1,
            assignments: Vec::new(),
            configs: Vec::new(),
        };
        let command = CreateTopics {
            topics: vec![topic],
            default_partitions: 1,
            default_replication_factor: 1,
            validate_only: false,
        };
        let outcomes = self.change(command);
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    }

    /// As a client's request is decided and taken over.
    fn change<C: milena_metadata::Request>(&self, command: C) -> C::Outcome {
        self.data.block_on(self.broker.change(command)).unwrap()
    }

    pub(super) fn connect(&self) -> Wire {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(STALL * 10)).unwrap();
        Wire(stream)
    }

    pub(super) fn http_get(&self, path: &str) {
        let mut stream = TcpStream::connect(self.http.address.unwrap()).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }

    /// Waits until an append is held by the disk.
    pub(super) fn until_stalled(&self, appends: usize) {
        let partitions = self.broker.partitions();
        until("an append has come", || {
            partitions.appends_under_way() >= appends
        });
    }
}

pub(super) struct Wire(TcpStream);

impl Wire {
    pub(super) fn send<R: Request>(&mut self, request: &R, version: i16) {
        let frame = encode_request(request, version, 7, Some("test")).to_vec();
        self.0.write_all(&frame).unwrap();
    }

    pub(super) fn receive<R: Request>(&mut self, version: i16) -> R::Response {
        self.receive_unless_closed::<R>(version).unwrap()
    }

    /// The answer, or how the connection has ended.
    pub(super) fn receive_unless_closed<R: Request>(
        &mut self,
        version: i16,
    ) -> std::io::Result<R::Response> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut frame)?;
        Ok(decode_response::<R>(frame.into(), version).unwrap().1)
    }

    pub(super) fn ask<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        self.send(request, version);
        self.receive::<R>(version)
    }
}

/// Requests that need no append, also of a topic whose appends are stalled; each on time.
fn others_are_answered(running: &Running, wire: &mut Wire, stalled: &str) {
    on_time("metadata", || {
        let answer = wire.ask(&MetadataRequest::default(), 1);
        assert!(!answer.brokers.is_empty());
    });
    on_time("a group's offsets", || {
        let request = OffsetFetchRequest {
            group_id: "group".into(),
            ..OffsetFetchRequest::default()
        };
        let answer = wire.ask(&request, 5);
        assert_eq!(answer.error_code, ErrorCode::None);
    });
    on_time("a fetch", || {
        let answer = wire.ask(&fetch("free", 0, 0), FETCH_VERSION);
        assert_eq!(
            answer.responses[0].partitions[0].error_code,
            ErrorCode::None
        );
    });
    let topics = [stalled, "free"];
    for timestamp in [EARLIEST, LATEST, 0] {
        on_time(&format!("the offsets of timestamp {timestamp}"), || {
            let request = list_offsets(&topics, timestamp);
            let answer = wire.ask(&request, LIST_OFFSETS_VERSION);
            let codes = answer
                .topics
                .iter()
                .map(|topic| topic.partitions[0].error_code);
            assert_eq!(codes.collect::<Vec<_>>(), [ErrorCode::None; 2]);
        });
    }
    on_time("an epoch's end", || {
        let answer = wire.ask(&epoch_end(&topics), EPOCH_END_VERSION);
        let codes = answer
            .topics
            .iter()
            .map(|topic| topic.partitions[0].error_code);
        assert_eq!(codes.collect::<Vec<_>>(), [ErrorCode::None; 2]);
    });
    on_time("health", || running.http_get("/healthz/ready"));
    on_time("metrics", || running.http_get("/metrics"));
}

pub(super) fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + STALL * 10;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

pub(super) fn on_time(what: &str, work: impl FnOnce()) {
    let begun = Instant::now();
    work();
    let taken = begun.elapsed();
    assert!(taken < NOTICED_MAX, "{what} took {taken:?}");
}

/// Sends from [`PRODUCERS`] connections to topic `topic`, spread over its partitions.
fn produce_from_many(running: &Running, topic: &str, partitions: usize) -> Vec<Wire> {
    let send = |number: usize| {
        let mut wire = running.connect();
        wire.send(
            &produce(&[(topic, (number % partitions) as i32)]),
            PRODUCE_VERSION,
        );
        wire
    };
    (0..PRODUCERS).map(send).collect()
}

#[test]
fn a_stalled_file_holds_up_only_its_own_partition() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path());
    running.create("one-stalled", 1);
    running.create("free", 1);
    let mut other = running.connect();
    offset_of(&other.ask(&produce(&[("free", 0)]), PRODUCE_VERSION));
    other.ask(&commit(0), 3);

    let fault = inject("one-stalled-0/", Fault::StallWrites);
    let stalled = produce_from_many(&running, "one-stalled", 1);
    running.until_stalled(1);
    let begun = Instant::now();
    let mut round = 0;
    while begun.elapsed() < STALL {
        round += 1;
        on_time("a produce", || {
            offset_of(&other.ask(&produce(&[("free", 0)]), PRODUCE_VERSION));
        });
        on_time("a commit", || {
            let answer = other.ask(&commit(round), 3);
            assert_eq!(answer.topics[0].partitions[0].error_code, ErrorCode::None);
        });
        others_are_answered(&running, &mut other, "one-stalled");
    }
    assert_eq!(running.broker.partitions().appends_under_way(), 1);
    drop(fault);
    let answers = stalled
        .into_iter()
        .map(|mut wire| offset_of(&wire.receive::<ProduceRequest>(PRODUCE_VERSION)));
    let mut offsets: Vec<i64> = answers.collect();
    offsets.sort_unstable();
    assert_eq!(offsets, (0..PRODUCERS as i64).collect::<Vec<_>>());
}

#[test]
fn the_metadata_goes_on_while_a_groups_commit_and_a_topics_append_are_stalled() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path());
    running.create("set-stalled", 1);
    running.create("free", 1);
    let (mut member, mut other) = (running.connect(), running.connect());
    member.ask(&commit(1), 3);

    let faults =
        ["set-stalled-0/", "__consumer_offsets-0/"].map(|at| inject(at, Fault::StallWrites));
    let mut stalled = produce_from_many(&running, "set-stalled", 1);
    member.send(&commit(2), 3);
    running.until_stalled(2);
    let begun = Instant::now();
    on_time("a change of the stalled topic's settings", || {
        let change = ConfigChange {
            key: "segment.bytes".into(),
            operation: ConfigOperation::Set,
            value: Some("1048576".into()),
        };
        let changed = running.change(IncrementalAlterConfigs {
            resources: vec![(ConfigResource::topic("set-stalled"), vec![change])],
            validate_only: false,
        });
        assert_eq!(changed, [Ok(())]);
    });
    on_time(
        "the deletion of a topic that the group has offsets of",
        || {
            let topics = vec![TopicReference::Name("free".into())];
            assert!(running.change(DeleteTopics { topics })[0].is_ok());
        },
    );
    on_time("the creation of another", || running.create("made", 1));
    assert!(begun.elapsed() < STALL, "it was no stall");
    assert_eq!(running.broker.partitions().appends_under_way(), 2);
    drop(faults);
    offset_of(&stalled.remove(0).receive::<ProduceRequest>(PRODUCE_VERSION));
    member.receive::<OffsetCommitRequest>(3);
    let committed = std::cell::RefCell::new(&mut other);
    until("the group has forgotten the topic", || {
        let request = OffsetFetchRequest {
            group_id: "group".into(),
            ..OffsetFetchRequest::default()
        };
        let topics = committed.borrow_mut().ask(&request, 5).topics;
        topics.is_empty()
    });
}

#[test]
fn many_stalled_files_hold_up_only_appends() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path());
    running.create("all-stalled", 16);
    running.create("free", 1);
    let mut other = running.connect();
    offset_of(&other.ask(&produce(&[("free", 0)]), PRODUCE_VERSION));
    other.ask(&commit(0), 3);

    let fault = inject("all-stalled-", Fault::StallWrites);
    let stalled = produce_from_many(&running, "all-stalled", 16);
    running.until_stalled(workers() - 1);
    let begun = Instant::now();
    while begun.elapsed() < STALL {
        others_are_answered(&running, &mut other, "all-stalled");
    }
    drop(fault);
    for mut wire in stalled {
        offset_of(&wire.receive::<ProduceRequest>(PRODUCE_VERSION));
    }
}

/// The oldest version that is served what it asks for from an opened batch.
const CONVERTED_VERSION: i16 = 3;

#[test]
fn a_stalled_read_holds_up_only_who_asks_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path());
    let mut other = running.connect();
    let (mut searching, mut converting) = (running.connect(), running.connect());
    for topic in ["cold", "free"] {
        running.create(topic, 1);
        offset_of(&other.ask(&produce(&[(topic, 0)]), PRODUCE_VERSION));
    }
    // From here on the place of the next record is known without a look at the disk.
    converting.ask(&fetch("cold", 0, 0), CONVERTED_VERSION);
    offset_of(&other.ask(&produce(&[("cold", 0)]), PRODUCE_VERSION));

    let fault = inject("cold-0/00000000000000000000.log", Fault::StallReads);
    searching.send(&list_offsets(&["cold"], 0), LIST_OFFSETS_VERSION);
    until("the search reads", || fault.stalled() == 1);
    converting.send(&fetch("cold", 1, 0), CONVERTED_VERSION);
    until("the fetch reads", || fault.stalled() == 2);
    on_time("an offset by time", || {
        let answer = other.ask(&list_offsets(&["free"], 0), LIST_OFFSETS_VERSION);
        assert_eq!(answer.topics[0].partitions[0].offset, 0);
    });
    on_time("a converted fetch", || {
        let answer = other.ask(&fetch("free", 0, 0), CONVERTED_VERSION);
        let records = &answer.responses[0].partitions[0].records;
        assert!(records.as_ref().is_some_and(|records| !records.is_empty()));
    });
    drop(fault);
    let found = searching.receive::<ListOffsetsRequest>(LIST_OFFSETS_VERSION);
    assert_eq!(found.topics[0].partitions[0].offset, 0);
    let fetched = converting.receive::<FetchRequest>(CONVERTED_VERSION);
    let partition = &fetched.responses[0].partitions[0];
    assert_eq!(partition.error_code, ErrorCode::None);
}

#[test]
fn a_consumer_gets_what_was_appended_before_the_stall_in_the_same_request() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path());
    running.create("late-stalled", 1);
    running.create("free", 1);
    let mut consumer = running.connect();
    // It waits at the partition, and is woken by the append.
    consumer.send(&fetch("free", 0, TIMEOUT_MS), FETCH_VERSION);
    let partition = running.broker.partitions().partition("free", 0).unwrap();
    until("the consumer waits", || partition.waiters().is_waited_for());
    let fault = inject("late-stalled-0/", Fault::StallWrites);
    let mut producer = running.connect();
    let both = produce(&[("free", 0), ("late-stalled", 0)]);
    producer.send(&both, PRODUCE_VERSION);
    on_time("the consumer's records", || {
        let answer = consumer.receive::<FetchRequest>(FETCH_VERSION);
        assert_eq!(answer.responses[0].partitions[0].high_watermark, 1);
    });
    running.until_stalled(1);
    drop(fault);
    assert_eq!(
        offset_of(&producer.receive::<ProduceRequest>(PRODUCE_VERSION)),
        0
    );
}

#[test]
fn a_quiet_broker_goes_on_polling_its_sockets_during_a_stall() {
    let dir = tempfile::tempdir().unwrap();
    let running = Running::start(dir.path());
    running.create("quiet-stalled", 1);
    running.create("free", 1);
    let (mut other, mut producer) = (running.connect(), running.connect());
    others_are_answered(&running, &mut other, "quiet-stalled");
    producer.ask(&MetadataRequest::default(), 1);
    for _ in 0..5 {
        let fault = inject("quiet-stalled-0/", Fault::StallWrites);
        producer.send(&produce(&[("quiet-stalled", 0)]), PRODUCE_VERSION);
        running.until_stalled(1);
        // The one worker that had an event is held, and nobody has woken another.
        others_are_answered(&running, &mut other, "quiet-stalled");
        drop(fault);
        offset_of(&producer.receive::<ProduceRequest>(PRODUCE_VERSION));
    }
}
