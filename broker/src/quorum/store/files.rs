//! The store's files: their names, and the writes that last.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::StoreError;
use crate::quorum::frame;

pub(super) fn snapshot_path(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{base:020}.snapshot"))
}

pub(super) fn log_path(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("{base:020}.log"))
}

/// The store's files in its folder.
pub(super) struct Listing {
    dir: PathBuf,
    snapshots: Vec<u64>,
    logs: Vec<u64>,
}

impl Listing {
    /// Lists the folder, and removes what a crash left unfinished.
    pub(super) fn of(dir: &Path) -> Result<Self, StoreError> {
        let mut listing = Self {
            dir: dir.to_owned(),
            snapshots: Vec::new(),
            logs: Vec::new(),
        };
        let entries = fs::read_dir(dir).map_err(|error| StoreError::io("list", dir, error))?;
        for entry in entries {
            let path = entry
                .map_err(|error| StoreError::io("list", dir, error))?
                .path();
            let base = path
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse().ok());
            match (path.extension().and_then(|kind| kind.to_str()), base) {
                (Some("snapshot"), Some(base)) => listing.snapshots.push(base),
                (Some("log"), Some(base)) => listing.logs.push(base),
                (Some("tmp"), _) => remove(&path)?,
                _ => {}
            }
        }
        Ok(listing)
    }

    /// The offset of the newest snapshot, 0 where there is none yet; checks that no file is missing.
    pub(super) fn newest_snapshot(&self) -> Result<u64, StoreError> {
        let base = self.snapshots.iter().copied().max().unwrap_or(0);
        let newest_log = self.logs.iter().copied().max();
        match newest_log {
            Some(log) if log > base => Err(StoreError::Lost {
                path: snapshot_path(&self.dir, log),
                after: base,
            }),
            None if base > 0 => Err(StoreError::Lost {
                path: log_path(&self.dir, base),
                after: base,
            }),
            _ => Ok(base),
        }
    }

    pub(super) fn has_log(&self, base: u64) -> bool {
        self.logs.contains(&base)
    }

    /// Removes what the snapshot at `base` replaces.
    pub(super) fn remove_older_than(&self, base: u64) -> Result<(), StoreError> {
        let older = |bases: &[u64], path: fn(&Path, u64) -> PathBuf| -> Vec<PathBuf> {
            let older = bases.iter().filter(|&&other| other < base);
            older.map(|&other| path(&self.dir, other)).collect()
        };
        older(&self.logs, log_path)
            .iter()
            .chain(&older(&self.snapshots, snapshot_path))
            .try_for_each(|path| remove(path))
    }
}

fn remove(path: &Path) -> Result<(), StoreError> {
    fs::remove_file(path).map_err(|error| StoreError::io("remove", path, error))
}

/// Makes the folder last, where it is new.
pub(super) fn create_dir(dir: &Path) -> Result<(), StoreError> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir).map_err(|error| StoreError::io("create", dir, error))?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => Ok(()),
    }
}

/// Writes a file that has its name only once it is whole.
pub(super) fn write_atomically(dir: &Path, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let unfinished = path.with_extension("tmp");
    let write = || {
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    };
    write().map_err(|error| StoreError::io("write", path, error))?;
    sync_dir(dir)
}

/// A new log, and its bytes.
pub(super) fn create_log(dir: &Path, path: &Path) -> Result<(File, u64), StoreError> {
    let create = || {
        let mut file = File::create(path)?;
        file.write_all(&frame::header())?;
        file.sync_all()?;
        Ok(file)
    };
    let file = create().map_err(|error| StoreError::io("create", path, error))?;
    sync_dir(dir)?;
    Ok((file, frame::HEADER_BYTES as u64))
}

/// Opens a log to append at `end`, and cuts what is beyond.
pub(super) fn open_log(path: &Path, end: u64, cut: bool) -> Result<File, StoreError> {
    let open = || {
        let file = OpenOptions::new().append(true).open(path)?;
        if cut {
            file.set_len(end)?;
            file.sync_all()?;
        }
        Ok(file)
    };
    open().map_err(|error| StoreError::io("open", path, error))
}

fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|error| StoreError::io("sync", dir, error))
}
