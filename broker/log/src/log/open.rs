//! Opening a log: what the folder holds, and whether it may be trusted.

pub(crate) mod folder;
mod recover;
pub(crate) mod whole;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use milena_protocol::Uuid;
use parking_lot::RwLock;

use super::{Head, Log, offset_in_name, snapshots};
use crate::config::LogConfig;
use crate::damage;
use crate::directory::partition_metadata;
use crate::epochs::{self, EpochStarts, Epochs};
use crate::error::{LogError, StorageError};
use crate::files;
use crate::producers::{self, Producers};
use crate::segment::{Folder, Segment, file_name};
use crate::shared::Shared;

/// What the broker knows of a log before it opens it.
#[derive(Debug, Clone, Copy)]
pub struct Opening {
    /// Whether the data directory carries the mark of a clean stop.
    pub clean_shutdown: bool,
    /// From `recovery-point-offset-checkpoint`: what lies below is on disk; 0 where unknown.
    pub recovery_point: i64,
    /// From `log-start-offset-checkpoint`; 0 where unknown. A log that is made anew starts here.
    pub log_start_offset: i64,
    /// Where the log ends at least: one that ends before it has lost records. 0 where nobody knows, or where the records
    /// may have been cut off for a reason.
    pub end_due: i64,
    /// The topic's id, for `partition.metadata`; zero where there is none.
    pub topic_id: Uuid,
    /// The broker's clock, ms.
    pub now_ms: i64,
}

/// What opening found and did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Segments that were walked from end to end.
    pub segments_scanned: usize,
    /// Batches whose checksums were verified.
    pub batches_checked: u64,
    /// Bytes behind the last valid batch that were cut, in all segments.
    pub bytes_cut: u64,
    /// Where the log was cut, if it was.
    pub cut_at_offset: Option<i64>,
    /// Where the log began by its checkpoint, where it begins later now and may have lost what lies between.
    pub missing_from: Option<i64>,
}

/// The names of what is in a partition's folder; none where there is no folder.
pub(crate) fn names_in(path: &Path) -> Result<Vec<String>, StorageError> {
    Ok(folder::list(path)?.unwrap_or_default())
}

/// Puts away what a compaction or a repair that was cut short has left in a partition's folder, or ends it.
pub(crate) fn tidy(path: &Path) -> Result<(), LogError> {
    let names = folder::finish_swaps(path, names_in(path)?)?;
    Ok(folder::clear(path, &names)?)
}

fn existing(folder: &Folder, found: BTreeMap<i64, u64>) -> Vec<Arc<Segment>> {
    let existing = |(base_offset, size)| Segment::existing(folder.clone(), base_offset, size);
    found.into_iter().map(existing).map(Arc::new).collect()
}

/// The segment is whole again, or was cut. A note that stays costs the next opening another look, and no more.
fn forget_damage(path: &Path) {
    if let Err(error) = damage::remove(path) {
        tracing::warn!(%error, "a note of damage stays in a log that is whole");
    }
}

impl Log {
    /// Opens the log in `path`; where there is none it is empty, and made with its first batch. After a clean stop
    /// nothing is scanned. Otherwise what lies beyond the recovery point is checked, and the first invalid batch there
    /// ends the log. Damage below it, or that a reader has met in an earlier life, or a log that lacks its first or its last
    /// segments, is an error that names file, offset and byte, and changes nothing.
    pub fn open(
        path: &Path,
        config: LogConfig,
        opening: Opening,
    ) -> Result<(Self, Recovery), LogError> {
        Self::open_telling(path, config, opening, &|_| {})
    }

    /// The same, and has `tell` hear of the bytes that are read to find the end after a crash, while they are.
    pub fn open_telling(
        path: &Path,
        config: LogConfig,
        opening: Opening,
        tell: &dyn Fn(u64),
    ) -> Result<(Self, Recovery), LogError> {
        let listed = folder::list(path)?;
        let is_made = listed.is_some();
        let names = listed.unwrap_or_default();
        if is_made {
            let has_id = names.iter().any(|name| name == partition_metadata::FILE);
            partition_metadata::check_or_write(path, opening.topic_id, has_id)?;
        }
        let names = folder::finish_swaps(path, names)?;
        let folder: Folder = Arc::new(RwLock::new(path.to_path_buf()));
        let mut segments = existing(&folder, folder::segments(path, &names)?);
        let is_new = segments.is_empty();
        let trusted = opening.clean_shutdown || is_new;
        let first = segments.first().map(|first| first.base_offset());
        let mut recovery = Recovery {
            missing_from: whole::check_start(path, first, &opening)?,
            ..Recovery::default()
        };
        let has_note = names.iter().any(|name| name == damage::FILE);
        if has_note {
            whole::check_noted(path, &segments, &opening)?;
        }
        let end = if is_new {
            0
        } else if trusted {
            recover::clean_end(&segments, &config)?
        } else {
            folder::clear(path, &names)?;
            let point = opening.recovery_point;
            recover::check(&mut segments, point, &config, (&mut recovery, tell))?
        };
        whole::check_end(path, segments.last().map(Arc::as_ref), end, &opening)?;
        whole::check_orphans(path, &names, &opening)?;
        if trusted {
            folder::clear(path, &names)?;
        }
        if is_new && is_made {
            // Of records that a power loss took, and maybe without its bytes.
            let epochs = path.join(epochs::FILE);
            files::remove_if_there(&epochs).map_err(StorageError::of("remove", &epochs))?;
        }
        if is_new {
            segments.push(Arc::new(Segment::unmade(folder.clone(), 0)));
        }
        let mut log = Self::assemble(folder, segments, end, config, opening, trusted)?;
        log.is_made = is_made;
        log.restore(end, opening.now_ms, trusted)?;
        if trusted {
            log.tidy_snapshots(&names, is_new)?;
        }
        if log.shared.end() < opening.log_start_offset {
            // The checkpoint reached the disk and the records did not.
            log.truncate_fully_and_start_at(opening.log_start_offset, opening.now_ms)?;
        }
        if has_note {
            forget_damage(path);
        }
        Ok((log, recovery))
    }

    /// Removes the snapshots among `names` that nobody needs; where no segment is there they are of records that a power
    /// loss took.
    fn tidy_snapshots(&self, names: &[String], is_new: bool) -> Result<(), LogError> {
        let offsets = names
            .iter()
            .filter_map(|name| offset_in_name(name, "snapshot"));
        let snapshots: Vec<i64> = offsets.collect();
        match is_new {
            true if snapshots.is_empty() => Ok(()),
            true => self.remove_snapshots(),
            false => Ok(self.thin_out_snapshots(snapshots)?),
        }
    }

    /// Keeps the snapshots of where segments start, from which a crash or a cut restores, and the newest: each clean
    /// stop leaves another.
    fn thin_out_snapshots(&self, mut snapshots: Vec<i64>) -> Result<(), StorageError> {
        let end = self.shared.end();
        let newest = snapshots.iter().copied().filter(|&at| at <= end).max();
        let bases = self.shared.segments();
        let is_base = |at| bases.binary_search_by_key(&at, |segment| segment.base_offset());
        snapshots.retain(|&at| Some(at) != newest && is_base(at).is_err());
        for offset in snapshots {
            let path = self.shared.path().join(file_name(offset, "snapshot"));
            files::remove_if_there(&path).map_err(StorageError::of("remove", &path))?;
        }
        Ok(())
    }

    fn assemble(
        folder: Folder,
        segments: Vec<Arc<Segment>>,
        end: i64,
        config: LogConfig,
        opening: Opening,
        trusted: bool,
    ) -> Result<Self, LogError> {
        let first = segments[0].base_offset();
        let start = opening.log_start_offset.clamp(first, end.max(first));
        let epochs = match Epochs::open(folder.clone()) {
            // The batches say it again; `restore` reads them all.
            Err(LogError::Malformed { .. }) if !trusted => Epochs::anew(folder.clone())?,
            epochs => epochs?,
        };
        let shared = Arc::new(Shared::new(
            folder,
            segments,
            (start, end),
            epochs.published().clone(),
        ));
        if !trusted {
            // What recovery changes is brought to disk by the next flush.
            shared.note_folder_change();
        }
        let recovery_point = if trusted {
            end
        } else {
            opening.recovery_point.min(end)
        };
        shared.raise_recovery_point(recovery_point, shared.cuts());
        Ok(Self {
            shared,
            config,
            epochs,
            producers: Producers::default(),
            snapshot_at: None,
            topic_id: opening.topic_id,
            is_made: true,
            head: Head::new(opening.now_ms),
        })
    }

    /// Brings epochs and producers to the state they had when the log ended at `end`.
    fn restore(&mut self, end: i64, now_ms: i64, trusted: bool) -> Result<(), LogError> {
        if !trusted {
            // What is said of batches beyond the recovery point may be of others, that were cut: names last by themselves.
            let safe = end.min(self.shared.recovery_point());
            self.epochs.hold_back();
            self.epochs.truncate_to(safe)?;
            self.restore_producers(safe, now_ms)?;
            return Ok(self.epochs.catch_up()?);
        }
        if self.epochs.truncate_to(end)? {
            self.shared.note_folder_change();
        }
        if end == 0 {
            return Ok(());
        }
        self.restore_epochs()?;
        // A clean stop leaves a snapshot of the end; without it, the batches say the same.
        let path = self.shared.path().join(file_name(end, "snapshot"));
        match producers::read(&path, now_ms) {
            Ok(producers) => {
                self.producers = producers;
                self.snapshot_at = Some(end);
            }
            Err(_) => self.restore_producers(end, now_ms)?,
        }
        Ok(())
    }

    /// Brings the epochs back where their file is lost: the batches say the same. Once there is a file, be it of no epochs,
    /// no opening reads all of them again.
    fn restore_epochs(&mut self) -> Result<(), LogError> {
        let file = self.shared.path().join(epochs::FILE);
        if self.epochs.latest().is_some() || file.exists() {
            return Ok(());
        }
        tracing::warn!(file = %file.display(), "the leader epochs' file is not there, and is made anew");
        let mut starts = EpochStarts::default();
        for segment in self.shared.segments() {
            segment.walk_by(|scan| {
                let next = scan.next()?;
                if let Some((_, header)) = &next {
                    starts.assign(header.partition_leader_epoch, header.base_offset);
                }
                Ok(next)
            })?;
        }
        self.shared.note_folder_change();
        Ok(self.epochs.set(starts)?)
    }

    /// Rebuilds the producers' state from the newest snapshot up to `safe` and the batches behind it; epochs that
    /// those batches carry are noted too. Snapshots beyond `safe` are removed.
    pub(super) fn restore_producers(&mut self, safe: i64, now_ms: i64) -> Result<(), LogError> {
        let folder = self.shared.path();
        self.shared.note_folder_change();
        self.producers.clear();
        self.snapshot_at = None;
        let mut from = self.shared.segments()[0].base_offset();
        for offset in snapshots(&folder)?.into_iter().rev() {
            let path = folder.join(file_name(offset, "snapshot"));
            match (offset <= safe).then(|| producers::read(&path, now_ms)) {
                Some(Ok(producers)) => {
                    self.producers = producers;
                    from = from.max(offset);
                    break;
                }
                Some(Err(LogError::Storage(error))) => return Err(error.into()),
                // Of what is not there, or cut by a power loss.
                _ => files::remove_if_there(&path).map_err(StorageError::of("remove", &path))?,
            }
        }
        if self.epochs.latest().is_none() {
            from = self.shared.segments()[0].base_offset();
        }
        self.replay(from, now_ms)
    }

    fn replay(&mut self, from: i64, now_ms: i64) -> Result<(), LogError> {
        for segment in self.shared.segments() {
            let next = self.shared.segment_after(segment.base_offset());
            if next.is_some_and(|next| next.base_offset() <= from) {
                continue;
            }
            let Some((position, _)) = segment.find(from)? else {
                continue;
            };
            let mut scan = segment.scan(position)?;
            let mut offset = from;
            while let Some((_, header)) =
                scan.next().map_err(|stop| segment.damage(stop, offset))?
            {
                offset = header.last_offset() + 1;
                self.producers.note(&header, now_ms);
                self.epochs
                    .assign(header.partition_leader_epoch, header.base_offset)?;
            }
        }
        Ok(())
    }
}
