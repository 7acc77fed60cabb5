//! Whether a segment's indexes say what its batches say.

use std::path::Path;

use milena_protocol::records::BatchHeader;

use crate::error::{LogError, StorageError};
use crate::files;
use crate::index::{Entry, OffsetEntry, TimeEntry};
use crate::segment::{NO_TIMESTAMP, file_name};

/// Both indexes of a segment, held against its batches as these come.
pub(super) struct IndexCheck {
    base_offset: i64,
    offsets: Held<OffsetEntry>,
    times: Held<TimeEntry>,
    youngest: i64,
}

/// An index's entries, and how far they are right.
struct Held<E> {
    entries: Vec<E>,
    next: usize,
    problem: Option<String>,
}

impl<E: Entry> Held<E> {
    fn read(path: &Path) -> Result<Self, StorageError> {
        let bytes = files::read_if_there(path).map_err(StorageError::of("read", path))?;
        let problem = match &bytes {
            None => Some("it is not there".to_owned()),
            Some(bytes) if bytes.len() % E::SIZE != 0 => Some(format!(
                "its last entry has {} bytes",
                bytes.len() % E::SIZE
            )),
            Some(_) => None,
        };
        let bytes = bytes.unwrap_or_default();
        Ok(Self {
            entries: bytes.chunks_exact(E::SIZE).map(E::decode).collect(),
            next: 0,
            problem,
        })
    }

    /// The next entry, while all before it were right.
    fn due(&self) -> Option<E> {
        let is_right = self.problem.is_none();
        self.entries.get(self.next).copied().filter(|_| is_right)
    }

    fn wrong(&mut self, problem: String) {
        self.problem = Some(format!("entry {}: {problem}", self.next));
    }
}

impl IndexCheck {
    /// Those whose names end with `suffix`, or have got their own already.
    pub(super) fn open(folder: &Path, base_offset: i64, suffix: &str) -> Result<Self, LogError> {
        let path = |extension| {
            let path = folder.join(file_name(base_offset, extension));
            let waiting = folder.join(file_name(base_offset, extension) + suffix);
            if waiting.exists() { waiting } else { path }
        };
        Ok(Self {
            base_offset,
            offsets: Held::read(&path("index"))?,
            times: Held::read(&path("timeindex"))?,
            youngest: NO_TIMESTAMP,
        })
    }

    /// The next valid batch of the segment.
    pub(super) fn batch(&mut self, position: u64, header: &BatchHeader) {
        self.offset_entries(position, header);
        if header.record_count > 0 {
            self.youngest = self.youngest.max(header.max_timestamp);
        }
        self.time_entries(header);
    }

    /// Bytes up to `end` are no batches: what leads there may have been right.
    pub(super) fn hole(&mut self, end: u64) {
        while self
            .offsets
            .due()
            .is_some_and(|entry| u64::from(entry.position) < end)
        {
            self.offsets.next += 1;
        }
    }

    /// An entry leads to a batch that begins there, and to none behind the offset that it names.
    fn offset_entries(&mut self, position: u64, header: &BatchHeader) {
        while let Some(entry) = self.offsets.due()
            && u64::from(entry.position) <= position
        {
            let named = self.base_offset + i64::from(entry.relative_offset);
            if u64::from(entry.position) < position {
                let at = entry.position;
                self.offsets.wrong(format!("no batch begins at byte {at}"));
            } else if named < header.last_offset() {
                let last = header.last_offset();
                self.offsets.wrong(format!(
                    "it names offset {named} for byte {position}, where a batch ends with {last}"
                ));
            } else {
                self.offsets.next += 1;
            }
        }
    }

    /// No batch up to the offset that an entry names is younger than it says.
    fn time_entries(&mut self, header: &BatchHeader) {
        while let Some(entry) = self.times.due() {
            let named = self.base_offset + i64::from(entry.relative_offset);
            if named > header.last_offset() {
                return;
            }
            if self.youngest > entry.timestamp {
                let (says, youngest) = (entry.timestamp, self.youngest);
                self.times.wrong(format!(
                    "it says that nothing up to offset {named} is younger than {says}, and a batch is of {youngest}"
                ));
            } else {
                self.times.next += 1;
            }
        }
    }

    /// What is wrong, by the file's extension.
    pub(super) fn end(mut self) -> Vec<(&'static str, String)> {
        if self.offsets.due().is_some() {
            self.offsets
                .wrong("it points behind the last batch".to_owned());
        }
        if self.times.due().is_some() {
            self.times
                .wrong("it points behind the last batch".to_owned());
        }
        let problems = [
            ("index", self.offsets.problem),
            ("timeindex", self.times.problem),
        ];
        let problems = problems.into_iter();
        problems
            .filter_map(|(extension, problem)| Some((extension, problem?)))
            .collect()
    }
}
