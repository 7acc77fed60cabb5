//! Which leader epoch began at which offset: `leader-epoch-checkpoint`.
//!
//! | line | content |
//! | --- | --- |
//! | 1 | `0`, the format's version |
//! | 2 | the number of entries |
//! | then | `epoch start-offset`, both rising |

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::checkpoint;
use crate::error::{LogError, StorageError};
use crate::files::{self, Durability};
use crate::segment::Folder;

/// The file's name.
pub(crate) const FILE: &str = "leader-epoch-checkpoint";

/// The leader epochs of a log with their start offsets, both rising. What a reader holds does not change.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct EpochStarts(Vec<(i32, i64)>);

impl EpochStarts {
    /// The newest epoch.
    pub fn latest(&self) -> Option<i32> {
        self.0.last().map(|(epoch, _)| *epoch)
    }

    /// The end of `epoch` in a log that ends at `log_end` (KIP-101): the largest known epoch up to `epoch`, and the
    /// offset at which the next one starts; `None` where the log knows no such epoch. A log that is just being cut
    /// may still know epochs behind its end.
    pub fn end_offset_for(&self, epoch: i32, log_end: i64) -> Option<(i32, i64)> {
        let latest = self.latest()?;
        if epoch == latest {
            return Some((epoch, log_end));
        }
        let next = self.0.iter().position(|(known, _)| *known > epoch)?;
        let end = self.0[next].1.min(log_end);
        match next.checked_sub(1) {
            Some(floor) => Some((self.0[floor].0, end)),
            None => Some((epoch, end)),
        }
    }

    /// Notes that batches from `start` on are of `epoch`; whether that is news.
    pub fn assign(&mut self, epoch: i32, start: i64) -> bool {
        if epoch < 0 || self.latest().is_some_and(|latest| epoch <= latest) {
            return false;
        }
        // An epoch that never got a batch gives its place to the next.
        self.0.retain(|(_, earlier)| *earlier < start);
        self.0.push((epoch, start));
        true
    }

    /// Whether the first that is known starts behind a batch of `epoch` at `offset`: what was deleted before a log's start
    /// took the epochs there with it, and a compaction may have left batches.
    pub fn begins_behind(&self, epoch: i32, offset: i64) -> bool {
        let first = self.0.first();
        first.is_some_and(|(known, start)| *start > offset && *known >= epoch)
    }

    /// The epoch that `offset` belongs to.
    pub fn of(&self, offset: i64) -> Option<i32> {
        let count = self.0.partition_point(|(_, start)| *start <= offset);
        count.checked_sub(1).map(|index| self.0[index].0)
    }
}

/// What the file in `folder` says; without one no epoch is known.
pub(crate) fn read(folder: &Path) -> Result<EpochStarts, LogError> {
    let path = folder.join(FILE);
    let text = files::read_if_there(&path).map_err(StorageError::of("read", &path))?;
    let Some(text) = text else {
        return Ok(EpochStarts::default());
    };
    parse(&text).map_err(|problem| LogError::Malformed { path, problem })
}

/// The epochs of one log, changed by its writer alone; the file follows each change.
#[derive(Debug)]
pub(crate) struct Epochs {
    folder: Folder,
    /// What readers see.
    published: Arc<ArcSwap<EpochStarts>>,
    /// What the file has, while it does not follow.
    on_file: Option<EpochStarts>,
}

impl Epochs {
    /// Reads the file; none means no epochs yet.
    pub fn open(folder: Folder) -> Result<Self, LogError> {
        let starts = read(&folder.read())?;
        Ok(Self::of(folder, starts))
    }

    /// No epochs, in the place of a file that can't be read; recovery assigns them anew.
    pub fn anew(folder: Folder) -> Result<Self, StorageError> {
        let epochs = Self::of(folder, EpochStarts::default());
        epochs.write(&epochs.starts())?;
        Ok(epochs)
    }

    fn of(folder: Folder, starts: EpochStarts) -> Self {
        let published = Arc::new(ArcSwap::from_pointee(starts));
        Self {
            folder,
            published,
            on_file: None,
        }
    }

    /// From here on the file does not follow. A recovery forgets what it then finds again, in every log of a broker.
    pub fn hold_back(&mut self) {
        self.on_file = Some(self.starts());
    }

    /// The file follows again, and is written if it has fallen behind.
    pub fn catch_up(&mut self) -> Result<(), StorageError> {
        let on_file = self.on_file.take();
        let starts = self.starts();
        match on_file.is_some_and(|on_file| on_file != starts) {
            true => self.write(&starts),
            false => Ok(()),
        }
    }

    /// Where readers find the epochs as they are.
    pub fn published(&self) -> &Arc<ArcSwap<EpochStarts>> {
        &self.published
    }

    /// The newest epoch.
    pub fn latest(&self) -> Option<i32> {
        self.published.load().latest()
    }

    /// Notes that batches from `start` on are of `epoch`; whether that was news. Readers know it before the batches.
    pub fn assign(&mut self, epoch: i32, start: i64) -> Result<bool, StorageError> {
        if self.latest().is_some_and(|latest| epoch <= latest) {
            return Ok(false);
        }
        let mut starts = self.starts();
        if !starts.assign(epoch, start) {
            return Ok(false);
        }
        self.set(starts)?;
        Ok(true)
    }

    /// Takes these for the epochs of all batches.
    pub fn set(&mut self, starts: EpochStarts) -> Result<(), StorageError> {
        self.write(&starts)?;
        self.published.store(Arc::new(starts));
        Ok(())
    }

    /// Forgets epochs that start at `end` or later; the log ends there already. Whether there were any.
    pub fn truncate_to(&mut self, end: i64) -> Result<bool, StorageError> {
        let mut starts = self.starts();
        let before = starts.0.len();
        starts.0.retain(|(_, start)| *start < end);
        let is_cut = starts.0.len() < before;
        if is_cut {
            self.cut(starts)?;
        }
        Ok(is_cut)
    }

    /// Forgets epochs that end at `start` or before; the one that holds `start` then begins there.
    pub fn truncate_below(&mut self, start: i64) -> Result<(), StorageError> {
        let mut starts = self.starts();
        let Some(holding) = starts
            .0
            .partition_point(|(_, from)| *from <= start)
            .checked_sub(1)
        else {
            return Ok(());
        };
        if starts.0[holding].1 == start && holding == 0 {
            return Ok(());
        }
        starts.0.drain(..holding);
        starts.0[0].1 = start;
        self.cut(starts)
    }

    /// Forgets everything.
    pub fn clear(&mut self) -> Result<(), StorageError> {
        self.cut(EpochStarts::default())
    }

    fn starts(&self) -> EpochStarts {
        EpochStarts::clone(&self.published.load())
    }

    /// What is gone from the log is gone from here, also where the file could not follow.
    fn cut(&self, starts: EpochStarts) -> Result<(), StorageError> {
        let written = self.write(&starts);
        self.published.store(Arc::new(starts));
        written
    }

    // The batches carry their epochs too, so what a power loss takes from this file recovery brings back.
    fn write(&self, starts: &EpochStarts) -> Result<(), StorageError> {
        if self.on_file.is_some() {
            return Ok(());
        }
        let folder = self.folder.read().clone();
        write(&folder, starts, Durability::Cached)
    }
}

/// Replaces the file in `folder`.
pub(crate) fn write(
    folder: &Path,
    starts: &EpochStarts,
    durability: Durability,
) -> Result<(), StorageError> {
    let lines = starts
        .0
        .iter()
        .map(|(epoch, start)| format!("{epoch} {start}"));
    let path = folder.join(FILE);
    let text = checkpoint::render(lines);
    files::replace(&path, text.as_bytes(), durability).map_err(StorageError::of("write", &path))
}

fn parse(text: &[u8]) -> Result<EpochStarts, String> {
    let mut entries: Vec<(i32, i64)> = Vec::new();
    for line in checkpoint::lines(text)? {
        let fields: Vec<&str> = line.split(' ').collect();
        let [epoch, start] = fields[..] else {
            return Err(format!("`{line}` is not an epoch and its start offset"));
        };
        match (epoch.parse(), start.parse()) {
            (Ok(epoch), Ok(start)) => entries.push((epoch, start)),
            _ => return Err(format!("`{line}` is not an epoch and its start offset")),
        }
    }
    if !entries.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1) {
        return Err("epochs and start offsets do not rise".into());
    }
    Ok(EpochStarts(entries))
}

#[cfg(test)]
mod tests {
    use parking_lot::RwLock;

    use super::*;

    fn open(folder: &Path) -> Result<Epochs, LogError> {
        Epochs::open(Arc::new(RwLock::new(folder.to_path_buf())))
    }

    fn epochs(folder: &Path) -> Epochs {
        let mut epochs = open(folder).unwrap();
        for (epoch, start) in [(2, 10), (3, 20), (7, 40)] {
            assert!(epochs.assign(epoch, start).unwrap());
        }
        epochs
    }

    #[test]
    fn the_end_of_an_epoch_is_the_start_of_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let epochs = epochs(folder.path()).starts();
        assert_eq!(epochs.end_offset_for(7, 55), Some((7, 55)));
        assert_eq!(epochs.end_offset_for(3, 55), Some((3, 40)));
        assert_eq!(epochs.end_offset_for(5, 55), Some((3, 40)));
        assert_eq!(epochs.end_offset_for(0, 55), Some((0, 10)));
        assert_eq!(epochs.end_offset_for(8, 55), None);
        assert_eq!(epochs.end_offset_for(5, 30), Some((3, 30)), "being cut");
        assert_eq!(epochs.of(25), Some(3));
        assert_eq!(epochs.of(5), None);
    }

    #[test]
    fn a_recovery_that_finds_what_is_on_file_writes_nothing() {
        use std::os::unix::fs::MetadataExt;

        let folder = tempfile::tempdir().unwrap();
        let mut epochs = epochs(folder.path());
        let file = || folder.path().join(FILE).metadata().unwrap().ino();
        let before = file();
        for (last, is_as_before) in [((7, 40), true), ((7, 41), false)] {
            epochs.hold_back();
            epochs.truncate_to(20).unwrap();
            for (epoch, start) in [(3, 20), last] {
                assert!(epochs.assign(epoch, start).unwrap());
            }
            assert_eq!(file(), before);
            epochs.catch_up().unwrap();
            assert_eq!(file() == before, is_as_before);
            assert_eq!(open(folder.path()).unwrap().starts(), epochs.starts());
        }
    }

    #[test]
    fn epochs_survive_reopening_and_follow_truncation() {
        let folder = tempfile::tempdir().unwrap();
        epochs(folder.path());
        let mut again = open(folder.path()).unwrap();
        assert_eq!(again.starts().0, [(2, 10), (3, 20), (7, 40)]);
        assert!(!again.assign(7, 99).unwrap());
        again.truncate_to(40).unwrap();
        again.truncate_below(15).unwrap();
        let cut = open(folder.path()).unwrap().starts();
        assert_eq!(cut.0, [(2, 15), (3, 20)]);
        assert_eq!(again.starts(), cut);
    }

    #[test]
    fn a_damaged_file_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for text in [
            "",
            "1\n0\n",
            "0\n2\n1 2\n",
            "0\n1\nx y\n",
            "0\n2\n3 4\n2 5\n",
        ] {
            std::fs::write(folder.path().join(FILE), text).unwrap();
            let error = open(folder.path()).unwrap_err();
            assert!(error.to_string().contains(FILE), "{error}");
        }
    }
}
