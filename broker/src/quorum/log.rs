//! openraft's log storage over the store: entries are readable at once, and called done after the fsync.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader, StorageError, StorageIOError};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::store::{Change, Store, StoreError, Writer};
use super::types::{Entry, LogId, NodeId, TypeConfig, Vote};

/// Bytes of the latest entries kept in memory: followers that keep up are served from here.
const RECENT_BYTES_MAX: usize = 1 << 20;
/// Entries of one append to a follower; more are sent with the next.
const APPEND_BYTES_MAX: usize = 1 << 20;

/// The log. A clone is the same one.
#[derive(Clone)]
pub(super) struct Log {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    writer: Arc<Writer>,
    recent: Mutex<Recent>,
    /// Bytes of entries since the last snapshot.
    unsaved: AtomicU64,
    /// Bytes of entries after which a snapshot is due.
    unsaved_max: AtomicU64,
    snapshot_due: Notify,
}

/// The latest entries, without a gap.
#[derive(Default)]
struct Recent {
    entries: VecDeque<(Entry, usize)>,
    bytes: usize,
}

impl Log {
    pub(super) fn open(
        store: Store,
        writer: Arc<Writer>,
        unsaved_max: u64,
    ) -> Result<Self, StoreError> {
        let unsaved = AtomicU64::new(store.log_bytes()?);
        let shared = Shared {
            store,
            writer,
            recent: Mutex::default(),
            unsaved,
            unsaved_max: AtomicU64::new(unsaved_max),
            snapshot_due: Notify::new(),
        };
        let shared = Arc::new(shared);
        Ok(Self { shared })
    }

    /// Waits until a snapshot should be taken.
    pub(super) async fn snapshot_due(&self) {
        self.shared.snapshot_due.notified().await;
    }

    /// A snapshot was taken; the next is due after as many bytes as it has, or `unsaved_max`.
    pub(super) fn snapshot_taken(&self, unsaved_max: u64) {
        self.shared.unsaved.store(0, Ordering::Relaxed);
        self.shared
            .unsaved_max
            .store(unsaved_max, Ordering::Relaxed);
    }

    /// Has a vote on disk that may be asked for next, so that giving it takes no time; whether it is there. It binds this
    /// member to nothing but to remember it, and nothing that was given is ever replaced by a lower one.
    pub(super) async fn promise(&self, vote: Vote) -> Result<bool, StoreError> {
        self.shared.writer.write(Change::Promise(vote)).await?;
        Ok(self.shared.store.vote()? == Some(vote))
    }

    fn grew(&self, bytes: usize) {
        let before = self
            .shared
            .unsaved
            .fetch_add(bytes as u64, Ordering::Relaxed);
        if before + bytes as u64 > self.shared.unsaved_max.load(Ordering::Relaxed) {
            self.shared.snapshot_due.notify_one();
        }
    }

    /// From memory where all of the range is there, otherwise from the file.
    fn read(
        &self,
        range: (Bound<u64>, Bound<u64>),
        bytes_max: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let recent = self.shared.recent.lock().read(range, bytes_max);
        match recent {
            Some(entries) => Ok(entries),
            None => self.shared.store.entries(range, bytes_max),
        }
    }
}

impl Recent {
    fn push(&mut self, entry: Entry, bytes: usize) {
        self.bytes += bytes;
        self.entries.push_back((entry, bytes));
        while self.bytes > RECENT_BYTES_MAX && self.entries.len() > 1 {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        if let Some((_, bytes)) = self.entries.pop_front() {
            self.bytes -= bytes;
        }
    }

    fn truncate(&mut self, from: u64) {
        while self
            .entries
            .back()
            .is_some_and(|(entry, _)| entry.log_id.index >= from)
        {
            let (_, bytes) = self.entries.pop_back().unwrap_or_default();
            self.bytes -= bytes;
        }
    }

    fn purge(&mut self, upto: u64) {
        while self
            .entries
            .front()
            .is_some_and(|(entry, _)| entry.log_id.index <= upto)
        {
            self.pop_front();
        }
    }

    /// `None` where the range starts before the first.
    fn read(&self, range: (Bound<u64>, Bound<u64>), bytes_max: usize) -> Option<Vec<Entry>> {
        let first = self.entries.front()?.0.log_id.index;
        let start = match range.0 {
            Bound::Included(start) => start,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let skipped = start.checked_sub(first)?;
        let mut bytes = 0;
        let wanted = self.entries.iter().skip(usize::try_from(skipped).ok()?);
        let wanted = wanted.take_while(|(entry, size)| {
            let fits = bytes < bytes_max;
            bytes += size;
            fits && range.contains(&entry.log_id.index)
        });
        Some(wanted.map(|(entry, _)| entry.clone()).collect())
    }
}

fn reading(error: StoreError) -> StorageError<NodeId> {
    StorageIOError::read_logs(openraft::AnyError::new(&error)).into()
}

fn writing(error: StoreError) -> StorageError<NodeId> {
    tracing::error!(%error, "the metadata store failed; this member takes no further part until it is restarted");
    StorageIOError::write_logs(openraft::AnyError::new(&error)).into()
}

impl RaftLogReader<TypeConfig> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError<NodeId>> {
        let range = (range.start_bound().cloned(), range.end_bound().cloned());
        self.read(range, usize::MAX).map_err(reading)
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, StorageError<NodeId>> {
        let range = (Bound::Included(start), Bound::Excluded(end));
        self.read(range, APPEND_BYTES_MAX).map_err(reading)
    }
}

impl RaftLogStorage<TypeConfig> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError<NodeId>> {
        let store = &self.shared.store;
        let last_purged_log_id = store.purged().map_err(reading)?;
        let last = store.last_entry().map_err(reading)?;
        let last_log_id = last.map(|entry| entry.log_id).or(last_purged_log_id);
        Ok(LogState {
            last_purged_log_id,
            last_log_id,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError<NodeId>> {
        // It was promised.
        if self.shared.store.vote().map_err(reading)? == Some(*vote) {
            return Ok(());
        }
        let change = Change::Vote(*vote);
        self.shared.writer.write(change).await.map_err(writing)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError<NodeId>> {
        self.shared.store.vote().map_err(reading)
    }

    async fn save_committed(
        &mut self,
        committed: Option<LogId>,
    ) -> Result<(), StorageError<NodeId>> {
        self.shared.writer.set_committed(committed);
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError<NodeId>> {
        self.shared.store.committed().map_err(reading)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<TypeConfig>,
    ) -> Result<(), StorageError<NodeId>>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut rows = Vec::new();
        {
            let mut recent = self.shared.recent.lock();
            for entry in entries {
                let json = serde_json::to_vec(&entry).expect("an entry has string keys only");
                let (index, bytes) = (entry.log_id.index, json.len());
                self.grew(bytes);
                recent.push(entry, bytes);
                rows.push((index, json));
            }
        }
        self.shared.writer.send(Change::Append(rows), |written| {
            callback.log_io_completed(written.map_err(|error| {
                tracing::error!(%error, "the metadata store failed; this member takes no further part until it is restarted");
                io::Error::other(error)
            }));
        });
        Ok(())
    }

    async fn truncate(&mut self, since: LogId) -> Result<(), StorageError<NodeId>> {
        self.shared.recent.lock().truncate(since.index);
        let change = Change::Truncate(since.index);
        self.shared.writer.write(change).await.map_err(writing)
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), StorageError<NodeId>> {
        self.shared.recent.lock().purge(upto.index);
        let change = Change::Purge(upto);
        self.shared.writer.write(change).await.map_err(writing)
    }
}
