//! A part of a segment's file, to be sent to a client as it is: nothing of it is read until its turn comes.

use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use crate::error::{LogError, ReadError};
use crate::files::{self, LogFile, Reach};
use crate::reader::LogReader;
use crate::segment::Segment;
use crate::shared::{Shared, Tip};

/// Bytes of a segment's file, from the start of a batch on. The last batch may be cut short, as Kafka's clients
/// expect; the file stays open while this lives, also where its segment is deleted meanwhile.
#[derive(Debug, Clone)]
pub struct Region {
    shared: Arc<Shared>,
    segment: Arc<Segment>,
    file: Arc<LogFile>,
    position: u64,
    len: usize,
    /// The offset behind its last whole batch.
    behind: i64,
}

impl LogReader {
    /// Where the batches from the one that holds `offset` on are: those of offsets below `bound` (the high watermark),
    /// about `bytes_max` of them, from one segment. With `at_least_one` the first batch is whole whatever its size.
    /// `None` where there is nothing to send. Fails for all of a segment of which the disk has refused to read a part:
    /// who is sent it would lose its connection, with all else that it asks for there, again and again. May wait for the
    /// disk.
    pub fn region(
        &self,
        offset: i64,
        bytes_max: usize,
        bound: i64,
        at_least_one: bool,
    ) -> Result<Option<Region>, ReadError> {
        self.region_within((offset, bound), (bytes_max, at_least_one), Reach::Disk)
    }

    /// The same from what memory and the page cache have; never waits for the disk. `None` where that is not enough to
    /// tell: then it is for `region`, as is whatever seems wrong.
    pub fn region_cached(
        &self,
        offset: i64,
        bytes_max: usize,
        bound: i64,
        at_least_one: bool,
    ) -> Option<Result<Option<Region>, ReadError>> {
        match self.region_within((offset, bound), (bytes_max, at_least_one), Reach::Cache) {
            Err(ReadError::Log(_)) => None,
            found => Some(found),
        }
    }

    fn region_within(
        &self,
        (offset, bound): (i64, i64),
        (bytes_max, at_least_one): (usize, bool),
        reach: Reach,
    ) -> Result<Option<Region>, ReadError> {
        let shared = self.shared();
        let (start, tip) = (shared.start(), shared.tip());
        let end = tip.end;
        if offset < start || offset > end {
            return Err(ReadError::OutOfRange { offset, start, end });
        }
        let generation = shared.generation();
        if offset >= bound || (bytes_max == 0 && !at_least_one) {
            return Ok(None);
        }
        let Some((segment, position)) = self.locate(offset, reach)? else {
            return Ok(None);
        };
        segment.check_readable()?;
        let stop = self.stop_position(&segment, bound, tip, reach)?;
        let available = usize::try_from(stop.saturating_sub(position)).unwrap_or(usize::MAX);
        let mut len = available.min(bytes_max);
        if len < available && at_least_one {
            let size = segment
                .batch_size_at(position, reach)
                .inspect_err(|error| shared.note_failed_read(&segment, &error.source))?;
            len = len.max(size.min(available));
        }
        if len == available && bound >= end {
            // Whoever reads to the end comes back for what follows it.
            shared.remember(generation, end, segment.base_offset(), stop);
        }
        if len == 0 {
            return Ok(None);
        }
        let next = || shared.segment_after(segment.base_offset());
        let behind = match len == available {
            true => next().map_or(bound.min(end), |next| bound.min(next.base_offset())),
            false => self.behind(
                (&segment, generation),
                (offset, position..position + len as u64),
                reach,
            )?,
        };
        Ok(Some(Region {
            shared: shared.clone(),
            file: shared.file_of(&segment, reach)?,
            segment,
            position,
            len,
            behind,
        }))
    }

    /// The offset behind the last whole batch of `bytes`, which begin with the batch that holds `offset`. Looks at one batch's header or two at the most, and remembers the place, for whoever gets the region asks
    /// for it next.
    fn behind(
        &self,
        (segment, generation): (&Segment, u64),
        (offset, bytes): (i64, Range<u64>),
        reach: Reach,
    ) -> Result<i64, LogError> {
        match segment.cut_within((bytes.start, bytes.end), reach) {
            Ok((behind, position)) => {
                let base_offset = segment.base_offset();
                self.shared()
                    .remember(generation, behind, base_offset, position);
                Ok(behind.max(offset))
            }
            // An unreadable header shows when the region is sent; here it only spoils a count.
            Err(_) if reach == Reach::Disk => Ok(offset),
            Err(error) => Err(error),
        }
    }

    /// Where in the segment the bound lies: at its end, unless the bound is inside it.
    fn stop_position(
        &self,
        segment: &Arc<Segment>,
        bound: i64,
        tip: Tip,
        reach: Reach,
    ) -> Result<u64, ReadError> {
        // What was appended since the tip was taken does not count.
        let whole = match segment.base_offset() == tip.base_offset {
            true => tip.size.min(segment.size()),
            false => segment.size(),
        };
        if bound >= tip.end
            || self
                .shared()
                .segment_after(segment.base_offset())
                .is_some_and(|next| next.base_offset() <= bound)
        {
            return Ok(whole);
        }
        match self.locate(bound, reach)? {
            Some((holder, position)) if holder.base_offset() == segment.base_offset() => {
                Ok(position)
            }
            _ => Ok(whole),
        }
    }
}

impl Region {
    /// The offset behind the last whole batch that it had when it was found; one in its first where there is none.
    pub fn offset_behind(&self) -> i64 {
        self.behind
    }

    /// Bytes left.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads what the page cache has of the next bytes, at most what `into` takes; 0 where it has none of them.
    pub fn read_cached(&mut self, into: &mut [u8]) -> usize {
        let len = into.len().min(self.len);
        let read = self.file.read_cached_at(&mut into[..len], self.position);
        self.skip(read);
        read
    }

    /// Whether the page cache has this part, going by its first and last byte: what was written or read lately
    /// is there as a whole.
    pub fn is_cached(&self) -> bool {
        self.len == 0
            || (self.file.is_cached_at(self.position)
                && self.file.is_cached_at(self.position + self.len as u64 - 1))
    }

    /// Brings this part into the page cache; waits for the disk. Fails where the file has become shorter.
    pub fn warm(&self) -> io::Result<()> {
        match self.noted(self.file.warm_at(self.position, self.len))? {
            true => Ok(()),
            false => Err(self.ends_early()),
        }
    }

    /// Reads this part for the page cache's sake, and keeps none of it; waits until all of it is there. Fails where the
    /// file has become shorter.
    pub fn read_through(&self) -> io::Result<()> {
        match self.noted(self.file.read_through(self.position, self.len))? {
            true => Ok(()),
            false => Err(self.ends_early()),
        }
    }

    /// Hands the next bytes to a socket, from the page cache and without a copy (`sendfile`); may wait for the disk
    /// where the cache lacks them. Fails where the file has become shorter, and with `WouldBlock` where a
    /// non-blocking socket takes none. Nothing is looked at once more: whoever asks again meets what there is to note
    /// where it may block.
    pub fn send(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let sent = match self.file.send_at(socket, self.position, self.len) {
            Err(error) if files::is_no_sockets(&error) => self.noted(Err(error)),
            sent => sent,
        }?;
        if sent == 0 && self.len > 0 {
            return Err(cut());
        }
        self.skip(sent);
        Ok(())
    }

    /// Takes the next bytes off, at most `len`.
    #[must_use]
    pub fn split_to(&mut self, len: usize) -> Self {
        let len = len.min(self.len);
        let front = Self {
            len,
            ..self.clone()
        };
        self.skip(len);
        front
    }

    /// Reads all that is left; may wait for the disk. Fails where the file has become shorter.
    pub fn read_all(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.len];
        let read = self.noted(self.file.read_at(&mut bytes, self.position))?;
        if read < bytes.len() {
            return Err(self.ends_early());
        }
        self.skip(read);
        Ok(bytes)
    }

    fn noted<T>(&self, read: io::Result<T>) -> io::Result<T> {
        read.inspect_err(|error| self.shared.note_failed_read(&self.segment, error))
    }

    /// Why less was read than this part has: the log was cut, or its file is damaged. Waits for the disk.
    fn ends_early(&self) -> io::Error {
        let end = self.position + self.len as u64;
        self.shared.note_short_file(&self.segment, end);
        match self.segment.check_readable() {
            Ok(()) => cut(),
            Err(damage) => io::Error::other(damage),
        }
    }

    fn skip(&mut self, bytes: usize) {
        self.position += bytes as u64;
        self.len -= bytes;
    }
}

fn cut() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the log was cut while it was being read",
    )
}
