//! Who is told of the changes of disks: those that play disks in tests, and may refuse a change. A broker tells nobody.
#![cfg_attr(not(any(test, feature = "faults")), allow(unused_variables, dead_code))]

use std::fs::File;
use std::io;
use std::path::Path;

#[cfg(any(test, feature = "faults"))]
use crate::faults::disk as faults;

/// Whether anybody may be told.
pub(super) const IS_OBSERVED: bool = cfg!(any(test, feature = "faults", feature = "simulation"));

/// A call that a test may stall or fail, whatever disks are played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Read,
    /// Of what the page cache has, or to a socket.
    CachedRead,
    /// Of what the page cache has, by who would not wait for the disk.
    ReadWithoutWait,
    Write,
    Sync,
    WriteBack,
    /// Of a file, to write it.
    Open,
    /// By its present name.
    Rename,
    Resize,
}

/// It is about to be made.
pub(super) fn before_call(call: Call, path: &Path) -> io::Result<()> {
    #[cfg(any(test, feature = "faults"))]
    crate::faults::before_call(call, path)?;
    Ok(())
}

/// Something at `path` is about to change.
pub(super) fn before(path: &Path) -> io::Result<()> {
    #[cfg(any(test, feature = "faults"))]
    faults::before_change(path)?;
    Ok(())
}

/// What is at `path` is about to be synced.
pub(super) fn before_sync(path: &Path) -> io::Result<()> {
    #[cfg(any(test, feature = "faults"))]
    crate::faults::before_sync(path)?;
    Ok(())
}

/// As [`before`], where the change comes to nothing without what is at `path`.
pub(super) fn before_of(path: &Path) -> io::Result<()> {
    #[cfg(any(test, feature = "faults"))]
    if is_played(path) && path.exists() {
        faults::before_change(path)?;
    }
    Ok(())
}

/// A folder is about to go, with all that is in it.
pub(super) fn before_removal(folder: &Path) -> io::Result<()> {
    #[cfg(any(test, feature = "faults"))]
    faults::before_removal(folder)?;
    Ok(())
}

/// Whether a test plays the disk, and there is nothing to sync.
#[cfg(any(test, feature = "faults"))]
pub(super) use faults::is_played;

/// Nobody plays it.
#[cfg(not(any(test, feature = "faults")))]
pub(super) fn is_played(_: &Path) -> bool {
    false
}

/// A file was made, or emptied.
pub(super) fn emptied(file: &File, path: &Path) -> io::Result<()> {
    #[cfg(any(test, feature = "faults"))]
    faults::cut(file, path, 0)?;
    #[cfg(feature = "simulation")]
    milena_simulation::disk::emptied(file)?;
    Ok(())
}

/// A file's size was set.
pub(super) fn resized(file: &File, path: &Path, len: u64) -> io::Result<()> {
    #[cfg(any(test, feature = "faults"))]
    faults::cut(file, path, len)?;
    #[cfg(feature = "simulation")]
    milena_simulation::disk::resized(file, len)?;
    Ok(())
}

/// A file was synced as it is.
pub(super) fn synced(file: &File, path: &Path) -> io::Result<()> {
    #[cfg(any(test, feature = "faults"))]
    faults::synced(file, path)?;
    #[cfg(feature = "simulation")]
    milena_simulation::disk::synced(file)?;
    Ok(())
}

/// A folder was made.
pub(super) fn folder_made(folder: &Path) -> io::Result<()> {
    #[cfg(any(test, feature = "faults"))]
    faults::folder_made(folder)?;
    Ok(())
}

/// A folder's names were synced as they are.
pub(super) fn folder_synced(folder: &Path) -> io::Result<()> {
    #[cfg(any(test, feature = "faults"))]
    faults::folder_synced(folder)?;
    #[cfg(feature = "simulation")]
    milena_simulation::disk::folder_synced(folder)?;
    Ok(())
}
