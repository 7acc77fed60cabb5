//! A partition as one replica of several: leading or following, as the metadata says.

use std::sync::atomic::Ordering;

use milena_log::{AppendError, Appended, BatchToAppend, Log, LogError};
use milena_metadata::{BrokerId, Partition as State};
use milena_protocol::ErrorCode;

use super::leadership::{Leadership, Member, Proposal, Term};
use super::{Partition, Refused};
use crate::clock::Clock;
use crate::server::last_end;

/// What this replica is at present.
#[derive(Debug)]
pub(super) enum Role {
    /// It takes appends, and knows how far the others are.
    Leader(Leadership),
    /// It copies what the leader has; without one it waits.
    Follower {
        leader: Option<BrokerId>,
        in_sync: bool,
        is_added: bool,
    },
}

/// Where a follower goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Following {
    pub leader: BrokerId,
    pub leader_epoch: i32,
    pub in_sync: bool,
    /// Whether this broker has its replica only because a reassignment adds it.
    pub is_added: bool,
}

impl Partition {
    /// Takes over what the metadata says. Appends of the epoch before have ended when this returns, and whoever waits
    /// here has been told.
    pub async fn apply(&self, me: BrokerId, state: &State) {
        let log = self.log.lock().await;
        self.apply_between_appends(&log, me, state);
    }

    /// The same for a partition that is being opened, from a thread that may block.
    pub fn apply_first(&self, me: BrokerId, state: &State) {
        let log = crate::blocking::lock(&self.log);
        self.apply_between_appends(&log, me, state);
    }

    /// An append holds the log, so that it ends in the epoch in which it began.
    fn apply_between_appends(&self, _log: &Log, me: BrokerId, state: &State) {
        let before = self.leader_epoch.load(Ordering::Acquire);
        if state.leader_epoch < before {
            return;
        }
        let leads = state.leader == Some(me);
        let mut role = self.role.lock();
        match &mut *role {
            Role::Leader(leadership) if leads && state.leader_epoch == before => {
                leadership.learn(term(me, state));
            }
            role if leads => {
                let end = self.reader.log_end_offset();
                #[cfg(feature = "simulation")]
                milena_simulation::witness::leads(self.topic(), self.index(), state.leader_epoch);
                let began_ms = Clock.monotonic_ms();
                *role = Role::Leader(Leadership::begin(term(me, state), end, began_ms));
            }
            role => {
                *role = Role::Follower {
                    leader: state.leader,
                    in_sync: state.isr.contains(&me),
                    is_added: state.is_adding(me),
                };
            }
        }
        let count = |replicas: usize| i32::try_from(replicas).unwrap_or(i32::MAX);
        self.min_isr_max
            .store(count(min_isr_max(state)), Ordering::Release);
        let committing = if state.elr.is_empty() {
            state.isr.len()
        } else {
            0
        };
        self.committing_replicas
            .store(count(committing), Ordering::Release);
        self.leads.store(leads, Ordering::Release);
        self.leader_epoch
            .store(state.leader_epoch, Ordering::Release);
        drop(role);
        self.advance();
        if state.leader_epoch != before {
            self.moved.notify_waiters();
            self.waiters.wake_all();
        }
    }

    pub fn leads(&self) -> bool {
        self.leads.load(Ordering::Acquire)
    }

    /// Whom to copy from, where this replica follows someone.
    pub fn following(&self) -> Option<Following> {
        match &*self.role.lock() {
            Role::Follower {
                leader: Some(leader),
                in_sync,
                is_added,
            } => Some(Following {
                leader: *leader,
                leader_epoch: self.leader_epoch(),
                in_sync: *in_sync,
                is_added: *is_added,
            }),
            _ => None,
        }
    }

    /// Where a follower, whose last record is of such an epoch and which fetches from such an offset, has come apart
    /// from this log: the last epoch that both may have, and its end here. `OFFSET_OUT_OF_RANGE` where this log knows
    /// nothing of so old an epoch (KIP-595).
    pub fn diverging(
        &self,
        (last_epoch, offset): (i32, i64),
    ) -> Result<Option<(i32, i64)>, ErrorCode> {
        let end = self.reader.log_end_offset();
        if last_epoch < 0 || (last_epoch == self.leader_epoch() && offset <= end) {
            return Ok(None);
        }
        let known = self
            .reader
            .end_offset_below(last_epoch, self.leader_epoch());
        let (epoch, end) = known.ok_or(ErrorCode::OffsetOutOfRange)?;
        Ok((epoch < last_epoch || end < offset).then_some((epoch, end)))
    }

    /// Notes that a follower has all below `offset`, as it claims in a leader epoch, -1 where it does not say; whoever
    /// waits for that is woken. Answers whether the follower is out of sync and may join again: the ISR is to be looked
    /// at. `NOT_LEADER_OR_FOLLOWER` where this does not lead, `INELIGIBLE_REPLICA` for who is no replica in its present
    /// life; what was claimed in another epoch counts for nothing.
    pub fn follower_fetched(
        &self,
        follower: Member,
        (claimed, offset): (i32, i64),
    ) -> Result<bool, ErrorCode> {
        let now_ms = Clock.monotonic_ms();
        let end = self.reader.log_end_offset();
        let committed = self.high_watermark();
        let mut answer = Err(ErrorCode::NotLeaderOrFollower);
        let moved = self.advance_by(|leadership| {
            // Here no epoch begins: it may have begun since the fetch was looked at first.
            answer = self.check_epoch(claimed).and_then(|()| {
                match leadership.fetched(follower, offset, end, now_ms) {
                    true => Ok(leadership.may_join(follower.broker, committed)),
                    false => Err(ErrorCode::IneligibleReplica),
                }
            });
        });
        if moved {
            self.waiters.committed();
        }
        answer
    }

    /// Where this replica leads: how many records each other broker's replica lacks, one that has not asked yet all.
    pub fn follower_lags(&self) -> Vec<(BrokerId, u64)> {
        let Role::Leader(leadership) = &*self.role.lock() else {
            return Vec::new();
        };
        let (start, end) = (self.reader.log_start_offset(), self.reader.log_end_offset());
        let lag = |(follower, reached): (BrokerId, i64)| {
            (
                follower,
                end.saturating_sub(reached.max(start)).max(0).unsigned_abs(),
            )
        };
        leadership.followers().map(lag).collect()
    }

    /// The followers in sync that have all below `offset`, with their logs' ends; none where this does not lead.
    pub fn in_sync_followers(&self, offset: i64) -> Vec<(BrokerId, i64)> {
        match &*self.role.lock() {
            Role::Leader(leadership) => leadership.in_sync_at(offset).collect(),
            Role::Follower { .. } => Vec::new(),
        }
    }

    /// Whether this leads, and all that was there when it began to is committed: before that, its high watermark may be
    /// below what consumers were given by the leader before.
    pub fn has_committed_what_it_found(&self) -> bool {
        match &*self.role.lock() {
            Role::Leader(leadership) => leadership.has_begun(self.high_watermark()),
            Role::Follower { .. } => false,
        }
    }

    /// What the quorum is to be asked for, if anything: see [`Leadership::propose`].
    pub fn propose(
        &self,
        lag_max_ms: i64,
        eligible: impl Fn(BrokerId) -> Option<i64>,
    ) -> Option<Proposal> {
        let now_ms = Clock.monotonic_ms();
        match &mut *self.role.lock() {
            Role::Leader(leadership) => {
                let end = self.reader.log_end_offset();
                leadership.propose((self.high_watermark(), end), now_ms, lag_max_ms, eligible)
            }
            Role::Follower { .. } => None,
        }
    }

    /// The quorum has answered a proposal: see [`Leadership::answered`]. Who was proposed in vain holds nothing back any
    /// more.
    pub fn proposal_answered(&self, partition_epoch: i32) {
        if self.advance_by(|leadership| leadership.answered(partition_epoch)) {
            self.waiters.committed();
        }
    }

    /// Appends what was fetched from the leader of `leader_epoch`, as it is, and takes over its high watermark and log
    /// start.
    pub async fn append_fetched(
        &self,
        batches: &[BatchToAppend],
        leader_epoch: i32,
        (high_watermark, log_start): (i64, i64),
        now_ms: i64,
    ) -> Result<Appended, Refused> {
        let mut log = self.log_to_append().await;
        let lane = self.lane.load_full();
        let _room = lane.appends.enter().await;
        self.check_following(leader_epoch)?;
        let appended = log
            .append_as_follower(batches, now_ms)
            .inspect_err(|_| self.distrust_if_offline())?;
        log.delete_records_before(log_start)
            .map_err(AppendError::from)?;
        let reached = high_watermark.min(self.reader.log_end_offset());
        if self.high_watermark.fetch_max(reached, Ordering::SeqCst) < reached {
            // Whoever reads from this follower.
            self.waiters.committed();
        }
        let records = batches
            .iter()
            .map(|batch| u64::from(batch.header.record_count.unsigned_abs()));
        self.traffic.received(appended.bytes, records.sum());
        Ok(appended)
    }

    /// Cuts what the leader of `leader_epoch` does not have, which says up to which epoch both may be the same, and where
    /// that ends in its log. What was written here in epochs after that one goes too, although it may lie before that
    /// end. Answers with where the log ends now; a batch goes as a whole, so that may lie before what was asked for (KIP-595).
    pub async fn truncate_following(
        &self,
        (common, leader_end): (i32, i64),
        leader_epoch: i32,
        now_ms: i64,
    ) -> Result<i64, Refused> {
        let mut log = self.log.lock().await;
        self.check_following(leader_epoch)?;
        let end_here = self.reader.end_offset_for(common).map(|(_, end)| end);
        let offset = end_here.map_or(leader_end, |end| end.min(leader_end));
        let truncated = log.truncate_to(offset, now_ms);
        truncated.map_err(|error| self.broken(&error))?;
        self.high_watermark
            .fetch_min(self.reader.log_end_offset(), Ordering::SeqCst);
        Ok(self.reader.log_end_offset())
    }

    /// Gives up all that this replica has, because the leader of `leader_epoch` starts at `offset` only, or knows
    /// nothing of so old an epoch.
    pub async fn restart_following(
        &self,
        offset: i64,
        leader_epoch: i32,
        now_ms: i64,
    ) -> Result<(), Refused> {
        let mut log = self.log.lock().await;
        self.check_following(leader_epoch)?;
        let restarted = log.truncate_fully_and_start_at(offset, now_ms);
        restarted.map_err(|error| self.broken(&error))?;
        self.high_watermark.store(offset, Ordering::SeqCst);
        Ok(())
    }

    /// The leader epoch of the last record; -1 where there is none.
    pub fn last_epoch(&self) -> i32 {
        self.reader.last_epoch().unwrap_or(-1)
    }

    /// Where a write or a sync has failed, the next life must not trust the page cache.
    pub fn distrust_if_offline(&self) {
        if self.reader.has_write_failed()
            && let Some(dir) = self.reader.folder().parent()
        {
            last_end::distrust(dir);
        }
    }

    fn broken(&self, error: &LogError) -> Refused {
        tracing::error!(topic = %self.topic, partition = self.index, %error, "the log could not be cut");
        Refused::Code(ErrorCode::KafkaStorageError)
    }

    fn check_following(&self, leader_epoch: i32) -> Result<(), Refused> {
        match self.following() {
            Some(following) if following.leader_epoch == leader_epoch => Ok(()),
            _ => Err(Refused::Code(ErrorCode::FencedLeaderEpoch)),
        }
    }

    /// Moves the high watermark to where the in-sync replicas are, and tells whoever waits for that.
    pub(super) fn advance(&self) {
        if self.advance_by(|_| ()) {
            self.waiters.committed();
        }
    }

    /// Changes what a leader knows, and moves the high watermark to where the in-sync replicas are then. True where it
    /// moved: consumers who wait are still to be told.
    pub(super) fn advance_by(&self, change: impl FnOnce(&mut Leadership)) -> bool {
        let mut role = self.role.lock();
        let Role::Leader(leadership) = &mut *role else {
            return false;
        };
        change(leadership);
        let config = self.config.load();
        let min_isr = usize::try_from(config.min_insync_replicas).unwrap_or(1);
        let committed = self.high_watermark.load(Ordering::Acquire);
        let own_end = self.claimed(&config, self.reader.log_end_offset());
        let reached = leadership.high_watermark(committed, own_end, min_isr);
        if reached == committed {
            return false;
        }
        self.high_watermark.store(reached, Ordering::SeqCst);
        self.moved.notify_waiters();
        true
    }
}

/// What `min.insync.replicas` may ask of a partition at the most.
fn min_isr_max(state: &State) -> usize {
    state.min_isr(usize::MAX)
}

fn term(me: BrokerId, state: &State) -> Term {
    Term {
        me,
        leader_epoch: state.leader_epoch,
        partition_epoch: state.partition_epoch,
        replicas: state.brokers().collect(),
        isr: state.isr.clone(),
        min_isr_max: min_isr_max(state),
        has_eligible: !state.elr.is_empty(),
    }
}
