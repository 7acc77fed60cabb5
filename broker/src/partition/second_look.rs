//! Reads that have failed outside a fetch: those of a compaction, and of a search by time. Of a fetch's reads the log
//! itself notes what the disk refuses, and takes no more writes, so that another replica leads on. So whoever else could
//! not read has the log look once more, in the same way.

use std::path::Path;

use milena_log::{LogError, LogReader};

/// Reads the segment once more that `error` names, if it is the disk's; blocks. What its second look finds is the log's
/// to tell.
pub fn take(reader: &LogReader, error: &LogError) {
    let LogError::Storage(refused) = error else {
        return;
    };
    if refused.action != "read" || reader.check_writable().is_err() {
        return;
    }
    let Some(base_offset) = segment_of(&refused.path) else {
        return;
    };
    let from = base_offset.max(reader.log_start_offset());
    if let Ok(Some(region)) = reader.region(from, usize::MAX, i64::MAX, true) {
        // Not by its ends alone: the bad block may be anywhere.
        let _ = region.read_through();
    }
}

/// The base offset of the segment whose batches, or whose offset index, are in this file.
fn segment_of(file: &Path) -> Option<i64> {
    let (offset, kind) = file.file_name()?.to_str()?.split_once('.')?;
    matches!(kind, "log" | "index").then(|| offset.parse().ok())?
}
