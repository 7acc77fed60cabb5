//! Finding offsets by time (ListOffsets).

use std::sync::Arc;

use bytes::Bytes;
use milena_protocol::records::{BatchHeader, DECOMPRESSED_SIZE_MAX, OpenBatch};

use crate::error::{LogError, ReadError, StorageError};
use crate::reader::LogReader;
use crate::segment::{NO_TIMESTAMP, Segment};

/// A record's place and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimestampedOffset {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp, ms.
    pub timestamp: i64,
    /// The leader epoch that it was appended in.
    pub leader_epoch: i32,
}

impl LogReader {
    /// The first record that is as young as `timestamp` or younger. May wait for the disk, and opens one batch.
    pub fn offset_for_timestamp(
        &self,
        timestamp: i64,
    ) -> Result<Option<TimestampedOffset>, ReadError> {
        let start = self.log_start_offset();
        for segment in self.shared().segments() {
            if segment.youngest()?.timestamp < timestamp {
                continue;
            }
            let from = segment.time_floor(timestamp)?.unwrap_or(start).max(start);
            let found = first_in(&segment, from, |header, batch| {
                if header.max_timestamp < timestamp {
                    return Ok(None);
                }
                let records = open(&segment, header, batch())?;
                record_where(&segment, &records, |offset, time| {
                    offset >= start && time >= timestamp
                })
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The record with the largest timestamp, the first such (KIP-734); of a batch with LogAppendTime the last.
    pub fn max_timestamp(&self) -> Result<Option<TimestampedOffset>, ReadError> {
        let mut best: Option<(i64, i64, Arc<Segment>)> = None;
        for segment in self.shared().segments() {
            let youngest = segment.youngest()?;
            let known = best
                .as_ref()
                .map_or(NO_TIMESTAMP, |(timestamp, ..)| *timestamp);
            if youngest.timestamp > known && youngest.offset >= self.log_start_offset() {
                best = Some((youngest.timestamp, youngest.offset, segment));
            }
        }
        let Some((timestamp, offset, segment)) = best else {
            return Ok(None);
        };
        first_in(&segment, offset, |header, batch| {
            if header.is_log_append_time() {
                return Ok(Some(TimestampedOffset {
                    offset: header.last_offset(),
                    timestamp: header.max_timestamp,
                    leader_epoch: header.partition_leader_epoch,
                }));
            }
            let records = open(&segment, header, batch())?;
            record_where(&segment, &records, |_, time| time == timestamp)
        })
    }
}

/// The first answer of `look`, which is shown each batch from the one that holds `from` on.
fn first_in(
    segment: &Segment,
    from: i64,
    look: impl Fn(
        &BatchHeader,
        &dyn Fn() -> Result<Bytes, LogError>,
    ) -> Result<Option<TimestampedOffset>, LogError>,
) -> Result<Option<TimestampedOffset>, ReadError> {
    let Some((position, _)) = segment.find(from)? else {
        return Ok(None);
    };
    let mut scan = segment.scan(position)?;
    let mut offset = from;
    while let Some((position, header)) = scan.next().map_err(|stop| segment.damage(stop, offset))? {
        offset = header.last_offset() + 1;
        let read = || segment.read_batch(position, &header);
        if let Some(found) = look(&header, &read)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn open(
    segment: &Segment,
    header: &BatchHeader,
    batch: Result<Bytes, LogError>,
) -> Result<OpenBatch, LogError> {
    OpenBatch::open(*header, &batch?, DECOMPRESSED_SIZE_MAX)
        .map_err(|problem| segment.malformed(header, &problem.to_string()))
}

fn record_where(
    segment: &Segment,
    batch: &OpenBatch,
    wanted: impl Fn(i64, i64) -> bool,
) -> Result<Option<TimestampedOffset>, LogError> {
    let header = &batch.header;
    for record in batch.raw() {
        let record = record.map_err(|problem| segment.malformed(header, &problem.to_string()))?;
        let (offset, timestamp) = (header.offset_of(&record), header.timestamp_of(&record));
        if wanted(offset, timestamp) {
            return Ok(Some(TimestampedOffset {
                offset,
                timestamp,
                leader_epoch: header.partition_leader_epoch,
            }));
        }
    }
    Ok(None)
}

impl Segment {
    /// A batch's bytes.
    pub(crate) fn read_batch(
        &self,
        position: u64,
        header: &BatchHeader,
    ) -> Result<Bytes, LogError> {
        let path = self.path("log");
        let mut bytes = vec![0; header.size()];
        let read = self
            .file()?
            .read_at(&mut bytes, position)
            .map_err(StorageError::of("read", &path))?;
        bytes.truncate(read);
        Ok(bytes.into())
    }
}
