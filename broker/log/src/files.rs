//! The one door to the file system's data calls, so that a test can stall or fail them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{Advice, FallocateFlags};
use rustix::io::{Errno, ReadWriteFlags};

/// Bytes of one read whose result is not kept.
const READ_THROUGH_SIZE: usize = 64 << 10;

static OPEN: AtomicUsize = AtomicUsize::new(0);

/// An open file of the log; positions are explicit, so that readers and the writer share it.
#[derive(Debug)]
pub(crate) struct LogFile {
    file: File,
    #[cfg(any(test, feature = "faults"))]
    path: std::path::PathBuf,
}

impl LogFile {
    /// Opens for reading and writing; makes the file where it is missing and `create` says so.
    pub fn open(path: &Path, create: bool) -> io::Result<Self> {
        #[cfg(feature = "simulation")]
        let is_new = !path.exists();
        let file = Self::with(OpenOptions::new().create(create).truncate(false), path)?;
        #[cfg(feature = "simulation")]
        if is_new {
            milena_simulation::disk::emptied(&file.file)?;
        }
        Ok(file)
    }

    /// Opens an empty file, whatever was there. A file that is made by this call is not truncated: ext4 would
    /// write out what comes into it as soon as it is closed, as if it replaced a file that somebody relies on.
    pub fn empty(path: &Path) -> io::Result<Self> {
        let file = Self::with(OpenOptions::new().create(true).truncate(true), path)?;
        #[cfg(feature = "simulation")]
        milena_simulation::disk::emptied(&file.file)?;
        Ok(file)
    }

    fn with(options: &mut OpenOptions, path: &Path) -> io::Result<Self> {
        let file = options.read(true).write(true).open(path)?;
        OPEN.fetch_add(1, Ordering::Relaxed);
        Ok(Self {
            file,
            #[cfg(any(test, feature = "faults"))]
            path: path.to_path_buf(),
        })
    }

    pub fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Writes all of `parts`, one after the other, from `position` on: one system call unless the system cuts it.
    pub fn write_all_at(&self, mut parts: &mut [IoSlice<'_>], mut position: u64) -> io::Result<()> {
        #[cfg(any(test, feature = "faults"))]
        crate::faults::before_write(&self.path, |bytes| {
            let whole: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
            self.file
                .write_all_at(&whole[..whole.len().min(bytes)], position)
        })?;
        while !parts.is_empty() {
            match rustix::io::pwritev(&self.file, parts, position) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    position += written as u64;
                    IoSlice::advance_slices(&mut parts, written);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads until `buffer` is full or the file ends; returns the bytes read.
    pub fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        #[cfg(any(test, feature = "faults"))]
        crate::faults::before_read(&self.path)?;
        let mut have = 0;
        while have < buffer.len() {
            match self
                .file
                .read_at(&mut buffer[have..], position + have as u64)
            {
                Ok(0) => break,
                Ok(read) => have += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(have)
    }

    /// Reads without waiting for the disk: the bytes that the page cache has from `position` on, maybe none.
    pub fn read_cached_at(&self, buffer: &mut [u8], position: u64) -> usize {
        #[cfg(any(test, feature = "faults"))]
        if crate::faults::before_cached_read(&self.path).is_err() {
            return 0;
        }
        let mut have = 0;
        while have < buffer.len() {
            let at = position + have as u64;
            let mut parts = [IoSliceMut::new(&mut buffer[have..])];
            // Where the file system has no RWF_NOWAIT, nothing counts as cached and the caller reads on a thread.
            match rustix::io::preadv2(&self.file, &mut parts, at, ReadWriteFlags::NOWAIT) {
                Ok(read) if read > 0 => have += read,
                Err(Errno::INTR) => {}
                _ => break,
            }
        }
        have
    }

    /// Whether the page cache has this byte. False also where the file system can't tell, or the file is shorter.
    pub fn is_cached_at(&self, position: u64) -> bool {
        self.read_cached_at(&mut [0], position) == 1
    }

    /// Asks for `len` bytes to come into the page cache, and waits until the last of them is there.
    /// False where the file is shorter.
    pub fn warm_at(&self, position: u64, len: usize) -> io::Result<bool> {
        let Some(last) = (position + len as u64).checked_sub(1) else {
            return Ok(true);
        };
        // Only a hint, and one that a file system may not know: the read below waits in any case.
        let bytes = std::num::NonZeroU64::new(len as u64);
        let _ = rustix::fs::fadvise(&self.file, position, bytes, Advice::WillNeed);
        Ok(self.read_at(&mut [0], last)? == 1)
    }

    /// Reads `len` bytes from `position` on for the page cache's sake, and keeps none of them; waits until all are
    /// there. False where the file is shorter.
    pub fn read_through(&self, position: u64, len: usize) -> io::Result<bool> {
        let mut part = vec![0; len.min(READ_THROUGH_SIZE)];
        let mut at = 0;
        while at < len {
            let wanted = (len - at).min(part.len());
            if self.read_at(&mut part[..wanted], position + at as u64)? < wanted {
                return Ok(false);
            }
            at += wanted;
        }
        Ok(true)
    }

    /// Hands at most `len` bytes from `position` on to a socket without copying them; returns the bytes that it took,
    /// 0 where the file is shorter.
    pub fn send_at(&self, socket: BorrowedFd<'_>, position: u64, len: usize) -> io::Result<usize> {
        #[cfg(any(test, feature = "faults"))]
        crate::faults::before_cached_read(&self.path)?;
        let mut offset = position;
        Ok(rustix::fs::sendfile(
            socket,
            &self.file,
            Some(&mut offset),
            len,
        )?)
    }

    pub fn sync_data(&self) -> io::Result<()> {
        #[cfg(any(test, feature = "faults"))]
        crate::faults::before_sync(&self.path)?;
        self.file.sync_data()?;
        #[cfg(feature = "simulation")]
        milena_simulation::disk::synced(&self.file)?;
        Ok(())
    }

    /// Sets the file's size; at its present size this gives reserved blocks behind it back.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        #[cfg(feature = "simulation")]
        milena_simulation::disk::resized(&self.file, len)?;
        Ok(())
    }

    /// Reserves blocks behind the file's end without changing its size.
    pub fn reserve(&self, from: u64, bytes: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(
            &self.file,
            FallocateFlags::KEEP_SIZE,
            from,
            bytes,
        )?)
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many files of logs this process holds open.
pub fn open_count() -> usize {
    OPEN.load(Ordering::Relaxed)
}

/// Whether an opening failed for want of descriptors, which idle files give back: it is no fault of the disk.
pub(crate) fn is_short_of_descriptors(error: &io::Error) -> bool {
    let codes = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
    error
        .raw_os_error()
        .is_some_and(|code| codes.contains(&code))
}

/// A failed read's error once more, where the disk is to blame, or the file system that has found its own blocks
/// damaged. A file that is gone, one that has become shorter and a lack of descriptors are no faults of theirs.
pub(crate) fn disk_fault(error: &io::Error) -> Option<io::Error> {
    let codes = [Errno::IO, Errno::UCLEAN, Errno::BADMSG].map(Errno::raw_os_error);
    let code = error.raw_os_error().filter(|code| codes.contains(code));
    code.map(io::Error::from_raw_os_error)
}

/// Whether a replaced file must have reached the disk when the call returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// File and folder are synced.
    Synced,
    /// The rename is atomic, the rest is left to the system: for what recovery can rebuild.
    Cached,
}

/// Replaces `path` by `contents`: readers see the old bytes or the new, never a mixture.
pub(crate) fn replace(path: &Path, contents: &[u8], durability: Durability) -> io::Result<()> {
    let temporary = path.with_added_extension("tmp");
    let file = LogFile::empty(&temporary)?;
    file.write_all_at(&mut [IoSlice::new(contents)], 0)?;
    if durability == Durability::Synced {
        file.sync_data()?;
    }
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(folder) if durability == Durability::Synced => sync_folder(folder),
        _ => Ok(()),
    }
}

/// Makes renames, new files and removals in `folder` survive a power loss.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()?;
    #[cfg(feature = "simulation")]
    milena_simulation::disk::folder_synced(folder)?;
    Ok(())
}

/// The file's bytes, or `None` where there is no such file.
pub(crate) fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Brings a file to disk, if it is there.
pub(crate) fn sync_if_there(path: &Path) -> io::Result<()> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    file.sync_data()?;
    #[cfg(feature = "simulation")]
    milena_simulation::disk::synced(&file)?;
    Ok(())
}

/// Removes a file that may be gone already.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
