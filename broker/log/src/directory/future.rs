//! The folders of a log that moves to another data directory (KIP-113), and the end of a move that a crash has cut short.
//!
//! | folder | in | what it is |
//! | --- | --- | --- |
//! | `<topic>-<partition>.<id>-future` | where it goes | a copy that is being made |
//! | `<topic>-<partition>.<id>-delete` | where it was | the log that the copy of this id has replaced |
//!
//! The log gets the second name only when the copy has all of it on disk, and nothing is appended before that name is on
//! disk as well. So a copy beside whose id there is a `-delete` is the log, whatever it is called yet, and any other is a
//! copy that may lack records.

use std::path::{Path, PathBuf};

use super::{NAME_MAX, PartitionFolder, is_log, log_folder, partition_folders, unique_id};
use crate::error::StorageError;
use crate::files;

/// What the name of a copy ends with.
pub(super) const FUTURE: &str = "-future";
const REPLACED: &str = "-delete";

/// A folder for a partition's copy in `directory`; nothing where its name would be too long, as in Kafka.
pub fn future_folder(directory: &Path, topic: &str, partition: i32) -> Option<PathBuf> {
    let name = format!("{topic}-{partition}.{}{FUTURE}", unique_id());
    (name.len() <= NAME_MAX).then(|| directory.join(name))
}

/// What the log that is replaced by such a copy is called from then on.
pub(crate) fn replaced_name(future: &Path) -> String {
    let name = future.file_name().unwrap_or_default().to_string_lossy();
    format!("{}{REPLACED}", name.trim_end_matches(FUTURE))
}

/// Renames a copy that nobody needs any more, so that no start goes on with it; where it is then, or nothing where it is
/// gone. A [`crate::Trash`] removes it.
pub fn give_up_future(future: &Path) -> Result<Option<PathBuf>, StorageError> {
    let name = replaced_name(future);
    let (partition, _) = name.rsplit_once('.').unwrap_or((&name, ""));
    // Of an id of its own: it stands for no log that was replaced.
    let to = future.with_file_name(format!("{partition}.{}{REPLACED}", unique_id()));
    match files::rename(future, &to) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StorageError::of("rename", future)(error)),
    }
    sync_parent(&to)?;
    Ok(Some(to))
}

/// Brings the renaming of a folder to disk.
pub(crate) fn sync_parent(folder: &Path) -> Result<(), StorageError> {
    match folder.parent() {
        Some(parent) => files::sync_folder(parent).map_err(StorageError::of("sync", parent)),
        None => Ok(()),
    }
}

/// Gives those copies their partition's name that a crash has kept from it, before anybody looks for logs in the
/// `directories`; where they are then.
pub fn finish_moves(directories: &[&Path]) -> Result<Vec<PathBuf>, StorageError> {
    let mut finished = Vec::new();
    for directory in directories {
        for folder in partition_folders(directory)? {
            let PartitionFolder::Future {
                topic,
                partition,
                path,
            } = folder
            else {
                continue;
            };
            let replaced = replaced_name(&path);
            let is_decided = directories.iter().any(|dir| dir.join(&replaced).is_dir());
            let mut logs = directories
                .iter()
                .map(|dir| log_folder(dir, &topic, partition));
            // A log that was begun anew while this directory was away counts.
            if !is_decided || logs.any(|log| is_log(&log).unwrap_or(true)) {
                continue;
            }
            let to = log_folder(directory, &topic, partition);
            files::rename(&path, &to).map_err(StorageError::of("rename", &path))?;
            sync_parent(&to)?;
            finished.push(to);
        }
    }
    Ok(finished)
}
