//! ListOffsets (key 2): the offset of a point in time, or of the log's ends.
//!
//! | timestamp | asks for | since |
//! | --- | --- | --- |
//! | -1 | the end: the high watermark, or the last stable offset for read_committed | 0 |
//! | -2 | the log start offset | 0 |
//! | -3 | the record with the largest timestamp (KIP-734) | 7 |
//! | -4 | the start of what is on local disk: the log start, as nothing is tiered (KIP-405) | 8 |
//! | -5 | the end of what is tiered: none (KIP-1005) | 9 |
//! | -6 | the earliest offset that waits to be tiered: none (KIP-1023) | 11 |

use milena_log::{LogReader, ReadError, Searched, TimestampedOffset};
use milena_protocol::ErrorCode;
use milena_protocol::api::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};

use super::RequestContext;
use crate::blocking;
use crate::broker::Broker;
use crate::partition::{Partition, large};

/// The first version that knows OFFSET_NOT_AVAILABLE (KIP-207).
const OFFSET_NOT_AVAILABLE_FROM: i16 = 5;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// An offset with its record's timestamp, where it has one.
type Found = (i64, i64);

pub async fn handle(
    broker: &Broker,
    context: &RequestContext,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let reader = Reader::of(broker, context, request.replica_id);
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            let found = reader.and_then(|reader| {
                let partitions = broker.partitions();
                let partition = partitions.partition(&topic.name, wanted.partition_index)?;
                Ok((reader, partition))
            });
            let answer = match found {
                Ok((reader, partition)) => {
                    let asked = (context.version, reader);
                    answer(&partition, asked, wanted, broker.now_ms()).await
                }
                Err(error) => Err(error),
            };
            partitions.push(into_response(wanted, context.version, answer));
        }
        topics.push(ListOffsetsTopicResponse {
            name: topic.name,
            partitions,
        });
    }
    ListOffsetsResponse {
        throttle_time_ms: 0,
        topics,
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Consumer,
    Follower,
}

impl Reader {
    /// Followers are answered on the peers' listener alone.
    fn of(broker: &Broker, context: &RequestContext, replica_id: i32) -> Result<Self, ErrorCode> {
        match replica_id {
            ..0 => Ok(Self::Consumer),
            _ if context.is_from_peer(broker) => Ok(Self::Follower),
            _ => Err(ErrorCode::ClusterAuthorizationFailed),
        }
    }
}

/// The end that a consumer may read to. Not before a new leader's high watermark has passed what it found: it may be
/// behind what the leader before has shown, and consumers that start at it would go back.
fn latest(partition: &Partition, version: i16) -> Result<i64, ErrorCode> {
    // Asked first, since it only grows.
    let is_known = partition.has_committed_what_it_found();
    match is_known {
        true => Ok(partition.high_watermark()),
        false if version >= OFFSET_NOT_AVAILABLE_FROM => Err(ErrorCode::OffsetNotAvailable),
        false => Err(ErrorCode::LeaderNotAvailable),
    }
}

async fn answer(
    partition: &Partition,
    (version, asks): (i16, Reader),
    wanted: &ListOffsetsPartition,
    now_ms: i64,
) -> Result<(Vec<i64>, Found, i32), ErrorCode> {
    partition.check_leads(wanted.current_leader_epoch)?;
    let reader = partition.reader();
    if version == 0 {
        if wanted.timestamp != EARLIEST {
            latest(partition, version)?;
        }
        let asked = (wanted.timestamp, wanted.max_num_offsets);
        let offsets = old_style(partition, asked, now_ms).await;
        return Ok((offsets, (-1, -1), -1));
    }
    let found = match wanted.timestamp {
        LATEST if asks == Reader::Follower => (reader.log_end_offset(), -1),
        LATEST => (latest(partition, version)?, -1),
        EARLIEST => (reader.log_start_offset(), -1),
        EARLIEST_LOCAL if version >= 8 => (reader.log_start_offset(), -1),
        LATEST_TIERED if version >= 9 => (-1, -1),
        EARLIEST_PENDING_UPLOAD if version >= 11 => (-1, -1),
        MAX_TIMESTAMP if version >= 7 => by_time(partition, version, None).await?,
        timestamp if timestamp >= 0 => by_time(partition, version, Some(timestamp)).await?,
        _ => return Err(ErrorCode::UnsupportedVersion),
    };
    let epoch = if found.0 < 0 {
        -1
    } else {
        let known = reader.epoch_of(found.0);
        known.unwrap_or(partition.leader_epoch())
    };
    Ok((Vec::new(), found, epoch))
}

/// The first record at or after a time, or that with the largest timestamp. Reads batches from disk.
async fn by_time(
    partition: &Partition,
    version: i16,
    timestamp: Option<i64>,
) -> Result<Found, ErrorCode> {
    let high_watermark = partition.high_watermark();
    match search(partition.reader().clone(), timestamp).await {
        Ok(Some(found)) if found.offset < high_watermark => Ok((found.offset, found.timestamp)),
        // What a consumer would take as "none yet", and go on from the end.
        Ok(_) => latest(partition, version).map(|_| (-1, -1)),
        Err(error) => {
            tracing::error!(topic = %partition.topic(), partition = partition.index(), %error, "time search failed");
            if let ReadError::Log(error) = error {
                let reader = partition.reader().clone();
                blocking::spawn(move || reader.note_failure(&error));
            }
            Err(ErrorCode::KafkaStorageError)
        }
    }
}

/// Reads where it may block; a batch is opened when there is memory for it.
async fn search(
    reader: LogReader,
    timestamp: Option<i64>,
) -> Result<Option<TimestampedOffset>, ReadError> {
    let mut search = match timestamp {
        Some(timestamp) => reader.search_since(timestamp),
        None => blocking::run(move || reader.search_youngest()).await?,
    };
    loop {
        let (searched, rest) = blocking::run(move || (search.go_on(), search)).await;
        let batch = match searched? {
            Searched::Found(found) => return Ok(found),
            Searched::LookInto(batch) => batch,
        };
        let look = move |limit| batch.look(limit);
        let found = large::open(look, |unopened| unopened.wants_room).await;
        if let Some(found) = found.map_err(|unopened| unopened.error)? {
            return Ok(Some(found));
        }
        search = rest;
    }
}

/// Version 0: the start offsets of the segments that are older than the time, newest first.
async fn old_style(
    partition: &Partition,
    (timestamp, count_max): (i64, i32),
    now_ms: i64,
) -> Vec<i64> {
    let reader = partition.reader();
    let count_max = usize::try_from(count_max).unwrap_or(0);
    let bases = |reader: &LogReader| {
        let segments = reader.segments().into_iter();
        segments
            .map(|segment| segment.base_offset)
            .collect::<Vec<i64>>()
    };
    let mut offsets: Vec<i64> = match timestamp {
        EARLIEST => vec![reader.log_start_offset()],
        LATEST => bases(reader),
        time => {
            let reader = reader.clone();
            let older = move || {
                let mut bases = bases(&reader);
                bases.retain(|base_offset| modified_ms(&reader, *base_offset) <= time);
                bases
            };
            let mut offsets = blocking::run(older).await;
            // What is appended from now on would be older than a time to come: the end counts as well.
            offsets.extend((time > now_ms).then(|| partition.high_watermark()));
            offsets
        }
    };
    if timestamp != EARLIEST {
        let start = reader.log_start_offset();
        offsets
            .iter_mut()
            .for_each(|offset| *offset = start.max(*offset));
        if timestamp == LATEST {
            offsets.push(partition.high_watermark());
        }
        offsets.sort_unstable_by(|a, b| b.cmp(a));
        offsets.dedup();
    }
    offsets.truncate(count_max);
    offsets
}

/// When a segment's file was last written, ms since 1970; the log itself keeps no such time. May wait for the disk.
fn modified_ms(reader: &LogReader, base_offset: i64) -> i64 {
    let path = reader.folder().join(format!("{base_offset:020}.log"));
    let modified = std::fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .ok();
    let since = modified
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn into_response(
    wanted: &ListOffsetsPartition,
    version: i16,
    answer: Result<(Vec<i64>, Found, i32), ErrorCode>,
) -> ListOffsetsPartitionResponse {
    let partition_index = wanted.partition_index;
    match answer {
        Ok((old_style_offsets, (offset, timestamp), leader_epoch)) => {
            ListOffsetsPartitionResponse {
                partition_index,
                old_style_offsets,
                timestamp,
                offset,
                leader_epoch: if version >= 4 { leader_epoch } else { -1 },
                ..Default::default()
            }
        }
        Err(error_code) => ListOffsetsPartitionResponse {
            partition_index,
            error_code,
            ..Default::default()
        },
    }
}

#[cfg(test)]
mod tests;
