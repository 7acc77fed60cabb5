//! Confirming indexes after a crash: what they say is compared with the batches, and kept where it is right.
//!
//! Making them anew means truncating them first, which waits for pages that are just being written.

use milena_protocol::records::BatchHeader;

use super::Segment;
use crate::error::{LogError, StorageError};
use crate::files::Reach;
use crate::index::{OffsetEntry, TimeEntry};

impl Segment {
    /// Gets ready for a walk that confirms the indexes: what they say up to `safe`, the recovery point, is kept, for
    /// it reached the disk before the point was moved. Returns where the walk starts.
    pub fn resume_indexes(&self, safe: i64) -> Result<u64, LogError> {
        self.set_vetted();
        let path = || self.path("index");
        let last = self
            .offsets
            .resume(&path, |entry| {
                self.base_offset + i64::from(entry.relative_offset) < safe
            })
            .map_err(StorageError::at("read", &path))?;
        let start = last.map_or(0, |entry| u64::from(entry.position));
        let named = |entry: OffsetEntry| self.base_offset + i64::from(entry.relative_offset);
        let leads = last.is_none_or(|entry| {
            let first = self.scan(start).map(|mut scan| scan.next());
            matches!(first, Ok(Ok(Some((_, header)))) if header.last_offset() == named(entry))
        });
        if !leads {
            return self.begin_anew();
        }
        let path = || self.path("timeindex");
        let youngest = self
            .times
            .resume(&path, |entry| {
                last.is_some_and(|last| entry.relative_offset <= last.relative_offset)
            })
            .map_err(StorageError::at("read", &path))?;
        if !self.is_youngest_before(youngest, start)? {
            return self.begin_anew();
        }
        *self.youngest.lock() = Some(self.youngest_of(youngest));
        Ok(start)
    }

    /// Indexes that know nothing, for a walk from the segment's start.
    fn begin_anew(&self) -> Result<u64, LogError> {
        self.reset_indexes()?;
        *self.youngest.lock() = Some(self.no_youngest());
        Ok(0)
    }

    /// Whether the entry names a batch with its time, and none from there to the position `end` is younger; where there is no
    /// entry, none at all that has a time.
    fn is_youngest_before(&self, entry: Option<TimeEntry>, end: u64) -> Result<bool, LogError> {
        let named = self.youngest_of(entry);
        let found = match entry {
            None => Ok(Some(0)),
            Some(_) => self.find_indexed(named.offset, Reach::Disk).map(|found| {
                let held = found.filter(|(_, batch)| batch.max_timestamp == named.timestamp);
                held.map(|(position, _)| position)
            }),
        };
        let from = match found {
            Ok(Some(from)) => from,
            Err(error @ LogError::Storage(_)) => return Err(error),
            Ok(None) | Err(_) => return Ok(false),
        };
        let mut scan = self.scan(from)?;
        while scan.position() < end {
            match scan.next() {
                Ok(Some((_, header))) if header.record_count == 0 => {}
                Ok(Some((_, header))) if header.max_timestamp <= named.timestamp => {}
                Ok(Some(_)) => return Ok(false),
                Ok(None) => break,
                Err(stop) => match self.damage(stop, self.base_offset) {
                    error @ LogError::Storage(_) => return Err(error),
                    // What the batches are damaged by is not the index's fault.
                    _ => break,
                },
            }
        }
        Ok(true)
    }

    /// Notes a batch of such a walk: an entry of the file that is right is confirmed, one that is missing is added.
    pub fn confirm_batch(
        &self,
        position: u64,
        header: &BatchHeader,
        due: bool,
    ) -> Result<bool, StorageError> {
        let youngest = self.note_timestamp(header)?;
        let named = TimeEntry {
            timestamp: youngest.timestamp,
            relative_offset: self.relative(youngest.offset),
        };
        if self.times.unconfirmed() == Some(named) {
            self.times.confirm();
        }
        let entry = OffsetEntry {
            relative_offset: self.relative(header.last_offset()),
            position: position as u32,
        };
        match self.offsets.unconfirmed() {
            Some(next) if next == entry => self.offsets.confirm(),
            // The walk starts at an entry that is kept.
            None if due && self.last_indexed_offset()? != Some(header.last_offset()) => {
                let path = || self.path("index");
                self.offsets
                    .push(&path, entry)
                    .map_err(StorageError::at("write", &path))?;
            }
            _ => return Ok(false),
        }
        if self.times.unconfirmed().is_none() {
            self.index_time(youngest)?;
        }
        Ok(true)
    }

    fn last_indexed_offset(&self) -> Result<Option<i64>, StorageError> {
        let path = || self.path("index");
        let last = self
            .offsets
            .last(&path)
            .map_err(StorageError::at("read", &path))?;
        Ok(last.map(|entry| self.base_offset + i64::from(entry.relative_offset)))
    }

    /// Whether the walk has confirmed all that the indexes say.
    pub fn are_indexes_confirmed(&self) -> bool {
        self.has_indexes()
            && self.offsets.unconfirmed().is_none()
            && self.times.unconfirmed().is_none()
    }
}
