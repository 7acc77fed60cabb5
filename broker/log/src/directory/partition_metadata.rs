//! `partition.metadata` in a partition's folder: `version: 0` and `topic_id: …`, each on its line (KIP-516).

use std::io::IoSlice;
use std::path::Path;

use milena_protocol::Uuid;

use crate::error::{LogError, StorageError};
use crate::files::{self, LogFile};

/// The file's name.
pub(crate) const FILE: &str = "partition.metadata";

/// The topic id that a partition's folder carries, if it has one.
pub fn read(folder: &Path) -> Result<Option<Uuid>, LogError> {
    let path = folder.join(FILE);
    let text = files::read_if_there(&path).map_err(StorageError::of("read", &path))?;
    // A power loss may leave the name and not the bytes: the metadata knows the id, and it is written again.
    let Some(text) = text.filter(|text| text.iter().any(|byte| *byte != 0)) else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&text);
    let value = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .map(str::trim)
    };
    let id = match (value("version:"), value("topic_id:")) {
        (Some("0"), Some(id)) => Uuid::parse(id),
        _ => None,
    };
    let problem = || "it is not `version: 0` and a `topic_id:`".to_owned();
    id.map(Some).ok_or_else(|| LogError::Malformed {
        path,
        problem: problem(),
    })
}

/// Refuses a folder of another topic; writes the file where there is none, or one of zeros alone, as a power loss leaves
/// it: the metadata knows the id. What else can't be read may be of another topic. A zero id asks for neither.
pub(crate) fn check_or_write(
    folder: &Path,
    topic_id: Uuid,
    is_there: bool,
) -> Result<(), LogError> {
    if topic_id.is_zero() {
        return Ok(());
    }
    let found = match is_there {
        true => read(folder).or_else(|error| match error {
            LogError::Malformed { .. } if is_blank(folder) => {
                tracing::warn!(%error, "a partition's topic id is written again");
                Ok(None)
            }
            error => Err(error),
        })?,
        false => None,
    };
    match found {
        Some(found) if found != topic_id => Err(LogError::TopicId {
            path: folder.to_path_buf(),
            found,
            expected: topic_id,
        }),
        Some(_) => Ok(()),
        None => Ok(write(folder, topic_id)?),
    }
}

fn is_blank(folder: &Path) -> bool {
    let bytes = files::read_if_there(&folder.join(FILE));
    matches!(bytes, Ok(Some(bytes)) if bytes.iter().all(|byte| *byte == 0))
}

/// One write, without a replacement or a sync: a file that is cut short is empty, and counts as none.
pub(crate) fn write(folder: &Path, topic_id: Uuid) -> Result<(), StorageError> {
    if topic_id.is_zero() {
        return Ok(());
    }
    let path = folder.join(FILE);
    let text = format!("version: 0\ntopic_id: {topic_id}\n");
    LogFile::empty(&path)
        .and_then(|file| file.write_all_at(&mut [IoSlice::new(text.as_bytes())], 0))
        .map_err(StorageError::of("write", &path))
}
