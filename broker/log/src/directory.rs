//! The files of a data directory that belong to no single log.
//!
//! | file | content |
//! | --- | --- |
//! | `.lock` | locked while a broker uses the directory |
//! | `meta.properties` | see `directory/identity.rs` |
//! | `.milena-volume-claim` | see `directory/volume_claim.rs` |
//! | `.milena-probe` | a few bytes, there for a moment: see [`DataDirectory::try_write`] |
//! | `.kafka_cleanshutdown` | `{"version":0,"brokerEpoch":n}`, there only after a clean stop |
//! | `<topic>-<partition>/` | a log; `….<id>-delete` and `….<id>-stray` behind it wait for removal, `….<id>-future` see `directory/future.rs` |

pub(crate) mod future;
mod identity;
mod lock;
pub(crate) mod partition_metadata;
mod volume_claim;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use milena_protocol::Uuid;
use thiserror::Error;

use crate::error::{LogError, StorageError};
use crate::files::{self, Durability};
use crate::log::offset_in_name;
use crate::segment::{Refusal, WRITE_BACK};

use lock::{LOCK, lock_file};

pub use identity::{Identity, identity_of};
pub use lock::LockedFolder;
pub use volume_claim::VolumeClaim;

const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// There for a moment, to see whether the disk takes it.
const PROBE_FILE: &str = ".milena-probe";
/// The longest name of a folder on the file systems in use.
const NAME_MAX: usize = 255;

/// Why a data directory can't be used.
#[derive(Debug, Clone, Error)]
pub enum DirectoryError {
    /// Another process has it.
    #[error("the data directory {} is in use by another process; stop that broker, or give this one a directory of its own", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// It belongs to someone else.
    #[error("the data directory {} belongs to {what} {found}, but this broker is of {what} {expected}; give it its own directory, or correct its configuration", path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// `cluster` or `node`.
        what: &'static str,
        /// What meta.properties says.
        found: String,
        /// What the broker is.
        expected: String,
    },
    /// It is on another volume than the one that it was made on.
    #[error(
        "the data directory {} belongs to the volume claim {bound}, and is on the volume claim {found}: it is a copy, \
         and two brokers with one identity would lose records. Give this volume an empty directory; where the volume \
         that it comes from will never be used again, remove {} to go on with the copy",
        path.display(),
        file.display()
    )]
    Copied {
        /// The directory.
        path: PathBuf,
        /// The uid that it is bound to.
        bound: String,
        /// The uid of the claim that it is on.
        found: String,
        /// What binds it.
        file: PathBuf,
    },
    /// A file in it can't be read or written.
    #[error("{0}; {next}", next = next_step(_0))]
    Log(#[from] LogError),
}

fn next_step(error: &LogError) -> &'static str {
    match error {
        LogError::Malformed { .. } => "`milena log repair` on the directory says what can be done",
        _ => "let this user read and write it, or give the broker another directory",
    }
}

impl From<StorageError> for DirectoryError {
    fn from(error: StorageError) -> Self {
        Self::Log(error.into())
    }
}

/// A data directory that this process alone uses.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    identity: Identity,
    lock: File,
}

/// A data directory that this process alone uses, and that may not be anybody's yet.
#[derive(Debug)]
pub struct LockedDirectory {
    path: PathBuf,
    node_id: i32,
    identity: Option<Identity>,
    lock: File,
}

impl LockedDirectory {
    /// Locks `path`, which is made where it is missing, and checks that it is this node's, if it is anybody's.
    pub fn lock(
        path: &Path,
        node_id: i32,
        cluster_id: Option<&str>,
    ) -> Result<Self, DirectoryError> {
        std::fs::create_dir_all(path).map_err(StorageError::of("create", path))?;
        let lock = lock_file(path)?;
        Ok(Self {
            path: path.to_path_buf(),
            node_id,
            identity: identity_of(path, node_id, cluster_id)?,
            lock,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose it is, if it is anybody's.
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Whether a partition has its log in it.
    pub fn has_log(&self, topic: &str, partition: i32) -> bool {
        // One that can't be read is there all the same: its opening tells why.
        is_log(&self.partition_path(topic, partition)).unwrap_or(true)
    }

    /// As [`DataDirectory::partition_path`].
    pub fn partition_path(&self, topic: &str, partition: i32) -> PathBuf {
        log_folder(&self.path, topic, partition)
    }

    /// As [`DataDirectory::partition_folders`].
    pub fn partition_folders(&self) -> Result<Vec<PartitionFolder>, StorageError> {
        partition_folders(&self.path)
    }

    /// Makes it this node's where it is nobody's, with `directory_id` or a random one. One that is this node's
    /// keeps what it has.
    pub fn claim(
        self,
        cluster_id: &str,
        directory_id: Option<Uuid>,
    ) -> Result<DataDirectory, DirectoryError> {
        let identity = match self.identity {
            Some(identity) => identity,
            None => {
                let directory_id = directory_id.unwrap_or_else(Uuid::random);
                identity::write(&self.path, self.node_id, cluster_id, directory_id)?
            }
        };
        Ok(DataDirectory {
            path: self.path,
            identity,
            lock: self.lock,
        })
    }
}

/// The value of a key in a text of `key=value` lines.
fn property<'a>(text: &'a str, key: &str) -> Result<&'a str, String> {
    let value = |line: &'a str| {
        line.trim()
            .strip_prefix(key)?
            .trim_start()
            .strip_prefix('=')
    };
    let found = text.lines().find_map(value).map(str::trim);
    found.ok_or_else(|| format!("it has no {key}"))
}

/// A folder of a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartitionFolder {
    /// A log.
    Log {
        /// Its topic.
        topic: String,
        /// Its partition.
        partition: i32,
        /// Where it is.
        path: PathBuf,
    },
    /// A deleted topic's log, to be removed.
    Deleted(PathBuf),
    /// A log that the metadata did not know.
    Stray(PathBuf),
    /// A log that is being copied here from another directory.
    Future {
        /// Its topic.
        topic: String,
        /// Its partition.
        partition: i32,
        /// Where it is.
        path: PathBuf,
    },
}

impl DataDirectory {
    /// Locks `path`, which is made where it is missing, and checks that it is this node's: an empty one becomes it.
    /// Without `cluster_id`, an empty directory gets a random one and another keeps its own.
    pub fn open(
        path: &Path,
        node_id: i32,
        cluster_id: Option<&str>,
    ) -> Result<Self, DirectoryError> {
        let locked = LockedDirectory::lock(path, node_id, cluster_id)?;
        match cluster_id {
            Some(cluster_id) => locked.claim(cluster_id, None),
            None => locked.claim(&Uuid::random().to_string(), None),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The broker epoch of the last stop if that was clean. The mark is taken away: it has to be earned again.
    pub fn take_clean_shutdown(&self) -> Result<Option<i64>, StorageError> {
        let path = self.path.join(CLEAN_SHUTDOWN);
        let text = files::read_if_there(&path).map_err(StorageError::of("read", &path))?;
        let Some(text) = text else {
            return Ok(None);
        };
        files::remove_if_there(&path).map_err(StorageError::of("remove", &path))?;
        files::sync_folder(&self.path).map_err(StorageError::of("sync", &self.path))?;
        Ok(broker_epoch(&String::from_utf8_lossy(&text)))
    }

    /// Marks a clean stop; every log has been closed and the checkpoints are written.
    pub fn mark_clean_shutdown(&self, broker_epoch: i64) -> Result<(), StorageError> {
        let path = self.path.join(CLEAN_SHUTDOWN);
        let text = format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}");
        files::replace(&path, text.as_bytes(), Durability::Synced)
            .map_err(StorageError::of("write", &path))
    }

    /// A log's folder.
    pub fn partition_path(&self, topic: &str, partition: i32) -> PathBuf {
        log_folder(&self.path, topic, partition)
    }

    /// Renames a deleted topic's folder out of the way and returns where it is now; a [`crate::Trash`] removes it.
    /// A [`DataDirectory::sync`] makes it last.
    pub fn rename_deleted(&self, topic: &str, partition: i32) -> Result<PathBuf, StorageError> {
        rename(&self.path, topic, partition, "delete")
    }

    /// Renames the folder of a partition that the metadata does not know.
    pub fn rename_stray(&self, topic: &str, partition: i32) -> Result<PathBuf, StorageError> {
        set_aside(&self.path, topic, partition)
    }

    /// Makes what was renamed, made and removed in the directory itself survive a power loss: once for many.
    pub fn sync(&self) -> Result<(), StorageError> {
        files::sync_folder(&self.path).map_err(StorageError::of("sync", &self.path))
    }

    /// Whether the disk takes a small file now: it is written, brought to disk and removed.
    pub fn try_write(&self) -> Result<(), StorageError> {
        let path = self.path.join(PROBE_FILE);
        files::replace(&path, b"probe\n", Durability::Synced)
            .and_then(|()| files::remove_if_there(&path))
            .map_err(StorageError::of("write", &path))
    }

    /// Has the whole file system written to disk: what is synced file by file afterwards finds little left to do. An error
    /// says that something in it did not get there since the directory was opened or this was called last, or before that
    /// and nobody has heard of it. Where it was of a file that nobody has open any more, a sync of the file does not tell.
    pub fn hurry(&self) -> Result<(), StorageError> {
        // Linux tells it to a descriptor that was open when it failed.
        let synced = files::sync_file_system(&self.lock, &self.path.join(LOCK));
        match synced.map_err(StorageError::of(WRITE_BACK, &self.path)) {
            Err(error) if Refusal::of(&error) == Refusal::Lost => Err(error),
            _ => Ok(()),
        }
    }

    /// The folders of logs, with what waits for removal; folders of other names are left alone.
    pub fn partition_folders(&self) -> Result<Vec<PartitionFolder>, StorageError> {
        partition_folders(&self.path)
    }
}

/// Renames a log's folder, so that a broker takes it for nobody's and removes it a week later; where it is then.
pub fn set_aside(directory: &Path, topic: &str, partition: i32) -> Result<PathBuf, StorageError> {
    rename(directory, topic, partition, "stray")
}

fn rename(
    directory: &Path,
    topic: &str,
    partition: i32,
    end: &str,
) -> Result<PathBuf, StorageError> {
    let from = log_folder(directory, topic, partition);
    let id = unique_id();
    let suffix = format!("-{partition}.{id}-{end}");
    // Topic names are ASCII, so any place is a character's end.
    let kept = topic.len().min(NAME_MAX - suffix.len());
    let to = directory.join(format!("{}{suffix}", &topic[..kept]));
    match files::rename(&from, &to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StorageError::of("rename", &from)(error))
        }
        // A partition that was never written has no folder; one that comes late comes where it is removed.
        _ => Ok(to),
    }
}

/// What tells a folder from others of its partition.
fn unique_id() -> String {
    let bytes = Uuid::random().0;
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether the directory has the mark of a clean stop, which a start takes away.
pub fn is_marked_clean(directory: &Path) -> bool {
    directory.join(CLEAN_SHUTDOWN).exists()
}

fn log_folder(directory: &Path, topic: &str, partition: i32) -> PathBuf {
    directory.join(format!("{topic}-{partition}"))
}

/// Whether there is a log in a folder, as its files say: by its name alone it may be anybody's.
pub fn is_log(folder: &Path) -> Result<bool, StorageError> {
    let wrap = |error| StorageError::of("list", folder)(error);
    let entries = match std::fs::read_dir(folder) {
        Err(error) if is_no_folder(&error) => return Ok(false),
        entries => entries.map_err(wrap)?,
    };
    for entry in entries {
        let name = entry.map_err(wrap)?.file_name();
        let is_segment = |name: &str| offset_in_name(name, "log").is_some();
        if name == partition_metadata::FILE || name.to_str().is_some_and(is_segment) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_no_folder(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotADirectory | NotFound)
}

/// The folders of logs in a data directory, with what waits for removal; folders of other names are left out.
pub fn partition_folders(directory: &Path) -> Result<Vec<PartitionFolder>, StorageError> {
    let wrap = |error| StorageError::of("list", directory)(error);
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(wrap)? {
        let entry = entry.map_err(wrap)?;
        if !entry.file_type().map_err(wrap)?.is_dir() {
            continue;
        }
        let name = entry.file_name();
        folders.extend(name.to_str().and_then(|name| folder_of(name, entry.path())));
    }
    Ok(folders)
}

/// The partitions that have a folder in a data directory: a log, or what a move that was cut short may have left of one, be
/// it the copy or what it has replaced.
pub fn partitions_with_folders(directory: &Path) -> Result<BTreeSet<(String, i32)>, StorageError> {
    let folders = partition_folders(directory)?.into_iter();
    let named = folders.filter_map(|folder| match folder {
        PartitionFolder::Log {
            topic, partition, ..
        }
        | PartitionFolder::Future {
            topic, partition, ..
        } => Some((topic, partition)),
        PartitionFolder::Deleted(path) => {
            let (name, _) = path.file_name()?.to_str()?.rsplit_once('.')?;
            partition_of(name)
        }
        PartitionFolder::Stray(_) => None,
    });
    Ok(named.collect())
}

fn folder_of(name: &str, path: PathBuf) -> Option<PartitionFolder> {
    if name.contains('.') && name.ends_with("-delete") {
        return Some(PartitionFolder::Deleted(path));
    }
    if name.contains('.') && name.ends_with("-stray") {
        return Some(PartitionFolder::Stray(path));
    }
    if let Some((name, _)) = name
        .strip_suffix(future::FUTURE)
        .and_then(|name| name.rsplit_once('.'))
    {
        let (topic, partition) = partition_of(name)?;
        return Some(PartitionFolder::Future {
            topic,
            partition,
            path,
        });
    }
    let (topic, partition) = partition_of(name)?;
    Some(PartitionFolder::Log {
        topic,
        partition,
        path,
    })
}

/// The topic and partition that a folder is named after.
fn partition_of(name: &str) -> Option<(String, i32)> {
    let (topic, partition) = name.rsplit_once('-')?;
    let is_number = !partition.is_empty() && partition.bytes().all(|digit| digit.is_ascii_digit());
    if topic.is_empty() || !is_number {
        return None;
    }
    Some((topic.to_owned(), partition.parse().ok()?))
}

/// The number in a text that only Kafka and this broker write; a mark without one is a clean stop all the same.
fn broker_epoch(text: &str) -> Option<i64> {
    let Some((_, rest)) = text.split_once("\"brokerEpoch\"") else {
        return Some(-1);
    };
    let digits = rest.trim_start_matches([':', ' ']);
    let end = digits.find([',', '}', ' ', '\n']).unwrap_or(digits.len());
    Some(digits[..end].parse().unwrap_or(-1))
}

#[cfg(test)]
mod tests;
