//! What a leader knows of its partition's replicas, and what follows from it: the high watermark, and who may join the
//! in-sync replicas or must leave them. Pure: offsets, epochs and times come in, decisions go out. Times are
//! [`crate::clock::Clock::monotonic_ms`]: who sets the machine's clock makes nobody late, and keeps nobody in.

use std::collections::BTreeMap;

use crate::rule::is_broken;
use milena_metadata::BrokerId;

/// One life of a broker: its id and its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    pub broker: BrokerId,
    /// Which life.
    pub epoch: i64,
}

/// What the metadata says of a partition that is led here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The leader itself.
    pub me: BrokerId,
    pub leader_epoch: i32,
    /// The version of the ISR that a proposal builds on.
    pub partition_epoch: i32,
    /// All replicas, those that are being added among them.
    pub replicas: Vec<BrokerId>,
    pub isr: Vec<BrokerId>,
    /// No more in-sync replicas than this are needed, whatever `min.insync.replicas` says: so many a partition has, or
    /// had before a reassignment that adds some.
    pub min_isr_max: usize,
    /// Whether replicas out of sync may be elected, because they hold all that is committed (KIP-966): nothing may be
    /// committed without them.
    pub has_eligible: bool,
}

/// What a follower's fetches have shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Progress {
    life: i64,
    /// All below this is on the follower; what it claims is what it has written.
    end: i64,
    /// When it last had all that the leader had at some moment, ms.
    caught_up_ms: i64,
    /// The leader's end when the follower last asked, and when that was: a follower that reaches it later was caught
    /// up then.
    asked: (i64, i64),
}

/// A leader's view of its partition, for one leader epoch.
#[derive(Debug, Clone)]
pub struct Leadership {
    term: Term,
    /// Where this epoch's records begin: who lacks a part of what came before has not joined yet.
    epoch_start: i64,
    /// When this epoch began, ms: nobody is late before it had the time to be.
    begun_ms: i64,
    followers: BTreeMap<BrokerId, Progress>,
    /// What the quorum was asked for and has not answered.
    proposed: Option<Vec<BrokerId>>,
}

impl Leadership {
    /// Begins an epoch on a log that ends at `epoch_start`.
    pub fn begin(term: Term, epoch_start: i64, now_ms: i64) -> Self {
        Self {
            term,
            epoch_start,
            begun_ms: now_ms,
            followers: BTreeMap::new(),
            proposed: None,
        }
    }

    /// What the metadata says.
    pub fn term(&self) -> &Term {
        &self.term
    }

    /// Takes over what the quorum decided within this epoch; a proposal is answered by it, whatever it was.
    pub fn learn(&mut self, term: Term) {
        if term.partition_epoch > self.term.partition_epoch {
            self.proposed = None;
            self.followers
                .retain(|broker, _| term.replicas.contains(broker));
            self.term = term;
        }
    }

    /// The quorum has answered the proposal when the partition was at this epoch. What it had then is known here, and
    /// the next look may make another; or [`Leadership::learn`] will bring it, and who was proposed counts till then.
    pub fn answered(&mut self, partition_epoch: i32) {
        if self.term.partition_epoch >= partition_epoch {
            self.proposed = None;
        }
    }

    /// Notes that the log has grown from `log_end` on. Who had all of it is late from now on only, however long ago
    /// it asked.
    pub fn appending(&mut self, log_end: i64, now_ms: i64) {
        let up_to_date = |known: &&mut Progress| known.end >= log_end;
        for known in self.followers.values_mut().filter(up_to_date) {
            known.caught_up_ms = now_ms;
        }
    }

    /// Notes a follower's fetch from `offset`, when the leader's log ended at `log_end`. False where it is no replica,
    /// or asks for an earlier life than one that has asked.
    pub fn fetched(&mut self, follower: Member, offset: i64, log_end: i64, now_ms: i64) -> bool {
        let Member { broker, epoch } = follower;
        if broker == self.term.me || !self.term.replicas.contains(&broker) {
            return false;
        }
        let before = self.followers.get(&broker).copied();
        if before.is_some_and(|known| known.life > epoch) {
            return false;
        }
        // A new life may have lost what the one before had.
        let known = before.filter(|known| known.life == epoch);
        let (asked_end, asked_ms) = known.map_or((i64::MAX, 0), |known| known.asked);
        let caught_up_ms = if offset >= log_end {
            now_ms
        } else if offset >= asked_end {
            asked_ms
        } else {
            known.map_or(self.begun_ms, |known| known.caught_up_ms)
        };
        let progress = Progress {
            life: epoch,
            end: offset,
            caught_up_ms,
            asked: (log_end, now_ms),
        };
        self.followers.insert(broker, progress);
        true
    }

    /// Whether a follower out of sync has come to the high watermark and to this epoch's start.
    pub fn may_join(&self, broker: BrokerId, high_watermark: i64) -> bool {
        let reached = high_watermark.max(self.epoch_start);
        let known = self.followers.get(&broker);
        known.is_some_and(|known| known.end >= reached) && !self.term.isr.contains(&broker)
    }

    /// Where all in-sync replicas have come to, from `committed` on. A member that is proposed counts already, and one
    /// that is to leave still does; nothing moves while the ISR is smaller than `min_isr` (KIP-966). `own_end` is where
    /// the leader has come to itself.
    pub fn high_watermark(&self, committed: i64, own_end: i64, min_isr: usize) -> i64 {
        if !self.may_commit(min_isr) {
            return committed;
        }
        let ends = self.members().map(|broker| self.end_of(broker, own_end));
        ends.min().unwrap_or(committed).max(committed)
    }

    /// The ISR that the quorum is to be asked for, if any: with those who have come to the high watermark and to this
    /// epoch's start, without those who lack a part of the log, which ends at `log_end`, and were not caught up for
    /// `lag_max_ms`. `eligible` says which lives are current, neither fenced nor draining. One proposal at a time.
    pub fn propose(
        &mut self,
        (high_watermark, log_end): (i64, i64),
        now_ms: i64,
        lag_max_ms: i64,
        eligible: impl Fn(BrokerId) -> Option<i64>,
    ) -> Option<Proposal> {
        if self.proposed.is_some() {
            return None;
        }
        let stays = |broker: BrokerId| {
            self.end_of(broker, log_end) >= log_end
                || now_ms.saturating_sub(self.caught_up_ms(broker)) <= lag_max_ms
        };
        let joins = |broker: BrokerId| {
            let life = self.followers.get(&broker).map(|known| known.life);
            self.may_join(broker, high_watermark)
                && life.is_some_and(|life| eligible(broker) == Some(life))
                && stays(broker)
        };
        let wanted = |&broker: &BrokerId| match self.term.isr.contains(&broker) {
            true => stays(broker),
            false => joins(broker),
        };
        let isr: Vec<BrokerId> = self.term.replicas.iter().copied().filter(wanted).collect();
        let same = isr.len() == self.term.isr.len();
        if same && isr.iter().all(|broker| self.term.isr.contains(broker)) {
            return None;
        }
        let members = isr.iter().map(|&broker| Member {
            broker,
            epoch: self.life_of(broker, &eligible),
        });
        let proposal = Proposal {
            leader_epoch: self.term.leader_epoch,
            partition_epoch: self.term.partition_epoch,
            members: members.collect(),
        };
        self.proposed = Some(isr);
        Some(proposal)
    }

    /// How far each other replica's log has come; 0 where it has not asked in this epoch.
    pub fn followers(&self) -> impl Iterator<Item = (BrokerId, i64)> {
        let others = self.term.replicas.iter();
        others
            .filter(|&&broker| broker != self.term.me)
            .map(|&broker| {
                (
                    broker,
                    self.followers.get(&broker).map_or(0, |known| known.end),
                )
            })
    }

    /// The followers in sync whose logs have come to `offset`, with their ends.
    pub fn in_sync_at(&self, offset: i64) -> impl Iterator<Item = (BrokerId, i64)> {
        let asked = self.followers.iter();
        let ends = asked.map(|(&broker, known)| (broker, known.end));
        ends.filter(move |(broker, end)| *end >= offset && self.term.isr.contains(broker))
    }

    /// Whether all that lay in the log before this epoch is committed.
    pub fn has_begun(&self, high_watermark: i64) -> bool {
        high_watermark >= self.epoch_start
    }

    /// Whether the ISR may commit. A partition with fewer replicas than `min_isr` can't be held to it, nor one whose
    /// others are still on their way.
    fn may_commit(&self, min_isr: usize) -> bool {
        if is_broken!(WatermarkCountsFenced) {
            return true;
        }
        let enough = self.term.isr.len() >= min_isr.min(self.term.min_isr_max);
        enough && !self.term.has_eligible
    }

    /// The maximal ISR: those in sync and those proposed.
    fn members(&self) -> impl Iterator<Item = BrokerId> {
        let proposed = self.proposed.iter().flatten();
        self.term.isr.iter().chain(proposed).copied()
    }

    fn end_of(&self, broker: BrokerId, log_end: i64) -> i64 {
        if broker == self.term.me {
            return log_end;
        }
        // Nothing is known of a follower that has not asked in this epoch: it may have nothing.
        self.followers.get(&broker).map_or(0, |known| known.end)
    }

    fn caught_up_ms(&self, broker: BrokerId) -> i64 {
        self.followers
            .get(&broker)
            .map_or(self.begun_ms, |known| known.caught_up_ms)
    }

    fn life_of(&self, broker: BrokerId, current: impl Fn(BrokerId) -> Option<i64>) -> i64 {
        let known = self.followers.get(&broker).map(|known| known.life);
        known.or_else(|| current(broker)).unwrap_or(-1)
    }
}

/// An ISR that the quorum is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    pub leader_epoch: i32,
    /// The version that it builds on.
    pub partition_epoch: i32,
    /// The members, in the order of the replicas, each with the life that has fetched.
    pub members: Vec<Member>,
}

#[cfg(test)]
mod tests;
