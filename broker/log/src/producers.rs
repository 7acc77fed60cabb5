//! What each idempotent producer wrote last: duplicates, gaps and old epochs are told from it (KIP-98).

mod snapshot;

use std::collections::HashMap;
use std::collections::VecDeque;

use milena_protocol::records::BatchHeader;
use thiserror::Error;

pub(crate) use snapshot::{read, write};

/// Batches remembered per producer: clients keep at most five in flight.
const BATCHES_KEPT: usize = 5;
/// Sequences that are known to be stored, at the most: half of all, so that old ones and new ones can be told apart.
const SEQUENCES_KNOWN_MAX: u32 = 1 << 30;
/// Producers remembered per log; beyond it the ones silent for longest are forgotten.
const PRODUCERS_MAX: usize = 100_000;

/// What a batch is, seen from its producer's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SequenceCheck {
    /// To be appended.
    New,
    /// Stored before.
    Duplicate {
        /// Its first offset in the log.
        first_offset: i64,
        /// Its last offset.
        last_offset: i64,
        /// Its largest timestamp, ms.
        timestamp: i64,
    },
    /// Stored before, longer ago than batches are remembered one by one: somewhere up to this offset.
    Past {
        /// The end of the producer's newest batch.
        last_offset: i64,
    },
}

/// Why a producer's batch is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SequenceError {
    /// OUT_OF_ORDER_SEQUENCE_NUMBER.
    #[error("producer {producer_id} sent sequence {found} where {expected} was due")]
    OutOfOrder {
        /// Whose.
        producer_id: i64,
        /// The sequence that would follow the last batch.
        expected: i32,
        /// The batch's first sequence.
        found: i32,
    },
    /// INVALID_PRODUCER_EPOCH.
    #[error("producer {producer_id} sent epoch {found}, but has been at {current}")]
    InvalidEpoch {
        /// Whose.
        producer_id: i64,
        /// The newest epoch seen.
        current: i16,
        /// The batch's epoch.
        found: i16,
    },
}

/// One producer, as DescribeProducers shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub producer_id: i64,
    /// Its newest epoch.
    pub epoch: i16,
    /// The last sequence it wrote, -1 for none.
    pub last_sequence: i32,
    /// The largest timestamp of its last batch, ms, -1 for none.
    pub last_timestamp: i64,
    /// The transaction coordinator's epoch, -1 for none.
    pub coordinator_epoch: i32,
    /// Where its open transaction starts, -1 for none.
    pub txn_start_offset: i64,
}

/// A stored batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredBatch {
    pub last_sequence: i32,
    pub last_offset: i64,
    pub offset_delta: i32,
    pub timestamp: i64,
}

/// One producer's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Producer {
    pub epoch: i16,
    pub batches: VecDeque<StoredBatch>,
    /// How many sequences without a gap, up to the newest, were seen to be stored in this log: a producer that was
    /// unknown may have begun at any, and what came before that is not known.
    pub known: u32,
    pub coordinator_epoch: i32,
    /// -1 for no open transaction.
    pub txn_start_offset: i64,
    /// When this broker heard of it last, by its own clock: producers' timestamps may be of any age.
    pub seen_ms: i64,
}

/// The state of all producers of one log.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    by_id: HashMap<i64, Producer>,
}

/// Sequences run from 0 to 2^31-1 and start over.
fn sequence_after(sequence: i32, by: i32) -> i32 {
    sequence.wrapping_add(by) & i32::MAX
}

impl StoredBatch {
    fn first_sequence(&self) -> i32 {
        self.last_sequence.wrapping_sub(self.offset_delta) & i32::MAX
    }
}

impl Producers {
    /// What the batch is; batches without producer or sequence are always new.
    pub fn check(&self, header: &BatchHeader) -> Result<SequenceCheck, SequenceError> {
        let known = self.by_id.get(&header.producer_id);
        let Some(producer) = known.filter(|_| header.producer_id >= 0 && header.base_sequence >= 0)
        else {
            return Ok(SequenceCheck::New);
        };
        if header.producer_epoch < producer.epoch {
            return Err(SequenceError::InvalidEpoch {
                producer_id: header.producer_id,
                current: producer.epoch,
                found: header.producer_epoch,
            });
        }
        if header.producer_epoch > producer.epoch {
            return in_order(header, 0);
        }
        if let Some(batch) = producer.duplicate_of(header) {
            return Ok(SequenceCheck::Duplicate {
                first_offset: batch.last_offset - i64::from(batch.offset_delta),
                last_offset: batch.last_offset,
                timestamp: batch.timestamp,
            });
        }
        match producer.batches.back() {
            Some(last) if producer.has_stored(header, last) => Ok(SequenceCheck::Past {
                last_offset: last.last_offset,
            }),
            Some(last) => in_order(header, sequence_after(last.last_sequence, 1)),
            None => Ok(SequenceCheck::New),
        }
    }

    /// Remembers a batch that is in the log at `header`'s offsets.
    pub fn note(&mut self, header: &BatchHeader, now_ms: i64) {
        if header.producer_id < 0 {
            return;
        }
        if self.by_id.len() >= PRODUCERS_MAX && !self.by_id.contains_key(&header.producer_id) {
            self.forget_longest_silent();
        }
        let producer = self.by_id.entry(header.producer_id).or_insert(Producer {
            epoch: header.producer_epoch,
            batches: VecDeque::new(),
            known: 0,
            coordinator_epoch: -1,
            txn_start_offset: -1,
            seen_ms: now_ms,
        });
        producer.note(header, now_ms);
    }

    /// Forgets producers that have been silent for `after_ms`, except in an open transaction.
    pub fn expire(&mut self, now_ms: i64, after_ms: u64) {
        let after_ms = i64::try_from(after_ms).unwrap_or(i64::MAX);
        self.by_id.retain(|_, producer| {
            producer.txn_start_offset >= 0 || now_ms.saturating_sub(producer.seen_ms) < after_ms
        });
    }

    /// All producers, by id.
    pub fn active(&self) -> Vec<ActiveProducer> {
        let mut active: Vec<_> = self
            .by_id
            .iter()
            .map(|(id, producer)| producer.shown(*id))
            .collect();
        active.sort_by_key(|producer| producer.producer_id);
        active
    }

    pub fn clear(&mut self) {
        self.by_id.clear();
    }

    /// Which producers have their last batch end at one of these offsets: compaction keeps those batches.
    pub fn last_offsets(&self) -> HashMap<i64, i64> {
        let last = |producer: &Producer| Some(producer.batches.back()?.last_offset);
        self.by_id
            .iter()
            .filter_map(|(id, producer)| Some((*id, last(producer)?)))
            .collect()
    }

    // Sorting all of them is rare: a tenth of the places is made free at once.
    fn forget_longest_silent(&mut self) {
        let mut seen: Vec<i64> = self
            .by_id
            .values()
            .map(|producer| producer.seen_ms)
            .collect();
        let (_, threshold, _) = seen.select_nth_unstable(PRODUCERS_MAX / 10);
        let threshold = *threshold;
        let mut left = PRODUCERS_MAX / 10;
        self.by_id.retain(|_, producer| {
            let forget = left > 0 && producer.seen_ms <= threshold;
            left -= usize::from(forget);
            !forget
        });
    }
}

impl Producer {
    fn duplicate_of(&self, header: &BatchHeader) -> Option<&StoredBatch> {
        let last_sequence = sequence_after(header.base_sequence, header.last_offset_delta);
        self.batches.iter().find(|batch| {
            batch.last_sequence == last_sequence && batch.first_sequence() == header.base_sequence
        })
    }

    /// Whether all of the batch lies in what is known to be stored. A client that waited for an old leader's answer sends
    /// its batch again when the new leader has long gone on; Kafka takes that for a gap, and the client tries until its
    /// time is over.
    fn has_stored(&self, header: &BatchHeader, last: &StoredBatch) -> bool {
        let back = sequence_after(last.last_sequence, header.base_sequence.wrapping_neg());
        back.unsigned_abs() < self.known && (0..=back).contains(&header.last_offset_delta)
    }

    fn note(&mut self, header: &BatchHeader, now_ms: i64) {
        self.seen_ms = now_ms;
        if header.producer_epoch != self.epoch {
            self.epoch = header.producer_epoch;
            self.batches.clear();
        }
        if header.is_control() {
            // A control batch ends the producer's transaction, and has no sequence.
            self.txn_start_offset = -1;
            return;
        }
        if header.is_transactional() && self.txn_start_offset < 0 {
            self.txn_start_offset = header.base_offset;
        }
        let last = self.batches.back();
        let follows =
            |last: &StoredBatch| header.base_sequence == sequence_after(last.last_sequence, 1);
        let known = if last.is_some_and(follows) {
            self.known
        } else {
            0
        };
        let more = header.last_offset_delta.unsigned_abs().saturating_add(1);
        self.known = known.saturating_add(more).min(SEQUENCES_KNOWN_MAX);
        if self.batches.len() == BATCHES_KEPT {
            self.batches.pop_front();
        }
        self.batches.push_back(StoredBatch {
            last_sequence: sequence_after(header.base_sequence, header.last_offset_delta),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        });
    }

    fn shown(&self, producer_id: i64) -> ActiveProducer {
        let last = self.batches.back();
        ActiveProducer {
            producer_id,
            epoch: self.epoch,
            last_sequence: last.map_or(-1, |batch| batch.last_sequence),
            last_timestamp: last.map_or(-1, |batch| batch.timestamp),
            coordinator_epoch: self.coordinator_epoch,
            txn_start_offset: self.txn_start_offset,
        }
    }
}

fn in_order(header: &BatchHeader, expected: i32) -> Result<SequenceCheck, SequenceError> {
    if header.base_sequence == expected {
        return Ok(SequenceCheck::New);
    }
    Err(SequenceError::OutOfOrder {
        producer_id: header.producer_id,
        expected,
        found: header.base_sequence,
    })
}

#[cfg(test)]
mod tests;
