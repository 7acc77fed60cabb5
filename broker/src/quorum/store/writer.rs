//! The thread that writes: openraft's core must not wait inside a system call, only for its end.

use bytes::Bytes;
use parking_lot::Mutex;
use redb::{Durability, ReadableTable};
use tokio::sync::mpsc;

use super::{
    LOG, MEMBER, SNAPSHOTS, SnapshotHead, Store, StoreError, opened, sealed, sealed_bytes,
};
use crate::quorum::types::{LogId, Vote};

/// Bytes of one part of a snapshot: what an entry has to wait for when a snapshot is written.
pub(in crate::quorum) const PART_BYTES: usize = 1 << 20;

/// One write, whole or not at all.
pub(in crate::quorum) enum Change {
    /// Entries as JSON, each with its index.
    Append(Vec<(u64, Vec<u8>)>),
    Vote(Vote),
    /// A vote that may be asked for; kept where it is greater than the last.
    Promise(Vote),
    /// Entries from this index on go.
    Truncate(u64),
    /// Entries up to this one go.
    Purge(LogId),
    /// A part of a snapshot that is not the current one yet; it is kept with the next durable write.
    Part {
        number: u64,
        part: u32,
        bytes: Bytes,
    },
    /// The snapshot whose parts are written becomes the current one.
    Publish(SnapshotHead),
}

type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// The handle; with the last one the thread ends.
pub(in crate::quorum) struct Writer {
    changes: Option<mpsc::UnboundedSender<(Change, Done)>>,
    committed: std::sync::Arc<Mutex<Option<LogId>>>,
    thread: Option<Thread>,
}

impl Writer {
    /// Starts the thread.
    pub(in crate::quorum) fn start(store: Store) -> std::io::Result<Self> {
        // Not bounded here: openraft waits for each of its writes, and a snapshot for each part.
        let (changes, waiting) = mpsc::unbounded_channel();
        let committed = std::sync::Arc::new(Mutex::new(None));
        let newly_committed = committed.clone();
        let thread = start_thread(waiting, move |change| {
            keep(&store, change, newly_committed.lock().take())
        })?;
        Ok(Self {
            changes: Some(changes),
            committed,
            thread: Some(thread),
        })
    }

    /// Hands a change over; `done` is called on the thread once it lasts, or has failed.
    pub(in crate::quorum) fn send(
        &self,
        change: Change,
        done: impl FnOnce(Result<(), StoreError>) + Send + 'static,
    ) {
        let changes = self.changes.as_ref().expect("it is there until the drop");
        if let Err(mpsc::error::SendError((_, done))) = changes.send((change, Box::new(done))) {
            let path = std::path::PathBuf::new();
            let why = "its thread has ended".into();
            done(Err(StoreError::Failed { path, why }));
        }
    }

    /// Hands a change over, and waits until it lasts.
    pub(in crate::quorum) async fn write(&self, change: Change) -> Result<(), StoreError> {
        let (sender, written) = tokio::sync::oneshot::channel();
        // Who waited may have gone.
        self.send(change, move |result| drop(sender.send(result)));
        written.await.unwrap_or_else(|_| {
            let path = std::path::PathBuf::new();
            let why = "its thread has ended".into();
            Err(StoreError::Failed { path, why })
        })
    }

    /// How far entries are committed: written with the next change, since it may lag.
    pub(in crate::quorum) fn set_committed(&self, committed: Option<LogId>) {
        *self.committed.lock() = committed;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.changes.take());
        if let Some(thread) = self.thread.take() {
            end_thread(thread);
        }
    }
}

#[cfg(not(feature = "simulation"))]
type Thread = std::thread::JoinHandle<()>;

#[cfg(not(feature = "simulation"))]
fn start_thread(
    mut waiting: mpsc::UnboundedReceiver<(Change, Done)>,
    keep: impl Fn(&Change) -> Result<(), StoreError> + Send + 'static,
) -> std::io::Result<Thread> {
    std::thread::Builder::new()
        .name("quorum-log".into())
        .spawn(move || {
            while let Some((change, done)) = waiting.blocking_recv() {
                done(keep(&change));
            }
        })
}

#[cfg(not(feature = "simulation"))]
fn end_thread(thread: Thread) {
    // A panic there was printed, and whoever waited has been told.
    let _ = thread.join();
}

/// In a simulation a task, whose fsync takes as long as a disk's.
#[cfg(feature = "simulation")]
type Thread = tokio::task::JoinHandle<()>;

#[cfg(feature = "simulation")]
fn start_thread(
    mut waiting: mpsc::UnboundedReceiver<(Change, Done)>,
    keep: impl Fn(&Change) -> Result<(), StoreError> + Send + 'static,
) -> std::io::Result<Thread> {
    Ok(tokio::spawn(async move {
        while let Some((change, done)) = waiting.recv().await {
            let sync_ms = milena_simulation::disk::next_sync_ms();
            tokio::time::sleep(std::time::Duration::from_millis(sync_ms)).await;
            done(keep(&change));
        }
    }))
}

#[cfg(feature = "simulation")]
fn end_thread(thread: Thread) {
    drop(thread);
}

fn keep(store: &Store, change: &Change, committed: Option<LogId>) -> Result<(), StoreError> {
    let durability = match change {
        Change::Part { .. } => Durability::None,
        _ => Durability::Immediate,
    };
    store.write_as(durability, |transaction| {
        if let Some(committed) = committed {
            let mut member = transaction.open_table(MEMBER)?;
            member.insert("committed", &*sealed(&committed))?;
        }
        make(transaction, change)
    })
}

pub(super) fn make(
    transaction: &redb::WriteTransaction,
    change: &Change,
) -> Result<(), redb::Error> {
    match change {
        Change::Append(entries) => {
            let mut log = transaction.open_table(LOG)?;
            for (index, json) in entries {
                log.insert(index, &*sealed_bytes(json))?;
            }
        }
        Change::Vote(vote) => {
            let mut member = transaction.open_table(MEMBER)?;
            member.insert("vote", &*sealed(vote))?;
        }
        Change::Promise(vote) => {
            let mut member = transaction.open_table(MEMBER)?;
            let given = member.get("vote")?.map(|row| row.value().to_vec());
            // One that is damaged is told of when it is read.
            let given = given.and_then(|row| serde_json::from_slice::<Vote>(opened(&row)?).ok());
            if given.is_none_or(|given| *vote > given) {
                member.insert("vote", &*sealed(vote))?;
            }
        }
        Change::Truncate(from) => {
            let mut log = transaction.open_table(LOG)?;
            log.retain_in(*from.., |_, _| false)?;
        }
        Change::Purge(upto) => {
            let mut log = transaction.open_table(LOG)?;
            log.retain_in(..=upto.index, |_, _| false)?;
            let mut member = transaction.open_table(MEMBER)?;
            member.insert("purged", &*sealed(upto))?;
        }
        Change::Part {
            number,
            part,
            bytes,
        } => {
            let mut snapshots = transaction.open_table(SNAPSHOTS)?;
            if *part == 0 {
                // What a crash left of one with that number.
                snapshots.retain_in((*number, 0)..=(*number, u32::MAX), |_, _| false)?;
            }
            snapshots.insert((*number, *part), &*sealed_bytes(bytes))?;
        }
        Change::Publish(head) => publish(transaction, head)?,
    }
    Ok(())
}

/// Names the snapshot, and removes all others and their remains.
fn publish(transaction: &redb::WriteTransaction, head: &SnapshotHead) -> Result<(), redb::Error> {
    let mut member = transaction.open_table(MEMBER)?;
    member.insert("snapshot", &*sealed(head))?;
    let mut snapshots = transaction.open_table(SNAPSHOTS)?;
    snapshots.retain(|(number, _), _| number == head.number)?;
    debug_assert!(
        snapshots
            .first()?
            .is_none_or(|(key, _)| key.value().0 == head.number)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_never_takes_the_place_of_a_greater_vote() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let voted_after = |change| {
            keep(&store, &change, None).unwrap();
            store.vote().unwrap()
        };
        let given = Vote::new(5, 2);
        assert_eq!(voted_after(Change::Vote(given)), Some(given));
        assert_eq!(voted_after(Change::Promise(Vote::new(4, 9))), Some(given));
        assert_eq!(voted_after(Change::Promise(Vote::new(5, 1))), Some(given));
        let promised = Vote::new(6, 1);
        assert_eq!(voted_after(Change::Promise(promised)), Some(promised));
        let led = Vote::new_committed(5, 2);
        assert_eq!(
            voted_after(Change::Vote(led)),
            Some(led),
            "what is given counts"
        );
    }
}
