//! Reserving disk blocks ahead of a busy log, so that an append seldom waits for the allocator.
//!
//! The file's size is never changed: what is reserved is given back when the segment is left, and when it rests.

/// A log below this size reserves nothing: most partitions are small.
const NONE_BELOW: u64 = 1 << 20;
const STEP_MIN: u64 = 1 << 20;
/// The most that is reserved ahead, per partition.
const STEP_MAX: u64 = 64 << 20;
/// A step that lasted less than this is doubled, one that lasted longer is halved.
const STEP_LASTS_MS: i64 = 2_000;

/// How far one segment's blocks are reserved, and how quickly they were used up.
#[derive(Debug, Default)]
pub(crate) struct Preallocation {
    reserved_to: u64,
    step: u64,
    reserved_at_ms: i64,
    refused: bool,
    rest: Rest,
}

/// How long a segment has had its size, in looks for those that rest.
#[derive(Debug, Default, PartialEq, Eq)]
enum Rest {
    #[default]
    Unknown,
    SinceALook {
        size: u64,
    },
    Longer {
        size: u64,
    },
}

/// A piece of the file to reserve.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reserve {
    pub from: u64,
    pub bytes: u64,
}

impl Preallocation {
    /// What to reserve before a segment of `size` bytes, which may grow to `limit`, is written to `end`.
    pub fn next(&mut self, size: u64, end: u64, limit: u64, now_ms: i64) -> Option<Reserve> {
        if self.refused || end <= self.reserved_to || end < NONE_BELOW || size >= limit {
            return None;
        }
        let step = if now_ms.saturating_sub(self.reserved_at_ms) < STEP_LASTS_MS {
            self.step * 2
        } else {
            self.step / 2
        };
        self.step = step.clamp(STEP_MIN, STEP_MAX);
        self.reserved_at_ms = now_ms;
        let from = size.max(self.reserved_to);
        let to = (end + self.step).min(limit.max(end));
        self.reserved_to = to;
        Some(Reserve {
            from,
            bytes: to - from,
        })
    }

    /// The file system can't, or has no room: this segment goes on without.
    pub fn refuse(&mut self) {
        self.refused = true;
    }

    /// Whether a segment of this size has come to rest: true at the second call in a row that finds this size, and no
    /// more before it has another. Nobody need have written to it in this life.
    pub fn has_come_to_rest(&mut self, size: u64) -> bool {
        let (once, longer) = (Rest::SinceALook { size }, Rest::Longer { size });
        let has_come = self.rest == once;
        self.rest = if has_come || self.rest == longer {
            longer
        } else {
            once
        };
        has_come
    }

    /// All of it was given back; what is written next begins anew.
    pub fn note_given_back(&mut self) {
        self.reserved_to = 0;
    }

    /// Whether blocks behind `size` are to be given back.
    pub fn is_ahead_of(&self, size: u64) -> bool {
        self.reserved_to > size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_comes_to_rest_once_for_each_time_that_it_was_written() {
        let mut ahead = Preallocation::default();
        let looks = [5, 5, 5, 6, 7, 7, 7, 8].map(|size| ahead.has_come_to_rest(size));
        assert_eq!(
            looks,
            [false, true, false, false, false, true, false, false]
        );
    }

    #[test]
    fn a_small_log_reserves_nothing_and_a_busy_one_at_most_64_mib() {
        let mut ahead = Preallocation::default();
        assert_eq!(ahead.next(0, 1000, 1 << 30, 0), None);
        let mut size = 1 << 20;
        while size < 900 << 20 {
            if let Some(reserve) = ahead.next(size, size + 16_384, 1 << 30, 0) {
                assert!(reserve.bytes <= STEP_MAX + 16_384);
                assert!(reserve.from >= size);
            }
            size += 16_384;
            assert!(ahead.reserved_to >= size);
        }
    }
}
