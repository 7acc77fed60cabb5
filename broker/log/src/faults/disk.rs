//! A disk that stops at a given change, and then has what a dead process or a loss of power leaves.
//!
//! The files are real ones beneath a folder. Of each it is noted what was last synced, and of each folder which names;
//! what is there when the disk is first watched counts as synced. Each call that changes something is a change: a file
//! made or emptied, a write, a new size, a sync, a folder, a new name, a removal. From the one that the disk stops at
//! they all fail, and leave everything as it is.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The process is killed: everything that was written is there.
    Killed,
    /// As `Killed`, and of the last write the first half is there too.
    Torn,
    /// The power goes. Names and sizes are what they were made; the bytes of a file that were not synced are gone.
    DataLost,
    /// The power goes, and nothing is there that was not synced: neither bytes nor sizes nor names nor removals.
    AllLost,
}

static WATCHED: AtomicUsize = AtomicUsize::new(0);
static DISKS: Mutex<Vec<Arc<Mutex<State>>>> = Mutex::new(Vec::new());

/// The disk beneath a folder, until this value is dropped.
#[derive(Debug)]
pub struct Disk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    root: PathBuf,
    end: End,
    changes: usize,
    stops_at: usize,
    /// By inode.
    nodes: HashMap<u64, Node>,
}

#[derive(Debug)]
struct Node {
    lasting: Lasting,
    /// Kept open, so that the system gives the inode to no other file.
    _held: File,
}

/// What was synced.
#[derive(Debug, Clone)]
enum Lasting {
    File {
        bytes: Vec<u8>,
        /// The smallest size that was set since.
        cut: usize,
    },
    Folder(BTreeMap<OsString, u64>),
}

impl Disk {
    /// Watches what is beneath `root`. The change of number `stops_at` fails, and all that come after it.
    pub fn watch(root: &Path, stops_at: usize, end: End) -> io::Result<Self> {
        let mut state = State {
            root: root.to_path_buf(),
            end,
            changes: 0,
            stops_at,
            nodes: HashMap::new(),
        };
        state.know_all(root)?;
        let state = Arc::new(Mutex::new(state));
        DISKS.lock().push(state.clone());
        WATCHED.fetch_add(1, Ordering::Release);
        Ok(Self(state))
    }

    /// Whether something was refused.
    pub fn has_stopped(&self) -> bool {
        let state = self.0.lock();
        state.changes >= state.stops_at
    }

    /// Leaves in the folder what there is after this end. Whoever worked on it is gone.
    pub fn end(self) -> io::Result<()> {
        let state = self.0.lock();
        match state.end {
            End::Killed | End::Torn => Ok(()),
            End::DataLost => state.lose_data(&state.root),
            End::AllLost => {
                let root = fs::metadata(&state.root)?.ino();
                state.make(&state.root, root)
            }
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        DISKS.lock().retain(|disk| !Arc::ptr_eq(disk, &self.0));
        WATCHED.fetch_sub(1, Ordering::Release);
    }
}

impl State {
    fn know_all(&mut self, path: &Path) -> io::Result<()> {
        let file = File::open(path)?;
        if !file.metadata()?.is_dir() {
            return self.note_synced(&file);
        }
        for entry in fs::read_dir(path)? {
            self.know_all(&entry?.path())?;
        }
        self.note_names(path)
    }

    fn note_synced(&mut self, file: &File) -> io::Result<()> {
        let mut bytes = vec![0; file.metadata()?.len() as usize];
        file.read_exact_at(&mut bytes, 0)?;
        let cut = bytes.len();
        self.put(file.try_clone()?, Lasting::File { bytes, cut })
    }

    fn note_cut(&mut self, file: &File, len: usize) -> io::Result<()> {
        let inode = file.metadata()?.ino();
        if let Some(Node {
            lasting: Lasting::File { cut, .. },
            ..
        }) = self.nodes.get_mut(&inode)
        {
            *cut = len.min(*cut);
            return Ok(());
        }
        let (bytes, cut) = (Vec::new(), 0);
        self.put(file.try_clone()?, Lasting::File { bytes, cut })
    }

    fn note_names(&mut self, folder: &Path) -> io::Result<()> {
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            names.insert(entry.file_name(), entry.metadata()?.ino());
        }
        self.put(File::open(folder)?, Lasting::Folder(names))
    }

    fn put(&mut self, held: File, lasting: Lasting) -> io::Result<()> {
        let inode = held.metadata()?.ino();
        let _held = held;
        self.nodes.insert(inode, Node { lasting, _held });
        Ok(())
    }

    /// Counts a change, and refuses it where the disk has stopped; then says whether it does so with this one.
    fn change(&mut self) -> Result<(), bool> {
        self.changes += 1;
        if self.changes < self.stops_at {
            return Ok(());
        }
        Err(self.changes == self.stops_at)
    }

    fn lose_data(&self, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let (path, metadata) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
            if metadata.is_dir() {
                self.lose_data(&path)?;
                continue;
            }
            let lasting = self.nodes.get(&metadata.ino()).map(|node| &node.lasting);
            match lasting {
                Some(Lasting::File { bytes, cut }) => fs::write(path, &bytes[..*cut])?,
                _ => fs::write(path, [])?,
            }
        }
        Ok(())
    }

    /// Puts what lasts of a node at `path`, in place of what is there.
    fn make(&self, path: &Path, inode: u64) -> io::Result<()> {
        match self.nodes.get(&inode).map(|node| &node.lasting) {
            Some(Lasting::File { bytes, .. }) => fs::write(path, bytes),
            Some(Lasting::Folder(names)) => {
                if *path == self.root {
                    for entry in fs::read_dir(path)? {
                        remove(&entry?.path())?;
                    }
                } else {
                    fs::create_dir(path)?;
                }
                let mut names = names.iter();
                names.try_for_each(|(name, inode)| self.make(&path.join(name), *inode))
            }
            None => fs::write(path, []),
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

fn disk_of(path: &Path) -> Option<Arc<Mutex<State>>> {
    if WATCHED.load(Ordering::Acquire) == 0 {
        return None;
    }
    let disks = DISKS.lock();
    let disk = disks
        .iter()
        .find(|disk| path.starts_with(&disk.lock().root));
    disk.cloned()
}

fn stopped() -> io::Error {
    io::Error::other("the disk has stopped")
}

fn noted(path: &Path, note: impl FnOnce(&mut State) -> io::Result<()>) -> io::Result<()> {
    disk_of(path).map_or(Ok(()), |disk| note(&mut disk.lock()))
}

/// Whether a disk is watched that has this path.
pub(crate) fn is_played(path: &Path) -> bool {
    disk_of(path).is_some()
}

pub(crate) fn before_change(path: &Path) -> io::Result<()> {
    noted(path, |disk| disk.change().map_err(|_| stopped()))
}

/// `write` puts so many of the first bytes on the disk.
pub(crate) fn before_write(
    path: &Path,
    len: usize,
    write: impl FnOnce(usize) -> io::Result<()>,
) -> io::Result<()> {
    noted(path, |disk| match disk.change() {
        Ok(()) => Ok(()),
        Err(stops_here) => {
            if stops_here && disk.end == End::Torn {
                write(len / 2 / SECTOR * SECTOR)?;
            }
            Err(stopped())
        }
    })
}

/// Removes the files of a folder one by one, as its removal does.
pub(crate) fn before_removal(folder: &Path) -> io::Result<()> {
    if !is_played(folder) {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        before_change(&path)?;
        remove(&path)?;
    }
    before_change(folder)
}

pub(crate) fn cut(file: &File, path: &Path, len: u64) -> io::Result<()> {
    noted(path, |disk| disk.note_cut(file, len as usize))
}

pub(crate) fn synced(file: &File, path: &Path) -> io::Result<()> {
    noted(path, |disk| disk.note_synced(file))
}

/// None of its names last yet, nor does its own.
pub(crate) fn folder_made(folder: &Path) -> io::Result<()> {
    let names = Lasting::Folder(BTreeMap::new());
    noted(folder, |disk| disk.put(File::open(folder)?, names))
}

pub(crate) fn folder_synced(folder: &Path) -> io::Result<()> {
    noted(folder, |disk| disk.note_names(folder))
}
