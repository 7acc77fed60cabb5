//! Disk faults on demand, for tests: writes and syncs of files whose path contains a given text. Syncs can be counted.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Condvar, Mutex};

/// What happens to a matching call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Writes wait until the guard is dropped.
    StallWrites,
    /// Writes store this many bytes and then fail as by a full disk.
    FailWrites(usize),
    /// Syncs wait until the guard is dropped.
    StallSyncs,
    /// Syncs fail.
    FailSyncs,
    /// Nothing: syncs are counted, see [`FaultGuard::syncs`].
    CountSyncs,
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
}

/// The fault lasts as long as this value.
#[derive(Debug)]
#[must_use = "the fault ends when this is dropped"]
pub struct FaultGuard {
    id: usize,
    syncs: Arc<AtomicUsize>,
}

impl FaultGuard {
    /// How many syncs of matching files have begun meanwhile.
    pub fn syncs(&self) -> usize {
        self.syncs.load(Ordering::SeqCst)
    }
}

/// Arms `fault` for every file whose path contains `part`.
pub fn inject(part: &str, fault: Fault) -> FaultGuard {
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let syncs = Arc::new(AtomicUsize::new(0));
    FAULTS.lock().push(Armed {
        id,
        part: part.to_owned(),
        fault,
        syncs: syncs.clone(),
    });
    ARMED.fetch_add(1, Ordering::Release);
    FaultGuard { id, syncs }
}

impl Drop for FaultGuard {
    fn drop(&mut self) {
        FAULTS.lock().retain(|armed| armed.id != self.id);
        ARMED.fetch_sub(1, Ordering::Release);
        CHANGED.notify_all();
    }
}

fn matching(faults: &[Armed], path: &Path, syncing: bool) -> Option<Fault> {
    let path = path.to_string_lossy();
    let matches = |fault: Fault| match fault {
        Fault::StallWrites | Fault::FailWrites(_) => !syncing,
        Fault::StallSyncs | Fault::FailSyncs => syncing,
        Fault::CountSyncs => false,
    };
    faults
        .iter()
        .find(|armed| matches(armed.fault) && path.contains(armed.part.as_str()))
        .map(|armed| armed.fault)
}

fn count_sync(path: &Path) {
    let path = path.to_string_lossy();
    for armed in FAULTS.lock().iter() {
        if path.contains(armed.part.as_str()) {
            armed.syncs.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn wait_for_fault(path: &Path, syncing: bool) -> Option<Fault> {
    if ARMED.load(Ordering::Acquire) == 0 {
        return None;
    }
    let mut faults = FAULTS.lock();
    loop {
        match matching(&faults, path, syncing) {
            Some(Fault::StallWrites | Fault::StallSyncs) => CHANGED.wait(&mut faults),
            other => return other,
        }
    }
}

pub(crate) fn before_write(
    path: &Path,
    write_part: impl FnOnce(usize) -> io::Result<()>,
) -> io::Result<()> {
    let Some(Fault::FailWrites(bytes)) = wait_for_fault(path, false) else {
        return Ok(());
    };
    write_part(bytes)?;
    Err(io::ErrorKind::StorageFull.into())
}

pub(crate) fn before_sync(path: &Path) -> io::Result<()> {
    if ARMED.load(Ordering::Acquire) > 0 {
        count_sync(path);
    }
    match wait_for_fault(path, true) {
        Some(_) => Err(io::Error::from_raw_os_error(5)),
        None => Ok(()),
    }
}
