//! Deleting late: files are renamed to `.deleted` at once, and removed after `file.delete.delay.ms`, so that a read
//! that has just found its place still finds the file.

use std::path::{Path, PathBuf};

use crate::error::StorageError;
use crate::files;
use crate::segment::Segment;

const SUFFIX: &str = ".deleted";

/// Files and folders that wait for their removal. The broker keeps one and ticks it.
#[derive(Debug, Default)]
pub struct Trash {
    waiting: Vec<(i64, PathBuf)>,
}

impl Trash {
    /// Removes a renamed file or folder once the clock passes `due_ms`.
    pub fn put(&mut self, path: PathBuf, due_ms: i64) {
        self.waiting.push((due_ms, path));
    }

    /// Takes over what waits in another.
    pub fn append(&mut self, mut other: Self) {
        self.waiting.append(&mut other.waiting);
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes out what is due at `now_ms`, to be handed to [`remove`] on a thread that may block.
    pub fn take_due(&mut self, now_ms: i64) -> Vec<PathBuf> {
        let due = self.waiting.extract_if(.., |(due_ms, _)| *due_ms <= now_ms);
        due.map(|(_, path)| path).collect()
    }

    /// Renames the segment's files and puts them here.
    pub(crate) fn put_segment(
        &mut self,
        segment: &Segment,
        due_ms: i64,
    ) -> Result<(), StorageError> {
        Self::rename_for_deletion(segment)?;
        for extension in ["log", "index", "timeindex", "txnindex"] {
            self.put(segment.path(extension), due_ms);
        }
        Ok(())
    }

    pub(crate) fn rename_for_deletion(segment: &Segment) -> Result<(), StorageError> {
        segment.rename(SUFFIX)
    }

    pub(crate) fn remove_now(segment: &Segment) -> Result<(), StorageError> {
        for extension in ["log", "index", "timeindex", "txnindex"] {
            let path = segment.path(extension);
            files::remove_if_there(&path).map_err(StorageError::of("remove", &path))?;
        }
        Ok(())
    }
}

/// Removes a file, or a folder with all that is in it; one that is gone already is no error.
pub fn remove(path: &Path) -> Result<(), StorageError> {
    let removed = if path.is_dir() {
        files::remove_folder(path)
    } else {
        files::remove_if_there(path)
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StorageError::of("remove", path)(error))
        }
        _ => Ok(()),
    }
}
