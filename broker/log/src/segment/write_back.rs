//! Write-back behind the head of the segment that takes appends: the kernel is asked for it chunk by chunk, as they fill,
//! so that it never has much to write at once.

use std::io;
use std::ops::Range;
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::Segment;
use crate::error::StorageError;
use crate::files::{self, LogFile};

/// Bytes of a chunk. A disk with heads writes as many in the time of three or four seeks, so that chunks of many logs in
/// turn leave it most of its rate; a thousand busy logs keep no more than 4 GiB from the disk. With `u64::MAX` nothing is
/// ever due, which is how to measure what this is good for.
pub(crate) const CHUNK: u64 = 4 << 20;

/// What a refused request for it says was to be done.
pub(crate) const WRITE_BACK: &str = "write back";

/// How many whole chunks there are in so many bytes.
pub(super) fn whole_chunks(size: u64) -> u32 {
    u32::try_from(size / CHUNK).unwrap_or(u32::MAX)
}

impl Segment {
    /// The bytes that the kernel should begin to write. Chunks are whole, so that no append waits for a page of theirs.
    fn unwritten(&self) -> Option<Range<u64>> {
        let whole = whole_chunks(self.size());
        let begun = self.written_back.load(Ordering::Relaxed);
        (begun < whole).then(|| u64::from(begun) * CHUNK..u64::from(whole) * CHUNK)
    }

    /// Whether a chunk has become whole that the kernel was not asked to write.
    pub fn is_write_back_due(&self) -> bool {
        self.unwritten().is_some()
    }

    /// Has the kernel begin to write the chunks that have become whole; may wait for the disk.
    pub fn begin_write_back(&self) -> Result<(), StorageError> {
        let Some(bytes) = self.unwritten() else {
            return Ok(());
        };
        let path = || self.path("log");
        let chunks = whole_chunks(bytes.end);
        let begun = self.file()?.begin_write_back(bytes);
        begun.map_err(StorageError::at(WRITE_BACK, &path))?;
        self.written_back.store(chunks, Ordering::Relaxed);
        Ok(())
    }
}

/// Has the kernel begin to write bytes of a copy, which is synced in the end. Where it does not, be it that the file system
/// has no such thing, the sync has more to do; an error that says that they did not get to the disk may be told once only.
pub(crate) fn begin(file: &LogFile, bytes: Range<u64>) -> io::Result<()> {
    if cfg!(feature = "simulation") {
        return Ok(());
    }
    match file.begin_write_back(bytes) {
        Err(error) if Refusal::of_request(&error) == Refusal::Lost => Err(error),
        _ => Ok(()),
    }
}

/// What a refused write-back says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The file system, or whoever guards the system's calls, has no such thing.
    Unsupported,
    /// Nothing of the bytes: the next time may be better.
    Passing,
    /// They did not get to the disk, which a sync may not tell of any more.
    Lost,
}

impl Refusal {
    /// Of a segment's; where its file could not even be opened, that says nothing of what the file system has.
    pub fn of(error: &StorageError) -> Self {
        match Self::of_request(&error.source) {
            Self::Unsupported if error.action != WRITE_BACK => Self::Lost,
            refusal => refusal,
        }
    }

    fn of_request(error: &io::Error) -> Self {
        let is_one_of = |codes: &[Errno]| {
            let told = error.raw_os_error();
            codes.iter().any(|code| told == Some(code.raw_os_error()))
        };
        let unsupported = [
            Errno::INVAL,
            Errno::NOSYS,
            Errno::SPIPE,
            Errno::OPNOTSUPP,
            Errno::PERM,
        ];
        let passing = [Errno::INTR, Errno::AGAIN, Errno::NOMEM];
        if is_one_of(&unsupported) {
            Self::Unsupported
        } else if is_one_of(&passing) || files::is_short_of_descriptors(error) {
            Self::Passing
        } else {
            Self::Lost
        }
    }
}
