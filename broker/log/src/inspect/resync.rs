//! Finding the next valid batch behind bytes that are none.

use std::io;
use std::sync::Arc;

use milena_protocol::records::BATCH_HEADER_SIZE;

use crate::files::LogFile;
use crate::scan::Scan;

/// Bytes looked through at once.
const WINDOW: usize = 1 << 20;
/// Where a batch's format is said, and which.
const MAGIC_AT: usize = 16;
const MAGIC: u8 = 2;

/// Where the first whole batch at `from` or behind it starts, and its first offset, which is `due` or more.
pub(super) fn next_batch(
    file: &Arc<LogFile>,
    from: u64,
    end: u64,
    due: i64,
) -> io::Result<Option<(u64, i64)>> {
    let mut window = vec![0; WINDOW];
    let mut at = from;
    while at + BATCH_HEADER_SIZE as u64 <= end {
        let read = file.read_at(&mut window, at)?;
        if read < BATCH_HEADER_SIZE {
            break;
        }
        let starts = read - BATCH_HEADER_SIZE + 1;
        for start in 0..starts {
            if !may_start(&window[start..], due) {
                continue;
            }
            let position = at + start as u64;
            // Its length and its checksum decide; a disk that fails here fails again where it is read next.
            if let Ok(Some((_, header))) =
                Scan::new(file.clone(), position, end, due).next_checked()
            {
                return Ok(Some((position, header.base_offset)));
            }
        }
        at += starts as u64;
    }
    Ok(None)
}

/// What costs nothing to look at first.
fn may_start(bytes: &[u8], due: i64) -> bool {
    let base_offset = bytes.first_chunk().map(|bytes| i64::from_be_bytes(*bytes));
    bytes[MAGIC_AT] == MAGIC && base_offset.is_some_and(|offset| offset >= due)
}
