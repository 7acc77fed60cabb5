//! What a power loss leaves on a disk.
//!
//! Files of logs are real files. Of each it is noted how much of it was last synced, and of each folder which names; at
//! a power loss files are cut back to that, and files and folders whose name was never synced are removed, or, by the
//! seed, stay. A rename or a removal lasts at once, and bytes that were overwritten below the synced length are not
//! brought back. The metadata's store lies in memory, with what has been written since its last sync: a power loss
//! undoes the later part of that, from a place that the seed decides.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rand::Rng;

#[derive(Default)]
struct Known {
    /// Synced bytes by inode: the kernel gives an inode of `/dev/shm` to no second file.
    files: HashMap<u64, u64>,
    /// Synced names by the folder's inode.
    folders: HashMap<u64, BTreeSet<OsString>>,
}

static KNOWN: Mutex<Option<Known>> = Mutex::new(None);
static STORES: Mutex<BTreeMap<PathBuf, Arc<Store>>> = Mutex::new(BTreeMap::new());

/// How long a sync of the metadata's store takes, at least and at most, ms.
const SYNC_USUALLY_MS: (u64, u64) = (1, 4);
static SYNC_MS: Mutex<(u64, u64)> = Mutex::new(SYNC_USUALLY_MS);

/// From now on a sync of the metadata's store takes so long on every machine, at least and at most, ms.
pub fn set_sync_ms(least_and_most: (u64, u64)) {
    *SYNC_MS.lock() = least_and_most;
}

/// Syncs take what they usually do.
pub fn calm() {
    set_sync_ms(SYNC_USUALLY_MS);
}

/// How long the next one takes, ms.
pub fn next_sync_ms() -> u64 {
    let (least, most) = *SYNC_MS.lock();
    rand::rng().random_range(least..=most)
}

fn known<T>(with: impl FnOnce(&mut Known) -> T) -> T {
    with(KNOWN.lock().get_or_insert_default())
}

/// A file was made, or emptied.
pub fn emptied(file: &File) -> io::Result<()> {
    let inode = file.metadata()?.ino();
    known(|known| known.files.insert(inode, 0));
    Ok(())
}

/// A file was synced as it is.
pub fn synced(file: &File) -> io::Result<()> {
    let metadata = file.metadata()?;
    known(|known| known.files.insert(metadata.ino(), metadata.len()));
    Ok(())
}

/// A file's size was set: what comes behind it is not on the disk.
pub fn resized(file: &File, len: u64) -> io::Result<()> {
    let inode = file.metadata()?.ino();
    known(|known| {
        if let Some(synced) = known.files.get_mut(&inode) {
            *synced = len.min(*synced);
        }
    });
    Ok(())
}

/// A folder was synced.
pub fn folder_synced(path: &Path) -> io::Result<()> {
    let inode = fs::metadata(path)?.ino();
    let names = names(path)?;
    known(|known| known.folders.insert(inode, names));
    Ok(())
}

fn names(path: &Path) -> io::Result<BTreeSet<OsString>> {
    fs::read_dir(path)?
        .map(|entry| Ok(entry?.file_name()))
        .collect()
}

/// Takes from the disk at `root` what was not synced. `root` itself stays.
pub fn lose_power(root: &Path, rng: &mut impl Rng) -> io::Result<()> {
    known(|known| lose(root, known, rng))?;
    for (path, store) in STORES.lock().iter() {
        if path.starts_with(root) {
            store.lose(rng);
        }
    }
    Ok(())
}

fn lose(folder: &Path, known: &Known, rng: &mut impl Rng) -> io::Result<()> {
    let lasting = known.folders.get(&fs::metadata(folder)?.ino());
    for name in names(folder)? {
        let path = folder.join(&name);
        let metadata = fs::metadata(&path)?;
        let lasts = lasting.is_some_and(|names| names.contains(&name)) || rng.random();
        match (lasts, metadata.is_dir()) {
            (true, true) => lose(&path, known, rng)?,
            (false, true) => fs::remove_dir_all(&path)?,
            (true, false) => {
                let synced = known.files.get(&metadata.ino()).copied().unwrap_or(0);
                if metadata.len() > synced {
                    File::options().write(true).open(&path)?.set_len(synced)?;
                }
            }
            (false, false) => fs::remove_file(&path)?,
        }
    }
    Ok(())
}

/// Empties the disk at `root`, as if it was another.
pub fn wipe(root: &Path) -> io::Result<()> {
    STORES.lock().retain(|path, _| !path.starts_with(root));
    fs::remove_dir_all(root)?;
    fs::create_dir_all(root)
}

/// A process on the disk at `root` dies: what its handles write from now on is not written.
pub fn detach(root: &Path) {
    for (path, store) in STORES.lock().iter_mut() {
        if path.starts_with(root) {
            let left = Store::default();
            {
                let mut content = store.0.lock();
                let mut copy = left.0.lock();
                copy.bytes = content.bytes.clone();
                copy.undo = std::mem::take(&mut content.undo);
            }
            *store = Arc::new(left);
        }
    }
}

/// Whether there is a store at this path.
pub fn has_store(path: &Path) -> bool {
    STORES.lock().contains_key(path)
}

/// The store at this path; made where there is none.
pub fn store(path: &Path) -> Arc<Store> {
    STORES.lock().entry(path.to_owned()).or_default().clone()
}

/// A file in memory.
#[derive(Debug, Default)]
pub struct Store(Mutex<Content>);

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    /// What each write since the last sync has replaced; the length too.
    undo: Vec<(usize, usize, Vec<u8>)>,
}

impl Store {
    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.0.lock().bytes.len()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `out` from `offset` on; an error where it is shorter.
    pub fn read(&self, offset: usize, out: &mut [u8]) -> io::Result<()> {
        let content = self.0.lock();
        let bytes = content.bytes.get(offset..offset + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    /// Sets its length.
    pub fn set_len(&self, len: usize) {
        let mut content = self.0.lock();
        let before = content.bytes.len();
        let cut = content.bytes.get(len..).unwrap_or_default().to_vec();
        content.undo.push((before, len.min(before), cut));
        content.bytes.resize(len, 0);
    }

    /// Writes over what is there, and behind it.
    pub fn write(&self, offset: usize, data: &[u8]) {
        let mut content = self.0.lock();
        let before = content.bytes.len();
        let end = offset + data.len();
        if before < end {
            content.bytes.resize(end, 0);
        }
        let replaced = content.bytes[offset..end].to_vec();
        content.undo.push((before, offset, replaced));
        content.bytes[offset..end].copy_from_slice(data);
    }

    /// What was written lasts.
    pub fn sync(&self) {
        self.0.lock().undo.clear();
    }

    fn lose(&self, rng: &mut impl Rng) {
        let mut content = self.0.lock();
        let kept = rng.random_range(0..=content.undo.len());
        while content.undo.len() > kept {
            let Some((len, offset, replaced)) = content.undo.pop() else {
                break;
            };
            let end = offset + replaced.len();
            if content.bytes.len() < end {
                content.bytes.resize(end, 0);
            }
            content.bytes[offset..end].copy_from_slice(&replaced);
            content.bytes.resize(len, 0);
        }
        content.undo.clear();
    }
}
