//! The files of a partition's folder: leftovers are put away, segments listed.
//!
//! | name ends with | left by | becomes |
//! | --- | --- | --- |
//! | `.deleted` | a deletion that waited for its delay | removed |
//! | `.cleaned`, `.tmp` | a compaction or replacement that was cut short | removed |
//! | `.log.swap` | a finished compaction that was not put in place | put in place of the segments it covers |

use std::collections::{BTreeMap, BTreeSet};
use std::fs::ReadDir;
use std::path::Path;
use std::sync::Arc;

use crate::error::{LogError, StorageError};
use crate::files::{self, LogFile};
use crate::log::offset_in_name;
use crate::scan::Scan;
use crate::segment::file_name;
use crate::trash::Removal;

/// The names of what is in the folder; `None` where there is none.
pub(super) fn list(path: &Path) -> Result<Option<Vec<String>>, StorageError> {
    match std::fs::read_dir(path) {
        Ok(entries) => names(path, entries).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::of("list", path)(error)),
    }
}

/// Ends compactions that were not put in place, and returns the names that there are then.
pub(super) fn finish_swaps(path: &Path, names: Vec<String>) -> Result<Vec<String>, LogError> {
    let swaps = swaps(path, &names)?;
    for swap in &swaps {
        finish_swap(path, &names, swap)?;
    }
    Ok(match swaps.is_empty() {
        true => names,
        false => list(path)?.unwrap_or_default(),
    })
}

/// The segments among `names`: base offset and bytes.
pub(super) fn segments(path: &Path, names: &[String]) -> Result<BTreeMap<i64, u64>, StorageError> {
    let bases = names.iter().filter_map(|name| offset_in_name(name, "log"));
    let segment = |base_offset| {
        let file = path.join(file_name(base_offset, "log"));
        let size = std::fs::metadata(&file)
            .map_err(StorageError::of("read", &file))?
            .len();
        Ok((base_offset, size))
    };
    bases.map(segment).collect()
}

/// Puts the leftovers among `names` away: large ones in steps, since logs that are opened beside this one want something
/// of the file system too, and without pauses, for which the start would wait.
pub(super) fn clear(path: &Path, names: &[String]) -> Result<(), StorageError> {
    let logs: BTreeSet<i64> = names
        .iter()
        .filter_map(|name| offset_in_name(name, "log"))
        .collect();
    let mut removal = Removal::new(&|| true);
    for name in names {
        let leftover = [".deleted", ".cleaned", ".swap", ".tmp"]
            .iter()
            .any(|end| name.ends_with(end));
        let orphan = ["index", "timeindex", "txnindex"].iter().any(|extension| {
            offset_in_name(name, extension).is_some_and(|base| !logs.contains(&base))
        });
        if leftover || orphan {
            removal.remove_one(&path.join(name))?;
        }
    }
    Ok(())
}

fn names(path: &Path, entries: ReadDir) -> Result<Vec<String>, StorageError> {
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(StorageError::of("list", path))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

fn remove(path: &Path) -> Result<(), StorageError> {
    files::remove_if_there(path).map_err(StorageError::of("remove", path))
}

/// A compacted segment that was not put in place. It stands for every segment that starts within its offsets.
#[derive(Debug)]
pub(crate) struct Swap {
    pub base_offset: i64,
    next_offset: i64,
}

impl Swap {
    pub fn covers(&self, base_offset: i64) -> bool {
        base_offset == self.base_offset
            || (self.base_offset..self.next_offset).contains(&base_offset)
    }
}

/// Those of a folder with these names.
pub(crate) fn swaps(path: &Path, names: &[String]) -> Result<Vec<Swap>, LogError> {
    let bases = names
        .iter()
        .filter_map(|name| offset_in_name(name.strip_suffix(".swap")?, "log"));
    bases
        .map(|base_offset| {
            let file = path.join(file_name(base_offset, "log") + ".swap");
            Ok(Swap {
                base_offset,
                next_offset: next_offset(&file, base_offset)?,
            })
        })
        .collect()
}

fn finish_swap(path: &Path, names: &[String], swap: &Swap) -> Result<(), LogError> {
    let base_offset = swap.base_offset;
    for covered in names.iter().filter_map(|name| offset_in_name(name, "log")) {
        if swap.covers(covered) {
            for extension in ["log", "index", "timeindex", "txnindex"] {
                remove(&path.join(file_name(covered, extension)))?;
            }
        }
    }
    // The batches last: while their `.swap` is there, another start finishes this one's work.
    for extension in ["index", "timeindex", "txnindex", "log"] {
        let file = path.join(file_name(base_offset, extension));
        let from = file.with_added_extension("swap");
        match files::rename(&from, &file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StorageError::of("rename", &from)(error).into());
            }
            _ => {}
        }
    }
    files::sync_folder(path).map_err(StorageError::of("sync", path))?;
    Ok(())
}

fn next_offset(swap: &Path, base_offset: i64) -> Result<i64, LogError> {
    let file = LogFile::open(swap, false).map_err(StorageError::of("open", swap))?;
    let size = file.len().map_err(StorageError::of("read", swap))?;
    let mut scan = Scan::new(Arc::new(file), 0, size, base_offset);
    let mut next_offset = base_offset;
    loop {
        match scan.next() {
            Ok(Some((_, header))) => next_offset = header.last_offset() + 1,
            Ok(None) => return Ok(next_offset),
            Err(stop) => return Err(stop.at(swap, next_offset)),
        }
    }
}
