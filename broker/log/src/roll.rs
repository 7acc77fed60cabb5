//! When a segment is full: a decision on plain values.

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
        || age(head, incoming)
            > i64::try_from(config.segment_ms)
                .unwrap_or(i64::MAX)
                .saturating_sub(i64::try_from(config.segment_jitter_ms).unwrap_or(i64::MAX))
                .max(1)
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
