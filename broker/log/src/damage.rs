//! `damage-found` in a partition's folder: where a life of the broker has met bytes that are no batch. The next one reads
//! no segment that was on disk, and would serve them again. Kafka passes over files of such names.
//!
//! | line | content |
//! | --- | --- |
//! | 1 | `0`, the format's version |
//! | 2 | `1`, the number of entries |
//! | 3 | `base-offset offset byte`: the segment, the offset that was due there, and where in its file |
//!
//! It goes wherever its folder goes. An opening looks at that segment, and removes the note where it is whole: a log that
//! takes writes has none.

use std::path::Path;

use crate::checkpoint;
use crate::error::StorageError;
use crate::files::{self, Durability};

/// The file's name.
pub(crate) const FILE: &str = "damage-found";

/// A place where bytes are no batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Noted {
    /// Of the segment.
    pub base_offset: i64,
    /// The offset that was due.
    pub offset: i64,
    /// Where in the segment's file.
    pub byte: u64,
}

/// What is noted in `folder`. A note that can't be read says nothing, and keeps no log from being opened.
pub(crate) fn read(folder: &Path) -> Option<Noted> {
    let path = folder.join(FILE);
    let read = files::read_if_there(&path).map_err(|error| error.to_string());
    let noted = read.and_then(|text| text.map(|text| parse(&text)).transpose());
    noted.unwrap_or_else(|problem| {
        tracing::warn!(file = %path.display(), %problem, "a note of damage in a log can't be read");
        None
    })
}

/// Leaves the note, on disk when this returns.
pub(crate) fn write(folder: &Path, noted: Noted) -> Result<(), StorageError> {
    let Noted {
        base_offset,
        offset,
        byte,
    } = noted;
    let text = checkpoint::render(std::iter::once(format!("{base_offset} {offset} {byte}")));
    let path = folder.join(FILE);
    files::replace(&path, text.as_bytes(), Durability::Synced)
        .map_err(StorageError::of("write", &path))
}

/// Removes the note, if there is one.
pub(crate) fn remove(folder: &Path) -> Result<(), StorageError> {
    let path = folder.join(FILE);
    files::remove_if_there(&path).map_err(StorageError::of("remove", &path))
}

fn parse(text: &[u8]) -> Result<Noted, String> {
    let lines = checkpoint::lines(text)?;
    let [line] = lines[..] else {
        return Err("it has not one entry".to_owned());
    };
    let entry = || {
        let mut fields = line.split(' ');
        let (base_offset, offset) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Noted {
            base_offset,
            offset,
            byte: fields.next()?.parse().ok()?,
        })
    };
    entry().ok_or_else(|| format!("`{line}` is not a segment, an offset and a byte"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTED: Noted = Noted {
        base_offset: 4,
        offset: 6,
        byte: 1 << 31,
    };

    #[test]
    fn a_note_reads_back_what_was_written_and_one_that_is_garbled_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()), None);
        write(folder.path(), NOTED).unwrap();
        assert_eq!(read(folder.path()), Some(NOTED));
        let path = folder.path().join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "0\n1\n4 6 2147483648\n");
        for garbled in ["", "\0\0\0", "1\n1\n4 6 7\n", "0\n0\n", "0\n1\n4 6\n"] {
            std::fs::write(&path, garbled).unwrap();
            assert_eq!(read(folder.path()), None);
        }
        remove(folder.path()).unwrap();
        remove(folder.path()).unwrap();
        assert!(!path.exists());
    }
}
