//! The reading half of a log: cheap to clone, and never waiting for an append or a flush.

use std::sync::Arc;

use bytes::Bytes;
use milena_protocol::records::{BATCH_HEADER_SIZE, BatchHeader};

use crate::buffers::Buffer;
use crate::error::{LogError, ReadError, StorageError};
use crate::files::{LogFile, Reach};
use crate::scan::ScanStop;
use crate::segment::Segment;
use crate::shared::Shared;

/// Reads one log. Clones share the log with its writer.
#[derive(Debug, Clone)]
pub struct LogReader {
    shared: Arc<Shared>,
}

/// Whole batches, back to back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batches {
    /// The batches; empty where there are none below the bound, or the first does not fit.
    pub bytes: Bytes,
    /// The offset behind the last of them.
    pub next_offset: i64,
}

/// A place in a segment's file that is about to be read: it starts with the batch that was asked for.
#[derive(Debug)]
pub struct Slice {
    shared: Arc<Shared>,
    offset: i64,
    bound: i64,
    generation: u64,
    at_least_one: bool,
    place: Option<Place>,
}

#[derive(Debug)]
struct Place {
    segment: Arc<Segment>,
    file: Arc<LogFile>,
    position: u64,
    /// Bytes to read.
    len: usize,
    /// Bytes up to the segment's end.
    available: u64,
}

/// One segment, as listings show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentDescription {
    /// Its first offset, which names its files.
    pub base_offset: i64,
    /// Bytes of its batches.
    pub size: u64,
}

impl LogReader {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The first offset that can be read.
    pub fn log_start_offset(&self) -> i64 {
        self.shared.start()
    }

    /// The offset that the next record gets.
    pub fn log_end_offset(&self) -> i64 {
        self.shared.end()
    }

    /// The leader epoch of the record at `offset`.
    pub fn epoch_of(&self, offset: i64) -> Option<i32> {
        self.shared.epochs().of(offset)
    }

    /// The leader epoch of the last record; of an empty log the one that its last record had, as far as it is known.
    pub fn last_epoch(&self) -> Option<i32> {
        let (epochs, end) = self.shared.epochs_and_end();
        // An epoch that begins at the end may be one of an append that is under way.
        epochs.of(end - 1).or_else(|| epochs.of(end))
    }

    /// The largest known leader epoch up to `epoch` and the offset at which it ends (OffsetForLeaderEpoch).
    pub fn end_offset_for(&self, epoch: i32) -> Option<(i32, i64)> {
        let (epochs, end) = self.shared.epochs_and_end();
        epochs.end_offset_for(epoch, end)
    }

    /// The same where `leader_epoch` is that of the log's leader: it begins at the log's end while it has no record, and
    /// so ends the epochs before it, also those of which this log has none.
    pub fn end_offset_below(&self, epoch: i32, leader_epoch: i32) -> Option<(i32, i64)> {
        let (epochs, end) = self.shared.epochs_and_end();
        let known = epochs.end_offset_for(epoch, end);
        let at_end = || (epochs.latest().unwrap_or(epoch), end);
        known.or_else(|| (epoch < leader_epoch).then(at_end))
    }

    /// The partition's folder.
    pub fn folder(&self) -> std::path::PathBuf {
        self.shared.path()
    }

    /// What lies below this offset is on disk.
    pub fn recovery_point(&self) -> i64 {
        self.shared.recovery_point()
    }

    /// How far a checkpoint of the cleaner still holds, since the log may have been cut after it: what is to be on file
    /// then, for what is appended in place of what was cut is not clean.
    pub fn cleaned_to(&self, checkpoint: i64) -> i64 {
        self.shared.cleaned_to(checkpoint)
    }

    /// Bytes of all batches, without indexes and without what is reserved.
    pub fn size_bytes(&self) -> u64 {
        self.shared
            .segments()
            .iter()
            .map(|segment| segment.size())
            .sum()
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> Vec<SegmentDescription> {
        let describe = |segment: &Arc<Segment>| SegmentDescription {
            base_offset: segment.base_offset(),
            size: segment.size(),
        };
        self.shared.segments().iter().map(describe).collect()
    }

    /// Gives back the descriptors of files that nobody has used since the last call, but for those with batches that were
    /// not synced: [`crate::LogFlusher::close_idle`] does that.
    pub fn close_idle(&self) {
        let segments = self.shared.segments();
        let idle = segments.iter().filter(|segment| segment.is_idle());
        idle.for_each(|segment| segment.close_synced());
    }

    /// `Err` once writing has failed, or the disk could not be read; reading goes on as far as it can.
    pub fn check_writable(&self) -> Result<(), StorageError> {
        self.shared.check_writable()
    }

    /// Whether a write or a sync has failed: nobody knows what the disk has of the log.
    pub fn has_write_failed(&self) -> bool {
        self.shared.has_write_failed()
    }

    /// Notes what came of a read of this log's, also of one that goes past it as a search by time or a compaction: where
    /// a file of the log's can't be read, or has bytes that are no batch, it takes no more writes. Waits for the disk;
    /// for as long as a walk over a segment takes where there seems to be damage, which is looked at once more.
    pub fn note_failure(&self, error: &LogError) {
        match error {
            LogError::Storage(error) => self.shared.note_failure(error),
            LogError::Damaged { path, .. } => self.shared.note_damage(path),
            LogError::Malformed { .. } | LogError::TopicId { .. } => {}
        }
    }

    /// Finds the batches from the one that holds `offset` on, of offsets below `bound` (the high watermark or last
    /// stable offset), about `max_bytes` of them from one segment; with `at_least_one` the first batch comes whole
    /// whatever its size. Reads no records yet.
    pub fn read(
        &self,
        offset: i64,
        max_bytes: usize,
        bound: i64,
        at_least_one: bool,
    ) -> Result<Slice, ReadError> {
        let (start, end) = (self.shared.start(), self.shared.end());
        if offset < start || offset > end {
            return Err(ReadError::OutOfRange { offset, start, end });
        }
        let generation = self.shared.generation();
        let bound = bound.min(end);
        let mut slice = Slice {
            shared: self.shared.clone(),
            offset,
            bound,
            generation,
            at_least_one,
            place: None,
        };
        let located = match offset < bound {
            true => self.locate(offset, Reach::Disk),
            false => Ok(None),
        };
        if let Some((segment, position)) = located.inspect_err(|error| self.note_failure(error))? {
            let file = self.shared.file_of(&segment, Reach::Disk)?;
            slice.place = Some(Place::new(segment, file, position, max_bytes));
        }
        Ok(slice)
    }

    /// Bytes of the batches from the one that holds `offset` on; all of them for an offset before the first. May wait
    /// for the disk.
    pub fn bytes_from(&self, offset: i64) -> Result<u64, LogError> {
        if offset >= self.shared.end() {
            return Ok(0);
        }
        let from = offset.max(self.shared.start());
        let Some((segment, position)) = self.locate(from, Reach::Disk)? else {
            return Ok(0);
        };
        let all = self.shared.segments();
        let later = all
            .iter()
            .filter(|other| other.base_offset() > segment.base_offset());
        let later: u64 = later.map(|other| other.size()).sum();
        Ok(later + segment.size().saturating_sub(position))
    }

    /// The batch that holds `offset`, or the first behind it.
    pub(crate) fn locate(
        &self,
        offset: i64,
        reach: Reach,
    ) -> Result<Option<(Arc<Segment>, u64)>, LogError> {
        if let Some(known) = self.shared.hint(offset) {
            return Ok(Some(known));
        }
        let mut next = self.shared.segment_of(offset);
        while let Some(segment) = next {
            let found = segment.find_within(offset, reach);
            if let Err(LogError::Storage(error)) = &found {
                self.shared.note_failed_lookup(&segment, error);
            }
            if let Some((position, _)) = found? {
                return Ok(Some((segment, position)));
            }
            // Compaction leaves gaps: the batch may be the next segment's first.
            next = self.shared.segment_after(segment.base_offset());
        }
        Ok(None)
    }
}

impl Place {
    fn new(segment: Arc<Segment>, file: Arc<LogFile>, position: u64, max_bytes: usize) -> Self {
        let available = segment.size().saturating_sub(position);
        Self {
            file,
            segment,
            position,
            len: usize::try_from(available).map_or(max_bytes, |bytes| bytes.min(max_bytes)),
            available,
        }
    }
}

/// What a look over read bytes found.
enum Walk {
    /// So many bytes are whole batches below the bound, and this offset is behind them.
    Whole { len: usize, next_offset: i64 },
    /// Not even the first batch is whole; it has this size.
    FirstIsCut { size: usize },
}

impl Slice {
    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.place.is_none()
    }

    /// About how many bytes `read` will return.
    pub fn len(&self) -> usize {
        self.place.as_ref().map_or(0, |place| place.len)
    }

    /// The batches, if the page cache has at least the first; never waits for the disk.
    pub fn read_cached(&self) -> Result<Option<Batches>, ReadError> {
        self.read_with(
            |file, bytes, position| Ok(file.read_cached_at(bytes, position)),
            false,
        )
    }

    /// The batches; may wait for the disk. Damage is noted, as by [`LogReader::note_failure`], and where the file has less
    /// than the log: none are returned only where the log was cut, or the first is beyond the bytes that were asked for.
    pub fn read(&self) -> Result<Batches, ReadError> {
        let read = self.read_with(|file, bytes, position| file.read_at(bytes, position), true);
        let batches = read.inspect_err(|error| {
            if let ReadError::Log(LogError::Damaged { path, .. }) = error {
                self.shared.note_damage(path);
            }
        })?;
        if let (None, Some(place)) = (&batches, &self.place) {
            let end = place.position + place.available;
            self.shared.note_short_file(&place.segment, end);
            place.segment.check_readable()?;
        }
        Ok(batches.unwrap_or_else(|| self.nothing()))
    }

    fn nothing(&self) -> Batches {
        Batches {
            bytes: Bytes::new(),
            next_offset: self.offset,
        }
    }

    /// `None` where the source has not a single whole batch that the slice should return.
    fn read_with(
        &self,
        source: impl Fn(&LogFile, &mut [u8], u64) -> std::io::Result<usize>,
        complete: bool,
    ) -> Result<Option<Batches>, ReadError> {
        let Some(place) = &self.place else {
            return Ok(Some(self.nothing()));
        };
        let fetch = |len: usize| -> Result<Buffer, ReadError> {
            let mut buffer = Buffer::of(len);
            let read = source(&place.file, buffer.bytes_mut(), place.position)
                .inspect_err(|error| self.shared.note_failed_read(&place.segment, error))
                .map_err(|error| StorageError::of("read", &place.segment.path("log"))(error))?;
            buffer.truncate(read);
            Ok(buffer)
        };
        let mut buffer = fetch(place.len.max(if self.at_least_one {
            BATCH_HEADER_SIZE
        } else {
            0
        }))?;
        let mut walk = self.walk(place, buffer.as_ref())?;
        if let Walk::FirstIsCut { size } = walk
            && self.at_least_one
            && size > BATCH_HEADER_SIZE
            && (complete || buffer.as_ref().len() >= place.len)
        {
            buffer = fetch(size)?;
            walk = self.walk(place, buffer.as_ref())?;
        }
        match walk {
            Walk::Whole { len, next_offset } => {
                buffer.truncate(len);
                self.remember(place, len, next_offset);
                Ok(Some(Batches {
                    bytes: buffer.freeze(),
                    next_offset,
                }))
            }
            // Without a guarantee, a first batch above the limit is left out.
            Walk::FirstIsCut { .. } if !self.at_least_one && buffer.as_ref().len() >= place.len => {
                Ok(Some(self.nothing()))
            }
            Walk::FirstIsCut { .. } => Ok(None),
        }
    }

    fn remember(&self, place: &Place, len: usize, next_offset: i64) {
        if len > 0 {
            let position = place.position + len as u64;
            let base_offset = place.segment.base_offset();
            self.shared
                .remember(self.generation, next_offset, base_offset, position);
        }
    }

    fn walk(&self, place: &Place, bytes: &[u8]) -> Result<Walk, ReadError> {
        let (mut at, mut next_offset) = (0, self.offset);
        while at < bytes.len() {
            let rest = &bytes[at..];
            let Some(header) = rest.first_chunk::<BATCH_HEADER_SIZE>() else {
                break;
            };
            let header = match BatchHeader::parse(header) {
                Ok(header) => header,
                Err(problem) => return self.damaged(place, at, next_offset, problem.to_string()),
            };
            if header.base_offset >= self.bound {
                return Ok(Walk::Whole {
                    len: at,
                    next_offset,
                });
            }
            if at == 0 && header.size() as u64 > place.available {
                return self.damaged(
                    place,
                    0,
                    next_offset,
                    "the batch goes beyond the file".into(),
                );
            }
            if header.size() > rest.len() {
                if at == 0 {
                    return Ok(Walk::FirstIsCut {
                        size: header.size(),
                    });
                }
                break;
            }
            at += header.size();
            next_offset = header.last_offset() + 1;
        }
        if at == 0 {
            return Ok(Walk::FirstIsCut {
                size: BATCH_HEADER_SIZE,
            });
        }
        Ok(Walk::Whole {
            len: at,
            next_offset,
        })
    }

    /// Bytes that are no batch: damage, unless the log was cut or swapped underneath this slice.
    fn damaged(
        &self,
        place: &Place,
        at: usize,
        offset: i64,
        problem: String,
    ) -> Result<Walk, ReadError> {
        if self.shared.generation() != self.generation {
            return Ok(Walk::Whole {
                len: 0,
                next_offset: self.offset,
            });
        }
        let position = place.position + at as u64;
        Err(place
            .segment
            .damage(ScanStop::Invalid { position, problem }, offset)
            .into())
    }
}
