//! Answers come in the order of the requests, under every mix of them, and only Produce is overlapped.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use e2e::broker::Broker;
use e2e::load::{
    FETCH_VERSION, PRODUCE_VERSION, batch, create_topic, fetch, fetch_one, produce, produce_one,
};
use e2e::wire::Wire;
use milena_protocol::ErrorCode;
use milena_protocol::api::api_versions::ApiVersionsRequest;
use milena_protocol::api::fetch::FetchRequest;
use milena_protocol::api::find_coordinator::FindCoordinatorRequest;
use milena_protocol::api::heartbeat::HeartbeatRequest;
use milena_protocol::api::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use milena_protocol::api::metadata::{MetadataRequest, MetadataRequestTopic};
use milena_protocol::api::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use milena_protocol::api::produce::ProduceRequest;
use milena_protocol::header::decode_response;
use milena_protocol::records::Compression;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const TOPIC: &str = "ordered";
/// Every record of it is on disk before it is acknowledged or shown, so that each Produce waits.
const SYNCED: &str = "synced";
/// Nobody writes to it: a fetch of it waits its whole time.
const SILENT: &str = "silent";
/// A waiting fetch's time.
const WAIT: Duration = Duration::from_millis(40);
/// Connections with a mix of their own, one after the other.
const ROUNDS: usize = 12;
/// Requests of one mix, all sent before the first answer is read, or bursts of them.
const REQUESTS: usize = 150;

const LIST_OFFSETS_VERSION: i16 = 6;
const METADATA_VERSION: i16 = 9;
const FIND_COORDINATOR_VERSION: i16 = 3;
const COMMIT_VERSION: i16 = 7;
const HEARTBEAT_VERSION: i16 = 3;
const GROUP: &str = "a group";
/// For how long the group's coordinator may load.
const LOAD_TIME: Duration = Duration::from_secs(20);

/// What an answer must be, in the order of the requests.
#[derive(Debug, Clone, Copy)]
enum Expected {
    /// The base offset.
    Produced(i64),
    Refused,
    /// What was to be seen when the fetch began.
    Fetched(Seen),
    FetchedNothing,
    /// The end that clients see.
    End(Seen),
    Metadata,
    Coordinator,
    Committed,
    /// Nobody has joined the group.
    NoMember,
    Versions,
}

/// Where the log ends for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    /// At least here.
    from: i64,
    /// Behind all records that were sent; records that nobody waits for may be on their way to the disk.
    to: i64,
}

impl Seen {
    fn all(end: i64) -> Self {
        Self { from: end, to: end }
    }

    fn check(self, end: i64) -> Result<()> {
        ensure!(
            (self.from..=self.to).contains(&end),
            "clients see records up to {end}"
        );
        Ok(())
    }
}

/// One connection's requests, what they do to the log, and what is still to be answered.
struct Mix {
    wire: Wire,
    random: StdRng,
    topic: &'static str,
    seen: Seen,
    next_id: i32,
    expected: VecDeque<(i32, Expected)>,
}

impl Mix {
    fn send_any(&mut self) -> Result<()> {
        self.next_id += 1;
        let id = self.next_id;
        let expected = match self.random.random_range(0..100) {
            0..25 => Some(self.produce(-1, id)?),
            25..40 => Some(self.produce(1, id)?),
            40..50 => {
                self.produce(0, id)?;
                None
            }
            50..55 => Some(self.produce_to_no_topic(id)?),
            55..70 => Some(self.fetch(id)?),
            70..73 => {
                let silent = fetch(SILENT, 0, 0, WAIT.as_millis() as i32);
                self.wire.send(&silent, FETCH_VERSION, id)?;
                Some(Expected::FetchedNothing)
            }
            73..83 => Some(self.list_offsets(id)?),
            83..92 => Some(self.metadata(id)?),
            92..94 => Some(self.find_coordinator(id)?),
            94..96 => Some(self.commit(id)?),
            96..98 => Some(self.heartbeat(id)?),
            _ => {
                self.wire.send(&ApiVersionsRequest::default(), 0, id)?;
                Some(Expected::Versions)
            }
        };
        self.expected
            .extend(expected.map(|expected| (id, expected)));
        Ok(())
    }

    fn produce(&mut self, acks: i16, id: i32) -> Result<Expected> {
        let count = self.random.random_range(1..5);
        let values = vec![Some(&b"value"[..]); count];
        let request = produce(self.topic, 0, acks, batch(&values, Compression::None));
        self.wire.send(&request, PRODUCE_VERSION, id)?;
        let base_offset = self.seen.to;
        self.seen.to += count as i64;
        // Only with acks=all has its acknowledgement waited until it is shown.
        if self.topic == TOPIC || acks == -1 {
            self.seen.from = self.seen.to;
        }
        Ok(Expected::Produced(base_offset))
    }

    fn produce_to_no_topic(&mut self, id: i32) -> Result<Expected> {
        let records = batch(&[Some(b"lost")], Compression::None);
        let request = produce("nowhere", 0, -1, records);
        self.wire.send(&request, PRODUCE_VERSION, id)?;
        Ok(Expected::Refused)
    }

    fn fetch(&mut self, id: i32) -> Result<Expected> {
        let offset = (self.seen.from - 3).max(0);
        self.wire
            .send(&fetch(self.topic, 0, offset, 10), FETCH_VERSION, id)?;
        Ok(Expected::Fetched(self.seen))
    }

    fn list_offsets(&mut self, id: i32) -> Result<Expected> {
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: self.topic.into(),
                partitions: vec![ListOffsetsPartition {
                    timestamp: -1,
                    ..Default::default()
                }],
            }],
            ..Default::default()
        };
        self.wire.send(&request, LIST_OFFSETS_VERSION, id)?;
        Ok(Expected::End(self.seen))
    }

    fn metadata(&mut self, id: i32) -> Result<Expected> {
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(TOPIC.into()),
                ..Default::default()
            }]),
            ..Default::default()
        };
        self.wire.send(&request, METADATA_VERSION, id)?;
        Ok(Expected::Metadata)
    }

    fn find_coordinator(&mut self, id: i32) -> Result<Expected> {
        let request = FindCoordinatorRequest {
            key: GROUP.into(),
            ..Default::default()
        };
        self.wire.send(&request, FIND_COORDINATOR_VERSION, id)?;
        Ok(Expected::Coordinator)
    }

    fn commit(&mut self, id: i32) -> Result<Expected> {
        let request = commit(self.topic, self.seen.from);
        self.wire.send(&request, COMMIT_VERSION, id)?;
        Ok(Expected::Committed)
    }

    fn heartbeat(&mut self, id: i32) -> Result<Expected> {
        let request = HeartbeatRequest {
            group_id: GROUP.into(),
            generation_id: 1,
            member_id: "nobody".into(),
            ..Default::default()
        };
        self.wire.send(&request, HEARTBEAT_VERSION, id)?;
        Ok(Expected::NoMember)
    }

    /// Reads the oldest outstanding answer.
    fn receive(&mut self) -> Result<()> {
        let (id, expected) = self.expected.pop_front().context("nothing is expected")?;
        let frame = self.wire.receive()?.context("the connection was closed")?;
        let answered = i32::from_be_bytes(*frame.first_chunk().context("a short answer")?);
        ensure!(
            answered == id,
            "answer {answered} came in the place of {id}"
        );
        check(expected, frame).with_context(|| format!("answer {id}: {expected:?}"))
    }
}

/// Commits an offset without being a member.
fn commit(topic: &str, offset: i64) -> OffsetCommitRequest {
    OffsetCommitRequest {
        group_id: GROUP.into(),
        topics: vec![OffsetCommitRequestTopic {
            name: topic.into(),
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset: offset,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Waits until the group has a coordinator that takes commits.
fn until_coordinated(bootstrap: &str) -> Result<()> {
    let mut wire = Wire::connect(bootstrap)?;
    let begun = Instant::now();
    loop {
        let find = FindCoordinatorRequest {
            key: GROUP.into(),
            ..Default::default()
        };
        wire.ask(&find, FIND_COORDINATOR_VERSION)?;
        let answer = wire.ask(&commit(TOPIC, 0), COMMIT_VERSION)?;
        let code = answer.topics[0].partitions[0].error_code;
        if code.is_none() {
            return Ok(());
        }
        ensure!(begun.elapsed() < LOAD_TIME, "commits get {code}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn check(expected: Expected, frame: Bytes) -> Result<()> {
    match expected {
        Expected::Produced(base_offset) => {
            let (_, answer) = decode_response::<ProduceRequest>(frame, PRODUCE_VERSION)?;
            let result = &answer.responses[0].partition_responses[0];
            result.error_code.ok()?;
            ensure!(
                result.base_offset == base_offset,
                "appended at {}",
                result.base_offset
            );
        }
        Expected::Refused => {
            let (_, answer) = decode_response::<ProduceRequest>(frame, PRODUCE_VERSION)?;
            let code = answer.responses[0].partition_responses[0].error_code;
            ensure!(code == ErrorCode::UnknownTopicOrPartition, "{code}");
        }
        Expected::Fetched(seen) => check_fetch(frame, seen)?,
        Expected::FetchedNothing => check_fetch(frame, Seen::all(0))?,
        Expected::End(seen) => {
            let (_, answer) = decode_response::<ListOffsetsRequest>(frame, LIST_OFFSETS_VERSION)?;
            let found = &answer.topics[0].partitions[0];
            found.error_code.ok()?;
            seen.check(found.offset)?;
        }
        Expected::Metadata => {
            let (_, answer) = decode_response::<MetadataRequest>(frame, METADATA_VERSION)?;
            ensure!(answer.topics[0].name.as_deref() == Some(TOPIC));
        }
        Expected::Committed => {
            let (_, answer) = decode_response::<OffsetCommitRequest>(frame, COMMIT_VERSION)?;
            answer.topics[0].partitions[0].error_code.ok()?;
        }
        Expected::NoMember => {
            let (_, answer) = decode_response::<HeartbeatRequest>(frame, HEARTBEAT_VERSION)?;
            let code = answer.error_code;
            ensure!(code == ErrorCode::UnknownMemberId, "{code}");
        }
        Expected::Coordinator => {
            let version = FIND_COORDINATOR_VERSION;
            decode_response::<FindCoordinatorRequest>(frame, version)?;
        }
        Expected::Versions => {
            let (_, answer) = decode_response::<ApiVersionsRequest>(frame, 0)?;
            ensure!(!answer.api_keys.is_empty());
        }
    }
    Ok(())
}

/// All before the fetch is in its answer, and nothing behind it is: what came later had not begun.
fn check_fetch(frame: Bytes, seen: Seen) -> Result<()> {
    let (_, answer) = decode_response::<FetchRequest>(frame, FETCH_VERSION)?;
    let result = &answer.responses[0].partitions[0];
    result.error_code.ok()?;
    seen.check(result.high_watermark)
}

#[test]
fn answers_come_in_the_order_of_the_requests_under_every_mix() -> Result<()> {
    let broker = Broker::start(&["--set", "auto.create.topics.enable=false"])?;
    create_topic(&broker.bootstrap(), TOPIC, 1, &[])?;
    create_topic(&broker.bootstrap(), SYNCED, 1, &[("flush.messages", "1")])?;
    create_topic(&broker.bootstrap(), SILENT, 1, &[])?;
    until_coordinated(&broker.bootstrap())?;
    let seed: u64 = match std::env::var("SEED") {
        Ok(seed) => seed.parse()?,
        Err(_) => rand::rng().random(),
    };
    println!("SEED={seed}");
    let mut seen = [Seen::all(0); 2];
    for round in 0..ROUNDS {
        let is_synced = round % 2;
        let mut mix = Mix {
            wire: Wire::connect(&broker.bootstrap())?,
            random: StdRng::seed_from_u64(seed.wrapping_add(round as u64)),
            topic: [TOPIC, SYNCED][is_synced],
            seen: seen[is_synced],
            next_id: 0,
            expected: VecDeque::new(),
        };
        for _ in 0..REQUESTS {
            mix.send_any()?;
            while mix.expected.len() > 1 && mix.random.random_bool(0.2) {
                mix.receive().with_context(|| format!("round {round}"))?;
            }
        }
        while !mix.expected.is_empty() {
            mix.receive().with_context(|| format!("round {round}"))?;
        }
        seen[is_synced] = mix.seen;
    }
    Ok(())
}

#[test]
fn nothing_starts_behind_a_waiting_fetch() -> Result<()> {
    let broker = Broker::start(&[])?;
    create_topic(&broker.bootstrap(), TOPIC, 1, &[])?;
    let mut wire = Wire::connect(&broker.bootstrap())?;
    let records = batch(&[Some(b"later")], Compression::None);
    // The fetch waits for the very record that stands behind it on the connection: it must wait in vain.
    let begun = Instant::now();
    wire.send(&fetch(TOPIC, 0, 0, 500), FETCH_VERSION, 1)?;
    wire.send(&produce(TOPIC, 0, -1, records), PRODUCE_VERSION, 2)?;
    check_fetch(wire.receive()?.context("closed")?, Seen::all(0))?;
    ensure!(
        begun.elapsed() >= Duration::from_millis(450),
        "it did not wait"
    );
    check(Expected::Produced(0), wire.receive()?.context("closed")?)?;
    // Another connection's record does wake it.
    let begun = Instant::now();
    wire.send(&fetch(TOPIC, 0, 1, 20_000), FETCH_VERSION, 3)?;
    let mut other = Wire::connect(&broker.bootstrap())?;
    produce_one(
        &mut other,
        TOPIC,
        0,
        batch(&[Some(b"now")], Compression::None),
    )??;
    check_fetch(wire.receive()?.context("closed")?, Seen::all(2))?;
    ensure!(begun.elapsed() < Duration::from_secs(10), "nothing woke it");
    Ok(())
}

#[test]
fn a_failed_produce_without_acks_closes_the_connection_after_earlier_answers() -> Result<()> {
    let broker = Broker::start(&["--set", "auto.create.topics.enable=false"])?;
    create_topic(&broker.bootstrap(), TOPIC, 1, &[])?;
    let mut wire = Wire::connect(&broker.bootstrap())?;
    let records = || batch(&[Some(b"value")], Compression::None);
    wire.send(&produce(TOPIC, 0, -1, records()), PRODUCE_VERSION, 1)?;
    wire.send(&produce("nowhere", 0, 0, records()), PRODUCE_VERSION, 2)?;
    let first = wire.receive()?.context("closed before the first answer")?;
    check(Expected::Produced(0), first)?;
    if wire.receive()?.is_some() {
        bail!("a produce without acks was answered");
    }
    let mut other = Wire::connect(&broker.bootstrap())?;
    let kept = fetch_one(&mut other, TOPIC, 0, 0)??;
    ensure!(!kept.is_empty(), "the first produce is gone");
    Ok(())
}
