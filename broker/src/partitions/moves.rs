//! Logs on their way from one data directory to another (AlterReplicaLogDirs, KIP-113): which, how far they are, and the
//! end of each, between two appends. `directory_moves.rs` carries them out.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use milena_log::{FutureLog, LogError, StorageError, future_folder, give_up_future, topic_id_of};
use milena_metadata::TopicName;
use milena_protocol::{ErrorCode, Uuid};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{DataDir, Partitions};
use crate::partition::Partition;

/// How long the end of a move waits for a compaction of its log, before it copies on.
const COMPACTION_MAX: Duration = Duration::from_secs(1);

/// One log on its way.
#[derive(Debug)]
pub struct Move {
    partition: Arc<Partition>,
    /// The place of the directory that it goes to.
    to: usize,
    /// Where it is copied.
    folder: PathBuf,
    state: Mutex<State>,
    size_bytes: AtomicU64,
    reached: AtomicI64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Copying,
    /// The quorum is not to rely on the directory, and both directories' checkpoints have the log.
    Announced,
    /// The log is being replaced by its copy, which nobody can stop.
    Replacing,
    Over,
}

impl Move {
    pub fn partition(&self) -> &Arc<Partition> {
        &self.partition
    }

    pub fn to(&self) -> usize {
        self.to
    }

    /// Whether it was given up, or has ended.
    pub fn is_over(&self) -> bool {
        *self.state.lock() == State::Over || self.partition.is_retired()
    }

    /// Bytes that are copied, and how many offsets are missing.
    pub fn progress(&self) -> (u64, i64) {
        let end = self.partition.reader().log_end_offset();
        let lag = end - self.reached.load(Ordering::Relaxed);
        (self.size_bytes.load(Ordering::Relaxed), lag.max(0))
    }

    /// A copy that has nothing yet.
    pub fn future_log(&self) -> FutureLog {
        FutureLog::new(self.partition.reader(), self.folder.clone())
    }

    /// Copies so much more, and shows it. How much the copy lacks.
    pub fn copy(&self, future: &mut FutureLog, bytes_max: u64) -> Result<Copied, LogError> {
        let bytes = future.step(bytes_max)?;
        self.size_bytes
            .store(future.size_bytes(), Ordering::Relaxed);
        self.reached.store(future.reached(), Ordering::Relaxed);
        let lacks_bytes = future.lacks_bytes();
        Ok(Copied { bytes, lacks_bytes })
    }

    /// Says that the directory is about to be another; false where the move was given up.
    pub fn announce(&self) -> bool {
        self.go_on(State::Announced)
    }

    fn go_on(&self, next: State) -> bool {
        let mut state = self.state.lock();
        let goes_on = *state != State::Over && !self.partition.is_retired();
        if goes_on {
            *state = next;
        }
        goes_on
    }

    /// Whether it will not replace the log, or has done so.
    fn give_up(&self) -> bool {
        let mut state = self.state.lock();
        let is_sure = *state != State::Replacing;
        if is_sure {
            *state = State::Over;
        }
        is_sure
    }
}

/// What a step has done.
#[derive(Debug, Clone, Copy)]
pub struct Copied {
    pub bytes: u64,
    pub lacks_bytes: u64,
}

/// How the last step of a move went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    Moved,
    /// There is more to be copied first, or the log is being compacted.
    Later,
    GivenUp,
}

/// A partition by its topic's id and its number.
type Key = (Uuid, i32);

/// All that are on their way.
#[derive(Debug, Default)]
pub struct Moves {
    all: Mutex<HashMap<Key, Arc<Move>>>,
    /// Held by whoever begins one, so that of two for one partition the later counts.
    beginning: Mutex<()>,
    /// Those that nobody carries out yet.
    begun: Mutex<Vec<Arc<Move>>>,
    has_begun: Notify,
    ended: AtomicUsize,
    /// The directories that were asked for partitions which are not here: should they come, that is where to. No more
    /// than there are partitions.
    preferred: Mutex<HashMap<(TopicName, i32), usize>>,
}

fn key(partition: &Partition) -> Key {
    (partition.topic_id().0, partition.index())
}

impl Moves {
    fn of(&self, partition: &Partition) -> Option<Arc<Move>> {
        let found = self.all.lock().get(&key(partition)).cloned();
        found.filter(|one| std::ptr::eq(&*one.partition, partition))
    }

    /// The place of the directory that a log is about to lie in, from when the quorum is told.
    pub fn target_of(&self, partition: &Partition) -> Option<usize> {
        let one = self.of(partition)?;
        let state = *one.state.lock();
        matches!(state, State::Announced | State::Replacing).then_some(one.to)
    }

    /// Those on their way to a directory, whose copies are not the logs yet.
    pub fn bound_for(&self, dir: usize) -> Vec<Arc<Move>> {
        let is_coming = |one: &&Arc<Move>| {
            let is_replacing = *one.state.lock() == State::Replacing;
            one.to == dir && !is_replacing && !one.is_over()
        };
        let all = self.all.lock();
        all.values().filter(is_coming).cloned().collect()
    }

    /// Those that have begun since the last call; waits for one.
    pub async fn next_begun(&self) -> Vec<Arc<Move>> {
        loop {
            let begun = self.has_begun.notified();
            let new = std::mem::take(&mut *self.begun.lock());
            if !new.is_empty() {
                return new;
            }
            begun.await;
        }
    }

    /// How many have ended, one way or the other.
    pub fn ended_count(&self) -> usize {
        self.ended.load(Ordering::Acquire)
    }

    fn begin(&self, one: Move) {
        let one = Arc::new(one);
        self.all.lock().insert(key(&one.partition), one.clone());
        self.begun.lock().push(one);
        self.has_begun.notify_one();
    }

    fn forget(&self, one: &Arc<Move>) {
        let mut all = self.all.lock();
        let key = key(&one.partition);
        if all.get(&key).is_some_and(|known| Arc::ptr_eq(known, one)) {
            all.remove(&key);
        }
        self.ended.fetch_add(1, Ordering::Release);
    }

    /// Where a partition is to be made, should it come to this broker.
    pub fn prefer(&self, topic: &TopicName, index: i32, dir: usize) {
        self.preferred.lock().insert((topic.clone(), index), dir);
    }

    pub(super) fn take_preferred(&self, topic: &TopicName, index: i32) -> Option<usize> {
        self.preferred.lock().remove(&(topic.clone(), index))
    }

    pub(super) fn forget_preferred(&self, topic: &TopicName) {
        self.preferred.lock().retain(|(name, _), _| name != topic);
    }
}

impl Partitions {
    pub fn moves(&self) -> &Moves {
        &self.moves
    }

    /// Begins to move a replica's log to the directory at that place. One that is on its way elsewhere turns round; one
    /// that is asked to be where it lies stays there. Blocks.
    pub fn move_to(&self, partition: &Arc<Partition>, to: usize) -> Result<(), ErrorCode> {
        let _one_by_one = self.moves.beginning.lock();
        if let Some(under_way) = self.moves.of(partition) {
            if under_way.to == to && !under_way.is_over() {
                return Ok(());
            }
            match under_way.give_up() {
                true => self.remove_copy(&under_way.folder),
                // Its end is between two appends.
                false => drop(partition.log_blocking()),
            }
        }
        if self.dir_of(partition) == to {
            return Ok(());
        }
        if partition.reader().check_writable().is_err() {
            return Err(ErrorCode::KafkaStorageError);
        }
        let directory = self.dirs[to].directory.path();
        let folder = future_folder(directory, partition.topic().as_str(), partition.index())
            .ok_or(ErrorCode::InvalidTopicException)?;
        FutureLog::make_folder(&folder, partition.topic_id().0).map_err(|error| {
            tracing::error!(topic = %partition.topic(), partition = partition.index(), %error, "the log can't be moved");
            ErrorCode::KafkaStorageError
        })?;
        tracing::info!(
            topic = %partition.topic(), partition = partition.index(), to = %directory.display(),
            "the log is moved to another data directory"
        );
        self.moves.begin(Move {
            partition: partition.clone(),
            to,
            folder,
            state: Mutex::new(State::Copying),
            size_bytes: AtomicU64::new(0),
            reached: AtomicI64::new(partition.reader().log_start_offset()),
        });
        Ok(())
    }

    /// Begins a move anew whose copy was found, for nobody knows how much of that can be trusted.
    pub(super) fn begin_move_again(
        &self,
        (topic, index): (&str, i32),
        dir: &DataDir,
        folder: PathBuf,
    ) {
        {
            let _one_by_one = self.moves.beginning.lock();
            let all = self.moves.all.lock();
            if all.values().any(|one| one.folder == folder) {
                return;
            }
        }
        let here = self.partition(topic, index).ok();
        let is_its = |here: &Arc<Partition>| {
            topic_id_of(&folder).is_ok_and(|id| id == Some(here.topic_id().0))
        };
        let here = here.filter(is_its);
        self.remove_copy(&folder);
        let to = self.dirs.iter().position(|other| std::ptr::eq(other, dir));
        if let (Some(partition), Some(to)) = (here, to)
            && let Err(error) = self.move_to(&partition, to)
        {
            tracing::error!(%topic, partition = index, %error, "a move of the last life is not gone on with");
        }
    }

    /// Has the log go on in its copy, if that lacks no more than so much. Blocks: who appends waits for the last of it.
    pub fn finish_move(
        &self,
        one: &Move,
        future: &mut FutureLog,
        rest_max: u64,
    ) -> Result<Finish, LogError> {
        let partition = &one.partition;
        // Those of the directory that it goes to are to speak of it; others may be on disks that refuse, or stall.
        self.checkpoint_in(one.to)?;
        let Some(_not_compacted) = partition.rewriting().try_lock_for(COMPACTION_MAX) else {
            return Ok(Finish::Later);
        };
        future.sync()?;
        let mut log = partition.log_blocking();
        if future.lacks_bytes() > rest_max {
            return Ok(Finish::Later);
        }
        if !one.go_on(State::Replacing) {
            return Ok(Finish::GivenUp);
        }
        let target = &self.dirs[one.to];
        let path = target
            .directory
            .partition_path(partition.topic().as_str(), partition.index());
        let replaced = future.replace(&mut log, &path);
        if replaced.is_ok() {
            let lane = (target.appends.clone(), self.flushes[one.to].clone());
            partition.moved(&log, lane);
        }
        *one.state.lock() = State::Over;
        drop(log);
        if replaced.is_err() {
            // Checkpoints that were written meanwhile had it in the other directory.
            let _ = self.checkpoint();
        }
        let delay_ms = partition.config().file_delete_delay_ms;
        let due_ms = self.clock.monotonic_ms().saturating_add(delay_ms);
        self.trash.lock().put(replaced?, due_ms);
        Ok(Finish::Moved)
    }

    /// A move has ended, one way or the other.
    pub fn end_move(&self, one: &Arc<Move>, future: &FutureLog) {
        one.give_up();
        if !future.is_decided() {
            self.remove_copy(&one.folder);
        }
        self.moves.forget(one);
    }

    fn remove_copy(&self, folder: &std::path::Path) {
        match give_up_future(folder) {
            Ok(Some(path)) => self.trash.lock().put(path, self.clock.monotonic_ms()),
            Ok(None) => {}
            Err(error) => told_of_copy(&error),
        }
    }
}

fn told_of_copy(error: &StorageError) {
    tracing::error!(%error, "the copy of a log that is not moved stays where it is; remove it by hand after a stop");
}

#[cfg(test)]
mod tests;
