//! A connection's random requests, and what each is to be answered with.

use std::collections::{BTreeSet, VecDeque};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use e2e::load::{FETCH_VERSION, PRODUCE_VERSION, batch, fetch, produce};
use e2e::wire::Wire;
use milena_protocol::Str;
use milena_protocol::api::api_versions::ApiVersionsRequest;
use milena_protocol::api::create_topics::{CreatableTopic, CreateTopicsRequest};
use milena_protocol::api::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use milena_protocol::api::find_coordinator::FindCoordinatorRequest;
use milena_protocol::api::heartbeat::HeartbeatRequest;
use milena_protocol::api::init_producer_id::InitProducerIdRequest;
use milena_protocol::api::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use milena_protocol::api::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use milena_protocol::api::metadata::{MetadataRequest, MetadataRequestTopic};
use milena_protocol::api::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestTopic};
use milena_protocol::api::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use milena_protocol::header::decode_response;
use milena_protocol::records::Compression;
use rand::Rng;
use rand::rngs::StdRng;

use super::expected::*;
use super::{GROUP, SILENT, TOPIC, WAIT, commit};

/// Of a member; a test is long over by then.
const SESSION_MS: i32 = 60_000;
const TIMEOUT_MS: i32 = 10_000;
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

/// By the first member of a group.
pub fn join(group: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: SESSION_MS,
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: Bytes::from_static(b"anything"),
        }],
        ..Default::default()
    }
}

/// What requests have made of a topic.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    pub seen: Seen,
    /// The first record that was not deleted.
    pub start: i64,
    /// By the group; -1 where it has not.
    pub committed: i64,
}

/// The first member of a group of its own.
struct Member {
    group: String,
    id: Str,
    /// Whether it has told the group who gets what.
    is_synced: bool,
}

/// One connection's requests, what they do, and what is still to be answered.
pub struct Mix {
    wire: Wire,
    random: StdRng,
    topic: &'static str,
    known: Known,
    /// In the names of what this connection makes.
    round: usize,
    made: Option<String>,
    member: Option<Member>,
    last_producer: i64,
    next_id: i32,
    expected: VecDeque<(i32, Expected)>,
    /// What was expected so far.
    kinds: BTreeSet<String>,
}

impl Mix {
    pub fn new(
        wire: Wire,
        random: StdRng,
        topic: &'static str,
        known: Known,
        round: usize,
    ) -> Self {
        Self {
            wire,
            random,
            topic,
            known,
            round,
            made: None,
            member: None,
            last_producer: -1,
            next_id: 0,
            expected: VecDeque::new(),
            kinds: BTreeSet::new(),
        }
    }

    /// Sends so many, reads some answers meanwhile and the others then.
    pub fn play(mut self, requests: usize) -> Result<(Known, BTreeSet<String>)> {
        for _ in 0..requests {
            self.send_any()?;
            while self.expected.len() > 1 && self.random.random_bool(0.2) {
                self.receive()?;
            }
        }
        while !self.expected.is_empty() {
            self.receive()?;
        }
        Ok((self.known, self.kinds))
    }

    fn send_any(&mut self) -> Result<()> {
        self.next_id += 1;
        let id = self.next_id;
        let expected = match self.random.random_range(0..100) {
            0..22 => self.produce(-1, id)?,
            22..34 => self.produce(1, id)?,
            34..42 => {
                self.produce(0, id)?;
                return Ok(());
            }
            42..46 => self.produce_to_no_topic(id)?,
            46..58 => self.fetch(id)?,
            58..61 => self.fetch_silent(id)?,
            61..67 => self.list_offsets(LATEST, id)?,
            67..69 => self.list_offsets(EARLIEST, id)?,
            69..75 => self.metadata(id)?,
            75..77 => self.find_coordinator(id)?,
            77..80 => self.commit(id)?,
            80..83 => self.committed(id)?,
            83..86 => self.join(id)?,
            86..89 => self.sync(id)?,
            89..92 => self.heartbeat(id)?,
            92..94 => self.create(id)?,
            94..96 => self.delete_records(id)?,
            96..98 => self.producer(id)?,
            _ => {
                self.wire.send(&ApiVersionsRequest::default(), 0, id)?;
                Expected::Versions
            }
        };
        self.kinds.insert(expected.kind());
        self.expected.push_back((id, expected));
        Ok(())
    }

    fn produce(&mut self, acks: i16, id: i32) -> Result<Expected> {
        let count = self.random.random_range(1..5);
        let values = vec![Some(&b"value"[..]); count];
        let request = produce(self.topic, 0, acks, batch(&values, Compression::None));
        self.wire.send(&request, PRODUCE_VERSION, id)?;
        let seen = &mut self.known.seen;
        let base_offset = seen.to;
        seen.to += count as i64;
        // Only with acks=all has its acknowledgement waited until it is shown.
        if self.topic == TOPIC || acks == -1 {
            seen.from = seen.to;
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
        let offset = (self.known.seen.from - 3).max(self.known.start);
        self.wire
            .send(&fetch(self.topic, 0, offset, 10), FETCH_VERSION, id)?;
        Ok(Expected::Fetched(self.known.seen))
    }

    fn fetch_silent(&mut self, id: i32) -> Result<Expected> {
        let silent = fetch(SILENT, 0, 0, WAIT.as_millis() as i32);
        self.wire.send(&silent, FETCH_VERSION, id)?;
        Ok(Expected::FetchedNothing)
    }

    fn list_offsets(&mut self, timestamp: i64, id: i32) -> Result<Expected> {
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: self.topic.into(),
                partitions: vec![ListOffsetsPartition {
                    timestamp,
                    ..Default::default()
                }],
            }],
            ..Default::default()
        };
        self.wire.send(&request, LIST_OFFSETS_VERSION, id)?;
        Ok(match timestamp {
            EARLIEST => Expected::Start(self.known.start),
            _ => Expected::End(self.known.seen),
        })
    }

    /// Of the topic, and of the last one that was made.
    fn metadata(&mut self, id: i32) -> Result<Expected> {
        let topics = [Some(TOPIC.to_owned()), self.made.clone()];
        let topics: Vec<String> = topics.into_iter().flatten().collect();
        let named = topics.iter().map(|name| MetadataRequestTopic {
            name: Some(name.as_str().into()),
            ..Default::default()
        });
        let request = MetadataRequest {
            topics: Some(named.collect()),
            ..Default::default()
        };
        self.wire.send(&request, METADATA_VERSION, id)?;
        Ok(Expected::Metadata(topics))
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
        self.known.committed = self.known.seen.from;
        let request = commit(self.topic, self.known.committed);
        self.wire.send(&request, COMMIT_VERSION, id)?;
        Ok(Expected::Committed)
    }

    fn committed(&mut self, id: i32) -> Result<Expected> {
        let request = OffsetFetchRequest {
            group_id: GROUP.into(),
            topics: Some(vec![OffsetFetchRequestTopic {
                name: self.topic.into(),
                partition_indexes: vec![0],
            }]),
            ..Default::default()
        };
        self.wire.send(&request, COMMITTED_VERSION, id)?;
        Ok(Expected::CommittedAt(self.known.committed))
    }

    /// Into a group of its own, which waits for more members.
    fn join(&mut self, id: i32) -> Result<Expected> {
        let group = format!("group-{}-{id}", self.round);
        let request = join(&group);
        self.wire.send(&request, JOIN_VERSION, id)?;
        Ok(Expected::Joined(group))
    }

    /// By the member whose answer was read last; without one it is a stranger's heartbeat.
    fn sync(&mut self, id: i32) -> Result<Expected> {
        let Some(member) = &mut self.member else {
            return self.heartbeat(id);
        };
        member.is_synced = true;
        let request = SyncGroupRequest {
            group_id: member.group.as_str().into(),
            generation_id: 1,
            member_id: member.id.clone(),
            assignments: vec![SyncGroupRequestAssignment {
                member_id: member.id.clone(),
                assignment: Bytes::from_static(ASSIGNMENT),
            }],
            ..Default::default()
        };
        self.wire.send(&request, SYNC_VERSION, id)?;
        Ok(Expected::Synced)
    }

    /// By the member, where there is one at work, or by a stranger.
    fn heartbeat(&mut self, id: i32) -> Result<Expected> {
        let member = self.member.as_ref().filter(|member| member.is_synced);
        let (group, member_id, expected) = match member {
            Some(member) => (&*member.group, member.id.clone(), Expected::Alive),
            None => (GROUP, "nobody".into(), Expected::NoMember),
        };
        let request = HeartbeatRequest {
            group_id: group.into(),
            generation_id: 1,
            member_id,
            ..Default::default()
        };
        self.wire.send(&request, HEARTBEAT_VERSION, id)?;
        Ok(expected)
    }

    fn create(&mut self, id: i32) -> Result<Expected> {
        let name = format!("made-{}-{id}", self.round);
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: name.as_str().into(),
                num_partitions: 1,
                replication_factor: 1,
                ..Default::default()
            }],
            timeout_ms: TIMEOUT_MS,
            ..Default::default()
        };
        self.wire.send(&request, CREATE_VERSION, id)?;
        self.made = Some(name);
        Ok(Expected::Created)
    }

    /// All that clients are sure to see.
    fn delete_records(&mut self, id: i32) -> Result<Expected> {
        self.known.start = self.known.seen.from;
        let request = DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: self.topic.into(),
                partitions: vec![DeleteRecordsPartition {
                    offset: self.known.start,
                    ..Default::default()
                }],
            }],
            timeout_ms: TIMEOUT_MS,
        };
        self.wire.send(&request, DELETE_RECORDS_VERSION, id)?;
        Ok(Expected::Deleted(self.known.start))
    }

    fn producer(&mut self, id: i32) -> Result<Expected> {
        let request = InitProducerIdRequest::default();
        self.wire.send(&request, PRODUCER_VERSION, id)?;
        Ok(Expected::Producer)
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
        let place = format!("answer {id}: {expected:?}");
        let learned = match expected {
            Expected::Joined(group) => self.joined(group, frame),
            Expected::Producer => self.new_producer(frame),
            known => check(&known, frame),
        };
        learned.context(place)
    }

    fn joined(&mut self, group: String, frame: Bytes) -> Result<()> {
        let (_, answer) = decode_response::<JoinGroupRequest>(frame, JOIN_VERSION)?;
        answer.error_code.ok()?;
        let (generation, leader) = (answer.generation_id, answer.leader);
        ensure!(generation == 1, "generation {generation}");
        ensure!(leader == answer.member_id, "{leader} leads");
        self.member = Some(Member {
            group,
            id: answer.member_id,
            is_synced: false,
        });
        Ok(())
    }

    fn new_producer(&mut self, frame: Bytes) -> Result<()> {
        let (_, answer) = decode_response::<InitProducerIdRequest>(frame, PRODUCER_VERSION)?;
        answer.error_code.ok()?;
        let last = std::mem::replace(&mut self.last_producer, answer.producer_id);
        ensure!(last < self.last_producer, "producer {last} came before");
        Ok(())
    }
}
