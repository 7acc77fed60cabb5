//! Removing what was deleted bit by bit: a file system that has to free many GiB at once keeps others waiting for its
//! journal, and the disk may be told to discard all of them.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::StorageError;
use crate::files::{self, FileId, LogFile};

/// Bytes that are freed between two pauses: few ms of work for a file system, and no more than a preallocation.
const STEP: u64 = 64 << 20;

/// Removes one thing after another, with pauses.
pub struct Removal<'a> {
    step: u64,
    /// Since the last pause.
    freed: u64,
    /// Called for each pause, for as long as it takes; false ends the removal.
    pause: &'a dyn Fn() -> bool,
    has_ended: bool,
}

impl<'a> Removal<'a> {
    /// One that calls `pause` whenever it has freed 64 MiB, and leaves the rest as it is once that returns false: the
    /// next life finds it by its name.
    pub fn new(pause: &'a dyn Fn() -> bool) -> Self {
        Self::in_steps(STEP, pause)
    }

    pub(super) fn in_steps(step: u64, pause: &'a dyn Fn() -> bool) -> Self {
        Self {
            step,
            freed: 0,
            pause,
            has_ended: false,
        }
    }

    /// Removes a file, or a folder with all that is in it; one that is gone already is no error.
    pub fn remove(&mut self, path: &Path) -> Result<(), StorageError> {
        match path.is_dir() {
            true => unless_gone(path, self.remove_folder(path)),
            false => self.remove_one(path),
        }
    }

    /// The same, and of a folder it is an error.
    pub(crate) fn remove_one(&mut self, path: &Path) -> Result<(), StorageError> {
        unless_gone(path, self.remove_file(path, &mut Before::of(path)))
    }

    fn remove_folder(&mut self, path: &Path) -> io::Result<()> {
        let mut before = Before::of(path);
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                // One that stays is told of by the folder's removal, after the others are gone.
                let _ = self.remove_file(&entry.path(), &mut before);
            }
        }
        match self.has_ended {
            true => Ok(()),
            false => files::remove_folder(path),
        }
    }

    fn remove_file(&mut self, path: &Path, before: &mut Before<'_>) -> io::Result<()> {
        if self.has_ended {
            return Ok(());
        }
        let metadata = fs::symlink_metadata(path)?;
        let mut left = metadata.len();
        if left > self.step && before.may_cut(&metadata) {
            left = self.cut(path, left);
        }
        if self.has_ended {
            return Ok(());
        }
        files::remove_if_there(path)?;
        self.note_freed(left);
        Ok(())
    }

    /// Cuts a file down to one step; its size then. One that can't be cut stays as it is, and goes as a whole.
    fn cut(&mut self, path: &Path, size: u64) -> u64 {
        let mut left = size;
        let Ok(file) = LogFile::open(path, false) else {
            return left;
        };
        while left > self.step && !self.has_ended {
            let cut_to = (left - 1) / self.step * self.step;
            if file.set_len(cut_to).is_err() {
                break;
            }
            self.note_freed(left - cut_to);
            left = cut_to;
        }
        left
    }

    fn note_freed(&mut self, bytes: u64) {
        self.freed += bytes;
        if self.freed >= self.step {
            self.freed = 0;
            self.has_ended = !(self.pause)();
        }
    }
}

fn unless_gone(path: &Path, removed: io::Result<()>) -> Result<(), StorageError> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StorageError::of("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// What has to be so before a file is cut that is about to be removed; found out once it is asked for.
struct Before<'a> {
    removed: &'a Path,
    open: Option<Option<HashSet<FileId>>>,
}

impl<'a> Before<'a> {
    fn of(removed: &'a Path) -> Self {
        Self {
            removed,
            open: None,
        }
    }

    /// Not one that has another name, as what a repair has replaced, nor one that this process has open: who is being
    /// sent a part of it gets the rest. And its new name must be on the disk, or a power loss could leave it cut under
    /// the old one.
    fn may_cut(&mut self, file: &Metadata) -> bool {
        let open = self.open.get_or_insert_with(|| {
            files::sync_folder(self.removed.parent()?).ok()?;
            files::open_files(self.removed).ok()
        });
        let id = (file.dev(), file.ino());
        file.is_file() && file.nlink() == 1 && open.as_ref().is_some_and(|open| !open.contains(&id))
    }
}
