//! Finding a log's end: at once after a clean stop, by checking after a crash.

use std::sync::Arc;

use super::Recovery;
use crate::config::LogConfig;
use crate::error::{LogError, StorageError};
use crate::files;
use crate::scan::ScanStop;
use crate::segment::{Segment, file_name};

/// No roll leaves a larger gap than a follower's over offsets that compaction has emptied.
const ROLL_GAP_MIN: i64 = 1 << 30;
/// Bytes between two words of how far a walk is: a hundred a second from a disk, and nothing beside what a MiB costs.
const TOLD_BYTES: u64 = 1 << 20;

/// The end of a log that was stopped cleanly: behind the last batch of the active segment.
pub(super) fn clean_end(segments: &[Arc<Segment>], config: &LogConfig) -> Result<i64, LogError> {
    let active = &segments[segments.len() - 1];
    if active.size() == 0 {
        return Ok(active.base_offset());
    }
    if !active.has_indexes() {
        active.rebuild_indexes(config.index_interval_bytes)?;
    }
    match end_from(active, active.last_indexed_position()?) {
        // An index that leads astray is made anew; damage of the batches themselves shows again.
        Err(LogError::Damaged { .. }) => {
            active.rebuild_indexes(config.index_interval_bytes)?;
            end_from(active, 0)
        }
        end => end,
    }
}

fn end_from(segment: &Segment, position: u64) -> Result<i64, LogError> {
    let mut scan = segment.scan(position)?;
    let mut end = segment.base_offset();
    while let Some((_, header)) = scan.next().map_err(|stop| segment.damage(stop, end))? {
        end = header.last_offset() + 1;
    }
    Ok(end)
}

/// Checks what lies beyond `recovery_point`, cuts the log at the first invalid batch there, rebuilds the indexes
/// that disagree with the batches it walks, and returns the log's end. `tell` hears of the bytes that were walked, while
/// it goes on.
pub(super) fn check(
    segments: &mut Vec<Arc<Segment>>,
    recovery_point: i64,
    config: &LogConfig,
    (recovery, tell): (&mut Recovery, &dyn Fn(u64)),
) -> Result<i64, LogError> {
    let trusted = segments.partition_point(|segment| segment.base_offset() <= recovery_point);
    let first = trusted.saturating_sub(1);
    let mut end = segments[first].base_offset();
    for index in first..segments.len() {
        let segment = segments[index].clone();
        let is_next = index == first || segment.base_offset() == end;
        if !is_next && !is_of_a_roll(&segment, end)? {
            if end < recovery_point {
                return Err(lacks_between(&segments[index - 1], end, &segment));
            }
            recovery.cut_at_offset = Some(end);
            cut_segments(segments, index, recovery)?;
            return Ok(end);
        }
        let walked = walk(&segment, recovery_point, config, (recovery, tell))?;
        end = walked.end;
        if walked.valid_bytes < segment.size() {
            recovery.bytes_cut += segment.size() - walked.valid_bytes;
            recovery.cut_at_offset = Some(end);
            segment.truncate(walked.valid_bytes, config.index_interval_bytes)?;
            cut_segments(segments, index + 1, recovery)?;
            return Ok(end);
        }
    }
    Ok(end)
}

/// Whether a roll has left the gap between a log that ended at `end` and the segment behind it: a follower's, before
/// batches that a segment which begins there could not express.
fn is_of_a_roll(segment: &Segment, end: i64) -> Result<bool, LogError> {
    let gap = segment.base_offset() - end;
    if !(1..ROLL_GAP_MIN).contains(&gap) {
        return Ok(gap > 0);
    }
    let mut scan = segment.scan(0)?;
    loop {
        match scan.next_checked() {
            Ok(Some((_, header))) if header.last_offset() - end > i64::from(i32::MAX) => {
                return Ok(true);
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(ScanStop::Invalid { .. }) => return Ok(false),
            Err(stop) => return Err(segment.damage(stop, segment.base_offset())),
        }
    }
}

/// What lay between two segments, and was on disk.
pub(super) fn lacks_between(before: &Segment, end: i64, next: &Segment) -> LogError {
    LogError::Damaged {
        path: before.path("log"),
        offset: end,
        byte: before.size(),
        problem: format!(
            "it ends here, and the next segment begins at offset {}",
            next.base_offset()
        ),
    }
}

struct Walked {
    end: i64,
    valid_bytes: u64,
}

fn walk(
    segment: &Segment,
    recovery_point: i64,
    config: &LogConfig,
    (recovery, tell): (&mut Recovery, &dyn Fn(u64)),
) -> Result<Walked, LogError> {
    recovery.segments_scanned += 1;
    let start = segment.resume_indexes(recovery_point)?;
    let mut scan = segment.scan(start)?;
    let mut walked = Walked {
        end: segment.base_offset(),
        valid_bytes: start,
    };
    let (mut since_entry, mut told) = (0, start);
    loop {
        let is_safe = walked.end < recovery_point;
        let next = if is_safe {
            scan.next()
        } else {
            scan.next_checked()
        };
        match next {
            Ok(Some((position, header))) => {
                let due = since_entry > u64::from(config.index_interval_bytes);
                let indexed = segment.confirm_batch(position, &header, due)?;
                since_entry = header.size() as u64 + if indexed { 0 } else { since_entry };
                recovery.batches_checked += u64::from(!is_safe);
                walked.end = header.last_offset() + 1;
                walked.valid_bytes = scan.position();
                if walked.valid_bytes - told >= TOLD_BYTES {
                    tell(walked.valid_bytes - told);
                    told = walked.valid_bytes;
                }
            }
            Ok(None) => break,
            Err(ScanStop::Invalid { .. }) if !is_safe => break,
            Err(stop) => return Err(segment.damage(stop, walked.end)),
        }
    }
    tell(walked.valid_bytes - told);
    if walked.valid_bytes == segment.size() && !segment.are_indexes_confirmed() {
        segment.rebuild_indexes(config.index_interval_bytes)?;
    }
    Ok(walked)
}

/// Removes the segments from `index` on; they lie behind the log's end.
fn cut_segments(
    segments: &mut Vec<Arc<Segment>>,
    index: usize,
    recovery: &mut Recovery,
) -> Result<(), LogError> {
    for segment in segments.drain(index..) {
        recovery.bytes_cut += segment.size();
        for extension in ["log", "index", "timeindex", "txnindex"] {
            let path = segment.path(extension);
            files::remove_if_there(&path).map_err(StorageError::of("remove", &path))?;
        }
        let folder = segment.path("log");
        if let Some(folder) = folder.parent() {
            let path = folder.join(file_name(segment.base_offset(), "snapshot"));
            files::remove_if_there(&path).map_err(StorageError::of("remove", &path))?;
        }
    }
    Ok(())
}
