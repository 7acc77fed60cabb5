//! What an answer must be.

use anyhow::{Result, ensure};
use bytes::Bytes;
use e2e::load::{FETCH_VERSION, PRODUCE_VERSION};
use milena_protocol::ErrorCode;
use milena_protocol::api::api_versions::ApiVersionsRequest;
use milena_protocol::api::create_topics::CreateTopicsRequest;
use milena_protocol::api::delete_records::DeleteRecordsRequest;
use milena_protocol::api::fetch::FetchRequest;
use milena_protocol::api::find_coordinator::FindCoordinatorRequest;
use milena_protocol::api::heartbeat::HeartbeatRequest;
use milena_protocol::api::list_offsets::ListOffsetsRequest;
use milena_protocol::api::metadata::MetadataRequest;
use milena_protocol::api::offset_commit::OffsetCommitRequest;
use milena_protocol::api::offset_fetch::OffsetFetchRequest;
use milena_protocol::api::produce::ProduceRequest;
use milena_protocol::api::sync_group::SyncGroupRequest;
use milena_protocol::header::decode_response;

pub const LIST_OFFSETS_VERSION: i16 = 6;
pub const METADATA_VERSION: i16 = 9;
pub const FIND_COORDINATOR_VERSION: i16 = 3;
pub const COMMIT_VERSION: i16 = 7;
pub const COMMITTED_VERSION: i16 = 5;
/// The last in which a stranger becomes a member at once.
pub const JOIN_VERSION: i16 = 3;
pub const SYNC_VERSION: i16 = 3;
pub const HEARTBEAT_VERSION: i16 = 3;
pub const CREATE_VERSION: i16 = 4;
pub const DELETE_RECORDS_VERSION: i16 = 1;
pub const PRODUCER_VERSION: i16 = 1;

/// What the only member of each group gives itself.
pub const ASSIGNMENT: &[u8] = b"all";

/// What an answer must be.
#[derive(Debug)]
pub enum Expected {
    /// The base offset.
    Produced(i64),
    Refused,
    /// What was to be seen when the fetch began.
    Fetched(Seen),
    FetchedNothing,
    /// The end that clients see.
    End(Seen),
    /// The first offset that is left.
    Start(i64),
    /// These topics are there.
    Metadata(Vec<String>),
    Coordinator,
    Committed,
    /// The offset that was committed last.
    CommittedAt(i64),
    /// The first member of this group.
    Joined(String),
    /// The member is given what it gave itself.
    Synced,
    Alive,
    /// Nobody has joined the group.
    NoMember,
    Created,
    /// The records before this offset are gone.
    Deleted(i64),
    /// Larger than all before.
    Producer,
    Versions,
}

impl Expected {
    /// How many kinds there are.
    pub const KINDS: usize = 18;

    /// Its name, without what it holds.
    pub fn kind(&self) -> String {
        let text = format!("{self:?}");
        let end = text.find('(').unwrap_or(text.len());
        text[..end].to_owned()
    }
}

/// Where the log ends for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// At least here.
    pub from: i64,
    /// Behind all records that were sent; records that nobody waits for may be on their way to the disk.
    pub to: i64,
}

impl Seen {
    pub fn all(end: i64) -> Self {
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

/// Compares an answer that says nothing new. Of those that do, [`Expected::Joined`] and [`Expected::Producer`], see
/// the mix.
pub fn check(expected: &Expected, frame: Bytes) -> Result<()> {
    match expected {
        Expected::Produced(base_offset) => check_produced(frame, *base_offset)?,
        Expected::Refused => {
            let (_, answer) = decode_response::<ProduceRequest>(frame, PRODUCE_VERSION)?;
            let code = answer.responses[0].partition_responses[0].error_code;
            ensure!(code == ErrorCode::UnknownTopicOrPartition, "{code}");
        }
        Expected::Fetched(seen) => check_fetch(frame, *seen)?,
        Expected::FetchedNothing => check_fetch(frame, Seen::all(0))?,
        Expected::End(seen) => seen.check(listed(frame)?)?,
        Expected::Start(start) => {
            let listed = listed(frame)?;
            ensure!(listed == *start, "the log begins at {listed}");
        }
        Expected::Metadata(topics) => check_metadata(frame, topics)?,
        Expected::Coordinator => {
            let version = FIND_COORDINATOR_VERSION;
            let (_, answer) = decode_response::<FindCoordinatorRequest>(frame, version)?;
            answer.error_code.ok()?;
        }
        Expected::Created => {
            let (_, answer) = decode_response::<CreateTopicsRequest>(frame, CREATE_VERSION)?;
            answer.topics[0].error_code.ok()?;
        }
        Expected::Deleted(before) => check_deleted(frame, *before)?,
        Expected::Versions => {
            let (_, answer) = decode_response::<ApiVersionsRequest>(frame, 0)?;
            ensure!(!answer.api_keys.is_empty());
        }
        of_group => check_group(of_group, frame)?,
    }
    Ok(())
}

fn check_group(expected: &Expected, frame: Bytes) -> Result<()> {
    match expected {
        Expected::Committed => {
            let (_, answer) = decode_response::<OffsetCommitRequest>(frame, COMMIT_VERSION)?;
            answer.topics[0].partitions[0].error_code.ok()?;
        }
        Expected::CommittedAt(offset) => {
            let (_, answer) = decode_response::<OffsetFetchRequest>(frame, COMMITTED_VERSION)?;
            let found = &answer.topics[0].partitions[0];
            found.error_code.ok()?;
            let committed = found.committed_offset;
            ensure!(committed == *offset, "{committed} was committed last");
        }
        Expected::Synced => {
            let (_, answer) = decode_response::<SyncGroupRequest>(frame, SYNC_VERSION)?;
            answer.error_code.ok()?;
            ensure!(answer.assignment == ASSIGNMENT, "{:?}", answer.assignment);
        }
        Expected::Alive => heartbeat(frame)?.ok()?,
        Expected::NoMember => {
            let code = heartbeat(frame)?;
            ensure!(code == ErrorCode::UnknownMemberId, "{code}");
        }
        other => unreachable!("{other:?} is not of a group"),
    }
    Ok(())
}

fn check_produced(frame: Bytes, base_offset: i64) -> Result<()> {
    let (_, answer) = decode_response::<ProduceRequest>(frame, PRODUCE_VERSION)?;
    let result = &answer.responses[0].partition_responses[0];
    result.error_code.ok()?;
    let offset = result.base_offset;
    ensure!(offset == base_offset, "appended at {offset}");
    Ok(())
}

/// All before the fetch is in its answer, and nothing behind it is: what came later had not begun.
pub fn check_fetch(frame: Bytes, seen: Seen) -> Result<()> {
    let (_, answer) = decode_response::<FetchRequest>(frame, FETCH_VERSION)?;
    let result = &answer.responses[0].partitions[0];
    result.error_code.ok()?;
    seen.check(result.high_watermark)
}

fn check_metadata(frame: Bytes, topics: &[String]) -> Result<()> {
    let (_, answer) = decode_response::<MetadataRequest>(frame, METADATA_VERSION)?;
    ensure!(answer.topics.len() == topics.len(), "{:?}", answer.topics);
    for (topic, name) in answer.topics.iter().zip(topics) {
        topic.error_code.ok()?;
        ensure!(topic.name.as_deref() == Some(name), "{:?}", topic.name);
    }
    Ok(())
}

fn check_deleted(frame: Bytes, before: i64) -> Result<()> {
    let (_, answer) = decode_response::<DeleteRecordsRequest>(frame, DELETE_RECORDS_VERSION)?;
    let result = &answer.topics[0].partitions[0];
    result.error_code.ok()?;
    let start = result.low_watermark;
    ensure!(start == before, "the log begins at {start}");
    Ok(())
}

fn listed(frame: Bytes) -> Result<i64> {
    let (_, answer) = decode_response::<ListOffsetsRequest>(frame, LIST_OFFSETS_VERSION)?;
    let found = &answer.topics[0].partitions[0];
    found.error_code.ok()?;
    Ok(found.offset)
}

fn heartbeat(frame: Bytes) -> Result<ErrorCode> {
    let (_, answer) = decode_response::<HeartbeatRequest>(frame, HEARTBEAT_VERSION)?;
    Ok(answer.error_code)
}
