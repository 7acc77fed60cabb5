//! Finding a batch by offset, by bytes and by time, through the indexes. An entry that is wrong costs a walk over the
//! segment, never a wrong answer.

use milena_protocol::records::{BatchHeader, LOG_OVERHEAD};

use super::{NO_TIMESTAMP, Segment, Youngest, cold};
use crate::error::{LogError, StorageError};
use crate::files::Reach;
use crate::index::OffsetEntry;
use crate::scan::ScanStop;

/// A batch, and where it starts.
pub(crate) type Found = Option<(u64, BatchHeader)>;

/// What a walk from an index's entry came to.
enum Walked {
    Found(Found),
    /// The entry is wrong.
    Astray,
}

impl Segment {
    /// The first batch whose last offset is at least `offset`, and where it starts.
    pub fn find(&self, offset: i64) -> Result<Found, LogError> {
        self.find_within(offset, Reach::Disk)
    }

    /// The same as far as `reach` goes.
    pub fn find_within(&self, offset: i64, reach: Reach) -> Result<Found, LogError> {
        // It may have no files yet.
        if self.size() == 0 {
            return Ok(None);
        }
        let vetted = match reach {
            Reach::Disk if self.is_beyond_vetting() => Ok(()),
            Reach::Disk => self.vet(),
            Reach::Cache if self.is_vetted() => Ok(()),
            Reach::Cache => Err(cold().into()),
        };
        match vetted {
            Err(error @ LogError::Storage(_)) => Err(error),
            // Of batches that are damaged those before the damage are found, by a walk where no index could be made.
            _ => self.find_indexed(offset, reach),
        }
    }

    pub(super) fn find_indexed(&self, offset: i64, reach: Reach) -> Result<Found, LogError> {
        let start = self.floor_position(reach, |entry| self.named(*entry) <= offset)?;
        match self.find_from(start, offset, reach)? {
            Walked::Found(found) => Ok(found),
            // The whole segment may have to be walked.
            Walked::Astray if reach == Reach::Cache => Err(cold().into()),
            Walked::Astray => match self.find_from(0, offset, reach)? {
                Walked::Found(found) => Ok(found),
                Walked::Astray => Ok(None),
            },
        }
    }

    /// Where the last entry for which `below` holds leads to; the segment's start where there is none, or no index.
    fn floor_position(
        &self,
        reach: Reach,
        below: impl Fn(&OffsetEntry) -> bool,
    ) -> Result<u64, StorageError> {
        if self.has_no_index() {
            // The whole segment may have to be walked.
            return match reach {
                Reach::Disk => Ok(0),
                Reach::Cache => Err(cold()),
            };
        }
        let path = || self.path_within(reach, "index");
        let floor = self
            .offsets
            .floor((&|| self.path("index"), reach), below)
            .map_err(StorageError::at("read", &path))?;
        Ok(floor.map_or(0, |entry| u64::from(entry.position)))
    }

    /// Walks from where an index leads for `offset`: to a batch that ends with it, or before it.
    fn find_from(&self, start: u64, offset: i64, reach: Reach) -> Result<Walked, LogError> {
        let mut scan = self.scan_within(reach, start)?;
        let mut is_led = start == 0;
        loop {
            match scan.next() {
                Err(ScanStop::Invalid { .. }) if start > 0 => return Ok(Walked::Astray),
                Err(stop) => return Err(self.damage_within(reach, stop, offset)),
                Ok(None) if is_led => return Ok(Walked::Found(None)),
                Ok(None) => return Ok(Walked::Astray),
                Ok(Some((_, header))) if !is_led && header.last_offset() > offset => {
                    return Ok(Walked::Astray);
                }
                Ok(Some((position, header))) if header.last_offset() >= offset => {
                    return Ok(Walked::Found(Some((position, header))));
                }
                Ok(Some(_)) => is_led = true,
            }
        }
    }

    /// The offset that an entry names.
    pub(super) fn named(&self, entry: OffsetEntry) -> i64 {
        self.base_offset + i64::from(entry.relative_offset)
    }

    /// The first batch's largest timestamp, of a segment that takes no more batches; -1 where it has none, or no batch.
    pub fn first_timestamp(&self) -> Result<i64, LogError> {
        let mut known = self.first_timestamp.lock();
        if let Some(timestamp) = *known {
            return Ok(timestamp);
        }
        let first = match self.size() {
            0 => Ok(None),
            _ => self.scan(0)?.next(),
        };
        let first = first.map_err(|stop| self.damage(stop, self.base_offset))?;
        let timestamp = first.map_or(NO_TIMESTAMP, |(_, header)| header.max_timestamp);
        *known = Some(timestamp);
        Ok(timestamp)
    }

    /// The size of the batch that starts at `position`, by its length field.
    pub fn batch_size_at(&self, position: u64, reach: Reach) -> Result<usize, StorageError> {
        let mut front = [0; LOG_OVERHEAD];
        let path = || self.path_within(reach, "log");
        self.file_within(reach)?
            .read_within(reach, &mut front, position, LOG_OVERHEAD)
            .map_err(StorageError::at("read", &path))?;
        let length = front
            .last_chunk()
            .map_or(0, |bytes| i32::from_be_bytes(*bytes));
        Ok(LOG_OVERHEAD + usize::try_from(length).unwrap_or(0))
    }

    /// The first batch that goes beyond the byte `end`: the offset behind the one before it, and where it starts.
    pub fn cut_at(&self, end: u64) -> Result<(i64, u64), LogError> {
        self.cut_within((0, end), Reach::Disk)
    }

    /// The same as far as `reach` goes, where a batch starts at the byte `from` before it.
    pub fn cut_within(
        &self,
        (from, end): (u64, u64),
        reach: Reach,
    ) -> Result<(i64, u64), LogError> {
        let floor = self.floor_position(reach, |entry| u64::from(entry.position) <= end)?;
        let mut scan = self.scan_within(reach, floor.max(from))?;
        let mut behind = None;
        while let Some((position, header)) = scan
            .next()
            .map_err(|stop| self.damage_within(reach, stop, self.base_offset))?
        {
            if position + header.size() as u64 > end {
                return Ok((behind.unwrap_or(header.base_offset), position));
            }
            behind = Some(header.last_offset() + 1);
        }
        Ok((behind.unwrap_or(self.base_offset), self.size()))
    }

    /// Where a log ends whose last batch ends at the byte `size` of this segment; where the segment begins if it has none.
    pub fn end_at(&self, size: u64) -> Result<i64, LogError> {
        let floor = self.floor_position(Reach::Disk, |entry| u64::from(entry.position) < size)?;
        match self.end_from(floor, size) {
            Err(LogError::Damaged { .. }) if floor > 0 => self.end_from(0, size),
            end => end,
        }
    }

    fn end_from(&self, start: u64, size: u64) -> Result<i64, LogError> {
        let mut scan = self.scan(start)?;
        let mut end = self.base_offset;
        while scan.position() < size {
            match scan.next().map_err(|stop| self.damage(stop, end))? {
                Some((_, header)) => end = header.last_offset() + 1,
                None => break,
            }
        }
        if scan.position() == size {
            return Ok(end);
        }
        let (position, problem) = (size, "no batch ends here".to_owned());
        Err(self.damage(ScanStop::Invalid { position, problem }, end))
    }

    /// The time index's last entry whose timestamp is below `timestamp`.
    pub fn time_floor(&self, timestamp: i64) -> Result<Option<Youngest>, StorageError> {
        self.vet_times()?;
        let path = || self.path("timeindex");
        let floor = self
            .times
            .floor((&path, Reach::Disk), |entry| entry.timestamp < timestamp)
            .map_err(StorageError::at("read", &path))?;
        Ok(floor.map(|entry| self.youngest_of(Some(entry))))
    }
}
