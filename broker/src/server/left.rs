//! `.milena-left` in the metadata's directory: the data directories that lives have gone without, and which life was the last
//! that had each. When one is back, a mark of a clean stop in it is of that life, and not of the last.
//!
//! | line | content |
//! | --- | --- |
//! | each | the directory's id, and the epoch of the broker's life |
//!
//! It is a memory and no truth: what does not read is passed over, and that directory's logs are checked from their recovery
//! points on.

use std::collections::BTreeMap;
use std::path::Path;

use milena_metadata::DirectoryId;
use milena_protocol::Uuid;

const FILE: &str = ".milena-left";

/// The last life of each, as it is on file.
pub type Left = BTreeMap<DirectoryId, i64>;

pub fn read(metadata: &Path) -> Left {
    let text = std::fs::read_to_string(metadata.join(FILE)).unwrap_or_default();
    let entry = |line: &str| {
        let (id, epoch) = line.split_once(' ')?;
        Some((DirectoryId(Uuid::parse(id)?), epoch.parse().ok()?))
    };
    text.lines().filter_map(entry).collect()
}

/// Notes that this life goes without these; `last` is the epoch of the one before. Those that were noted and are none of them
/// are forgotten.
pub fn note(metadata: &Path, ids: impl Iterator<Item = DirectoryId>, last: Option<i64>) {
    let before = read(metadata);
    let entry = |id| Some((id, before.get(&id).copied().or(last)?));
    let now: Left = ids.filter_map(entry).collect();
    if now == before {
        return;
    }
    let lines = now.iter().map(|(id, epoch)| format!("{id} {epoch}\n"));
    let path = metadata.join(FILE);
    let written = match now.is_empty() {
        true => std::fs::remove_file(&path),
        false => std::fs::write(&path, lines.collect::<String>()),
    };
    if let Err(error) = written {
        tracing::warn!(%error, file = %path.display(), "the directories that this life goes without can't be noted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_life_of_a_directory_is_the_one_before_the_first_that_went_without_it() {
        let dir = tempfile::tempdir().unwrap();
        let [one, other] = [1, 2].map(|number| DirectoryId(Uuid([number; 16])));
        assert_eq!(read(dir.path()), Left::new());
        note(dir.path(), [one].into_iter(), Some(7));
        note(dir.path(), [one, other].into_iter(), Some(9));
        assert_eq!(read(dir.path()), Left::from([(one, 7), (other, 9)]));
        note(dir.path(), [other].into_iter(), Some(12));
        assert_eq!(read(dir.path()), Left::from([(other, 9)]));
        note(dir.path(), std::iter::empty(), Some(15));
        assert_eq!(read(dir.path()), Left::new());
        assert!(!dir.path().join(FILE).exists());
    }
}
