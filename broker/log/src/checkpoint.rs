//! Kafka's checkpoint files: one line of version, one of count, then one entry a line.
//!
//! | file | an entry's offset |
//! | --- | --- |
//! | `recovery-point-offset-checkpoint` | what lies below it is on disk |
//! | `replication-offset-checkpoint` | the high watermark |
//! | `log-start-offset-checkpoint` | the first offset, where it is not the first segment's |
//! | `cleaner-offset-checkpoint` | what lies below it is compacted |
//!
//! An entry is `topic partition offset`. Files are replaced atomically.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::error::{LogError, StorageError};
use crate::files::{self, Durability};

/// Offsets by topic and partition.
pub type Offsets = BTreeMap<(String, i32), i64>;

/// Which checkpoint of a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checkpoint {
    /// What lies below is on disk.
    RecoveryPoint,
    /// The high watermark.
    HighWatermark,
    /// The first offset, where it is not the first segment's.
    LogStart,
    /// What lies below is compacted.
    Cleaner,
}

impl Checkpoint {
    /// The file's name in the data directory.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::RecoveryPoint => "recovery-point-offset-checkpoint",
            Self::HighWatermark => "replication-offset-checkpoint",
            Self::LogStart => "log-start-offset-checkpoint",
            Self::Cleaner => "cleaner-offset-checkpoint",
        }
    }

    /// The offsets in `data`'s file; empty where there is none yet.
    pub fn read(self, data: &Path) -> Result<Offsets, LogError> {
        let path = data.join(self.file_name());
        let text = files::read_if_there(&path).map_err(StorageError::of("read", &path))?;
        let Some(text) = text else {
            return Ok(Offsets::new());
        };
        parse(&text).map_err(|problem| LogError::Malformed { path, problem })
    }

    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::RecoveryPoint,
        Self::HighWatermark,
        Self::LogStart,
        Self::Cleaner,
    ];

    /// Gives the file, which can't be understood, a second name, under which it outlasts its replacement. What was kept
    /// first stays.
    pub(crate) fn keep_damaged(self, data: &Path) -> Result<(), StorageError> {
        let path = data.join(self.file_name());
        let kept = path.with_added_extension("damaged");
        match files::link(&path, &kept) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(StorageError::of("keep", &kept)(error))
            }
            _ => Ok(()),
        }
    }

    /// Replaces `data`'s file; it is on disk when this returns.
    pub fn write(self, data: &Path, offsets: &Offsets) -> Result<(), StorageError> {
        let path = data.join(self.file_name());
        let lines = offsets
            .iter()
            .map(|((topic, partition), offset)| format!("{topic} {partition} {offset}"));
        files::replace(&path, render(lines).as_bytes(), Durability::Synced)
            .map_err(StorageError::of("write", &path))
    }
}

/// A checkpoint file's text.
pub(crate) fn render(lines: impl Iterator<Item = String>) -> String {
    let lines: Vec<String> = lines.collect();
    let mut text = format!("0\n{}\n", lines.len());
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// The entries' lines of a checkpoint file's text.
pub(crate) fn lines(text: &[u8]) -> Result<Vec<&str>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "it is not text".to_owned())?;
    let mut lines = text.lines();
    if lines.next() != Some("0") {
        return Err("its first line is not version 0".into());
    }
    let count: usize = lines
        .next()
        .and_then(|count| count.parse().ok())
        .ok_or("its second line is not a count")?;
    let entries: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    if entries.len() != count {
        return Err(format!("it has {} of {count} entries", entries.len()));
    }
    Ok(entries)
}

fn parse(text: &[u8]) -> Result<Offsets, String> {
    let entry = |line: &str| {
        let mut fields = line.rsplitn(3, ' ');
        let offset = fields.next()?.parse().ok()?;
        let partition = fields.next()?.parse().ok()?;
        Some(((fields.next()?.to_owned(), partition), offset))
    };
    lines(text)?
        .into_iter()
        .map(|line| entry(line).ok_or(format!("`{line}` is not topic, partition and offset")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_reads_back_what_it_wrote_in_kafkas_text() {
        let folder = tempfile::tempdir().unwrap();
        let file = Checkpoint::RecoveryPoint;
        assert_eq!(file.read(folder.path()).unwrap(), Offsets::new());
        let offsets = Offsets::from([(("b".into(), 1), 7), (("a.x-y".into(), 10), 1 << 40)]);
        file.write(folder.path(), &offsets).unwrap();
        assert_eq!(file.read(folder.path()).unwrap(), offsets);
        let text = std::fs::read_to_string(folder.path().join(file.file_name())).unwrap();
        assert_eq!(text, "0\n2\na.x-y 10 1099511627776\nb 1 7\n");
    }

    #[test]
    fn a_cut_checkpoint_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(Checkpoint::Cleaner.file_name());
        std::fs::write(path, "0\n2\na 0 1\n").unwrap();
        let error = Checkpoint::Cleaner.read(folder.path()).unwrap_err();
        assert!(error.to_string().contains("cleaner-offset-checkpoint"));
        assert!(error.to_string().contains("1 of 2"), "{error}");
    }
}
