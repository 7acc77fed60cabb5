//! What the writer of a log and its readers share.

mod offline;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};

use crate::epochs::EpochStarts;
use crate::error::StorageError;
use crate::files::{self, LogFile, Reach};
use crate::segment::{Folder, Segment};

/// Batch starts that are remembered per log: enough for its usual readers, 32 bytes each.
const HINTS_MAX: usize = 64;

/// Logs of this process that have failed.
static FAILED: AtomicUsize = AtomicUsize::new(0);

/// How many logs of this process take no more writes, since one of theirs has failed; it never falls.
pub fn failed_count() -> usize {
    FAILED.load(Ordering::Acquire)
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub folder: Folder,
    /// By base offset, never empty; the last is the active one. Held only to search, clone or swap.
    segments: RwLock<Vec<Arc<Segment>>>,
    start: AtomicI64,
    // The tip's, for those who need no more.
    end: AtomicI64,
    tip: Mutex<Tip>,
    /// The writer's. An epoch is here before its first batch is below the end, and until after its last was cut.
    epochs: Arc<ArcSwap<EpochStarts>>,
    recovery_point: AtomicI64,
    /// Below this all batches are on disk, maybe not yet what is beside them; never below the recovery point.
    flushed: AtomicI64,
    /// A sync has failed: what is not below `flushed` may be gone, whatever a later sync says.
    sync_failed: AtomicBool,
    /// The active segment's base offset, for those who need no more.
    active_base: AtomicI64,
    /// Counts what lowered the recovery point and `flushed`: a flush that began before raises neither again.
    cuts: Mutex<u64>,
    /// From here on there may be other records than those that the cleaner's last checkpoint speaks of: the log was cut.
    uncleaned_from: AtomicI64,
    /// Held through a flush: one that finds nothing left to sync must not overtake the one that is at it.
    pub flushing: Mutex<()>,
    hints: Mutex<Hints>,
    failed: AtomicBool,
    /// A write or a sync has failed: nobody knows what the disk has of the log.
    write_failed: AtomicBool,
    failure: Mutex<Option<StorageError>>,
    /// Held through a second look at what seems damage: one at a time is enough.
    looking: Mutex<()>,
    /// Its partition is deleted: files go while readers may still hold their segments.
    deleted: AtomicBool,
    /// Files were made or renamed since the folder was last synced.
    pub folder_dirty: AtomicBool,
    /// The folder itself was made since the directory that it lies in was last synced.
    pub folder_made: AtomicBool,
    /// When nothing waited for a flush, or one was asked for, the last time that somebody looked; ms.
    pub unflushed_since_ms: AtomicI64,
    /// Where the log ended when the kernel had been asked for all the write-back that was due.
    pub written_back_at: AtomicI64,
}

/// Where a log ends, as one fact: a reader that took offset and size one after the other could be handed a batch that
/// was appended in between, beyond the high watermark it goes by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tip {
    /// The log end offset ...
    pub end: i64,
    /// ... which lies in the segment of this base offset ...
    pub base_offset: i64,
    /// ... behind this many bytes.
    pub size: u64,
}

/// Where a batch starts that a reader will probably ask for.
#[derive(Debug, Clone, Copy)]
struct Hint {
    offset: i64,
    base_offset: i64,
    position: u64,
}

#[derive(Debug, Default)]
struct Hints {
    recent: VecDeque<Hint>,
    /// Counts truncations and swaps: a place learned before one is not remembered after it.
    generation: u64,
}

impl Shared {
    pub fn new(
        folder: Folder,
        segments: Vec<Arc<Segment>>,
        (start, end): (i64, i64),
        epochs: Arc<ArcSwap<EpochStarts>>,
    ) -> Self {
        let active = segments.last();
        let tip = Tip {
            end,
            base_offset: active.map_or(end, |segment| segment.base_offset()),
            size: active.map_or(0, |segment| segment.size()),
        };
        Self {
            active_base: AtomicI64::new(tip.base_offset),
            cuts: Mutex::default(),
            uncleaned_from: AtomicI64::new(end),
            flushing: Mutex::default(),
            tip: Mutex::new(tip),
            folder,
            segments: RwLock::new(segments),
            start: AtomicI64::new(start),
            end: AtomicI64::new(end),
            epochs,
            recovery_point: AtomicI64::new(0),
            flushed: AtomicI64::new(0),
            sync_failed: AtomicBool::new(false),
            hints: Mutex::default(),
            failed: AtomicBool::new(false),
            write_failed: AtomicBool::new(false),
            failure: Mutex::new(None),
            looking: Mutex::default(),
            deleted: AtomicBool::new(false),
            folder_dirty: AtomicBool::new(false),
            folder_made: AtomicBool::new(false),
            unflushed_since_ms: AtomicI64::new(0),
            written_back_at: AtomicI64::new(end),
        }
    }

    pub fn start(&self) -> i64 {
        self.start.load(Ordering::Acquire)
    }

    pub fn set_start(&self, offset: i64) {
        self.start.store(offset, Ordering::Release);
    }

    pub fn end(&self) -> i64 {
        self.end.load(Ordering::Acquire)
    }

    pub fn tip(&self) -> Tip {
        *self.tip.lock()
    }

    pub fn set_tip(&self, end: i64, base_offset: i64, size: u64) {
        let mut tip = self.tip.lock();
        *tip = Tip {
            end,
            base_offset,
            size,
        };
        self.end.store(end, Ordering::Release);
    }

    /// The leader epochs as they are now.
    pub fn epochs(&self) -> Arc<EpochStarts> {
        self.epochs.load_full()
    }

    /// The leader epochs, and where the log ended while it had these.
    pub fn epochs_and_end(&self) -> (Arc<EpochStarts>, i64) {
        let mut epochs = self.epochs();
        loop {
            let end = self.end();
            let after = self.epochs();
            if Arc::ptr_eq(&epochs, &after) {
                return (epochs, end);
            }
            epochs = after;
        }
    }

    pub fn recovery_point(&self) -> i64 {
        self.recovery_point.load(Ordering::Acquire)
    }

    /// Counts the calls of [`Shared::lower_recovery_point`].
    pub fn cuts(&self) -> u64 {
        *self.cuts.lock()
    }

    /// What lies below `offset` is on disk, unless the log was cut since it was asked for [`Shared::cuts`].
    pub fn raise_recovery_point(&self, offset: i64, cuts: u64) {
        let now = self.cuts.lock();
        if *now == cuts {
            self.flushed.fetch_max(offset, Ordering::AcqRel);
            self.recovery_point.fetch_max(offset, Ordering::AcqRel);
        }
    }

    /// The same for the batches alone: a crash has still to look at them, for the sake of their indexes.
    pub fn raise_flushed(&self, offset: i64, cuts: u64) {
        let now = self.cuts.lock();
        if *now == cuts {
            self.flushed.fetch_max(offset, Ordering::AcqRel);
        }
    }

    /// Below this all batches are on disk.
    pub fn flushed(&self) -> i64 {
        self.flushed.load(Ordering::Acquire)
    }

    /// The log is being cut at `offset`: called before, for the checkpoint, and once the log ends there.
    pub fn lower_recovery_point(&self, offset: i64) {
        let mut cuts = self.cuts.lock();
        *cuts += 1;
        self.recovery_point.fetch_min(offset, Ordering::AcqRel);
        self.flushed.fetch_min(offset, Ordering::AcqRel);
        self.uncleaned_from.fetch_min(offset, Ordering::AcqRel);
    }

    /// How far the cleaner's `checkpoint` still holds. One beyond the log's end is of another log, and says nothing.
    pub fn cleaned_to(&self, checkpoint: i64) -> i64 {
        let is_of_this_log = checkpoint <= self.end();
        if is_of_this_log {
            checkpoint.min(self.uncleaned_from.load(Ordering::Acquire))
        } else {
            0
        }
    }

    /// The log was cleaned: its next checkpoint may be believed, until there is a cut.
    pub fn note_cleaned(&self) {
        self.uncleaned_from.store(i64::MAX, Ordering::Release);
    }

    /// Where the segment starts that takes the appends: those before it get no more.
    pub fn active_base(&self) -> i64 {
        self.active_base.load(Ordering::Acquire)
    }

    /// A file was made, renamed or removed: the next flush syncs the folder.
    pub fn note_folder_change(&self) {
        self.folder_dirty.store(true, Ordering::Release);
    }

    /// The folder was made: the next flush syncs what it lies in.
    pub fn note_folder_made(&self) {
        self.folder_made.store(true, Ordering::Release);
        self.note_folder_change();
    }

    pub fn path(&self) -> PathBuf {
        self.folder.read().clone()
    }

    /// The segments as they are now.
    pub fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments.read().clone()
    }

    pub fn active(&self) -> Arc<Segment> {
        let segments = self.segments.read();
        segments[segments.len() - 1].clone()
    }

    /// The segment that holds `offset`, and whether it is the last.
    pub fn segment_of(&self, offset: i64) -> Option<Arc<Segment>> {
        let segments = self.segments.read();
        let count = segments.partition_point(|segment| segment.base_offset() <= offset);
        count.checked_sub(1).map(|index| segments[index].clone())
    }

    /// The segment behind the one with `base_offset`.
    pub fn segment_after(&self, base_offset: i64) -> Option<Arc<Segment>> {
        let segments = self.segments.read();
        let index = segments.partition_point(|segment| segment.base_offset() <= base_offset);
        segments.get(index).cloned()
    }

    /// Lets `change` swap segments; readers see the list before or after it.
    pub fn change_segments<T>(&self, change: impl FnOnce(&mut Vec<Arc<Segment>>) -> T) -> T {
        let mut segments = self.segments.write();
        let changed = change(&mut segments);
        if let Some(active) = segments.last() {
            self.active_base
                .store(active.base_offset(), Ordering::Release);
        }
        changed
    }

    /// Whether the segment is still part of the log.
    pub fn holds(&self, segment: &Arc<Segment>) -> bool {
        let segments = self.segments.read();
        segments.iter().any(|held| Arc::ptr_eq(held, segment))
    }

    /// Whether writing has failed before, and how.
    pub fn check_writable(&self) -> Result<(), StorageError> {
        if !self.has_failed() {
            return Ok(());
        }
        self.failure.lock().clone().map_or(Ok(()), Err)
    }

    /// Whether writing has failed before.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// Whether a write or a sync has failed, and the first failure. What a log has that only could not be read is brought to
    /// disk like any other's.
    pub fn check_synced(&self) -> Result<(), StorageError> {
        match self.has_write_failed() {
            true => self.check_writable(),
            false => Ok(()),
        }
    }

    /// Whether a write or a sync has failed.
    pub fn has_write_failed(&self) -> bool {
        self.write_failed.load(Ordering::Acquire)
    }

    /// A write or a sync has failed: takes the log offline for writing. The first failure is the one that is told.
    pub fn fail(&self, error: StorageError) -> StorageError {
        self.write_failed.store(true, Ordering::Release);
        self.go_offline(error)
    }

    fn go_offline(&self, error: StorageError) -> StorageError {
        let first = self.failure.lock().get_or_insert(error).clone();
        if !self.failed.swap(true, Ordering::AcqRel) {
            FAILED.fetch_add(1, Ordering::Release);
        }
        first
    }

    /// The segment's open file, as far as `reach` goes; that it can't be opened is noted as a failed read.
    pub fn file_of(
        &self,
        segment: &Arc<Segment>,
        reach: Reach,
    ) -> Result<Arc<LogFile>, StorageError> {
        let noted = |error: &StorageError| self.note_failed_read(segment, &error.source);
        segment.file_within(reach).inspect_err(noted)
    }

    /// From here on it is no fault of the disk's that files are gone.
    pub fn note_deleted(&self) {
        self.deleted.store(true, Ordering::SeqCst);
    }

    /// As `fail`, where nothing was stored yet and the call may be repeated: a lack of descriptors is not the disk's.
    pub fn refuse(&self, error: StorageError) -> StorageError {
        if files::is_short_of_descriptors(&error.source) {
            return error;
        }
        self.fail(error)
    }

    /// As `refuse`, of a sync.
    pub fn fail_sync(&self, error: StorageError) -> StorageError {
        let is_the_disks = !files::is_short_of_descriptors(&error.source);
        self.sync_failed.fetch_or(is_the_disks, Ordering::AcqRel);
        self.refuse(error)
    }

    /// Whether a sync has failed.
    pub fn has_sync_failed(&self) -> bool {
        self.sync_failed.load(Ordering::Acquire)
    }

    /// A known batch start: segment and position.
    pub fn hint(&self, offset: i64) -> Option<(Arc<Segment>, u64)> {
        let hint = {
            let hints = self.hints.lock();
            *hints
                .recent
                .iter()
                .rev()
                .find(|hint| hint.offset == offset)?
        };
        let segment = self.segment_of(hint.offset)?;
        let usable = segment.base_offset() == hint.base_offset && hint.position < segment.size();
        usable.then_some((segment, hint.position))
    }

    /// Counts truncations and swaps of segments.
    pub fn generation(&self) -> u64 {
        self.hints.lock().generation
    }

    /// Remembers where the batch with `offset` starts, or will.
    pub fn remember(&self, generation: u64, offset: i64, base_offset: i64, position: u64) {
        let mut hints = self.hints.lock();
        if hints.generation != generation || hints.recent.iter().any(|hint| hint.offset == offset) {
            return;
        }
        if hints.recent.len() == HINTS_MAX {
            hints.recent.pop_front();
        }
        hints.recent.push_back(Hint {
            offset,
            base_offset,
            position,
        });
    }

    /// Positions have changed: nothing that was learned before holds.
    pub fn forget_hints(&self) {
        let mut hints = self.hints.lock();
        hints.recent.clear();
        hints.generation += 1;
    }
}
