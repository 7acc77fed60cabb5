//! A log's copy in another data directory, made while the log goes on, that takes its place in the end (KIP-113).
//!
//! 1. [`FutureLog::step`] copies without holding the log. What retention, compaction or a cut take from the log, the next
//!    step takes from the copy.
//! 2. [`FutureLog::replace`] holds the log: it copies what is left, brings all of it to disk, and renames, first the log
//!    and then the copy. `directory/future.rs` says what a crash between the two leaves.
//!
//! Readers and the log itself stay what they are: only their files are others.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_protocol::Uuid;

use crate::directory::future::{replaced_name, sync_parent};
use crate::directory::partition_metadata;
use crate::epochs;
use crate::error::{LogError, StorageError};
use crate::files::{self, LogFile, Reach};
use crate::log::{Log, snapshots};
use crate::reader::LogReader;
use crate::segment::{Segment, file_name, write_back};
use crate::shared::Shared;

/// Bytes of one read and write.
const CHUNK_SIZE: usize = 256 << 10;
/// Files of a segment beside its batches; not each has all of them.
const INDEXES: [&str; 3] = ["index", "timeindex", "txnindex"];

/// A copy that is being made of one log.
#[derive(Debug)]
pub struct FutureLog {
    source: Arc<Shared>,
    folder: PathBuf,
    copied: BTreeMap<i64, Copied>,
    /// The producers' snapshots that are copied.
    snapshots: BTreeSet<i64>,
    /// Whether it stands for the log, whatever it is called.
    is_decided: bool,
}

/// What is copied of a segment.
#[derive(Debug)]
struct Copied {
    segment: Arc<Segment>,
    /// How often it was cut before.
    cuts: usize,
    /// Of its batches.
    bytes: u64,
    /// Of them, what the kernel was asked to write.
    written_back: u64,
    /// Whether its indexes are copied too, and all of it is on disk: it gets no more batches.
    is_whole: bool,
}

impl Copied {
    /// Whether it has bytes that the log does not have any more, or has others for.
    fn was_cut(&self) -> bool {
        self.segment.cuts() != self.cuts
    }
}

impl FutureLog {
    /// Makes the folder of a copy, in a directory that is there.
    pub fn make_folder(folder: &Path, topic_id: Uuid) -> Result<(), StorageError> {
        if let Some(directory) = folder.parent() {
            let found = std::fs::metadata(directory);
            found.map_err(StorageError::of("read", directory))?;
        }
        files::create_folder(folder).map_err(StorageError::of("create", folder))?;
        partition_metadata::write(folder, topic_id)
    }

    /// A copy that has nothing yet, in a folder that was made for it.
    pub fn new(reader: &LogReader, folder: PathBuf) -> Self {
        Self {
            source: reader.shared().clone(),
            folder,
            copied: BTreeMap::new(),
            snapshots: BTreeSet::new(),
            is_decided: false,
        }
    }

    /// Whether it stands for the log, be it that its last renaming has failed: it must not be removed.
    pub fn is_decided(&self) -> bool {
        self.is_decided
    }

    /// Bytes of batches that it has.
    pub fn size_bytes(&self) -> u64 {
        self.copied.values().map(|copied| copied.bytes).sum()
    }

    /// Bytes of batches that it lacks.
    pub fn lacks_bytes(&self) -> u64 {
        let lacks = |segment: &Arc<Segment>| segment.size().saturating_sub(self.has(segment));
        self.source.segments().iter().map(lacks).sum()
    }

    /// The offset below which it has everything.
    pub fn reached(&self) -> i64 {
        for segment in self.source.segments() {
            let has = self.has(&segment);
            if has < segment.size() {
                let behind = segment.cut_at(has);
                return behind.map_or(segment.base_offset(), |(offset, _)| offset);
            }
        }
        self.source.end()
    }

    fn has(&self, segment: &Arc<Segment>) -> u64 {
        let copied = self.copied.get(&segment.base_offset());
        let copied = copied.filter(|copied| Arc::ptr_eq(&copied.segment, segment));
        copied.map_or(0, |copied| copied.bytes)
    }

    /// Copies up to about `bytes_max` bytes more, and says how many. May take long, as segments that are whole are brought
    /// to disk, and holds nothing of the log meanwhile.
    pub fn step(&mut self, bytes_max: u64) -> Result<u64, LogError> {
        let segments = self.follow()?;
        let mut spent = 0;
        for (index, segment) in segments.iter().enumerate() {
            let is_sealed = index + 1 < segments.len();
            let taken = self.take(segment, is_sealed, bytes_max - spent);
            match taken {
                Ok(bytes) => spent += bytes,
                // Retention, compaction or a cut has taken it meanwhile.
                Err(_) if self.is_outdated(segment) => break,
                Err(error) => return Err(error.into()),
            }
            if self.has(segment) < segment.size() {
                break;
            }
        }
        Ok(spent)
    }

    fn is_outdated(&self, segment: &Arc<Segment>) -> bool {
        let copied = self.copied.get(&segment.base_offset());
        !self.source.holds(segment) || copied.is_some_and(Copied::was_cut)
    }

    /// Takes from the copy what the log has no more; the segments of the log.
    fn follow(&mut self) -> Result<Vec<Arc<Segment>>, LogError> {
        let segments = self.source.segments();
        let is_held = |segment: &Arc<Segment>| {
            let base_offset = |held: &Arc<Segment>| held.base_offset();
            let found = segments.binary_search_by_key(&segment.base_offset(), base_offset);
            found.is_ok_and(|index| Arc::ptr_eq(&segments[index], segment))
        };
        let is_gone = |_: &i64, copied: &mut Copied| copied.was_cut() || !is_held(&copied.segment);
        let gone = self.copied.extract_if(.., is_gone);
        let gone: Vec<i64> = gone.map(|(base_offset, _)| base_offset).collect();
        for base_offset in gone {
            for extension in INDEXES.iter().chain(&["log", "snapshot"]) {
                self.remove(&file_name(base_offset, extension))?;
            }
            self.snapshots.remove(&base_offset);
        }
        Ok(segments)
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        let path = self.folder.join(name);
        files::remove_if_there(&path).map_err(StorageError::of("remove", &path))
    }

    /// Copies up to `bytes_max` of a segment, and what is beside its batches where it is whole then.
    fn take(
        &mut self,
        segment: &Arc<Segment>,
        is_sealed: bool,
        bytes_max: u64,
    ) -> Result<u64, StorageError> {
        let base_offset = segment.base_offset();
        let target = self.folder.join(file_name(base_offset, "log"));
        let copied = self.copied.entry(base_offset).or_insert_with(|| Copied {
            segment: segment.clone(),
            cuts: segment.cuts(),
            bytes: 0,
            written_back: 0,
            is_whole: false,
        });
        if copied.is_whole || (segment.size() == 0 && !segment.path("log").exists()) {
            return Ok(0);
        }
        let wrap = |error| StorageError::of("write", &target)(error);
        let file = LogFile::open(&target, true).map_err(wrap)?;
        let size = segment.size();
        let end = size.min(copied.bytes.saturating_add(bytes_max));
        let from = copied.bytes;
        let mut buffer = vec![0; CHUNK_SIZE];
        while copied.bytes < end {
            let left = usize::try_from(end - copied.bytes).unwrap_or(usize::MAX);
            let part = &mut buffer[..left.min(CHUNK_SIZE)];
            read_whole(&self.source, segment, copied.bytes, part)?;
            file.write_all_at(&mut [IoSlice::new(part)], copied.bytes)
                .map_err(wrap)?;
            copied.bytes += part.len() as u64;
            if copied.bytes - copied.written_back >= write_back::CHUNK {
                let chunk = copied.written_back..copied.bytes;
                write_back::begin(&file, chunk).map_err(wrap)?;
                copied.written_back = copied.bytes;
            }
        }
        let taken = copied.bytes - from;
        if is_sealed && copied.bytes == size {
            file.sync_data()
                .map_err(StorageError::of("sync", &target))?;
            segment.keep_time(&target);
            self.take_indexes(segment)?;
            self.take_snapshot(base_offset)?;
            if let Some(copied) = self.copied.get_mut(&base_offset) {
                copied.is_whole = true;
            }
        }
        Ok(taken)
    }

    /// Copies a segment's indexes to disk, with what waits in memory to be written to them.
    fn take_indexes(&self, segment: &Segment) -> Result<(), StorageError> {
        segment.write_indexes()?;
        for extension in INDEXES {
            let name = file_name(segment.base_offset(), extension);
            self.take_file(&|| segment.path(extension), &name)?;
        }
        Ok(())
    }

    /// Copies a snapshot to disk, where there is one: it never changes.
    fn take_snapshot(&mut self, offset: i64) -> Result<(), StorageError> {
        if !self.snapshots.contains(&offset) {
            let name = file_name(offset, "snapshot");
            self.take_file(&|| self.source.path().join(&name), &name)?;
            self.snapshots.insert(offset);
        }
        Ok(())
    }

    /// Copies a small file to disk, if it is there.
    fn take_file(&self, from: &dyn Fn() -> PathBuf, name: &str) -> Result<(), StorageError> {
        let bytes = match files::at_its_place(from, |path| std::fs::read(path)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.remove(name),
            Err(error) => return Err(StorageError::of("read", &from())(error)),
        };
        let to = self.folder.join(name);
        LogFile::empty(&to)
            .and_then(|file| {
                if !bytes.is_empty() {
                    file.write_all_at(&mut [IoSlice::new(&bytes)], 0)?;
                }
                file.sync_data()
            })
            .map_err(StorageError::of("write", &to))
    }

    /// Brings what was copied to disk. Called before [`FutureLog::replace`], for which appends wait, it leaves that little
    /// to bring there.
    pub fn sync(&self) -> Result<(), StorageError> {
        for (base_offset, _) in self.copied.iter().filter(|(_, copied)| !copied.is_whole) {
            let target = self.folder.join(file_name(*base_offset, "log"));
            files::sync_if_there(&target).map_err(StorageError::of("sync", &target))?;
        }
        Ok(())
    }

    /// Has the log go on in this copy, as the folder `to`: whoever appends waits for as long as it takes to copy what the
    /// copy lacks, and to bring it to disk. Returns where the log was; it is to be removed. Nothing else must be writing
    /// segments for the log, as a compaction does. An error leaves the log where it was, or takes it offline.
    pub fn replace(&mut self, log: &mut Log, to: &Path) -> Result<PathBuf, LogError> {
        self.source.check_writable()?;
        let source = self.source.clone();
        let _none_is_flushing = source.flushing.lock();
        self.complete()?;
        let aside = self.put_aside(log.is_made())?;
        self.put_in_place(&aside, to)?;
        log.note_replaced();
        Ok(aside)
    }

    /// Copies all that is missing, to disk; nothing changes in the log meanwhile.
    fn complete(&mut self) -> Result<(), LogError> {
        self.step(u64::MAX)?;
        let active = self.source.active();
        self.take_indexes(&active)?;
        let folder = self.source.path();
        self.take_file(&|| folder.join(epochs::FILE), epochs::FILE)?;
        let present: BTreeSet<i64> = snapshots(&folder)?.into_iter().collect();
        for offset in self.snapshots.difference(&present) {
            self.remove(&file_name(*offset, "snapshot"))?;
        }
        for offset in present {
            self.take_snapshot(offset)?;
        }
        let target = self.folder.join(file_name(active.base_offset(), "log"));
        files::sync_if_there(&target).map_err(StorageError::of("sync", &target))?;
        files::sync_folder(&self.folder).map_err(StorageError::of("sync", &self.folder))?;
        Ok(sync_parent(&self.folder)?)
    }

    /// Gives the log the name by which the copy counts from then on, and has its files opened in the copy.
    fn put_aside(&mut self, is_made: bool) -> Result<PathBuf, StorageError> {
        let from = self.source.path();
        let aside = from.with_file_name(replaced_name(&self.folder));
        {
            let mut folder = self.source.folder.write();
            match files::rename(&from, &aside) {
                Err(error) if is_made || error.kind() != io::ErrorKind::NotFound => {
                    return Err(StorageError::of("rename", &from)(error));
                }
                _ => folder.clone_from(&self.folder),
            }
        }
        self.is_decided = true;
        self.close_files();
        match sync_parent(&aside) {
            Ok(()) => Ok(aside),
            Err(error) => Err(self.take_back(&aside, &from, error)),
        }
    }

    /// Gives the copy the log's name.
    fn put_in_place(&mut self, aside: &Path, to: &Path) -> Result<(), StorageError> {
        let renamed = {
            let mut folder = self.source.folder.write();
            let renamed = files::rename(&self.folder, to);
            if renamed.is_ok() {
                *folder = to.to_path_buf();
            }
            renamed
        };
        if let Err(error) = renamed {
            let error = StorageError::of("rename", &self.folder)(error);
            let from = aside.with_file_name(to.file_name().unwrap_or_default());
            return Err(self.take_back(aside, &from, error));
        }
        // What is not on disk of it a start does again, as long as the log that was replaced is there.
        sync_parent(to).map_err(|error| self.source.fail(error))
    }

    /// Has the log go on where it was. Where that fails too it is offline, and the next start finds it in the copy.
    fn take_back(&mut self, aside: &Path, from: &Path, error: StorageError) -> StorageError {
        let taken_back = {
            let mut folder = self.source.folder.write();
            let renamed = files::rename(aside, from);
            if renamed.is_ok() {
                *folder = from.to_path_buf();
            }
            renamed.map_err(StorageError::of("rename", aside))
        };
        self.close_files();
        match taken_back.and_then(|()| sync_parent(from)) {
            Ok(()) => {
                self.is_decided = false;
                error
            }
            Err(_) => self.source.fail(error),
        }
    }

    fn close_files(&self) {
        for segment in self.source.segments() {
            segment.close();
        }
    }
}

/// Fills `part` with a segment's bytes from `position` on.
fn read_whole(
    source: &Shared,
    segment: &Arc<Segment>,
    position: u64,
    part: &mut [u8],
) -> Result<(), StorageError> {
    let read = source
        .file_of(segment, Reach::Disk)?
        .read_at(part, position);
    let read = match read {
        Ok(read) if read < part.len() => Err(io::ErrorKind::UnexpectedEof.into()),
        read => read,
    };
    if let Err(error) = &read {
        source.note_failed_read(segment, error);
    }
    let path = || segment.path("log");
    read.map(drop).map_err(StorageError::at("read", &path))
}

#[cfg(test)]
mod tests;
