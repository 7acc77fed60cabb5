//! Work that opens compressed batches which may be far larger inside than outside.

use tokio::sync::{Semaphore, SemaphorePermit};

/// One at a time: each may hold tens of MiB, and a broker stays below 100 MiB whatever its clients send or ask for.
static TURN: Semaphore = Semaphore::const_new(1);

/// Runs `work` on a thread that may block, when no other such work runs. Whoever gives up waiting does not free the
/// turn before the work is done.
pub async fn in_turn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    // The semaphore is never closed.
    let turn: Option<SemaphorePermit<'static>> = TURN.acquire().await.ok();
    let working = crate::blocking::spawn(move || {
        let done = work();
        drop(turn);
        done
    });
    match working
        .await
        .map_err(tokio::task::JoinError::try_into_panic)
    {
        Ok(done) => done,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime ends, and this task with it.
        Err(Err(_)) => std::future::pending().await,
    }
}
