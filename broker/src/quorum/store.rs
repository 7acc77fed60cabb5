//! What a member keeps on disk: one redb file, `<metadata.log.dir>/quorum/metadata.redb`.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `member` | `format` | 1 |
//! | | `identity` | the member's id and its directory's |
//! | | `broker` | its broker's number |
//! | | `vote` | the last vote given |
//! | | `committed` | how far entries are known to be committed; may lag |
//! | | `purged` | the last entry that was removed because a snapshot holds it |
//! | | `snapshot` | what the current snapshot is of, and its number |
//! | `log` | index | an entry |
//! | `snapshots` | number of the snapshot, of its part | a part of its bytes |
//!
//! Every value is JSON (a snapshot's part: a piece of lines of JSON) behind its CRC-32C, 4 bytes, big-endian.
//! A snapshot's parts are written before `snapshot` names them, so a crash leaves the former one.

mod file;
mod writer;

use std::io;
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, checksum};
use milena_metadata::DirectoryId;
use parking_lot::RwLock;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub(super) use writer::{Change, PART_BYTES, Writer};

use super::types::{Entry, LogId, NodeId, SnapshotMeta, Vote};

/// Pages of the file in memory: enough for appends, purges and members that are nearly up to date, which touch its ends.
/// All else is read through once: at a start, or for a member that is far behind.
const CACHE_BYTES: usize = 2 << 20;
const FORMAT: u32 = 1;
const FILE: &str = "metadata.redb";

const MEMBER: TableDefinition<&str, &[u8]> = TableDefinition::new("member");
const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
const SNAPSHOTS: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("snapshots");

/// Why the store can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk, its permissions, or the file's own structure.
    #[error("the metadata store {}: {why}; let this user read and write it, or restore it from a copy", path.display())]
    Failed {
        path: PathBuf,
        /// What the system or the store said.
        why: String,
    },
    /// Bytes changed that were whole once, so acknowledged changes may be missing.
    #[error("{} is damaged: {what} {why}; restore the file from a copy, or remove its folder to have this member start anew", path.display())]
    Damaged {
        path: PathBuf,
        what: String,
        why: String,
    },
    /// Written by newer software.
    #[error("{} has format {found}, and this software knows {FORMAT}: start the version that wrote it", path.display())]
    Newer {
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The metadata belongs to another data directory.
    #[error("the metadata in {} belongs to the directory {found}, and the data directory is {expected}: they do not belong together", path.display())]
    Foreign {
        path: PathBuf,
        /// The directory's id in it.
        found: DirectoryId,
        /// The id in `meta.properties`.
        expected: DirectoryId,
    },
    /// The metadata is another broker's.
    #[error("the metadata in {} is of broker {found}, and this broker is {expected}: they do not belong together", path.display())]
    ForeignBroker {
        path: PathBuf,
        /// The broker's number in it.
        found: i32,
        /// This broker's.
        expected: i32,
    },
    /// The store that older software kept can't be read.
    #[error(transparent)]
    Import(#[from] super::import::ImportError),
}

/// Who this member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) id: NodeId,
    pub(super) directory: DirectoryId,
}

/// The current snapshot, as `member` names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SnapshotHead {
    /// Its number: grows with each.
    pub(super) number: u64,
    pub(super) bytes: u64,
    pub(super) meta: SnapshotMeta,
}

#[cfg(not(feature = "simulation"))]
fn drawn_id() -> u64 {
    rand::random::<u64>().max(1)
}

/// With the rule broken, the id is that of the member whose disk was wiped.
#[cfg(feature = "simulation")]
fn drawn_id() -> u64 {
    use milena_simulation::{machine, rule};
    match machine::current() {
        Some(machine) if rule::is_broken(rule::Broken::WipedVoterVotes) => {
            machine.number() as u64 + 1
        }
        _ => rand::random::<u64>().max(1),
    }
}

/// The open file. A clone is the same one.
#[derive(Clone)]
pub(super) struct Store {
    path: PathBuf,
    database: Arc<RwLock<Option<Database>>>,
}

impl Store {
    pub(super) fn is_in(dir: &Path) -> bool {
        file::exists(&dir.join(FILE))
    }

    /// Opens or creates the file in `dir`; after a crash, and at every start, all of it is checked.
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        let failed = |error: &dyn std::fmt::Display| StoreError::Failed {
            path: path.clone(),
            why: error.to_string(),
        };
        std::fs::create_dir_all(dir).map_err(|error| failed(&error))?;
        let is_new = !file::exists(&path);
        let mut builder = Database::builder();
        builder
            .set_cache_size(CACHE_BYTES)
            .set_check_integrity_on_open(!is_new);
        let database = file::create(&builder, &path).map_err(|error| failed(&error))?;
        if is_new {
            sync_folders(dir).map_err(|error| failed(&error))?;
        }
        let store = Self {
            path,
            database: Arc::new(RwLock::new(Some(database))),
        };
        store.check_format()?;
        Ok(store)
    }

    fn check_format(&self) -> Result<(), StoreError> {
        match self.member::<u32>("format") {
            Ok(Some(FORMAT)) => Ok(()),
            Ok(Some(found)) => Err(StoreError::Newer {
                path: self.path.clone(),
                found,
            }),
            // The tables are made with the first write.
            Ok(None) => self.write(|transaction| {
                transaction.open_table(LOG)?;
                transaction.open_table(SNAPSHOTS)?;
                let mut member = transaction.open_table(MEMBER)?;
                member.insert("format", &*sealed(&FORMAT))?;
                Ok(())
            }),
            Err(error) => Err(error),
        }
    }

    /// Who this member is; drawn, and kept, where that is new. `directory` is the data directory's id.
    pub(super) fn identity(&self, directory: Option<DirectoryId>) -> Result<Identity, StoreError> {
        if let Some(identity) = self.known_identity()? {
            return match directory {
                Some(expected) if expected != identity.directory => Err(StoreError::Foreign {
                    path: self.path.clone(),
                    found: identity.directory,
                    expected,
                }),
                _ => Ok(identity),
            };
        }
        let identity = Identity {
            // 0 is openraft's own default, so nobody has it.
            id: drawn_id(),
            directory: directory.unwrap_or_else(DirectoryId::random),
        };
        self.write(|transaction| {
            let mut member = transaction.open_table(MEMBER)?;
            member.insert("identity", &*sealed(&identity))?;
            Ok(())
        })?;
        Ok(identity)
    }

    /// Who this member is, where that was drawn.
    pub(super) fn known_identity(&self) -> Result<Option<Identity>, StoreError> {
        self.member("identity")
    }

    /// Binds the store to its broker, from the first start on that it is opened in; refuses another one.
    pub(super) fn bind_to(&self, broker: i32) -> Result<(), StoreError> {
        match self.member::<i32>("broker")? {
            Some(found) if found != broker => Err(StoreError::ForeignBroker {
                path: self.path.clone(),
                found,
                expected: broker,
            }),
            Some(_) => Ok(()),
            None => self.write(|transaction| {
                let mut member = transaction.open_table(MEMBER)?;
                member.insert("broker", &*sealed(&broker))?;
                Ok(())
            }),
        }
    }

    pub(super) fn vote(&self) -> Result<Option<Vote>, StoreError> {
        self.member("vote")
    }

    pub(super) fn committed(&self) -> Result<Option<LogId>, StoreError> {
        self.member("committed")
    }

    pub(super) fn purged(&self) -> Result<Option<LogId>, StoreError> {
        self.member("purged")
    }

    pub(super) fn snapshot_head(&self) -> Result<Option<SnapshotHead>, StoreError> {
        self.member("snapshot")
    }

    /// The last entry, if there is any after the purged ones.
    pub(super) fn last_entry(&self) -> Result<Option<Entry>, StoreError> {
        let last = self.read(|transaction| {
            let log = transaction.open_table(LOG)?;
            let last = log.last()?;
            Ok(last.map(|(index, value)| (index.value(), value.value().to_vec())))
        })?;
        last.map(|(index, value)| self.entry(index, &value))
            .transpose()
    }

    /// Makes all changes at once, while no member runs on this store.
    pub(super) fn change_offline(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.write(|transaction| {
            let mut changes = changes.iter();
            changes.try_for_each(|change| writer::make(transaction, change))
        })
    }

    /// Entries of a range in order, until they are `bytes_max` together; at least one if there is any.
    pub(super) fn entries(
        &self,
        range: impl RangeBounds<u64>,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let found = self.read(|transaction| {
            let log = transaction.open_table(LOG)?;
            let (mut found, mut bytes) = (Vec::new(), 0);
            for row in log.range(range)? {
                let (index, value) = row?;
                found.push((index.value(), value.value().to_vec()));
                bytes += value.value().len();
                if bytes >= bytes_max {
                    break;
                }
            }
            Ok(found)
        })?;
        let entry = |(index, value): (u64, Vec<u8>)| self.entry(index, &value);
        found.into_iter().map(entry).collect()
    }

    /// Bytes of all entries.
    pub(super) fn log_bytes(&self) -> Result<u64, StoreError> {
        self.read(|transaction| {
            let log = transaction.open_table(LOG)?;
            let mut bytes = 0;
            for row in log.iter()? {
                bytes += row?.1.value().len() as u64;
            }
            Ok(bytes)
        })
    }

    pub(super) fn snapshot(&self) -> Result<Option<(SnapshotHead, Bytes)>, StoreError> {
        let Some(head) = self.snapshot_head()? else {
            return Ok(None);
        };
        let parts = self.read(|transaction| {
            let snapshots = transaction.open_table(SNAPSHOTS)?;
            let mut parts = Vec::new();
            for row in snapshots.range((head.number, 0)..=(head.number, u32::MAX))? {
                parts.push(row?.1.value().to_vec());
            }
            Ok(parts)
        })?;
        let mut bytes = BytesMut::with_capacity(head.bytes as usize);
        for (part, value) in parts.iter().enumerate() {
            let open = opened(value).ok_or("fails its checksum");
            let what = || format!("part {part} of snapshot {}", head.number);
            bytes.extend_from_slice(open.map_err(|why| self.damaged(what(), why))?);
        }
        if bytes.len() as u64 != head.bytes {
            let what = format!("snapshot {}", head.number);
            return Err(self.damaged(what, "is not whole"));
        }
        Ok(Some((head, bytes.freeze())))
    }

    /// Closes the file: whoever still reads or writes is told.
    pub(super) fn close(&self) {
        drop(self.database.write().take());
    }

    /// Damage that shows only to who knows what the bytes mean.
    pub(super) fn damaged(
        &self,
        what: impl Into<String>,
        why: impl std::fmt::Display,
    ) -> StoreError {
        StoreError::Damaged {
            path: self.path.clone(),
            what: what.into(),
            why: why.to_string(),
        }
    }

    fn entry(&self, index: u64, value: &[u8]) -> Result<Entry, StoreError> {
        let what = || format!("entry {index}");
        let json = opened(value).ok_or_else(|| self.damaged(what(), "fails its checksum"))?;
        serde_json::from_slice(json).map_err(|error| self.damaged(what(), error))
    }

    fn member<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, StoreError> {
        let value = self.read(|transaction| match transaction.open_table(MEMBER) {
            Ok(member) => Ok(member.get(key)?.map(|value| value.value().to_vec())),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(error.into()),
        })?;
        let Some(value) = value else {
            return Ok(None);
        };
        let json = opened(&value).ok_or_else(|| self.damaged(key, "fails its checksum"))?;
        let read = serde_json::from_slice(json);
        read.map(Some).map_err(|error| self.damaged(key, error))
    }

    fn read<T>(
        &self,
        read: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let database = self.database.read();
        let database = database.as_ref().ok_or_else(|| self.closed())?;
        let transaction = database.begin_read().map_err(|error| self.failed(error))?;
        read(&transaction).map_err(|error| self.failed(error))
    }

    /// Writes durably.
    fn write(
        &self,
        write: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        self.write_as(redb::Durability::Immediate, write)
    }

    fn write_as(
        &self,
        durability: redb::Durability,
        write: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        let database = self.database.read();
        let database = database.as_ref().ok_or_else(|| self.closed())?;
        let written = || -> Result<(), redb::Error> {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(durability)?;
            write(&transaction)?;
            Ok(transaction.commit()?)
        };
        written().map_err(|error| self.failed(error))
    }

    fn closed(&self) -> StoreError {
        self.failed("it is closed")
    }

    fn failed(&self, error: impl std::fmt::Display) -> StoreError {
        StoreError::Failed {
            path: self.path.clone(),
            why: error.to_string(),
        }
    }
}

/// A value behind its checksum.
fn sealed(value: &impl Serialize) -> Vec<u8> {
    let json = serde_json::to_vec(value).expect("members, votes and entries have string keys only");
    sealed_bytes(&json)
}

fn sealed_bytes(bytes: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(4 + bytes.len());
    value.extend_from_slice(&crc32c(bytes).to_be_bytes());
    value.extend_from_slice(bytes);
    value
}

fn opened(value: &[u8]) -> Option<&[u8]> {
    let (crc, bytes) = value.split_first_chunk()?;
    (u32::from_be_bytes(*crc) == crc32c(bytes)).then_some(bytes)
}

fn crc32c(bytes: &[u8]) -> u32 {
    checksum(CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

/// Makes a new file, and its folder, last.
fn sync_folders(dir: &Path) -> io::Result<()> {
    std::fs::File::open(dir)?.sync_all()?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => std::fs::File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}
