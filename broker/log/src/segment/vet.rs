//! A look at a segment's indexes before they are first believed. The writer keeps them right, and recovery confirms
//! those that it walks; those of other segments are as the disk has them. What is missing or wrong is made anew.
//!
//! Looked at are the ends, where a file shows that it was lost or cut short. Whoever follows an entry within holds it
//! against the batch that it leads to.

use std::io;

use super::Segment;
use super::find::Found;
use crate::config::LogConfig;
use crate::error::{LogError, StorageError};
use crate::files::Reach;
use crate::index::OffsetEntry;
use crate::scan::{Scan, ScanStop};

/// What came of the look: `None` before it, and an error where the batches are damaged, so that no index can be made.
pub(super) type Vetted = Option<Result<(), Box<LogError>>>;

impl Segment {
    /// The indexes are known, or are being made.
    pub(super) fn set_vetted(&self) {
        *self.vetted.write() = Some(Ok(()));
    }

    /// Looks at the indexes, the first time. The first caller does it, and the others wait. An error of the disk is not
    /// remembered.
    pub(super) fn vet(&self) -> Result<(), LogError> {
        let told = |known: &Result<(), Box<LogError>>| known.clone().map_err(|error| *error);
        if let Some(known) = &*self.vetted.read() {
            return told(known);
        }
        let mut vetted = self.vetted.write();
        if let Some(known) = &*vetted {
            return told(known);
        }
        let was_open = self.file.load().is_some();
        let looked = self.mend_indexes();
        if !was_open {
            // A search by time asks many segments, each once.
            self.close_synced();
        }
        match looked {
            Err(LogError::Storage(_)) => looked,
            looked => told(vetted.insert(looked.map_err(Box::new))),
        }
    }

    /// Whether that look was taken. Does not wait for who is at it.
    pub(super) fn is_vetted(&self) -> bool {
        self.vetted.try_read().is_some_and(|known| known.is_some())
    }

    /// The same for who can do nothing without the time index.
    pub(super) fn vet_times(&self) -> Result<(), StorageError> {
        self.vet().map_err(|error| match error {
            LogError::Storage(error) => error,
            damage => StorageError::of("read", &self.path("log"))(io::Error::other(damage)),
        })
    }

    /// Whether a descriptor of its batches is held.
    #[cfg(test)]
    pub(crate) fn is_open(&self) -> bool {
        self.file.load().is_some()
    }

    fn mend_indexes(&self) -> Result<(), LogError> {
        if self.are_indexes_right()? {
            return Ok(());
        }
        tracing::warn!(
            segment = %self.path("log").display(),
            "an index of this segment was missing or wrong, and is made anew"
        );
        // Where the batches are damaged, what there is of indexes is left as it is.
        self.walk()?;
        self.remake_indexes(LogConfig::default().index_interval_bytes)?;
        Ok(self.seal()?)
    }

    /// Whether all batches follow each other to the end.
    pub fn walk(&self) -> Result<(), LogError> {
        self.walk_by(Scan::next).map(drop)
    }

    /// The same, and all match their checksums; the offset behind the last.
    pub fn walk_checked(&self) -> Result<i64, LogError> {
        self.walk_by(Scan::next_checked)
    }

    /// A walk from the first batch to the end, step by step; the offset behind the last.
    pub fn walk_by(
        &self,
        mut next: impl FnMut(&mut Scan) -> Result<Found, ScanStop>,
    ) -> Result<i64, LogError> {
        let mut next_offset = self.base_offset;
        // It may have no files yet.
        if self.size() == 0 {
            return Ok(next_offset);
        }
        let mut scan = self.scan(0)?;
        while let Some((_, header)) =
            next(&mut scan).map_err(|stop| self.damage(stop, next_offset))?
        {
            next_offset = header.last_offset() + 1;
        }
        Ok(next_offset)
    }

    /// Whether the file has fewer bytes than the log has in it.
    pub fn is_short(&self) -> bool {
        let len = self.file().ok().and_then(|file| file.len().ok());
        len.is_some_and(|len| len < self.size())
    }

    fn are_indexes_right(&self) -> Result<bool, LogError> {
        if !self.has_indexes() {
            return Ok(false);
        }
        let path = || self.path("index");
        let last = self
            .offsets
            .last(&path)
            .map_err(StorageError::at("read", &path))?;
        let path = || self.path("timeindex");
        let youngest = self
            .times
            .last(&path)
            .map_err(StorageError::at("read", &path))?;
        let is_held = match youngest.map(|entry| self.youngest_of(Some(entry))) {
            None => true,
            Some(youngest) => match self.find_indexed(youngest.offset, Reach::Disk) {
                Ok(holder) => {
                    holder.is_some_and(|(_, batch)| batch.max_timestamp == youngest.timestamp)
                }
                Err(error @ LogError::Storage(_)) => return Err(error),
                Err(_) => false,
            },
        };
        Ok(is_held && self.ends_as_told(last, self.youngest_of(youngest).timestamp)?)
    }

    /// Whether the last entry leads to a batch that ends with the offset it names, or before it, and no batch from there
    /// on is younger than `youngest`.
    fn ends_as_told(&self, last: Option<OffsetEntry>, youngest: i64) -> Result<bool, LogError> {
        let mut scan = self.scan(last.map_or(0, |entry| u64::from(entry.position)))?;
        let mut is_led = last.is_none();
        loop {
            let header = match scan.next() {
                Ok(Some((_, header))) => header,
                Ok(None) => return Ok(is_led),
                Err(stop) => match self.damage(stop, self.base_offset) {
                    error @ LogError::Storage(_) => return Err(error),
                    // What the batches are damaged by is not the index's fault.
                    _ => return Ok(is_led),
                },
            };
            is_led |= last.is_some_and(|entry| header.last_offset() <= self.named(entry));
            let is_younger = header.record_count > 0 && header.max_timestamp > youngest;
            if !is_led || is_younger {
                return Ok(false);
            }
        }
    }
}
