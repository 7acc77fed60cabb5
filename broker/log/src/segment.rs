//! One segment: a file of batches and its two indexes, shared by the writer and all readers.
//!
//! The writer alone grows it, and publishes the new size only after a whole write.

mod age;
mod confirm;
mod find;
mod refused;
mod unsynced;
mod vet;
pub(crate) mod write_back;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
use milena_protocol::records::BatchHeader;
use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::error::{LogError, StorageError};
use crate::files::{self, LogFile, Reach};
use crate::index::{Index, OffsetEntry, TimeEntry};
use crate::scan::{Scan, ScanStop};
use crate::trash;

#[cfg(test)]
pub(crate) use write_back::CHUNK;
pub(crate) use write_back::{Refusal, WRITE_BACK};

/// A partition's folder, which a deletion may rename while readers hold its segments.
pub(crate) type Folder = Arc<RwLock<PathBuf>>;

/// The youngest timestamp of a segment and the last offset of the batch that has it; -1 where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Youngest {
    pub timestamp: i64,
    pub offset: i64,
}

pub(crate) const NO_TIMESTAMP: i64 = -1;

#[derive(Debug)]
pub(crate) struct Segment {
    folder: Folder,
    base_offset: i64,
    size: AtomicU64,
    /// What its files' names end with. Held while they are renamed, opened or closed, maybe as long as the disk takes.
    suffix: Mutex<&'static str>,
    /// The file of batches while it is open; changed only while the suffix is held.
    file: ArcSwapOption<LogFile>,
    offsets: Index<OffsetEntry>,
    times: Index<TimeEntry>,
    youngest: Mutex<Option<Youngest>>,
    /// The first batch's largest timestamp, once it was asked for.
    first_timestamp: Mutex<Option<i64>>,
    vetted: RwLock<vet::Vetted>,
    /// Cleared by each look for idle files, set by each use.
    used: AtomicBool,
    refused: refused::Refused,
    /// How often it was cut: what was read before a cut may be others' bytes.
    cuts: AtomicUsize,
    /// Whether the files are there; a log's first segment gets them with its first batch.
    made: AtomicBool,
    /// How many chunks of the file, from its start on, the kernel was asked to write.
    written_back: AtomicU32,
    unsynced: unsynced::Unsynced,
}

/// The name that Kafka gives a segment's files.
pub(crate) fn file_name(base_offset: i64, extension: &str) -> String {
    format!("{base_offset:020}.{extension}")
}

/// Why a lookup without the disk fails.
fn cold() -> StorageError {
    StorageError::of("find", Path::new(""))(files::cold())
}

impl Segment {
    /// A segment whose file has `size` bytes; nothing is opened.
    pub fn existing(folder: Folder, base_offset: i64, size: u64) -> Self {
        Self {
            folder,
            base_offset,
            size: AtomicU64::new(size),
            suffix: Mutex::new(""),
            file: ArcSwapOption::empty(),
            offsets: Index::lazy(),
            times: Index::lazy(),
            youngest: Mutex::new(None),
            first_timestamp: Mutex::new(None),
            vetted: RwLock::new(None),
            used: AtomicBool::new(true),
            refused: refused::Refused::default(),
            cuts: AtomicUsize::new(0),
            made: AtomicBool::new(true),
            // What was there before is not this life's to write.
            written_back: AtomicU32::new(write_back::whole_chunks(size)),
            unsynced: unsynced::Unsynced::default(),
        }
    }

    /// A new, empty segment whose files [`Segment::make_files`] makes.
    pub fn unmade(folder: Folder, base_offset: i64) -> Self {
        let segment = Self::existing(folder, base_offset, 0);
        segment.made.store(false, Ordering::Release);
        *segment.youngest.lock() = Some(segment.no_youngest());
        segment.set_vetted();
        segment
    }

    /// A new, empty segment with empty files.
    pub fn create(folder: Folder, base_offset: i64) -> Result<Self, StorageError> {
        Self::create_as(folder, base_offset, "")
    }

    /// A new, empty segment whose files' names end with `suffix`.
    pub fn create_as(
        folder: Folder,
        base_offset: i64,
        suffix: &'static str,
    ) -> Result<Self, StorageError> {
        let segment = Self::unmade(folder, base_offset);
        *segment.suffix.lock() = suffix;
        segment.make_files()?;
        Ok(segment)
    }

    /// Makes the files, empty, if they are not there yet; whether they were not.
    pub fn make_files(&self) -> Result<bool, StorageError> {
        if self.made.load(Ordering::Acquire) {
            return Ok(false);
        }
        let path = self.path("log");
        let file = LogFile::empty(&path).map_err(StorageError::of("create", &path))?;
        self.hold(Arc::new(file), &self.suffix.lock());
        self.reset_indexes()?;
        self.made.store(true, Ordering::Release);
        Ok(true)
    }

    fn youngest_of(&self, last: Option<TimeEntry>) -> Youngest {
        last.map_or(self.no_youngest(), |entry| Youngest {
            timestamp: entry.timestamp,
            offset: self.base_offset + i64::from(entry.relative_offset),
        })
    }

    fn no_youngest(&self) -> Youngest {
        Youngest {
            timestamp: NO_TIMESTAMP,
            offset: self.base_offset,
        }
    }

    pub fn base_offset(&self) -> i64 {
        self.base_offset
    }

    /// Bytes that hold whole batches.
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// Where a file of this segment is now.
    pub fn path(&self, extension: &str) -> PathBuf {
        let name = file_name(self.base_offset, extension) + *self.suffix.lock();
        self.folder.read().join(name)
    }

    /// The same for an error, which names no file where the disk is out of reach.
    fn path_within(&self, reach: Reach, extension: &str) -> PathBuf {
        match reach {
            Reach::Disk => self.path(extension),
            Reach::Cache => PathBuf::new(),
        }
    }

    /// The open file of batches.
    pub fn file(&self) -> Result<Arc<LogFile>, StorageError> {
        if let Some(file) = self.held_file() {
            return Ok(file);
        }
        let suffix = self.suffix.lock();
        // Somebody may have opened it just now.
        if let Some(file) = self.held_file() {
            return Ok(file);
        }
        let name = file_name(self.base_offset, "log") + *suffix;
        let path = || self.folder.read().join(&name);
        let file = files::at_its_place(&path, |path| LogFile::open(path, false));
        let file = Arc::new(file.map_err(StorageError::at("open", &path))?);
        self.hold(file.clone(), &suffix);
        Ok(file)
    }

    /// The same as far as `reach` goes.
    pub fn file_within(&self, reach: Reach) -> Result<Arc<LogFile>, StorageError> {
        match reach {
            Reach::Disk => self.file(),
            Reach::Cache => self.held_file().ok_or_else(cold),
        }
    }

    fn held_file(&self) -> Option<Arc<LogFile>> {
        self.used.store(true, Ordering::Relaxed);
        self.file.load_full()
    }

    fn hold(&self, file: Arc<LogFile>, _suffix: &MutexGuard<'_, &'static str>) {
        self.file.store(Some(file));
    }

    /// Whether nobody has used the segment since the last call.
    pub fn is_idle(&self) -> bool {
        !self.used.swap(false, Ordering::Relaxed)
    }

    /// Renames the files to end with `suffix` instead of what they end with now. Where they are to be removed, none is
    /// missed.
    pub fn rename(&self, suffix: &'static str) -> Result<(), StorageError> {
        self.make_files()?;
        let mut present = self.suffix.lock();
        let folder = self.folder.read().clone();
        // The batches' file last: where it is, the others are.
        for extension in ["index", "timeindex", "txnindex", "log"] {
            let name = file_name(self.base_offset, extension);
            let (from, to) = (
                folder.join(name.clone() + *present),
                folder.join(name + suffix),
            );
            match files::rename(&from, &to) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    if extension == "log" && suffix != trash::SUFFIX {
                        return Err(StorageError::of("rename", &from)(error));
                    }
                    if extension == "log" {
                        tracing::warn!(file = %from.display(), "a segment that is removed had lost this file");
                    }
                }
                renamed => renamed.map_err(StorageError::of("rename", &from))?,
            }
        }
        *present = suffix;
        Ok(())
    }

    /// Makes what was written up to `size` visible to readers.
    pub fn publish(&self, size: u64) {
        self.size.store(size, Ordering::Release);
        self.unsynced.end_write();
    }

    /// Notes the batch at `position`; `index` says whether it gets index entries.
    pub fn index_batch(
        &self,
        position: u64,
        header: &BatchHeader,
        index: bool,
    ) -> Result<(), StorageError> {
        let youngest = self.note_timestamp(header)?;
        if index {
            let entry = OffsetEntry {
                relative_offset: self.relative(header.last_offset()),
                position: position as u32,
            };
            self.index_time(youngest)?;
            if self.offsets.writes_with_the_next() {
                self.write_times()?;
            }
            let path = || self.path("index");
            self.offsets
                .push(&path, entry)
                .map_err(StorageError::at("write", &path))?;
        }
        Ok(())
    }

    fn relative(&self, offset: i64) -> u32 {
        (offset - self.base_offset) as u32
    }

    fn note_timestamp(&self, header: &BatchHeader) -> Result<Youngest, StorageError> {
        let known = self.youngest()?;
        // A batch that compaction has emptied keeps its timestamp in its header only.
        if header.record_count == 0 || header.max_timestamp <= known.timestamp {
            return Ok(known);
        }
        let youngest = Youngest {
            timestamp: header.max_timestamp,
            offset: header.last_offset(),
        };
        *self.youngest.lock() = Some(youngest);
        Ok(youngest)
    }

    fn index_time(&self, youngest: Youngest) -> Result<(), StorageError> {
        let path = || self.path("timeindex");
        let wrap = |error| StorageError::at("write", &path)(error);
        let last = self.times.last(&path).map_err(wrap)?;
        if youngest.timestamp > last.map_or(NO_TIMESTAMP, |entry| entry.timestamp) {
            let entry = TimeEntry {
                timestamp: youngest.timestamp,
                relative_offset: self.relative(youngest.offset),
            };
            self.times.push(&path, entry).map_err(wrap)?;
        }
        Ok(())
    }

    /// The youngest timestamp; read from the time index's end the first time.
    pub fn youngest(&self) -> Result<Youngest, StorageError> {
        if let Some(youngest) = *self.youngest.lock() {
            return Ok(youngest);
        }
        self.vet_times()?;
        // It may have been read off the batches just now.
        if let Some(youngest) = *self.youngest.lock() {
            return Ok(youngest);
        }
        let path = || self.path("timeindex");
        let last = self
            .times
            .last(&path)
            .map_err(StorageError::at("read", &path))?;
        let youngest = self.youngest_of(last);
        *self.youngest.lock() = Some(youngest);
        Ok(youngest)
    }

    /// The larger index's bytes.
    pub fn index_size(&self) -> Result<usize, StorageError> {
        let path = || self.path("index");
        let offsets = self
            .offsets
            .size(&path)
            .map_err(StorageError::at("read", &path))?;
        let times = self
            .times
            .size(&|| self.path("timeindex"))
            .map_err(StorageError::at("read", &path))?;
        Ok(offsets.max(times))
    }

    /// Completes the indexes of a segment that gets no more batches.
    pub fn seal(&self) -> Result<(), StorageError> {
        self.index_time(self.youngest()?)?;
        self.write_indexes()
    }

    /// Writes buffered index entries.
    pub fn write_indexes(&self) -> Result<(), StorageError> {
        self.write_times()?;
        let path = || self.path("index");
        self.offsets
            .write(&path)
            .map_err(StorageError::at("write", &path))
    }

    /// They come before the offsets: recovery starts where these lead to, and takes what lies before for known.
    fn write_times(&self) -> Result<(), StorageError> {
        let path = || self.path("timeindex");
        self.times
            .write(&path)
            .map_err(StorageError::at("write", &path))
    }

    /// Syncs batches.
    pub fn sync_batches(&self) -> Result<(), StorageError> {
        let path = || self.path("log");
        let (file, written) = (self.file()?, self.unsynced.written());
        file.sync_data().map_err(StorageError::at("sync", &path))?;
        self.unsynced.note_synced(written);
        Ok(())
    }

    /// Syncs batches, then indexes, the times first as in `write_times`.
    pub fn sync(&self) -> Result<(), StorageError> {
        self.sync_batches()?;
        let path = || self.path("timeindex");
        self.times
            .sync(&path)
            .map_err(StorageError::at("sync", &path))?;
        let path = || self.path("index");
        self.offsets
            .sync(&path)
            .map_err(StorageError::at("sync", &path))
    }

    /// A walk over the batches from `position` to the published end.
    pub fn scan(&self, position: u64) -> Result<Scan, StorageError> {
        self.scan_within(Reach::Disk, position)
    }

    /// The same as far as `reach` goes.
    fn scan_within(&self, reach: Reach, position: u64) -> Result<Scan, StorageError> {
        let (file, floor) = (self.file_within(reach)?, self.base_offset);
        Ok(Scan::new(file, position, self.size(), floor).within(reach))
    }

    /// A scan's end as the error that names file, offset and byte.
    pub fn damage(&self, stop: ScanStop, offset: i64) -> LogError {
        self.damage_within(Reach::Disk, stop, offset)
    }

    fn damage_within(&self, reach: Reach, stop: ScanStop, offset: i64) -> LogError {
        stop.at(&self.path_within(reach, "log"), offset)
    }

    /// A batch that can't be opened, as an error.
    pub fn malformed(&self, header: &BatchHeader, problem: &str) -> LogError {
        LogError::Malformed {
            path: self.path("log"),
            problem: format!("the batch at offset {}: {problem}", header.base_offset),
        }
    }

    /// Where the walk for the log's end may start after a clean stop: the last indexed batch.
    pub fn last_indexed_position(&self) -> Result<u64, StorageError> {
        let path = || self.path("index");
        let last = self
            .offsets
            .last(&path)
            .map_err(StorageError::at("read", &path))?;
        let position = last.map_or(0, |entry| u64::from(entry.position));
        Ok(if position < self.size() { position } else { 0 })
    }

    /// Whether both index files are there and whole; what they say is checked by whoever follows it.
    pub fn has_indexes(&self) -> bool {
        self.offsets.is_plausible(&|| self.path("index"))
            && self.times.is_plausible(&|| self.path("timeindex"))
    }

    fn reset_indexes(&self) -> Result<(), StorageError> {
        let path = || self.path("index");
        self.offsets
            .reset(&path)
            .map_err(StorageError::at("empty", &path))?;
        let path = || self.path("timeindex");
        self.times
            .reset(&path)
            .map_err(StorageError::at("empty", &path))
    }

    /// Makes both indexes anew from the published batches.
    pub fn rebuild_indexes(&self, interval: u32) -> Result<(), LogError> {
        self.set_vetted();
        self.remake_indexes(interval)
    }

    fn remake_indexes(&self, interval: u32) -> Result<(), LogError> {
        self.reset_indexes()?;
        *self.youngest.lock() = Some(self.no_youngest());
        let mut scan = self.scan(0)?;
        let (mut since_entry, mut next_offset) = (0, self.base_offset);
        while let Some((position, header)) =
            scan.next().map_err(|stop| self.damage(stop, next_offset))?
        {
            next_offset = header.last_offset() + 1;
            let indexed = since_entry > u64::from(interval);
            self.index_batch(position, &header, indexed)?;
            since_entry = header.size() as u64 + if indexed { 0 } else { since_entry };
        }
        Ok(())
    }

    /// Cuts the batches behind `size`, and what the indexes say of them.
    pub fn truncate(&self, size: u64, index_interval: u32) -> Result<(), LogError> {
        let path = self.path("log");
        self.size.store(size, Ordering::Release);
        self.written_back
            .fetch_min(write_back::whole_chunks(size), Ordering::Relaxed);
        self.file()?
            .set_len(size)
            .map_err(StorageError::of("truncate", &path))?;
        *self.first_timestamp.lock() = None;
        // The youngest timestamp may have been in the part that is gone.
        self.rebuild_indexes(index_interval)?;
        self.cuts.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// How often it was cut.
    pub fn cuts(&self) -> usize {
        self.cuts.load(Ordering::Acquire)
    }
}
