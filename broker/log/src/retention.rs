//! Which of a log's oldest segments go: a decision on plain values, and its short performance.

use std::path::Path;
use std::sync::Arc;

use crate::config::LogConfig;
use crate::error::StorageError;
use crate::files;
use crate::log::Log;
use crate::segment::{Segment, file_name};
use crate::trash::Trash;

/// One segment, as the decision sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    /// The offset behind its last record.
    pub next_offset: i64,
    pub size: u64,
    /// Its youngest record's time, or its file's last change where records have none, ms.
    pub youngest_ms: i64,
}

/// What the decision weighs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub now_ms: i64,
    pub log_start_offset: i64,
    /// Nothing at or above it is ever removed.
    pub high_watermark: i64,
    /// Bytes of all segments.
    pub total_size: u64,
}

/// How many of the oldest segments are to be removed. `candidates` runs from the oldest on and is asked no further
/// than the answer needs.
pub(crate) fn plan<E>(
    candidates: impl Iterator<Item = Result<Candidate, E>>,
    limits: &Limits,
    config: &LogConfig,
) -> Result<usize, E> {
    let (mut count, mut left) = (0, limits.total_size);
    for candidate in candidates {
        let candidate = candidate?;
        let age_ms = limits.now_ms.saturating_sub(candidate.youngest_ms);
        let expired = config
            .retention_ms
            .is_some_and(|limit| age_ms >= 0 && age_ms.unsigned_abs() > limit);
        // The log keeps at least retention.bytes, as Kafka's does.
        let in_excess = config
            .retention_bytes
            .is_some_and(|limit| left - candidate.size >= limit);
        let deleted = candidate.next_offset <= limits.log_start_offset;
        let due = deleted || (config.delete && (expired || in_excess));
        if !due || candidate.next_offset > limits.high_watermark {
            break;
        }
        left -= candidate.size;
        count += 1;
    }
    Ok(count)
}

/// What a retention run removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// Segments.
    pub segments: usize,
    /// Bytes of their batches.
    pub bytes: u64,
}

impl Log {
    /// Removes what `retention.ms`, `retention.bytes` and the log start offset no longer keep, below
    /// `high_watermark`: the files go to `trash`. Moves the log start offset. Where the disk refuses, the log is offline
    /// for writing. What is reserved for a log that rests is given back too.
    pub fn retain(
        &mut self,
        high_watermark: i64,
        now_ms: i64,
        trash: &mut Trash,
    ) -> Result<Removed, StorageError> {
        self.shared().check_writable()?;
        let released = self.release_at_rest();
        released.map_err(|error| self.shared().refuse(error))?;
        let segments = self.shared().segments();
        if let [only] = &segments[..]
            && only.size() == 0
        {
            return Ok(Removed::default());
        }
        let limits = Limits {
            now_ms,
            log_start_offset: self.log_start_offset(),
            high_watermark,
            total_size: segments.iter().map(|segment| segment.size()).sum(),
        };
        let end = self.log_end_offset();
        let candidates = segments.iter().enumerate().map(|(index, segment)| {
            let next = segments.get(index + 1);
            candidate(segment, next.map_or(end, |next| next.base_offset()))
        });
        let mut count = plan(candidates, &limits, self.config())?;
        if count == segments.len() && segments[count - 1].size() == 0 {
            count -= 1;
        } else if count == segments.len() {
            // The active segment goes too: the log goes on in a new one.
            self.roll(now_ms)?;
        }
        self.remove_oldest(count, trash)
    }

    fn remove_oldest(&mut self, count: usize, trash: &mut Trash) -> Result<Removed, StorageError> {
        if count == 0 {
            return Ok(Removed::default());
        }
        let shared = self.shared().clone();
        let (removed, first) = shared.change_segments(|segments| {
            let removed: Vec<Arc<Segment>> = segments.drain(..count).collect();
            (removed, segments[0].base_offset())
        });
        shared.set_start(shared.start().max(first));
        shared.note_folder_change();
        let delay_ms = i64::try_from(self.config().file_delete_delay_ms).unwrap_or(i64::MAX);
        let folder = shared.path();
        // Those behind one that can't be put away keep their names, so that the next life finds no gap, and tries again.
        let mut segments = removed.iter();
        let put = segments.try_for_each(|segment| put_away(segment, &folder, delay_ms, trash));
        let forgotten = self.forget_epochs_below(first);
        put.and(forgotten).map_err(|error| shared.refuse(error))?;
        Ok(Removed {
            segments: removed.len(),
            bytes: removed.iter().map(|segment| segment.size()).sum(),
        })
    }
}

/// Renames a segment's files for their removal, and removes the producers' state as of its start.
fn put_away(
    segment: &Arc<Segment>,
    folder: &Path,
    delay_ms: i64,
    trash: &mut Trash,
) -> Result<(), StorageError> {
    trash.put_segment(segment, delay_ms)?;
    let snapshot = folder.join(file_name(segment.base_offset(), "snapshot"));
    files::remove_if_there(&snapshot).map_err(StorageError::of("remove", &snapshot))
}

fn candidate(segment: &Segment, next_offset: i64) -> Result<Candidate, StorageError> {
    Ok(Candidate {
        next_offset,
        size: segment.size(),
        youngest_ms: segment.youngest_ms()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(candidates: &[(i64, u64, i64)], limits: Limits, config: &LogConfig) -> usize {
        let candidates = candidates.iter().map(|&(next_offset, size, youngest_ms)| {
            Ok::<_, ()>(Candidate {
                next_offset,
                size,
                youngest_ms,
            })
        });
        plan(candidates, &limits, config).unwrap()
    }

    const SEGMENTS: [(i64, u64, i64); 3] = [(10, 100, 1_000), (20, 100, 2_000), (30, 100, 3_000)];
    const LIMITS: Limits = Limits {
        now_ms: 3_500,
        log_start_offset: 0,
        high_watermark: 30,
        total_size: 300,
    };

    fn keep(retention_ms: Option<u64>, retention_bytes: Option<u64>) -> LogConfig {
        LogConfig {
            retention_ms,
            retention_bytes,
            ..LogConfig::default()
        }
    }

    #[test]
    fn the_oldest_go_by_age_by_size_and_by_the_log_start() {
        assert_eq!(count(&SEGMENTS, LIMITS, &keep(None, None)), 0);
        assert_eq!(count(&SEGMENTS, LIMITS, &keep(Some(1_499), None)), 2);
        assert_eq!(count(&SEGMENTS, LIMITS, &keep(Some(1_500), None)), 1);
        assert_eq!(count(&SEGMENTS, LIMITS, &keep(None, Some(200))), 1);
        assert_eq!(count(&SEGMENTS, LIMITS, &keep(None, Some(201))), 0);
        assert_eq!(count(&SEGMENTS, LIMITS, &keep(None, Some(0))), 3);
        let limits = Limits {
            log_start_offset: 20,
            ..LIMITS
        };
        assert_eq!(count(&SEGMENTS, limits, &keep(None, None)), 2);
    }

    #[test]
    fn nothing_at_the_high_watermark_or_above_goes() {
        let limits = Limits {
            high_watermark: 19,
            ..LIMITS
        };
        assert_eq!(count(&SEGMENTS, limits, &keep(Some(0), Some(0))), 1);
    }

    #[test]
    fn a_compacted_log_keeps_what_is_old() {
        let config = LogConfig {
            delete: false,
            compact: true,
            ..keep(Some(0), Some(0))
        };
        assert_eq!(count(&SEGMENTS, LIMITS, &config), 0);
    }

    #[test]
    fn a_time_in_the_future_expires_nothing() {
        assert_eq!(count(&[(10, 1, 9_999)], LIMITS, &keep(Some(0), None)), 0);
    }
}
