//! Mending a log that [`crate::inspect`] has found something wrong with, while no broker has it.
//!
//! A segment with bytes that are no batches is written anew from those that are, beside itself; what was there stays as
//! `….log.damaged`. It takes the old one's place as a compacted segment does, so that a crash at any point leaves the
//! one or the other. Offsets stay what they were: those that are lost are a gap, as after compaction, and are never given
//! to other records.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use milena_protocol::records::{BatchHeader, empty_batch};
use parking_lot::RwLock;

use crate::config::LogConfig;
use crate::damage;
use crate::epochs::{self, EpochStarts};
use crate::error::{LogError, StorageError};
use crate::files::{self, Durability, LogFile};
use crate::inspect::{FindingKind, Gap, Hole, Inspection};
use crate::log::{names_in, offset_in_name, tidy};
use crate::segment::{Folder, NO_TIMESTAMP, Segment, file_name};

/// What the broken segment is kept as.
const KEPT_AS: &str = "damaged";
/// Bytes copied at once.
const COPY_BYTES: usize = 1 << 20;

/// Mends what was found. The log then ends at `end_offset` at least, which is what its checkpoints say that it had:
/// where segments or batches at its end are lost empty batches hold their offsets. Where its first segments are lost it
/// begins with the first that is there, and where all are it begins and ends at `end_offset`.
pub fn repair(found: &Inspection, end_offset: i64) -> Result<(), LogError> {
    let folder: Folder = Arc::new(RwLock::new(found.folder.clone()));
    // What was found is what there is after this.
    tidy(&found.folder)?;
    for (base_offset, holes) in holes(found) {
        rewrite(&folder, base_offset, &holes)?;
    }
    for finding in &found.findings {
        match finding.kind {
            // With the segment, or below.
            FindingKind::Records(_) | FindingKind::Epochs => {}
            // The epochs forget what lay before the first segment, below.
            FindingKind::Gap(gap) if gap.next_offset <= found.start_offset => {}
            FindingKind::Gap(gap) => fill(&folder, gap)?,
            FindingKind::Index => reindex(&folder, &finding.file)?,
            FindingKind::Snapshot | FindingKind::TopicId => {
                files::remove_if_there(&finding.file)
                    .map_err(StorageError::of("remove", &finding.file))?
            }
        }
    }
    let is_gone = bases(&found.folder)?.is_empty() && found.end_offset < end_offset;
    if is_gone {
        complete(&Segment::create(folder.clone(), end_offset)?, 0)?;
    } else if found.end_offset < end_offset {
        hold_end(&folder, end_offset)?;
    }
    let of_epochs = |kind| matches!(kind, FindingKind::Epochs | FindingKind::Gap(_));
    if is_gone || found.findings.iter().any(|one| of_epochs(one.kind)) {
        assign_epochs(&folder)?;
    }
    damage::remove(&found.folder)?;
    files::sync_folder(&found.folder).map_err(StorageError::of("sync", &found.folder))?;
    Ok(())
}

/// By segment.
fn holes(found: &Inspection) -> BTreeMap<i64, Vec<Hole>> {
    let mut holes: BTreeMap<i64, Vec<Hole>> = BTreeMap::new();
    for finding in &found.findings {
        if let FindingKind::Records(hole) = finding.kind
            && let Some(base_offset) = base_offset(&finding.file, "log")
        {
            holes.entry(base_offset).or_default().push(hole);
        }
    }
    holes
}

fn base_offset(file: &Path, extension: &str) -> Option<i64> {
    offset_in_name(file.file_name()?.to_str()?, extension)
}

fn rewrite(folder: &Folder, base_offset: i64, holes: &[Hole]) -> Result<(), LogError> {
    let path = folder.read().join(file_name(base_offset, "log"));
    let old = LogFile::open(&path, false).map_err(StorageError::of("open", &path))?;
    let size = old.len().map_err(StorageError::of("read", &path))?;
    let new = Segment::create_as(folder.clone(), base_offset, ".cleaned")?;
    let (mut from, mut to) = (0, 0);
    let ends = holes.iter().map(|hole| (hole.byte, hole.byte + hole.bytes));
    for (end, resumed) in ends.chain([(size, size)]) {
        copy(&old, &path, from..end, &new, to)?;
        to += end - from;
        from = resumed;
    }
    complete(&new, to)?;
    let kept = path.with_added_extension(KEPT_AS);
    match files::link(&path, &kept) {
        // What was there before the first repair is worth the most.
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(StorageError::of("keep", &kept)(error).into());
        }
        _ => {}
    }
    new.rename(".swap")?;
    let path = folder.read().clone();
    files::sync_folder(&path).map_err(StorageError::of("sync", &path))?;
    // From here on a start does the same.
    tidy(&path)
}

fn copy(
    old: &LogFile,
    path: &Path,
    bytes: Range<u64>,
    new: &Segment,
    mut to: u64,
) -> Result<(), StorageError> {
    let (file, target) = (new.file()?, new.path("log"));
    let mut buffer = vec![0; COPY_BYTES];
    let mut from = bytes.start;
    while from < bytes.end {
        let len = buffer.len().min((bytes.end - from) as usize);
        let part = &mut buffer[..len];
        let read = old.read_at(part, from);
        let read = read.map_err(StorageError::of("read", path))?;
        if read < len {
            let shorter = std::io::ErrorKind::UnexpectedEof.into();
            return Err(StorageError::of("read", path)(shorter));
        }
        file.write_all_at(&mut [IoSlice::new(part)], to)
            .map_err(StorageError::of("write", &target))?;
        from += len as u64;
        to += len as u64;
    }
    Ok(())
}

/// Makes the indexes of a segment whose batches are written, and brings it to disk.
fn complete(segment: &Segment, size: u64) -> Result<(), LogError> {
    segment.publish(size);
    segment.rebuild_indexes(LogConfig::default().index_interval_bytes)?;
    segment.seal()?;
    Ok(segment.sync()?)
}

fn reindex(folder: &Folder, file: &Path) -> Result<(), LogError> {
    let base_offset = ["index", "timeindex"]
        .iter()
        .find_map(|extension| base_offset(file, extension));
    let Some(base_offset) = base_offset else {
        return Ok(());
    };
    let segment = existing(folder, base_offset)?;
    complete(&segment, segment.size())
}

fn existing(folder: &Folder, base_offset: i64) -> Result<Segment, StorageError> {
    let path = folder.read().join(file_name(base_offset, "log"));
    let size = std::fs::metadata(&path)
        .map_err(StorageError::of("read", &path))?
        .len();
    Ok(Segment::existing(folder.clone(), base_offset, size))
}

/// Has the log end at `wanted` at least.
fn hold_end(folder: &Folder, wanted: i64) -> Result<(), LogError> {
    let bases = bases(&folder.read())?;
    let Some(last) = bases.last().copied() else {
        return Ok(());
    };
    let segment = existing(folder, last)?;
    let (mut end, mut epoch) = (last, -1);
    for base_offset in bases.into_iter().rev() {
        let segment = existing(folder, base_offset)?;
        let mut scan = segment.scan(0)?;
        while let Some((_, header)) = scan.next().map_err(|stop| segment.damage(stop, end))? {
            (end, epoch) = (header.last_offset() + 1, header.partition_leader_epoch);
        }
        // The last may be one that was made to hold the end, when the repair was cut short.
        if segment.size() > 0 {
            break;
        }
    }
    end = end.max(last);
    if segment.size() == 0 && end < wanted {
        end = hold(&segment, end, wanted, epoch)?;
    }
    hold_anew(folder, end, wanted, epoch)
}

/// Gives offsets that no segment has to empty batches, so that the segments before and behind them join.
fn fill(folder: &Folder, gap: Gap) -> Result<(), LogError> {
    let epoch = match epochs::read(&folder.read()) {
        Ok(epochs) => epochs.of(gap.offset).unwrap_or(-1),
        Err(LogError::Malformed { .. }) => -1,
        Err(error) => return Err(error),
    };
    hold_anew(folder, gap.offset, gap.next_offset, epoch)
}

/// Has new segments hold the offsets from `from` up to `to`.
fn hold_anew(folder: &Folder, mut from: i64, to: i64, epoch: i32) -> Result<(), LogError> {
    while from < to {
        from = hold(&Segment::create(folder.clone(), from)?, from, to, epoch)?;
    }
    Ok(())
}

/// Has an empty segment hold as many of the offsets from `from` up to `to` as one batch can; the offset behind them.
fn hold(segment: &Segment, from: i64, to: i64, epoch: i32) -> Result<i64, LogError> {
    let count = (to - from).min(i64::from(i32::MAX));
    let batch = empty_batch(&holding(from, count, epoch));
    let path = segment.path("log");
    let mut bytes = [IoSlice::new(&batch)];
    segment
        .file()?
        .write_all_at(&mut bytes, 0)
        .map_err(StorageError::of("write", &path))?;
    complete(segment, batch.len() as u64)?;
    Ok(from + count)
}

/// The header of a batch without records.
fn holding(base_offset: i64, count: i64, epoch: i32) -> BatchHeader {
    BatchHeader {
        base_offset,
        batch_length: 0,
        partition_leader_epoch: epoch,
        crc: 0,
        attributes: 0,
        last_offset_delta: i32::try_from(count - 1).unwrap_or(i32::MAX),
        base_timestamp: NO_TIMESTAMP,
        max_timestamp: NO_TIMESTAMP,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        record_count: 0,
    }
}

/// Writes the epochs that the batches have.
fn assign_epochs(folder: &Folder) -> Result<(), LogError> {
    let mut epochs = EpochStarts::default();
    let path = folder.read().clone();
    for base_offset in bases(&path)? {
        let segment = existing(folder, base_offset)?;
        let mut scan = segment.scan(0)?;
        // What is torn at the end goes at the next start.
        while let Ok(Some((_, header))) = scan.next() {
            epochs.assign(header.partition_leader_epoch, header.base_offset);
        }
    }
    Ok(epochs::write(&path, &epochs, Durability::Synced)?)
}

/// Where the segments begin, in order.
fn bases(path: &Path) -> Result<Vec<i64>, StorageError> {
    let names = names_in(path)?;
    let bases = names.iter().filter_map(|name| offset_in_name(name, "log"));
    let mut bases: Vec<i64> = bases.collect();
    bases.sort_unstable();
    Ok(bases)
}
