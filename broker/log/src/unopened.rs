//! `not-opened` in a partition's folder: a life of the broker could not open the log, and how the log had ended before that.
//! The data directory's mark of a clean stop tells it of the logs that the last life had open, and no other. Kafka passes
//! over files of such names.
//!
//! | line | content |
//! | --- | --- |
//! | 1 | `0`, the format's version |
//! | 2 | `1`, the number of entries |
//! | 3 | `1` where the log was closed cleanly when it was last open, else `0` |
//!
//! It goes wherever its folder goes, until a life has opened the log.

use std::path::Path;

use crate::checkpoint;
use crate::error::StorageError;
use crate::files::{self, Durability};

/// The file's name.
const FILE: &str = "not-opened";

/// Whether the log in `folder` was closed cleanly, where a life has not opened it since. A note that is garbled says that it
/// was not: then its end is checked.
pub fn was_closed(folder: &Path) -> Result<Option<bool>, StorageError> {
    let path = folder.join(FILE);
    let text = files::read_if_there(&path).map_err(StorageError::of("read", &path))?;
    let noted = text.map(|text| {
        parse(&text).unwrap_or_else(|problem| {
            tracing::warn!(file = %path.display(), %problem, "a note of how a log ended is garbled");
            false
        })
    });
    Ok(noted)
}

/// Leaves the note, on disk when this returns.
pub fn note(folder: &Path, was_closed: bool) -> Result<(), StorageError> {
    let text = checkpoint::render(std::iter::once(i32::from(was_closed).to_string()));
    let path = folder.join(FILE);
    files::replace(&path, text.as_bytes(), Durability::Synced)
        .map_err(StorageError::of("write", &path))
}

/// Removes the note, for good when this returns: the log is open, and what it said holds no more.
pub fn forget(folder: &Path) -> Result<(), StorageError> {
    let path = folder.join(FILE);
    files::remove_if_there(&path).map_err(StorageError::of("remove", &path))?;
    files::sync_folder(folder).map_err(StorageError::of("sync", folder))
}

fn parse(text: &[u8]) -> Result<bool, String> {
    match checkpoint::lines(text)?[..] {
        ["1"] => Ok(true),
        ["0"] => Ok(false),
        _ => Err("it has not one entry that is 0 or 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_reads_back_what_was_written_and_one_that_is_garbled_trusts_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(was_closed(folder.path()).unwrap(), None);
        for closed in [true, false] {
            note(folder.path(), closed).unwrap();
            assert_eq!(was_closed(folder.path()).unwrap(), Some(closed));
        }
        let path = folder.path().join(FILE);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "0\n1\n0\n");
        for garbled in ["", "\0\0", "1\n1\n1\n", "0\n0\n", "0\n1\n2\n"] {
            std::fs::write(&path, garbled).unwrap();
            assert_eq!(was_closed(folder.path()).unwrap(), Some(false));
        }
        forget(folder.path()).unwrap();
        forget(folder.path()).unwrap();
        assert_eq!(was_closed(folder.path()).unwrap(), None);
    }
}
