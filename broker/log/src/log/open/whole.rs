//! Whether a log has what its checkpoints say of it, and has no damage that is known: asked before any of
//! its batches is changed.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::Opening;
use super::recover::lacks_between;
use crate::damage;
use crate::epochs::{self, EpochStarts};
use crate::error::LogError;
use crate::log::offset_in_name;
use crate::segment::{Segment, file_name};

/// What is known of records before a log's first segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    /// That there are none any more.
    None,
    /// Nothing.
    Unknown,
    /// That there were some, which nobody has deleted.
    Some,
}

impl Before {
    /// Where the first segment begins, and where the log does by its checkpoint. Kafka's directories have no checkpoint of
    /// a log that starts with its first segment, and a folder that a person has moved has none at all: so the epochs
    /// decide. Whatever deletes segments takes from the epochs what lies before the first that is left.
    pub(crate) fn of(first: i64, log_start: i64, epochs: &EpochStarts) -> Self {
        if first <= log_start {
            Self::None
        } else if epochs.latest().is_none() {
            Self::Unknown
        } else if epochs.of(first - 1).is_some() {
            Self::Some
        } else {
            Self::None
        }
    }
}

/// Refuses a log without its first segments; where that can't be known for certain, from where on they may be missing.
pub(super) fn check_start(
    folder: &Path,
    first: Option<i64>,
    opening: &Opening,
) -> Result<Option<i64>, LogError> {
    let due = opening.log_start_offset;
    let Some(first) = first.filter(|first| *first > due) else {
        return Ok(None);
    };
    let epochs = match epochs::read(folder) {
        // Whether that is mended is not decided here.
        Err(LogError::Malformed { .. }) => EpochStarts::default(),
        epochs => epochs?,
    };
    // A crash may have come between a retention and what was to tell of it.
    let is_told = opening.clean_shutdown && opening.end_due > 0;
    match Before::of(first, due, &epochs) {
        Before::None => Ok(None),
        Before::Some if is_told => Err(LogError::Damaged {
            path: folder.join(file_name(due, "log")),
            offset: due,
            byte: 0,
            problem: format!(
                "it is not there: the log begins at offset {first}, and began at offset {due} when it was stopped"
            ),
        }),
        Before::Some | Before::Unknown => Ok(Some(due)),
    }
}

/// Where segments begin of which an index is there and no batches. Whatever removes or renames a segment takes its indexes
/// first, and whatever makes one its batches.
pub(crate) fn orphans(names: &[String]) -> BTreeSet<i64> {
    let with = |extension| {
        let offsets = names.iter();
        offsets.filter_map(move |name| offset_in_name(name, extension))
    };
    let logs: BTreeSet<i64> = with("log").collect();
    let mut orphans: BTreeSet<i64> = with("index").chain(with("timeindex")).collect();
    orphans.retain(|base_offset| !logs.contains(base_offset));
    orphans
}

/// Refuses a log that was closed cleanly and has only the index of a segment. After a crash its files may have come to the disk
/// in any order.
pub(super) fn check_orphans(
    folder: &Path,
    names: &[String],
    opening: &Opening,
) -> Result<(), LogError> {
    let is_told = opening.clean_shutdown && opening.end_due > 0;
    let orphans = orphans(names).into_iter().filter(|_| is_told);
    // Of offsets that were deleted nothing is missed.
    let mut orphans = orphans.filter(|offset| *offset >= opening.log_start_offset);
    match orphans.next() {
        None => Ok(()),
        Some(offset) => Err(LogError::Damaged {
            path: folder.join(file_name(offset, "log")),
            offset,
            byte: 0,
            problem: "it is not there, and its index is".to_owned(),
        }),
    }
}

/// Refuses a log that ends before it is due to; `last` is its last segment, if it has one.
pub(super) fn check_end(
    folder: &Path,
    last: Option<&Segment>,
    end: i64,
    opening: &Opening,
) -> Result<(), LogError> {
    // Where all is deleted the start says where the log ends.
    let (end, due) = (end.max(opening.log_start_offset), opening.end_due);
    if end >= due {
        return Ok(());
    }
    let went_on = match opening.clean_shutdown {
        true => format!("went on to offset {due} when it was stopped"),
        false => format!("had reached the disk up to offset {due}"),
    };
    let (path, byte, problem) = match last {
        Some(last) => (last.path("log"), last.size(), "the log ends here"),
        None => {
            let path = folder.join(file_name(opening.log_start_offset, "log"));
            (path, 0, "no segment of the log is there")
        }
    };
    Err(LogError::Damaged {
        path,
        offset: end,
        byte,
        problem: format!("{problem}, and it {went_on}"),
    })
}

/// Refuses a log while the damage is there that the life before has noted in its folder: no other part of an opening reads
/// that segment. What lies beyond the recovery point after a crash is left to be cut.
pub(super) fn check_noted(
    folder: &Path,
    segments: &[Arc<Segment>],
    opening: &Opening,
) -> Result<(), LogError> {
    let Some(noted) = damage::read(folder) else {
        return Ok(());
    };
    let is_safe = |offset| opening.clean_shutdown || offset < opening.recovery_point;
    let behind = segments.partition_point(|segment| segment.base_offset() <= noted.base_offset);
    let Some(segment) = behind.checked_sub(1).map(|at| &segments[at]) else {
        return Ok(());
    };
    let end = match segment.walk_checked() {
        Err(LogError::Damaged { offset, .. }) if !is_safe(offset) => return Ok(()),
        walked => walked?,
    };
    // The bytes may be gone altogether since.
    match segments.get(behind) {
        Some(next)
            if is_safe(noted.offset) && (end..next.base_offset()).contains(&noted.offset) =>
        {
            Err(lacks_between(segment, end, next))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before(first: i64, log_start: i64, from: &[(i32, i64)]) -> Before {
        let mut epochs = EpochStarts::default();
        for &(epoch, start) in from {
            epochs.assign(epoch, start);
        }
        Before::of(first, log_start, &epochs)
    }

    #[test]
    fn a_first_segment_is_missing_only_where_the_epochs_know_of_records_before_the_next() {
        assert_eq!(before(20, 0, &[(3, 0)]), Before::Some);
        assert_eq!(before(20, 15, &[(3, 10), (4, 20)]), Before::Some);
        // As retention leaves it, here and in Kafka, and a follower of a log that begins later.
        assert_eq!(before(20, 20, &[(3, 20)]), Before::None);
        assert_eq!(before(20, 0, &[(3, 20), (4, 30)]), Before::None);
        assert_eq!(before(20, 0, &[(3, 25)]), Before::None);
        // DeleteRecords within a segment.
        assert_eq!(before(20, 25, &[(3, 0)]), Before::None);
        assert_eq!(before(20, 0, &[]), Before::Unknown);
    }
}
