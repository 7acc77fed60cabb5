//! Disk faults on demand, for tests: reads, writes and syncs of files whose path contains a given text. Syncs can be
//! counted. [`disk`] stops whole disks.

pub mod disk;

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Condvar, Mutex};

use crate::files::Call;

/// What happens to a matching call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Writes wait until the guard is dropped.
    StallWrites,
    /// Writes store this many bytes and then fail as by a full disk.
    FailWrites(usize),
    /// Writes store this many bytes and then fail with this code of the system's (`errno`).
    RefuseWrites(usize, i32),
    /// Each write stores no more than this many bytes, and says so.
    ShortWrites(usize),
    /// Files can't be opened to be written, for this code of the system's (`errno`); to be read alone they can.
    RefuseOpens(i32),
    /// Files that have such a name get no other one, for this code of the system's (`errno`).
    RefuseRenames(i32),
    /// New sizes wait until the guard is dropped.
    StallResizes,
    /// New sizes are refused with this code of the system's (`errno`).
    RefuseResizes(i32),
    /// Reads wait until the guard is dropped, also of what the page cache has.
    StallReads,
    /// The page cache has nothing for who does not wait for the disk, as where a file system has no `RWF_NOWAIT`.
    MissCache,
    /// Reads fail as of a bad block, also of what the page cache has.
    FailReads,
    /// The first so many reads fail with this code of the system's (`errno`), also of what the page cache has.
    RefuseReads(usize, i32),
    /// Syncs wait until the guard is dropped.
    StallSyncs,
    /// Syncs fail.
    FailSyncs,
    /// Nothing: syncs are counted, see [`FaultGuard::syncs`].
    CountSyncs,
    /// Requests for write-back wait until the guard is dropped.
    StallWriteBack,
    /// Requests for write-back fail with this code of the system's (`errno`).
    RefuseWriteBack(i32),
}

static ARMED: AtomicUsize = AtomicUsize::new(0);
static FAULTS: Mutex<Vec<Armed>> = Mutex::new(Vec::new());
static CHANGED: Condvar = Condvar::new();
static NEXT: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug)]
struct Armed {
    id: usize,
    part: String,
    fault: Fault,
    syncs: Arc<AtomicUsize>,
    stalled: Arc<AtomicUsize>,
    written_back: Arc<AtomicUsize>,
    refused: AtomicUsize,
}

/// The fault lasts as long as this value.
#[derive(Debug)]
#[must_use = "the fault ends when this is dropped"]
pub struct FaultGuard {
    id: usize,
    syncs: Arc<AtomicUsize>,
    stalled: Arc<AtomicUsize>,
    written_back: Arc<AtomicUsize>,
}

impl FaultGuard {
    /// For how many bytes of matching files write-back was asked for meanwhile.
    pub fn written_back(&self) -> usize {
        self.written_back.load(Ordering::SeqCst)
    }

    /// How many calls have been stalled so far.
    pub fn stalled(&self) -> usize {
        self.stalled.load(Ordering::SeqCst)
    }

    /// How many syncs of matching files have begun meanwhile.
    pub fn syncs(&self) -> usize {
        self.syncs.load(Ordering::SeqCst)
    }
}

/// Arms `fault` for every file whose path contains `part`.
pub fn inject(part: &str, fault: Fault) -> FaultGuard {
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let [syncs, stalled, written_back] = std::array::from_fn(|_| Arc::<AtomicUsize>::default());
    FAULTS.lock().push(Armed {
        id,
        part: part.to_owned(),
        fault,
        syncs: syncs.clone(),
        stalled: stalled.clone(),
        written_back: written_back.clone(),
        refused: AtomicUsize::new(0),
    });
    ARMED.fetch_add(1, Ordering::Release);
    FaultGuard {
        id,
        syncs,
        stalled,
        written_back,
    }
}

impl Drop for FaultGuard {
    fn drop(&mut self) {
        FAULTS.lock().retain(|armed| armed.id != self.id);
        ARMED.fetch_sub(1, Ordering::Release);
        CHANGED.notify_all();
    }
}

fn matching<'a>(faults: &'a [Armed], path: &Path, call: Call) -> Option<&'a Armed> {
    let path = path.to_string_lossy();
    let matches = |fault: Fault| match fault {
        Fault::StallReads => call == Call::Read,
        Fault::MissCache => call == Call::ReadWithoutWait,
        Fault::FailReads | Fault::RefuseReads(..) => {
            matches!(call, Call::Read | Call::CachedRead)
        }
        Fault::StallWrites
        | Fault::FailWrites(_)
        | Fault::RefuseWrites(..)
        | Fault::ShortWrites(_) => call == Call::Write,
        Fault::RefuseOpens(_) => call == Call::Open,
        Fault::RefuseRenames(_) => call == Call::Rename,
        Fault::StallResizes | Fault::RefuseResizes(_) => call == Call::Resize,
        Fault::StallSyncs | Fault::FailSyncs => call == Call::Sync,
        Fault::StallWriteBack | Fault::RefuseWriteBack(_) => call == Call::WriteBack,
        Fault::CountSyncs => false,
    };
    let is_left = |armed: &Armed| match armed.fault {
        Fault::RefuseReads(times, _) => armed.refused.load(Ordering::SeqCst) < times,
        _ => true,
    };
    faults
        .iter()
        .find(|armed| matches(armed.fault) && path.contains(armed.part.as_str()) && is_left(armed))
}

/// Counts something for each fault that may meet the file.
fn each_of(path: &Path, count: impl Fn(&Armed) -> usize) {
    let path = path.to_string_lossy();
    for armed in FAULTS.lock().iter() {
        if path.contains(armed.part.as_str()) {
            count(armed);
        }
    }
}

fn wait_for_fault(path: &Path, call: Call) -> Option<Fault> {
    if ARMED.load(Ordering::Acquire) == 0 {
        return None;
    }
    let mut faults = FAULTS.lock();
    let mut stalled_by = None;
    loop {
        let armed = matching(&faults, path, call)?;
        match armed.fault {
            Fault::StallReads
            | Fault::StallWrites
            | Fault::StallResizes
            | Fault::StallSyncs
            | Fault::StallWriteBack => {
                if stalled_by.replace(armed.id) != Some(armed.id) {
                    armed.stalled.fetch_add(1, Ordering::SeqCst);
                }
                CHANGED.wait(&mut faults);
            }
            Fault::RefuseReads(..) => {
                armed.refused.fetch_add(1, Ordering::SeqCst);
                return Some(armed.fault);
            }
            other => return Some(other),
        }
    }
}

/// Before an opening, a rename or a new size.
pub(crate) fn before_call(call: Call, path: &Path) -> io::Result<()> {
    match wait_for_fault(path, call) {
        Some(
            Fault::RefuseOpens(code) | Fault::RefuseRenames(code) | Fault::RefuseResizes(code),
        ) => Err(io::Error::from_raw_os_error(code)),
        _ => Ok(()),
    }
}

/// The most bytes that a write may store.
pub(crate) fn short_write(path: &Path) -> Option<usize> {
    match wait_for_fault(path, Call::Write) {
        Some(Fault::ShortWrites(bytes_max)) => Some(bytes_max),
        _ => None,
    }
}

pub(crate) fn before_read(path: &Path) -> io::Result<()> {
    bad_block_at(wait_for_fault(path, Call::Read))
}

/// Whether the page cache is to have nothing of this file.
pub(crate) fn is_cold(path: &Path) -> bool {
    wait_for_fault(path, Call::ReadWithoutWait).is_some()
}

pub(crate) fn before_cached_read(path: &Path) -> io::Result<()> {
    bad_block_at(wait_for_fault(path, Call::CachedRead))
}

/// EIO, where there is a fault of no other code.
fn bad_block_at(fault: Option<Fault>) -> io::Result<()> {
    match fault {
        Some(Fault::RefuseReads(_, code)) => Err(io::Error::from_raw_os_error(code)),
        Some(_) => Err(io::Error::from_raw_os_error(5)),
        None => Ok(()),
    }
}

pub(crate) fn before_write(
    path: &Path,
    write_part: impl FnOnce(usize) -> io::Result<()>,
) -> io::Result<()> {
    let (bytes, error) = match wait_for_fault(path, Call::Write) {
        Some(Fault::FailWrites(bytes)) => (bytes, io::ErrorKind::StorageFull.into()),
        Some(Fault::RefuseWrites(bytes, code)) => (bytes, io::Error::from_raw_os_error(code)),
        _ => return Ok(()),
    };
    write_part(bytes)?;
    Err(error)
}

pub(crate) fn before_write_back(path: &Path, bytes: &Range<u64>) -> io::Result<()> {
    if ARMED.load(Ordering::Acquire) > 0 {
        let len = (bytes.end - bytes.start) as usize;
        each_of(path, |armed| {
            armed.written_back.fetch_add(len, Ordering::SeqCst)
        });
    }
    match wait_for_fault(path, Call::WriteBack) {
        Some(Fault::RefuseWriteBack(code)) => Err(io::Error::from_raw_os_error(code)),
        _ => Ok(()),
    }
}

pub(crate) fn before_sync(path: &Path) -> io::Result<()> {
    if ARMED.load(Ordering::Acquire) > 0 {
        each_of(path, |armed| armed.syncs.fetch_add(1, Ordering::SeqCst));
    }
    bad_block_at(wait_for_fault(path, Call::Sync))
}
