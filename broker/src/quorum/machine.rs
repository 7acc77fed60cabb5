//! openraft's state machine: the image, which every entry is applied to, and its snapshots.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use milena_metadata::Image;
use openraft::storage::{RaftStateMachine, Snapshot};
use openraft::{
    AnyError, EntryPayload, OptionalSend, RaftSnapshotBuilder, StorageError, StorageIOError,
};
use tokio::sync::{Mutex, watch};

use super::log::Log;
use super::snapshot;
use super::store::{Change, PART_BYTES, SnapshotHead, Store, StoreError, Writer};
use super::types::{Applied, Entry, LogId, Membership, Node, NodeId, SnapshotMeta, TypeConfig};

/// The image as everyone else sees it.
pub(super) struct Shown {
    image: ArcSwap<Image>,
    changes: watch::Sender<Arc<Image>>,
}

impl Shown {
    fn new(image: Arc<Image>) -> Self {
        Self {
            image: ArcSwap::new(image.clone()),
            changes: watch::Sender::new(image),
        }
    }

    pub(super) fn image(&self) -> Arc<Image> {
        self.image.load_full()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Arc<Image>> {
        self.changes.subscribe()
    }

    fn show(&self, image: Image) {
        let image = Arc::new(image);
        self.image.store(image.clone());
        self.changes.send_replace(image);
    }
}

/// The state machine; openraft owns it.
pub(super) struct Machine {
    shown: Arc<Shown>,
    applied: Option<LogId>,
    membership: Membership,
    snapshots: Arc<Snapshots>,
}

/// Where snapshots are kept, one at a time.
struct Snapshots {
    store: Store,
    writer: Arc<Writer>,
    log: Log,
    log_bytes_max: u64,
    next_number: AtomicU64,
    turn: Mutex<()>,
}

/// An image to be written, whatever is applied meanwhile.
pub(super) struct Builder {
    image: Arc<Image>,
    meta: SnapshotMeta,
    snapshots: Arc<Snapshots>,
}

impl Machine {
    /// With the image of the current snapshot; openraft applies the entries after it.
    pub(super) fn open(
        store: Store,
        writer: Arc<Writer>,
        log: Log,
        log_bytes_max: u64,
    ) -> Result<Self, StoreError> {
        let (mut image, mut applied, mut membership) =
            (Image::default(), None, Membership::default());
        let mut number = 0;
        if let Some((head, bytes)) = store.snapshot()? {
            let what = || format!("snapshot {}", head.number);
            image = snapshot::read(&bytes).map_err(|error| store.damaged(what(), error))?;
            (applied, membership) = (head.meta.last_log_id, head.meta.last_membership);
            number = head.number;
        }
        let snapshots = Snapshots {
            store,
            writer,
            log,
            log_bytes_max,
            next_number: AtomicU64::new(number + 1),
            turn: Mutex::default(),
        };
        Ok(Self {
            shown: Arc::new(Shown::new(Arc::new(image))),
            applied,
            membership,
            snapshots: Arc::new(snapshots),
        })
    }

    /// Where the image is seen.
    pub(super) fn shown(&self) -> Arc<Shown> {
        self.shown.clone()
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, Membership), StorageError<NodeId>> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Applied>, StorageError<NodeId>>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let before = self.shown.image();
        let mut image = Image::clone(&before);
        let mut applied = Vec::new();
        for Entry { log_id, payload } in entries {
            applied.push(match payload {
                EntryPayload::Blank => Applied::Done,
                EntryPayload::Membership(membership) => {
                    self.membership = Membership::new(Some(log_id), membership);
                    Applied::Done
                }
                EntryPayload::Normal(proposal) => {
                    let outcome = proposal.apply(log_id.leader_id.term, &mut image);
                    if let Applied::Skipped(why) = &outcome {
                        tracing::warn!(
                            entry = log_id.index,
                            why,
                            "an entry of the metadata log is skipped"
                        );
                    }
                    outcome
                }
            });
            self.applied = Some(log_id);
        }
        if image.position() != before.position() {
            self.shown.show(image);
        }
        Ok(applied)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let last = self.applied.map_or(0, |last| last.index);
        let number = self.snapshots.next_number.load(Ordering::Relaxed);
        Builder {
            image: self.shown.image(),
            meta: SnapshotMeta {
                last_log_id: self.applied,
                last_membership: self.membership.clone(),
                snapshot_id: format!("{last}-{number}"),
            },
            snapshots: self.snapshots.clone(),
        }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Bytes>, StorageError<NodeId>> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        bytes: Box<Bytes>,
    ) -> Result<(), StorageError<NodeId>> {
        let lines = Bytes::clone(&bytes);
        let read = crate::blocking::spawn(move || snapshot::read(&lines)).await;
        let image = read
            .map_err(|error| failed(meta, &error))?
            .map_err(|error| failed(meta, &error))?;
        self.snapshots
            .keep(meta, &bytes)
            .await
            .map_err(|error| failed(meta, &error))?;
        (self.applied, self.membership) = (meta.last_log_id, meta.last_membership.clone());
        self.shown.show(image);
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<Snapshot<TypeConfig>>, StorageError<NodeId>> {
        let store = self.snapshots.store.clone();
        let read = crate::blocking::spawn(move || store.snapshot()).await;
        let read =
            read.map_err(|error| StorageIOError::read_snapshot(None, AnyError::new(&error)))?;
        let found =
            read.map_err(|error| StorageIOError::read_snapshot(None, AnyError::new(&error)))?;
        Ok(found.map(|(head, bytes)| Snapshot {
            meta: head.meta,
            snapshot: Box::new(bytes),
        }))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError<NodeId>> {
        let (image, meta) = (self.image.clone(), self.meta.clone());
        let written = crate::blocking::spawn(move || snapshot::write(&image)).await;
        let bytes = written.map_err(|error| failed(&meta, &error))?;
        self.snapshots
            .keep(&meta, &bytes)
            .await
            .map_err(|error| failed(&meta, &error))?;
        let snapshot = Box::new(bytes);
        Ok(Snapshot { meta, snapshot })
    }
}

impl Snapshots {
    /// Makes it the current one, unless a later one is.
    async fn keep(&self, meta: &SnapshotMeta, bytes: &Bytes) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        let current = self.store.snapshot_head()?;
        if current.is_some_and(|head| head.meta.last_log_id >= meta.last_log_id) {
            return Ok(());
        }
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        for (part, start) in (0u32..).zip((0..bytes.len()).step_by(PART_BYTES)) {
            let end = bytes.len().min(start + PART_BYTES);
            let bytes = bytes.slice(start..end);
            let change = Change::Part {
                number,
                part,
                bytes,
            };
            self.writer.write(change).await?;
        }
        let head = SnapshotHead {
            number,
            bytes: bytes.len() as u64,
            meta: meta.clone(),
        };
        self.writer.write(Change::Publish(head)).await?;
        self.log
            .snapshot_taken(self.log_bytes_max.max(bytes.len() as u64));
        Ok(())
    }
}

fn failed(
    meta: &openraft::SnapshotMeta<NodeId, Node>,
    error: &(impl std::error::Error + 'static),
) -> StorageError<NodeId> {
    tracing::error!(%error, "a snapshot of the metadata failed; this member takes no further part until it is restarted");
    StorageIOError::write_snapshot(Some(meta.signature()), AnyError::new(error)).into()
}
