//! The one door to the file system's data calls and to whatever changes a folder, so that a test can stall or fail
//! them, and stop a disk at any of its changes.

mod observed;
mod refusals;

pub(crate) use observed::Call;
pub(crate) use refusals::{ReadFault, is_no_sockets, is_short_of_descriptors, read_fault};

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{Advice, FallocateFlags};
use rustix::io::{Errno, ReadWriteFlags};

/// Bytes of one read whose result is not kept.
const READ_THROUGH_SIZE: usize = 64 << 10;

static OPEN: AtomicUsize = AtomicUsize::new(0);

/// How far a lookup goes for what it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// To what memory and the page cache have. It waits neither for the disk nor for a lock that is held while somebody
    /// else does; where that is not enough it fails. Its errors name no file: they are not told, but the lookup is made
    /// once more, as far as the disk.
    Cache,
    /// To the disk, and waits for it.
    Disk,
}

/// The error of what goes as far as [`Reach::Cache`] and finds too little there.
pub(crate) fn cold() -> io::Error {
    io::ErrorKind::WouldBlock.into()
}

/// An open file of the log; positions are explicit, so that readers and the writer share it.
#[derive(Debug)]
pub(crate) struct LogFile {
    file: File,
    /// Why it was opened to be read alone (`errno`): what whoever writes to it is told.
    refused: Option<i32>,
    #[cfg(any(test, feature = "faults"))]
    path: PathBuf,
}

impl LogFile {
    /// Opens for reading and writing; makes the file where it is missing and `create` says so. One that may not be
    /// written, as on a file system that was made read-only, is opened to be read, and refuses the writes.
    pub fn open(path: &Path, create: bool) -> io::Result<Self> {
        let is_new = observed::IS_OBSERVED && create && !path.exists();
        if is_new {
            observed::before(path)?;
        }
        let opened = Self::with(OpenOptions::new().create(create).truncate(false), path);
        let file = opened.or_else(|error| match error.raw_os_error() {
            Some(code) if refusals::is_forbidden(code) => {
                let file = File::open(path).map_err(|_| error)?;
                Ok(Self::of(file, Some(code), path))
            }
            _ => Err(error),
        })?;
        if is_new {
            observed::emptied(&file.file, path)?;
        }
        Ok(file)
    }

    /// Opens an empty file, whatever was there. A file that is made by this call is not truncated: ext4 would
    /// write out what comes into it as soon as it is closed, as if it replaced a file that somebody relies on.
    pub fn empty(path: &Path) -> io::Result<Self> {
        observed::before(path)?;
        let file = Self::with(OpenOptions::new().create(true).truncate(true), path)?;
        observed::emptied(&file.file, path)?;
        Ok(file)
    }

    fn with(options: &mut OpenOptions, path: &Path) -> io::Result<Self> {
        observed::before_call(Call::Open, path)?;
        let file = options.read(true).write(true).open(path)?;
        Ok(Self::of(file, None, path))
    }

    #[cfg_attr(not(any(test, feature = "faults")), allow(unused_variables))]
    fn of(file: File, refused: Option<i32>, path: &Path) -> Self {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Self {
            file,
            refused,
            #[cfg(any(test, feature = "faults"))]
            path: path.to_path_buf(),
        }
    }

    fn check_writable(&self) -> io::Result<()> {
        let refused = self.refused.map(io::Error::from_raw_os_error);
        refused.map_or(Ok(()), Err)
    }

    pub fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Writes all of `parts`, one after the other, from `position` on: one system call unless the system cuts it.
    pub fn write_all_at(&self, mut parts: &mut [IoSlice<'_>], mut position: u64) -> io::Result<()> {
        self.check_writable()?;
        #[cfg(any(test, feature = "faults"))]
        {
            let whole: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
            let write = |bytes: usize| {
                let part = &whole[..whole.len().min(bytes)];
                self.file.write_all_at(part, position)
            };
            crate::faults::before_write(&self.path, write)?;
            crate::faults::disk::before_write(&self.path, whole.len(), write)?;
        }
        while !parts.is_empty() {
            match self.write_at(parts, position) {
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

    /// One system call; the bytes that it took.
    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> rustix::io::Result<usize> {
        #[cfg(any(test, feature = "faults"))]
        if let Some(bytes_max) = crate::faults::short_write(&self.path) {
            let bytes = parts.iter().flat_map(|part| part.iter().copied());
            let first: Vec<u8> = bytes.take(bytes_max).collect();
            return rustix::io::pwrite(&self.file, &first, position);
        }
        rustix::io::pwritev(&self.file, parts, position)
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
        if crate::faults::is_cold(&self.path)
            || crate::faults::before_cached_read(&self.path).is_err()
        {
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

    /// Reads as far as `reach` goes, until `buffer` is full or the file ends; where the disk is out of reach, it may be
    /// less, but not less than `bytes_min`.
    pub fn read_within(
        &self,
        reach: Reach,
        buffer: &mut [u8],
        position: u64,
        bytes_min: usize,
    ) -> io::Result<usize> {
        match reach {
            Reach::Disk => self.read_at(buffer, position),
            Reach::Cache => match self.read_cached_at(buffer, position) {
                read if read < bytes_min => Err(cold()),
                read => Ok(read),
            },
        }
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
        sync(&self.file, self.path())
    }

    /// Has the system begin to write these bytes to the disk, and waits for none of them, unless so much waits for the
    /// disk that there is no room behind it. It is no sync: nothing is safe after it. An error that it tells of may be
    /// told to nobody else.
    #[cfg(target_os = "linux")]
    #[expect(unsafe_code, reason = "sync_file_range has no safe wrapper")]
    pub fn begin_write_back(&self, bytes: Range<u64>) -> io::Result<()> {
        #[cfg(any(test, feature = "faults"))]
        crate::faults::before_write_back(&self.path, &bytes)?;
        let [from, len] = [bytes.start, bytes.end - bytes.start]
            .map(|at| i64::try_from(at).map_err(|_| Errno::INVAL));
        let (file, only_begin) = (self.file.as_raw_fd(), libc::SYNC_FILE_RANGE_WRITE);
        // SAFETY: it is given numbers alone, and the descriptor is open as long as `self` lives.
        match unsafe { libc::sync_file_range(file, from?, len?, only_begin) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// No other system has it.
    #[cfg(not(target_os = "linux"))]
    pub fn begin_write_back(&self, _: Range<u64>) -> io::Result<()> {
        Err(Errno::NOSYS.into())
    }

    /// Sets the file's size; at its present size this gives reserved blocks behind it back.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        observed::before_call(Call::Resize, self.path())?;
        observed::before(self.path())?;
        self.file.set_len(len)?;
        observed::resized(&self.file, self.path(), len)
    }

    /// What it was opened as.
    #[cfg(any(test, feature = "faults"))]
    fn path(&self) -> &Path {
        &self.path
    }

    /// Only tests ask where it is.
    #[cfg(not(any(test, feature = "faults")))]
    fn path(&self) -> &Path {
        Path::new("")
    }

    /// Reserves blocks behind the file's end without changing its size.
    pub fn reserve(&self, from: u64, bytes: u64) -> io::Result<()> {
        self.check_writable()?;
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

/// Does something with a file where it is now: once more where it was not found because its folder was renamed just then.
pub(crate) fn at_its_place<T>(
    path: &dyn Fn() -> PathBuf,
    act: impl Fn(&Path) -> io::Result<T>,
) -> io::Result<T> {
    let mut tried = path();
    loop {
        match act(&tried) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let now = path();
                if now == tried {
                    return Err(error);
                }
                tried = now;
            }
            done => return done,
        }
    }
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
    rename(&temporary, path)?;
    match path.parent() {
        Some(folder) if durability == Durability::Synced => sync_folder(folder),
        _ => Ok(()),
    }
}

/// Makes renames, new files and removals in `folder` survive a power loss.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    OpenFolder::open(folder)?.sync()
}

/// A folder that can be synced whatever else takes descriptors meanwhile.
pub(crate) struct OpenFolder {
    file: File,
    path: PathBuf,
}

impl OpenFolder {
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: File::open(path)?,
            path: path.to_owned(),
        })
    }

    /// As [`sync_folder`].
    pub fn sync(&self) -> io::Result<()> {
        observed::before(&self.path)?;
        if !observed::is_played(&self.path) {
            self.file.sync_all()?;
        }
        observed::folder_synced(&self.path)
    }
}

/// Makes the folder, and those that it lies in.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    observed::before(path)?;
    fs::create_dir_all(path)?;
    observed::folder_made(path)
}

/// Gives a file or folder another name, and replaces what has it.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    observed::before_call(Call::Rename, from)?;
    observed::before_of(from)?;
    fs::rename(from, to)
}

/// Gives a file a second name.
pub(crate) fn link(from: &Path, to: &Path) -> io::Result<()> {
    observed::before(to)?;
    fs::hard_link(from, to)
}

/// A file by its device and inode.
pub(crate) type FileId = (u64, u64);

/// What this process has open, of those near `path` at the least; an error where the system does not tell.
pub(crate) fn open_files(path: &Path) -> io::Result<HashSet<FileId>> {
    if observed::is_played(path) {
        // Whoever plays the disk has all of them open.
        return Ok(HashSet::new());
    }
    let descriptors = fs::read_dir("/proc/self/fd")?;
    // One that is closed meanwhile is not open.
    let opened = descriptors.filter_map(|entry| fs::metadata(entry.ok()?.path()).ok());
    Ok(opened.map(|file| (file.dev(), file.ino())).collect())
}

/// Removes a folder with all that is in it.
pub(crate) fn remove_folder(path: &Path) -> io::Result<()> {
    observed::before_removal(path)?;
    fs::remove_dir_all(path)
}

/// The file's bytes, or `None` where there is no such file.
pub(crate) fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a file can be opened and read to its end.
pub(crate) fn is_readable(path: &Path) -> bool {
    let read = LogFile::open(path, false).and_then(|file| {
        let len = usize::try_from(file.len()?).unwrap_or(usize::MAX);
        file.read_through(0, len)
    });
    read.is_ok()
}

/// Brings a file to disk, if it is there.
pub(crate) fn sync_if_there(path: &Path) -> io::Result<()> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    #[cfg(any(test, feature = "faults"))]
    crate::faults::before_sync(path)?;
    sync(&file, path)
}

fn sync(file: &File, path: &Path) -> io::Result<()> {
    observed::before(path)?;
    if !observed::is_played(path) {
        file.sync_data()?;
    }
    observed::synced(file, path)
}

/// Brings all to disk that the file system has which `file`, of this path, is in. Fails where something of it did not get
/// there since the file was opened, or was given to this the last time.
pub(crate) fn sync_file_system(file: &File, path: &Path) -> io::Result<()> {
    observed::before_sync(path)?;
    Ok(rustix::fs::syncfs(file)?)
}

/// Removes a file that may be gone already.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    observed::before_of(path)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
