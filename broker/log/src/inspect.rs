//! Looking through the log of a broker that is stopped: every batch, every index entry and the small files beside them.
//! Nothing is changed, and nothing believed: what a start trusts is read too.

mod indexes;
mod resync;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_protocol::records::BatchHeader;

use crate::damage;
use crate::directory::partition_metadata;
use crate::epochs::{self, EpochStarts};
use crate::error::{LogError, StorageError};
use crate::files::LogFile;
use crate::log::{Before, names_in, offset_in_name, orphans, swaps};
use crate::producers;
use crate::scan::{Scan, ScanStop};
use crate::segment::file_name;

use indexes::IndexCheck;

/// What was found in one log's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The partition's folder.
    pub folder: PathBuf,
    /// How many there are.
    pub segments: usize,
    /// Of all segments.
    pub bytes: u64,
    /// Those that are whole.
    pub batches: u64,
    /// Where the first segment begins.
    pub start_offset: i64,
    /// Behind the last batch that is whole.
    pub end_offset: i64,
    /// What is wrong, in the order of the files.
    pub findings: Vec<Finding>,
    /// Between two segments, or before the first, in order; most are no damage.
    pub gaps: Vec<Gap>,
    /// Where segments begin of which only an index is there.
    pub orphans: BTreeSet<i64>,
}

/// Offsets that no batch has. Our compaction and our rolls leave none between two segments; Kafka's compaction does, and so
/// do repairs, and a follower's roll before a gap that no segment can express: whether a segment was lost there can't be told
/// by the log alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The first of them.
    pub offset: i64,
    /// Where the batches go on.
    pub next_offset: i64,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub file: PathBuf,
    /// What, for people.
    pub problem: String,
    /// What, for programs.
    pub kind: FindingKind,
}

/// What is wrong, and so what would mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingKind {
    /// Bytes of a segment are no valid batches: their records are lost.
    Records(Hole),
    /// A segment is not there that was on disk: its records are lost.
    Gap(Gap),
    /// An index says something else than the batches: it can be made anew from them.
    Index,
    /// The leader epochs are others than the batches': they can be made anew from them.
    Epochs,
    /// A producers' snapshot can't be read: the batches say the same.
    Snapshot,
    /// `partition.metadata` can't be read: the broker knows the topic, and writes it again.
    TopicId,
}

/// Bytes between valid batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// Where in the file.
    pub byte: u64,
    /// How many there are.
    pub bytes: u64,
    /// The offset that was due there.
    pub offset: i64,
    /// Where the batches go on; `None` where the file does not.
    pub next_offset: Option<i64>,
}

/// Looks through the log in `folder`.
pub fn inspect(folder: &Path) -> Result<Inspection, LogError> {
    let names = names_in(folder)?;
    let swaps = swaps(folder, &names)?;
    // As a start makes them: what was compacted or mended stands for what is still beside it.
    let mut segments: BTreeMap<i64, &str> = names
        .iter()
        .filter_map(|name| offset_in_name(name, "log"))
        .filter(|base_offset| !swaps.iter().any(|swap| swap.covers(*base_offset)))
        .map(|base_offset| (base_offset, ""))
        .collect();
    segments.extend(swaps.iter().map(|swap| (swap.base_offset, ".swap")));
    let first = segments.keys().next().copied().unwrap_or(0);
    let mut walk = Walk {
        found: Inspection {
            folder: folder.to_path_buf(),
            segments: segments.len(),
            bytes: 0,
            batches: 0,
            start_offset: first,
            end_offset: first,
            findings: Vec::new(),
            gaps: Vec::new(),
            orphans: orphans(&names),
        },
        epochs: epochs_of(folder)?,
    };
    for (base_offset, suffix) in segments {
        walk.segment(base_offset, suffix)?;
    }
    walk.small_files(&names)?;
    Ok(walk.found)
}

impl Inspection {
    /// Holds the log against where it begins by its checkpoint: of a clean stop, or of some time before its broker died,
    /// which may have deleted records since. A log without segments begins and ends there.
    pub fn hold_start(&mut self, log_start: i64, is_clean: bool) -> Result<(), LogError> {
        if self.segments == 0 {
            (self.start_offset, self.end_offset) = (log_start, log_start);
            return Ok(());
        }
        let epochs = epochs_of(&self.folder)?.unwrap_or_default();
        if Before::of(self.start_offset, log_start, &epochs) == Before::Some {
            let gap = Gap {
                offset: log_start,
                next_offset: self.start_offset,
            };
            match is_clean {
                true => self.lacks(gap, "the log began there when it was stopped"),
                false => self.gaps.insert(0, gap),
            }
        }
        Ok(())
    }

    /// Holds a log that was closed cleanly against the indexes that are there.
    pub fn hold_orphans(&mut self) {
        for orphan in std::mem::take(&mut self.orphans) {
            let holds = |gap: &&Gap| (gap.offset..gap.next_offset).contains(&orphan);
            if let Some(gap) = self.gaps.iter().find(holds).copied() {
                self.lacks(gap, "the index of one is there");
            }
        }
    }

    /// Holds the log against its recovery point: no crash takes what lies below.
    pub fn hold_recovery_point(&mut self, point: i64) {
        let holds = |gap: &&Gap| gap.offset < point && point < gap.next_offset;
        if let Some(gap) = self.gaps.iter().find(holds).copied() {
            self.lacks(gap, "what lies below the recovery point was on disk");
        }
    }

    /// Holds the log against damage that a broker has met and noted: where its bytes are gone altogether, its segment ends
    /// before it. As a start does, leaves what no sync was known of, at `unsafe_from` or above.
    pub fn hold_noted_damage(&mut self, unsafe_from: i64) {
        let noted = damage::read(&self.folder).filter(|noted| noted.offset < unsafe_from);
        let Some(noted) = noted else { return };
        let holds = |gap: &&Gap| (gap.offset..gap.next_offset).contains(&noted.offset);
        if let Some(gap) = self.gaps.iter().find(holds).copied() {
            self.lacks(gap, "a broker has read a damaged batch there");
        }
    }

    fn lacks(&mut self, gap: Gap, why: &str) {
        let kind = FindingKind::Gap(gap);
        if self.findings.iter().any(|one| one.kind == kind) {
            return;
        }
        self.findings.push(Finding {
            file: self.folder.join(file_name(gap.offset, "log")),
            problem: format!("no segment has them, and {why}"),
            kind,
        });
    }
}

/// The epochs on file, or what is wrong with it.
fn epochs_of(folder: &Path) -> Result<Result<EpochStarts, String>, LogError> {
    match epochs::read(folder) {
        Ok(starts) => Ok(Ok(starts)),
        Err(LogError::Malformed { problem, .. }) => Ok(Err(problem)),
        Err(error) => Err(error),
    }
}

struct Walk {
    found: Inspection,
    /// What is still believed of the epochs.
    epochs: Result<EpochStarts, String>,
}

impl Walk {
    /// Files are reported by the names that a start gives them.
    fn segment(&mut self, base_offset: i64, suffix: &str) -> Result<(), LogError> {
        let path = self.path(base_offset, "log");
        let is_at = self
            .found
            .folder
            .join(file_name(base_offset, "log") + suffix);
        let file = LogFile::open(&is_at, false).map_err(StorageError::of("open", &is_at))?;
        let size = file.len().map_err(StorageError::of("read", &path))?;
        self.found.bytes += size;
        self.note_gap(base_offset);
        // An offset has one place.
        let floor = base_offset.max(self.found.end_offset);
        let mut indexes = IndexCheck::open(&self.found.folder, base_offset, suffix)?;
        let file = Arc::new(file);
        let mut scan = Scan::new(file.clone(), 0, size, floor);
        loop {
            match scan.next_checked() {
                Ok(Some((position, header))) => {
                    self.batch(&header);
                    indexes.batch(position, &header);
                }
                Ok(None) => break,
                Err(ScanStop::Io(error)) => {
                    return Err(StorageError::of("read", &path)(error).into());
                }
                Err(ScanStop::Invalid { position, problem }) => {
                    let due = self.found.end_offset.max(base_offset);
                    let next = resync::next_batch(&file, position + 1, size, due)
                        .map_err(StorageError::of("read", &path))?;
                    let resumed = next.map_or(size, |(at, _)| at);
                    indexes.hole(resumed);
                    self.found.findings.push(Finding {
                        file: path.clone(),
                        problem,
                        kind: FindingKind::Records(Hole {
                            byte: position,
                            bytes: resumed - position,
                            offset: due,
                            next_offset: next.map(|(_, offset)| offset),
                        }),
                    });
                    scan = Scan::new(file.clone(), resumed, size, due);
                }
            }
        }
        for (extension, problem) in indexes.end() {
            let file = self.path(base_offset, extension);
            self.note(file, problem, FindingKind::Index);
        }
        Ok(())
    }

    fn note_gap(&mut self, base_offset: i64) {
        let end = self.found.end_offset;
        let is_damaged = self.found.findings.iter().any(
            |one| matches!(one.kind, FindingKind::Records(hole) if hole.next_offset.is_none() && hole.offset >= end),
        );
        if base_offset > end && !is_damaged {
            self.found.gaps.push(Gap {
                offset: end,
                next_offset: base_offset,
            });
        }
    }

    fn batch(&mut self, header: &BatchHeader) {
        self.found.batches += 1;
        self.found.end_offset = header.last_offset() + 1;
        let (epoch, offset) = (header.partition_leader_epoch, header.base_offset);
        if let Ok(starts) = &self.epochs
            && epoch >= 0
            && starts.of(offset) != Some(epoch)
            && !starts.begins_behind(epoch, offset)
        {
            let said = match starts.of(offset) {
                Some(other) => format!("epoch {other}"),
                None => "no epoch".to_owned(),
            };
            // The first of them is enough: the file is made anew as a whole.
            self.epochs = Err(format!(
                "it says {said} for offset {offset}, whose batch is of epoch {epoch}"
            ));
        }
    }

    fn small_files(&mut self, names: &[String]) -> Result<(), LogError> {
        if let Err(problem) = &self.epochs {
            let file = self.found.folder.join(epochs::FILE);
            self.note(file, problem.clone(), FindingKind::Epochs);
        }
        let mut offsets: Vec<i64> = names
            .iter()
            .filter_map(|name| offset_in_name(name, "snapshot"))
            .collect();
        offsets.sort_unstable();
        for offset in offsets {
            let file = self.path(offset, "snapshot");
            if let Some(problem) = problem_of(producers::read(&file, 0))? {
                self.note(file, problem, FindingKind::Snapshot);
            }
        }
        if let Some(problem) = problem_of(partition_metadata::read(&self.found.folder))? {
            let file = self.found.folder.join(partition_metadata::FILE);
            self.note(file, problem, FindingKind::TopicId);
        }
        Ok(())
    }

    fn note(&mut self, file: PathBuf, problem: String, kind: FindingKind) {
        self.found.findings.push(Finding {
            file,
            problem,
            kind,
        });
    }

    fn path(&self, offset: i64, extension: &str) -> PathBuf {
        self.found.folder.join(file_name(offset, extension))
    }
}

/// What makes a file unreadable, apart from the disk.
fn problem_of<T>(read: Result<T, LogError>) -> Result<Option<String>, LogError> {
    match read {
        Ok(_) => Ok(None),
        Err(LogError::Malformed { problem, .. }) => Ok(Some(problem)),
        Err(error) => Err(error),
    }
}
