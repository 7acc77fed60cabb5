//! What has to be on disk before it counts: `flush.messages`.
//!
//! A replica answers for a record while fewer than `flush.messages` of the records up to it are not on its disk. To
//! answer for it is to acknowledge it with acks=1, to let the high watermark pass it, and, as a follower, to ask for what
//! comes behind it. With `flush.messages=1` a record is on the disk before any of that, on every replica that counts.
//!
//! Nobody waits in the append, which goes to the page cache as ever. Whoever brings the records that are not on disk up
//! to `flush.messages` asks for a flush ([`super::flushes`]); what is appended while one is under way shares the next.
//!
//! Kafka syncs inside the append that reaches the number, so that no more than `flush.messages - 1` acknowledged records
//! are at risk. Here they are as few, and appends go on meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use milena_log::StorageError;
use milena_protocol::ErrorCode;

use super::settings::{NEVER, interval};
use super::{Commit, Partition};
use crate::config::TopicConfig;

/// Somebody has asked since the last flush began.
const WANTED: u8 = 1;
/// `flush.ms` is over: it is due however few records there are.
const OVERDUE: u8 = 2;
/// It is queued or under way.
const ACTIVE: u8 = 4;

/// Whether a partition's flush is wanted, and whether it is in the queue or under way: once at a time.
#[derive(Debug, Default)]
pub(super) struct FlushState(AtomicU8);

impl FlushState {
    /// Whether who asks has to queue it.
    fn want(&self, why: u8) -> bool {
        // Both ways are one read and write, so that what was appended before this is seen after `begin`.
        self.0.fetch_or(why | ACTIVE, Ordering::AcqRel) & ACTIVE == 0
    }

    /// From here on another wish is another flush. Whether it is overdue.
    fn begin(&self) -> bool {
        self.0.fetch_and(ACTIVE, Ordering::AcqRel) & OVERDUE != 0
    }

    /// Whether it has to be queued again.
    fn end(&self) -> bool {
        let ended = self
            .0
            .compare_exchange(ACTIVE, 0, Ordering::AcqRel, Ordering::Acquire);
        ended.is_err()
    }
}

impl Partition {
    /// The offset below which this replica answers for all records; its log's end where no flush is waited for.
    pub fn claimed_end(&self) -> i64 {
        let end = self.reader.log_end_offset();
        self.claimed(&self.config.load(), end)
    }

    /// The same of a log that ends at `end`.
    pub(super) fn claimed(&self, config: &TopicConfig, end: i64) -> i64 {
        if self.flusher.is_distrusted() {
            return end.min(self.flusher.flushed());
        }
        match config.flush_messages {
            NEVER => end,
            messages => end.min(self.flusher.flushed().saturating_add(messages - 1)),
        }
    }

    /// Whether what was appended at `last_offset` in `leader_epoch` is as much on this disk as `flush.messages` wants it.
    pub fn storing(&self, last_offset: i64, leader_epoch: i32) -> Commit {
        // Before the epoch, as in [`Partition::commit`].
        let claimed_end = self.claimed_end();
        if self.leader_epoch() != leader_epoch {
            Commit::Lost(ErrorCode::NotLeaderOrFollower)
        } else if claimed_end > last_offset {
            Commit::Done
        } else {
            self.unstored()
        }
    }

    /// What is waited for where this disk lacks it.
    pub(super) fn unstored(&self) -> Commit {
        match self.flusher.has_failed() {
            true => Commit::Lost(ErrorCode::KafkaStorageError),
            false => Commit::Waiting,
        }
    }

    /// Whether so many records are not on disk that a flush is due.
    fn wants_flush(&self, config: &TopicConfig) -> bool {
        config.flush_messages != NEVER
            && self.reader.log_end_offset() - self.flusher.flushed() >= config.flush_messages
    }

    /// Asks for a flush where so many records are not on disk. Whoever waits for [`Partition::high_watermark_moved`] is
    /// told of its end.
    pub(super) fn flush_if_wanted(self: &Arc<Self>, config: &TopicConfig) {
        if self.wants_flush(config) {
            self.ask_for_flush(WANTED);
        }
    }

    fn ask_for_flush(self: &Arc<Self>, why: u8) {
        if self.flush_state.want(why) {
            self.lane.load().flushes.put(self.clone());
        }
    }

    /// Waits until this replica answers for all that it has; false where its disk fails or it is removed.
    pub async fn claimed_all(self: &Arc<Self>) -> bool {
        loop {
            let moved = self.high_watermark_moved();
            tokio::pin!(moved);
            moved.as_mut().enable();
            if self.claimed_end() >= self.reader.log_end_offset() {
                return true;
            }
            if self.flusher.has_failed() || self.is_retired() {
                return false;
            }
            self.flush_if_wanted(&self.config.load());
            moved.await;
        }
    }

    /// Performs the flush that was queued; blocks. [`Partition::end_flush`] follows.
    pub(super) fn perform_flush(&self) -> Result<(), StorageError> {
        let is_overdue = self.flush_state.begin();
        let is_due = is_overdue || self.wants_flush(&self.config.load());
        let is_in_vain = self.flusher.has_failed() || self.is_retired();
        match is_due && !is_in_vain {
            true => self.flusher.flush_batches(),
            false => Ok(()),
        }
    }

    /// Tells whoever waits how the flush has ended; whether it is to be queued again.
    pub(super) fn end_flush(&self, flushed: &Result<(), StorageError>) -> bool {
        self.note_flushed(flushed);
        self.flush_state.end()
    }

    /// Asks for the flush that is due by `flush.messages` or `flush.ms`, and brings the segments to disk that get no
    /// more batches; blocks. Of a log that is offline nothing is due.
    pub fn flush_due(self: &Arc<Self>, now_ms: i64) -> Result<(), StorageError> {
        if self.flusher.has_failed() {
            return Ok(());
        }
        let config = self.config.load();
        let is_overdue = |ms| self.flusher.is_overdue(ms, now_ms);
        if interval(config.flush_ms).is_some_and(is_overdue) {
            self.ask_for_flush(OVERDUE);
        } else if self.wants_flush(&config) {
            self.ask_for_flush(WANTED);
        }
        self.noting(self.flusher.flush_sealed())
    }

    /// Gives back the descriptors of files that nobody has used since the last call; blocks, for what was not synced is
    /// before.
    pub fn close_idle(&self) -> Result<(), StorageError> {
        self.noting(self.flusher.close_idle())
    }

    /// Notes that some write-back of the file system has failed: unless all is on disk, the log is offline.
    pub fn doubt(&self, error: StorageError) -> Result<(), StorageError> {
        self.noting(self.flusher.doubt(error))
    }

    /// Whether [`Partition::begin_write_back`] is due.
    pub fn is_write_back_due(&self) -> bool {
        self.flusher.is_write_back_due()
    }

    /// Has the kernel begin to write what was appended; may wait for the disk. False where the file system knows no such
    /// thing.
    pub fn begin_write_back(&self) -> Result<bool, StorageError> {
        self.noting(self.flusher.begin_write_back())
    }

    /// Brings everything to disk; blocks.
    pub fn flush(&self) -> Result<(), StorageError> {
        let flushed = self.flusher.flush();
        self.note_flushed(&flushed);
        flushed
    }

    /// As [`Partition::note_flushed`], of what fails or says nothing of the disk.
    fn noting<T>(&self, done: Result<T, StorageError>) -> Result<T, StorageError> {
        done.inspect_err(|error| self.note_flushed(&Err(error.clone())))
    }

    /// Moves the high watermark, and tells whoever waits for the disk.
    fn note_flushed(&self, flushed: &Result<(), StorageError>) {
        // For want of a descriptor it came to nothing, and is tried again by the housekeeping.
        if flushed.is_err() && !self.flusher.has_failed() {
            return;
        }
        self.advance();
        self.moved.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
