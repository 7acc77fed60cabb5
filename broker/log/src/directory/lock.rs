//! `.lock`: held while somebody uses a data directory.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::DirectoryError;
use crate::checkpoint::{Checkpoint, Offsets};
use crate::error::StorageError;
use crate::files;

pub(super) const LOCK: &str = ".lock";

/// A data directory that this process alone uses, to look into it or to mend it while its broker is stopped.
#[derive(Debug)]
pub struct LockedFolder {
    path: PathBuf,
    lock: File,
}

impl LockedFolder {
    /// Locks a folder that is there, whoever's it is.
    pub fn lock(path: &Path) -> Result<Self, DirectoryError> {
        Ok(Self {
            path: path.to_path_buf(),
            lock: lock_file(path)?,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts `offsets`, which were found in the logs, in place of a checkpoint that says nothing any more; that is kept as
    /// `….damaged`. What the logs have is brought to disk before, for the recovery points say that it is there.
    pub fn replace_checkpoint(
        &self,
        checkpoint: Checkpoint,
        offsets: &Offsets,
    ) -> Result<(), StorageError> {
        files::sync_file_system(&self.lock, &self.path.join(LOCK))
            .map_err(StorageError::of("sync", &self.path))?;
        checkpoint.keep_damaged(&self.path)?;
        checkpoint.write(&self.path, offsets)
    }
}

pub(super) fn lock_file(path: &Path) -> Result<File, DirectoryError> {
    let lock_path = path.join(LOCK);
    let lock = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&lock_path)
        .map_err(StorageError::of("open", &lock_path))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(_) => Err(DirectoryError::InUse {
            path: path.to_path_buf(),
        }),
    }
}
