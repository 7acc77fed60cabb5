//! When a segment is full: a decision on plain values.

use milena_protocol::Uuid;

use crate::config::LogConfig;

/// What the decision looks at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    /// The active segment's bytes.
    pub size: u64,
    /// Its base offset.
    pub base_offset: i64,
    /// Its first batch's largest timestamp; `None` where it has no batch or that has no timestamp.
    pub first_timestamp: Option<i64>,
    /// When it was made, or first written since the log was opened, ms.
    pub created_ms: i64,
    /// The larger index's bytes.
    pub index_size: usize,
    /// The part of `segment.jitter.ms` that this segment takes.
    pub jitter: Jitter,
}

/// A part of the whole, in 2^32ths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Jitter(pub u32);

impl Jitter {
    /// One by chance.
    pub fn draw() -> Self {
        let [a, b, c, d, ..] = Uuid::random().0;
        Self(u32::from_be_bytes([a, b, c, d]))
    }

    /// This part of `whole`.
    fn of(self, whole: i64) -> i64 {
        ((i128::from(whole) * i128::from(self.0)) >> 32) as i64
    }
}

/// What is about to be appended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Incoming {
    pub bytes: u64,
    pub max_timestamp: i64,
    pub last_offset: i64,
    pub now_ms: i64,
}

/// Whether a new segment starts before the append.
pub(crate) fn is_due(head: &Head, incoming: &Incoming, config: &LogConfig) -> bool {
    if head.size == 0 {
        return !fits(head, incoming);
    }
    head.size + incoming.bytes > u64::from(config.segment_bytes)
        || head.index_size + 12 > config.segment_index_bytes as usize
        || !fits(head, incoming)
        || age(head, incoming) > age_max(head.jitter, config)
}

/// How old a segment gets, in ms.
fn age_max(jitter: Jitter, config: &LogConfig) -> i64 {
    let ms = if config.compact {
        config.segment_ms.min(config.max_compaction_lag_ms)
    } else {
        config.segment_ms
    };
    let ms = i64::try_from(ms).unwrap_or(i64::MAX);
    let jitter_ms = i64::try_from(config.segment_jitter_ms).unwrap_or(i64::MAX);
    (ms - jitter.of(jitter_ms.min(ms))).max(1)
}

/// Kafka's own tools read a relative offset as a positive i32.
fn fits(head: &Head, incoming: &Incoming) -> bool {
    incoming.last_offset - head.base_offset <= i64::from(i32::MAX)
}

/// By the batches' own time where they have one, so that a replayed topic rolls as it did (Kafka's rule).
fn age(head: &Head, incoming: &Incoming) -> i64 {
    match head.first_timestamp {
        Some(first) if incoming.max_timestamp >= 0 => incoming.max_timestamp.saturating_sub(first),
        _ => incoming.now_ms.saturating_sub(head.created_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Head = Head {
        size: 900,
        base_offset: 0,
        first_timestamp: Some(1_000),
        created_ms: 5_000,
        index_size: 0,
        jitter: Jitter(0),
    };
    const NEXT: Incoming = Incoming {
        bytes: 100,
        max_timestamp: 1_100,
        last_offset: 10,
        now_ms: 5_100,
    };

    fn config() -> LogConfig {
        LogConfig {
            segment_bytes: 1_000,
            segment_ms: 500,
            ..LogConfig::default()
        }
    }

    #[test]
    fn a_segment_rolls_by_size_age_index_and_offset_range() {
        assert!(!is_due(&HEAD, &NEXT, &config()));
        assert!(is_due(&HEAD, &Incoming { bytes: 101, ..NEXT }, &config()));
        let older = Incoming {
            max_timestamp: 1_501,
            ..NEXT
        };
        assert!(is_due(&HEAD, &older, &config()));
        let far = Incoming {
            last_offset: 1 << 31,
            ..NEXT
        };
        assert!(is_due(&HEAD, &far, &config()));
        let indexed = Head {
            index_size: 10 << 20,
            ..HEAD
        };
        assert!(is_due(&indexed, &NEXT, &config()));
    }

    #[test]
    fn batches_without_timestamps_age_by_the_clock() {
        let timeless = Incoming {
            max_timestamp: -1,
            ..NEXT
        };
        assert!(!is_due(&HEAD, &timeless, &config()));
        let later = Incoming {
            now_ms: 5_501,
            ..timeless
        };
        assert!(is_due(&HEAD, &later, &config()));
    }

    #[test]
    fn segments_take_different_parts_of_the_jitter() {
        let config = LogConfig {
            segment_jitter_ms: 200,
            ..config()
        };
        let age_max = |part| age_max(Jitter(part), &config);
        assert_eq!(
            [age_max(0), age_max(1 << 31), age_max(u32::MAX)],
            [500, 400, 301]
        );
        // More than the age itself is no more than the age.
        let config = LogConfig {
            segment_jitter_ms: u64::MAX,
            ..config
        };
        assert_eq!(super::age_max(Jitter(1 << 31), &config), 250);
        assert_eq!(super::age_max(Jitter(u32::MAX), &config), 1);
    }

    #[test]
    fn what_waits_for_compaction_rolls_by_its_lag() {
        let lagging = LogConfig {
            max_compaction_lag_ms: 99,
            ..config()
        };
        assert!(!is_due(&HEAD, &NEXT, &lagging));
        let compact = LogConfig {
            compact: true,
            ..lagging
        };
        assert!(is_due(&HEAD, &NEXT, &compact));
    }

    #[test]
    fn an_empty_segment_takes_whatever_comes() {
        let empty = Head { size: 0, ..HEAD };
        let big = Incoming {
            bytes: 999,
            max_timestamp: i64::MAX,
            ..NEXT
        };
        assert!(!is_due(&empty, &big, &config()));
    }
}
