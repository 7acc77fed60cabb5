//! A segment's two indexes, in Kafka's files.
//!
//! | file | entry | meaning |
//! | --- | --- | --- |
//! | `.index` | relative offset u32, position u32 | the batch at `position` ends with that offset |
//! | `.timeindex` | timestamp i64, relative offset u32 | no batch up to that one, which it names by its last offset, is younger |
//!
//! Entries are kept in a small buffer and written together; a lookup is a binary search over the file, so an
//! index costs no memory. What a crash takes from the buffer is rebuilt by recovery.

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::files::{self, LogFile, Reach};

/// Bytes of entries that wait in memory before they are written.
const PENDING_MAX: usize = 1024;
/// A binary search ends in one read of this many bytes.
const BLOCK: usize = 1024;

/// Where the index's file is now; asked only when a file is opened, for it allocates.
pub(crate) type PathOf<'a> = &'a dyn Fn() -> PathBuf;

/// One entry of an index: a key that grows, and where it leads.
pub(crate) trait Entry: Copy + PartialEq {
    const SIZE: usize;
    fn decode(bytes: &[u8]) -> Self;
    fn encode(self, into: &mut Vec<u8>);
}

/// An entry of the offset index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub relative_offset: u32,
    pub position: u32,
}

/// An entry of the time index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub timestamp: i64,
    pub relative_offset: u32,
}

fn bytes_at<const N: usize>(bytes: &[u8], position: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[position..position + N]);
    field
}

impl Entry for OffsetEntry {
    const SIZE: usize = 8;

    fn decode(bytes: &[u8]) -> Self {
        Self {
            relative_offset: u32::from_be_bytes(bytes_at(bytes, 0)),
            position: u32::from_be_bytes(bytes_at(bytes, 4)),
        }
    }

    fn encode(self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.relative_offset.to_be_bytes());
        into.extend_from_slice(&self.position.to_be_bytes());
    }
}

impl Entry for TimeEntry {
    const SIZE: usize = 12;

    fn decode(bytes: &[u8]) -> Self {
        Self {
            timestamp: i64::from_be_bytes(bytes_at(bytes, 0)),
            relative_offset: u32::from_be_bytes(bytes_at(bytes, 8)),
        }
    }

    fn encode(self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.timestamp.to_be_bytes());
        into.extend_from_slice(&self.relative_offset.to_be_bytes());
    }
}

/// One index file; the lock is held for no longer than a buffered entry takes, except while a full buffer is
/// written.
#[derive(Debug)]
pub(crate) struct Index<E> {
    state: Mutex<State<E>>,
}

#[derive(Debug)]
struct State<E> {
    file: Option<Arc<LogFile>>,
    /// Entries in the file; `None` until it has been looked at.
    stored: Option<usize>,
    pending: Vec<u8>,
    /// Entries of the file were taken away since it was last synced.
    emptied: bool,
    last: Option<E>,
    /// Entries of the file, the next one last, that count only once the batches have confirmed them.
    unconfirmed: Vec<E>,
}

/// What a lookup needs, taken under the lock and used outside.
struct View<E> {
    reach: Reach,
    file: Option<Arc<LogFile>>,
    stored: usize,
    pending: Vec<u8>,
    last: Option<E>,
}

impl<E: Entry> Index<E> {
    /// An index that looks at its file when it is first asked.
    pub fn lazy() -> Self {
        Self::with(None)
    }

    /// An index that is known to have no entries, whatever its file holds: `reset` follows.
    fn with(stored: Option<usize>) -> Self {
        Self {
            state: Mutex::new(State {
                file: None,
                stored,
                pending: Vec::new(),
                emptied: false,
                last: None,
                unconfirmed: Vec::new(),
            }),
        }
    }

    /// Whether the file exists and holds whole entries.
    pub fn is_plausible(&self, path: PathOf<'_>) -> bool {
        let whole = |len: u64| len.is_multiple_of(E::SIZE as u64);
        std::fs::metadata(path()).is_ok_and(|file| whole(file.len()))
    }

    /// Forgets every entry, in the file too.
    pub fn reset(&self, path: PathOf<'_>) -> io::Result<()> {
        let mut state = self.state.lock();
        let path = path();
        let had_entries = std::fs::metadata(&path).is_ok_and(|file| file.len() > 0);
        // Most logs write their first entries much later or never, and thousands may get their first batch at once.
        drop(LogFile::empty(&path)?);
        *state = State {
            file: None,
            stored: Some(0),
            pending: Vec::new(),
            emptied: state.emptied || had_entries,
            last: None,
            unconfirmed: Vec::new(),
        };
        Ok(())
    }

    /// Adds an entry behind the others.
    pub fn push(&self, path: PathOf<'_>, entry: E) -> io::Result<()> {
        let mut state = self.state.lock();
        state.load(path)?;
        // The append before came to nothing after this, and is made again.
        if state.last == Some(entry) {
            return Ok(());
        }
        entry.encode(&mut state.pending);
        state.last = Some(entry);
        if state.pending.len() >= PENDING_MAX {
            state.write(path)?;
        }
        Ok(())
    }

    /// Whether the next entry fills the buffer, which is written then.
    pub fn writes_with_the_next(&self) -> bool {
        self.state.lock().pending.len() + E::SIZE >= PENDING_MAX
    }

    /// Keeps the entries at the front for which `keep` holds; the others have to be confirmed. Returns the last that
    /// is kept.
    pub fn resume(&self, path: PathOf<'_>, keep: impl Fn(&E) -> bool) -> io::Result<Option<E>> {
        let view = self.view(path, Reach::Disk)?;
        let kept = view.partition_point(&keep)?;
        let mut bytes = vec![0; (view.stored - kept) * E::SIZE];
        if !bytes.is_empty() {
            view.read(&mut bytes, kept)?;
        }
        let mut state = self.state.lock();
        state.unconfirmed = bytes.chunks_exact(E::SIZE).rev().map(E::decode).collect();
        state.stored = Some(kept);
        state.last = kept
            .checked_sub(1)
            .map(|last| view.entry(last))
            .transpose()?;
        Ok(state.last)
    }

    /// The next entry to be confirmed.
    pub fn unconfirmed(&self) -> Option<E> {
        self.state.lock().unconfirmed.last().copied()
    }

    /// The next entry is right.
    pub fn confirm(&self) {
        let mut state = self.state.lock();
        if let Some(entry) = state.unconfirmed.pop() {
            state.stored = state.stored.map(|stored| stored + 1);
            state.last = Some(entry);
        }
    }

    /// Writes what waits in memory.
    pub fn write(&self, path: PathOf<'_>) -> io::Result<()> {
        self.state.lock().write(path)
    }

    /// Writes, syncs.
    pub fn sync(&self, path: PathOf<'_>) -> io::Result<()> {
        let file = {
            let mut state = self.state.lock();
            state.write(path)?;
            // What was written may have lost its descriptor since.
            if state.load(path)? == 0 && !state.emptied {
                return Ok(());
            }
            let file = state.open(path)?;
            state.emptied = false;
            file
        };
        file.sync_data()
    }

    /// Gives the descriptor back; what waits in memory stays there.
    pub fn close_idle(&self) {
        self.state.lock().file = None;
    }

    /// Bytes of all entries.
    pub fn size(&self, path: PathOf<'_>) -> io::Result<usize> {
        let mut state = self.state.lock();
        let stored = state.load(path)?;
        Ok(stored * E::SIZE + state.pending.len())
    }

    /// The last entry.
    pub fn last(&self, path: PathOf<'_>) -> io::Result<Option<E>> {
        let mut state = self.state.lock();
        state.load(path)?;
        Ok(state.last)
    }

    /// The last entry for which `below` holds; `below` holds for a prefix of the entries.
    pub fn floor(
        &self,
        (path, reach): (PathOf<'_>, Reach),
        below: impl Fn(&E) -> bool,
    ) -> io::Result<Option<E>> {
        let view = self.view(path, reach)?;
        let Some(last) = view.last else {
            return Ok(None);
        };
        if below(&last) {
            return Ok(Some(last));
        }
        let count = view.partition_point(&below)?;
        count
            .checked_sub(1)
            .map(|index| view.entry(index))
            .transpose()
    }

    fn view(&self, path: PathOf<'_>, reach: Reach) -> io::Result<View<E>> {
        let mut state = match reach {
            Reach::Disk => self.state.lock(),
            // Whoever has it may be waiting for the disk.
            Reach::Cache => self.state.try_lock().ok_or_else(files::cold)?,
        };
        let is_known = state
            .stored
            .is_some_and(|stored| stored == 0 || state.file.is_some());
        if reach == Reach::Cache && !is_known {
            return Err(files::cold());
        }
        let stored = state.load(path)?;
        let file = if stored > 0 {
            Some(state.open(path)?)
        } else {
            None
        };
        Ok(View {
            reach,
            file,
            stored,
            pending: state.pending.clone(),
            last: state.last,
        })
    }
}

impl<E: Entry> State<E> {
    fn open(&mut self, path: PathOf<'_>) -> io::Result<Arc<LogFile>> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        // One that had entries is gone: an empty one in its place would hide that.
        let may_be_new = self.stored.is_none_or(|stored| stored == 0);
        let file = files::at_its_place(path, |path| LogFile::open(path, may_be_new))?;
        let file = Arc::new(file);
        self.file = Some(file.clone());
        Ok(file)
    }

    /// The entries in the file; looks at it the first time.
    fn load(&mut self, path: PathOf<'_>) -> io::Result<usize> {
        if let Some(stored) = self.stored {
            return Ok(stored);
        }
        let stored = match files::at_its_place(path, |path| std::fs::metadata(path)) {
            Ok(file) => file.len() as usize / E::SIZE,
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
        if stored > 0 {
            let mut bytes = vec![0; E::SIZE];
            let at = ((stored - 1) * E::SIZE) as u64;
            self.open(path)?.read_at(&mut bytes, at)?;
            self.last = Some(E::decode(&bytes));
        }
        self.stored = Some(stored);
        Ok(stored)
    }

    fn write(&mut self, path: PathOf<'_>) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let stored = self.load(path)?;
        let file = self.open(path)?;
        let at = (stored * E::SIZE) as u64;
        file.write_all_at(&mut [IoSlice::new(&self.pending)], at)?;
        self.stored = Some(stored + self.pending.len() / E::SIZE);
        self.pending.clear();
        Ok(())
    }
}

impl<E: Entry> View<E> {
    fn len(&self) -> usize {
        self.stored + self.pending.len() / E::SIZE
    }

    fn entry(&self, index: usize) -> io::Result<E> {
        if let Some(pending) = index.checked_sub(self.stored) {
            return Ok(E::decode(&self.pending[pending * E::SIZE..]));
        }
        let mut bytes = [0; 16];
        self.read(&mut bytes[..E::SIZE], index)?;
        Ok(E::decode(&bytes))
    }

    fn read(&self, buffer: &mut [u8], index: usize) -> io::Result<()> {
        let file = self.file.as_ref().ok_or(io::ErrorKind::UnexpectedEof)?;
        let (at, wanted) = ((index * E::SIZE) as u64, buffer.len());
        if file.read_within(self.reach, buffer, at, wanted)? < wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// How many entries at the front `below` holds for.
    fn partition_point(&self, below: &impl Fn(&E) -> bool) -> io::Result<usize> {
        let (mut low, mut high) = (0, self.len());
        while high - low > BLOCK / E::SIZE || (high > self.stored && low < self.stored) {
            let middle = low + (high - low) / 2;
            if below(&self.entry(middle)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        if low >= self.stored {
            let rest = &self.pending[(low - self.stored) * E::SIZE..(high - self.stored) * E::SIZE];
            return Ok(low + count_while(rest, below));
        }
        let mut block = [0; BLOCK];
        let block = &mut block[..(high - low) * E::SIZE];
        self.read(block, low)?;
        Ok(low + count_while(block, below))
    }
}

fn count_while<E: Entry>(bytes: &[u8], below: &impl Fn(&E) -> bool) -> usize {
    bytes
        .chunks_exact(E::SIZE)
        .take_while(|bytes| below(&E::decode(bytes)))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lookup_finds_the_floor_in_the_file_and_in_the_buffer() {
        let folder = tempfile::tempdir().unwrap();
        let path = || folder.path().join("0.index");
        let index = Index::lazy();
        for key in 1..=1000u32 {
            let entry = OffsetEntry {
                relative_offset: key * 10,
                position: key,
            };
            index.push(&path, entry).unwrap();
        }
        for target in [0, 9, 10, 11, 4567, 9990, 9999, 10_000, 20_000] {
            let found = index
                .floor((&path, Reach::Disk), |entry| {
                    entry.relative_offset <= target
                })
                .unwrap();
            let wanted = (target / 10).min(1000);
            assert_eq!(found.map_or(0, |entry| entry.position), wanted, "{target}");
        }
    }
}
