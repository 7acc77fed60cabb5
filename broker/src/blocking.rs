//! Work that may wait for the disk, in one place so that a simulation can do it where it is asked for.

use tokio::task::{JoinError, JoinHandle};

/// Runs `work` on a thread that may block.
#[cfg(not(feature = "simulation"))]
pub fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    tokio::task::spawn_blocking(work)
}

/// Runs `work` in a task of its own: in a simulation no thread runs beside another.
#[cfg(feature = "simulation")]
pub fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(async move { work() })
}

/// Runs `work` on a thread that may block, and waits for it; whoever gives up waiting does not end it.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn(work).await.map_err(JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime ends, and this task with it.
        Err(Err(_)) => std::future::pending().await,
    }
}

/// As [`spawn`], of work that waits for the disk to take what was written.
#[cfg(not(feature = "simulation"))]
pub fn spawn_syncing(work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    spawn(work)
}

/// As [`spawn`], after the time that a disk takes: in a simulation its syncs take none by themselves.
#[cfg(feature = "simulation")]
pub fn spawn_syncing(work: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    /// Now and then a disk is slow.
    const SYNC_MS: std::ops::Range<u64> = 0..20;
    tokio::spawn(async move {
        let takes = std::time::Duration::from_millis(rand::random_range(SYNC_MS));
        tokio::time::sleep(takes).await;
        work();
    })
}

/// Runs `work` on so many threads at once, and returns when all have ended.
#[cfg(not(feature = "simulation"))]
pub fn on_threads(threads: usize, work: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        (1..threads).for_each(|_| drop(scope.spawn(&work)));
        work();
    });
}

/// Runs `work` once: it takes all that there is to do.
#[cfg(feature = "simulation")]
pub fn on_threads(_threads: usize, work: impl Fn() + Sync) {
    work();
}

/// Takes the lock, from a thread that may block.
#[cfg(not(feature = "simulation"))]
pub fn lock<T>(lock: &tokio::sync::Mutex<T>) -> tokio::sync::MutexGuard<'_, T> {
    lock.blocking_lock()
}

/// Takes the lock, which is free: no task of this code waits while it holds one.
#[cfg(feature = "simulation")]
pub fn lock<T>(lock: &tokio::sync::Mutex<T>) -> tokio::sync::MutexGuard<'_, T> {
    lock.try_lock()
        .unwrap_or_else(|_| panic!("a lock is held across a wait"))
}

/// Takes the lock if it is free within `wait_max`, from a thread that [`spawn`] works on.
#[cfg(not(feature = "simulation"))]
pub fn lock_within<T>(
    lock: &tokio::sync::Mutex<T>,
    wait_max: std::time::Duration,
) -> Option<tokio::sync::MutexGuard<'_, T>> {
    let waiting = async { tokio::time::timeout(wait_max, lock.lock()).await.ok() };
    let now = lock.try_lock().ok();
    now.or_else(|| tokio::runtime::Handle::current().block_on(waiting))
}

/// Takes the lock, which is free: no task of this code waits while it holds one.
#[cfg(feature = "simulation")]
pub fn lock_within<T>(
    mutex: &tokio::sync::Mutex<T>,
    _wait_max: std::time::Duration,
) -> Option<tokio::sync::MutexGuard<'_, T>> {
    Some(lock(mutex))
}
