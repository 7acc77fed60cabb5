//! Writing a cleaned segment: which records stay, and the batches that hold them.

use std::io::IoSlice;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use milena_protocol::records::{
    BatchBuilder, BatchHeader, BatchOptions, OpenBatch, RawRecord, empty_batch,
};

use super::{CleaningIo, CleaningPlan, Halt, OffsetMap, Pace, open};
use crate::error::{LogError, StorageError};
use crate::segment::{Segment, write_back};

/// Batches are collected up to this size for one write.
const WRITE_BYTES: usize = 1 << 20;

pub(super) struct Filter<'a> {
    new: &'a Segment,
    map: &'a OffsetMap,
    /// The offset behind what the map knows.
    mapped_to: i64,
    plan: &'a CleaningPlan,
    buffer: Vec<u8>,
    /// Where the buffer's first byte goes.
    position: u64,
    since_index_entry: u64,
}

/// What becomes of a batch.
#[derive(Debug)]
enum Fate {
    Whole,
    Part {
        kept: Vec<i32>,
        delete_horizon: Option<i64>,
    },
    Gone,
}

impl<'a> Filter<'a> {
    pub fn new(
        new: &'a Segment,
        (map, mapped_to): (&'a OffsetMap, i64),
        plan: &'a CleaningPlan,
    ) -> Self {
        Self {
            new,
            map,
            mapped_to,
            plan,
            buffer: Vec::new(),
            position: 0,
            since_index_entry: 0,
        }
    }

    /// Writes what stays of `old`, and syncs it.
    pub fn run(&mut self, old: &[Arc<Segment>], pace: &mut Pace<'_>) -> Result<(), Halt> {
        for (index, segment) in old.iter().enumerate() {
            let is_last_segment = index + 1 == old.len();
            let (mut scan, end) = (segment.scan(0)?, segment.size());
            let mut offset = segment.base_offset();
            while let Some((at, header)) =
                scan.next().map_err(|stop| segment.damage(stop, offset))?
            {
                offset = header.last_offset() + 1;
                let is_last = is_last_segment && at + header.size() as u64 == end;
                if let Some(batch) = self.clean(segment, at, &header, is_last)? {
                    self.put(&batch, pace)?;
                }
                if pace(CleaningIo::Read(header.size() as u64)).is_break() {
                    return Err(Halt::GivenUp);
                }
            }
        }
        self.write(pace)?;
        self.new.seal()?;
        Ok(self.new.sync()?)
    }

    /// The batch as it stays. The last of a segment stays at least empty, so that segments join without a gap.
    fn clean(
        &self,
        segment: &Segment,
        at: u64,
        header: &BatchHeader,
        is_last: bool,
    ) -> Result<Option<Bytes>, LogError> {
        let needed =
            is_last || self.plan.producers.get(&header.producer_id) == Some(&header.last_offset());
        // A tombstone that no map has met yet must not count its time, nor go before what it deletes.
        let is_mapped = header.base_offset < self.mapped_to;
        if header.is_control() || !is_mapped {
            return segment.read_batch(at, header).map(Some);
        }
        let is_deleted = header.last_offset() < self.plan.log_start_offset;
        if header.record_count == 0 || is_deleted {
            return Ok(needed.then(|| empty_batch(header)));
        }
        let whole = segment.read_batch(at, header)?;
        let batch = open(segment, header, &whole)?;
        match self.fate(segment, &batch)? {
            Fate::Whole => Ok(Some(whole)),
            Fate::Part {
                kept,
                delete_horizon,
            } => rebuild(&batch, &kept, delete_horizon)
                .map(Some)
                .map_err(|problem| segment.malformed(header, &problem)),
            Fate::Gone => Ok(needed.then(|| empty_batch(header))),
        }
    }

    fn fate(&self, segment: &Segment, batch: &OpenBatch) -> Result<Fate, LogError> {
        let header = &batch.header;
        let (mut kept, mut has_tombstone) = (Vec::new(), false);
        for record in batch.raw() {
            let record =
                record.map_err(|problem| segment.malformed(header, &problem.to_string()))?;
            if self.stays(header, &record) {
                has_tombstone |= record.value.is_none();
                kept.push(record.offset_delta);
            }
        }
        let new_horizon = has_tombstone && header.delete_horizon().is_none();
        Ok(if kept.is_empty() {
            Fate::Gone
        } else if kept.len() == header.record_count as usize && !new_horizon {
            Fate::Whole
        } else {
            let retention_ms =
                i64::try_from(self.plan.config.delete_retention_ms).unwrap_or(i64::MAX);
            let horizon = self.plan.now_ms.saturating_add(retention_ms);
            let delete_horizon = header.delete_horizon().or(has_tombstone.then_some(horizon));
            Fate::Part {
                kept,
                delete_horizon,
            }
        })
    }

    fn stays(&self, header: &BatchHeader, record: &RawRecord<'_>) -> bool {
        // A record without key has no place in a compacted topic.
        let Some(key) = record.key else {
            return false;
        };
        let is_latest = self
            .map
            .get(key)
            // Of a batch that could not be read to its end, the map has a part.
            .filter(|latest| *latest < self.mapped_to)
            .is_none_or(|latest| header.offset_of(record) >= latest);
        let horizon_passed = header
            .delete_horizon()
            .is_some_and(|horizon| horizon < self.plan.now_ms);
        is_latest && !(record.value.is_none() && horizon_passed)
    }

    fn put(&mut self, batch: &Bytes, pace: &mut Pace<'_>) -> Result<(), Halt> {
        let header = BatchHeader::parse(batch).expect("a cleaned batch has been parsed or built");
        let indexed = self.since_index_entry > u64::from(self.plan.config.index_interval_bytes);
        let position = self.position + self.buffer.len() as u64;
        self.new.index_batch(position, &header, indexed)?;
        self.since_index_entry =
            batch.len() as u64 + if indexed { 0 } else { self.since_index_entry };
        self.buffer.extend_from_slice(batch);
        if self.buffer.len() >= WRITE_BYTES {
            self.write(pace)?;
        }
        Ok(())
    }

    fn write(&mut self, pace: &mut Pace<'_>) -> Result<(), Halt> {
        let path = self.new.path("log");
        let wrap = |error| StorageError::of("write", &path)(error);
        let (file, written) = (self.new.file()?, self.buffer.len() as u64);
        file.write_all_at(&mut [IoSlice::new(&self.buffer)], self.position)
            .map_err(wrap)?;
        write_back::begin(&file, self.position..self.position + written).map_err(wrap)?;
        self.position += written;
        self.buffer.clear();
        self.new.publish(self.position);
        match pace(CleaningIo::Written(written)) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Halt::GivenUp),
        }
    }
}

/// The batch with only the records of the `kept` offset deltas; offsets, producer and sequences stay.
fn rebuild(batch: &OpenBatch, kept: &[i32], delete_horizon: Option<i64>) -> Result<Bytes, String> {
    let header = &batch.header;
    let options = BatchOptions {
        delete_horizon,
        ..BatchOptions::of(header, None)
    };
    let mut builder = BatchBuilder::with_capacity(options, batch.records.len());
    let mut kept = kept.iter().peekable();
    for record in batch.raw() {
        let record = record.map_err(|problem| problem.to_string())?;
        if kept.next_if_eq(&&record.offset_delta).is_some() {
            builder
                .append_raw(
                    header.offset_of(&record),
                    header.timestamp_of(&record),
                    &record,
                )
                .map_err(|problem| problem.to_string())?;
        }
    }
    builder
        .extend_to(header.last_offset())
        .map_err(|problem| problem.to_string())?;
    builder.finish().map_err(|problem| problem.to_string())
}
