//! Finding offsets by time (ListOffsets).

use std::sync::Arc;
use std::vec;

use bytes::Bytes;
use milena_protocol::records::{BatchHeader, OpenBatch, RecordsProblem};

use crate::error::{LogError, ReadError, StorageError};
use crate::reader::LogReader;
use crate::scan::Scan;
use crate::segment::{NO_TIMESTAMP, Segment, Youngest};

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

/// What is searched for.
#[derive(Debug, Clone, Copy)]
enum Sought {
    /// The first record from `start` on that is as young as `timestamp` or younger.
    Since { timestamp: i64, start: i64 },
    /// The first record of the largest timestamp, in the batch that holds `offset` or behind it; of a batch with
    /// LogAppendTime the last.
    Youngest { timestamp: i64, offset: i64 },
}

/// A search by time. It opens no batch: that may take much memory, and when is for its caller to say.
#[derive(Debug)]
pub struct TimeSearch {
    sought: Sought,
    /// Those that were not looked at yet.
    segments: vec::IntoIter<Arc<Segment>>,
    walk: Option<Walk>,
}

/// How far a search has come in a segment.
#[derive(Debug)]
struct Walk {
    segment: Arc<Segment>,
    scan: Scan,
    /// The one that is due next.
    offset: i64,
}

/// How a search goes on.
#[derive(Debug)]
pub enum Searched {
    /// It has ended.
    Found(Option<TimestampedOffset>),
    /// The record may be in this batch, which was read; where it is not, the search goes on behind it.
    LookInto(ClosedBatch),
}

/// A batch that has to be opened for a search. It is in the page cache and nowhere else, so that many of them may wait.
#[derive(Debug)]
pub struct ClosedBatch {
    sought: Sought,
    segment: Arc<Segment>,
    position: u64,
    header: BatchHeader,
}

/// Why a batch was not looked into.
#[derive(Debug)]
pub struct Unopened {
    /// What is wrong, and where.
    pub error: LogError,
    /// Whether it is only that the records take more room than they were given.
    pub wants_room: bool,
}

impl From<LogError> for Unopened {
    fn from(error: LogError) -> Self {
        let wants_room = false;
        Self { error, wants_room }
    }
}

impl LogReader {
    /// A search for the first record that is as young as `timestamp` or younger.
    pub fn search_since(&self, timestamp: i64) -> TimeSearch {
        let start = self.log_start_offset();
        let sought = Sought::Since { timestamp, start };
        TimeSearch::new(sought, self.shared().segments())
    }

    /// A search for the record with the largest timestamp, the first such (KIP-734); of a batch with LogAppendTime the
    /// last. May wait for the disk.
    pub fn search_youngest(&self) -> Result<TimeSearch, ReadError> {
        let start = self.log_start_offset();
        let mut best = (NO_TIMESTAMP, start);
        let mut holder = None;
        for segment in self.shared().segments() {
            let mut youngest = segment.youngest()?;
            if youngest.timestamp > best.0 && youngest.offset < start {
                // It was deleted, by DeleteRecords.
                youngest = segment.youngest_from(start)?;
            }
            if youngest.timestamp > best.0 && youngest.offset >= start {
                best = (youngest.timestamp, youngest.offset);
                holder = Some(segment);
            }
        }
        let (timestamp, offset) = best;
        let sought = Sought::Youngest { timestamp, offset };
        Ok(TimeSearch::new(sought, holder.into_iter().collect()))
    }
}

impl TimeSearch {
    fn new(sought: Sought, segments: Vec<Arc<Segment>>) -> Self {
        Self {
            sought,
            segments: segments.into_iter(),
            walk: None,
        }
    }

    /// Goes on to the next batch that has to be opened, or to the end. May wait for the disk.
    pub fn go_on(&mut self) -> Result<Searched, ReadError> {
        loop {
            if let Some(walk) = &mut self.walk {
                if let Some(searched) = walk.go_on(self.sought)? {
                    return Ok(searched);
                }
                self.walk = None;
            }
            let Some(segment) = self.segments.next() else {
                return Ok(Searched::Found(None));
            };
            self.walk = Walk::begin(segment, self.sought)?;
        }
    }
}

impl Walk {
    /// `None` where the segment has nothing of what is sought.
    fn begin(segment: Arc<Segment>, sought: Sought) -> Result<Option<Self>, ReadError> {
        let found = match sought {
            Sought::Since { timestamp, start } => {
                if segment.youngest()?.timestamp < timestamp {
                    return Ok(None);
                }
                segment.find_older(timestamp, start)?
            }
            Sought::Youngest { offset, .. } => {
                let found = segment.find(offset)?;
                found.map(|(position, _)| (position, offset))
            }
        };
        let Some((position, offset)) = found else {
            return Ok(None);
        };
        Ok(Some(Self {
            scan: segment.scan(position)?,
            segment,
            offset,
        }))
    }

    /// `None` at the segment's end.
    fn go_on(&mut self, sought: Sought) -> Result<Option<Searched>, ReadError> {
        loop {
            let next = self.scan.next();
            let next = next.map_err(|stop| self.segment.damage(stop, self.offset))?;
            let Some((position, header)) = next else {
                return Ok(None);
            };
            self.offset = header.last_offset() + 1;
            match sought {
                Sought::Since { timestamp, .. } if header.max_timestamp < timestamp => continue,
                Sought::Youngest { .. } if header.is_log_append_time() => {
                    return Ok(Some(Searched::Found(Some(TimestampedOffset {
                        offset: header.last_offset(),
                        timestamp: header.max_timestamp,
                        leader_epoch: header.partition_leader_epoch,
                    }))));
                }
                Sought::Since { .. } | Sought::Youngest { .. } => {}
            }
            let path = || self.segment.path("log");
            let read = self.segment.file()?.read_through(position, header.size());
            // A log that was cut meanwhile shows when the batch is opened.
            read.map_err(StorageError::at("read", &path))?;
            return Ok(Some(Searched::LookInto(ClosedBatch {
                sought,
                segment: self.segment.clone(),
                position,
                header,
            })));
        }
    }
}

impl ClosedBatch {
    /// Opens the batch to at most `limit` bytes, and looks for the record in it.
    pub fn look(&self, limit: usize) -> Result<Option<TimestampedOffset>, Unopened> {
        let bytes = self.segment.read_batch(self.position, &self.header)?;
        self.look_into(&bytes, limit).map_err(|problem| Unopened {
            error: self.segment.malformed(&self.header, &problem.to_string()),
            wants_room: problem.wants_room(),
        })
    }

    fn look_into(
        &self,
        bytes: &Bytes,
        limit: usize,
    ) -> Result<Option<TimestampedOffset>, RecordsProblem> {
        let batch = OpenBatch::open(self.header, bytes, limit)?;
        for record in batch.raw() {
            let record = record?;
            let (offset, time) = (
                self.header.offset_of(&record),
                self.header.timestamp_of(&record),
            );
            let is_it = match self.sought {
                Sought::Since { timestamp, start } => offset >= start && time >= timestamp,
                Sought::Youngest { timestamp, .. } => time == timestamp,
            };
            if is_it {
                return Ok(Some(TimestampedOffset {
                    offset,
                    timestamp: time,
                    leader_epoch: self.header.partition_leader_epoch,
                }));
            }
        }
        Ok(None)
    }
}

impl Segment {
    /// Where a batch begins, and the offset it was found by, before which none from `start` on is as young as `timestamp`.
    fn find_older(&self, timestamp: i64, start: i64) -> Result<Option<(u64, i64)>, LogError> {
        if let Some(floor) = self.time_floor(timestamp)?
            && floor.offset >= start
            && let Some((position, header)) = self.find(floor.offset)?
            // An entry that is wrong costs a walk, never a wrong answer.
            && header.max_timestamp == floor.timestamp
        {
            return Ok(Some((position, floor.offset)));
        }
        Ok(self.find(start)?.map(|(position, _)| (position, start)))
    }

    /// The youngest timestamp of the batches from the one that holds `start` on.
    fn youngest_from(&self, start: i64) -> Result<Youngest, LogError> {
        let mut youngest = Youngest {
            timestamp: NO_TIMESTAMP,
            offset: start,
        };
        let Some((position, _)) = self.find(start)? else {
            return Ok(youngest);
        };
        let mut scan = self.scan(position)?;
        while let Some((_, header)) = scan.next().map_err(|stop| self.damage(stop, start))? {
            if header.record_count > 0 && header.max_timestamp > youngest.timestamp {
                youngest = Youngest {
                    timestamp: header.max_timestamp,
                    offset: header.last_offset(),
                };
            }
        }
        Ok(youngest)
    }

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
