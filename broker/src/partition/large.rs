//! Work that opens compressed batches, which may be far larger inside than outside. A broker stays below 100 MiB
//! whatever its clients send or ask for.
//!
//! Who waits here holds nothing but what it sent. What lies in a log is read before, for the page cache to have it, and
//! again when its turn has come: a disk that stalls keeps nobody else from theirs.

use std::sync::Arc;

use milena_protocol::records::DECOMPRESSED_SIZE_MAX;
use tokio::sync::Semaphore;

use crate::blocking;

/// What a compressed batch is opened to without waiting for a turn: every worker may hold as much at once, and one
/// thread beside them. Beyond it, one batch at a time is opened, to [`DECOMPRESSED_SIZE_MAX`].
pub const DECOMPRESSED_SIZE_USUAL: usize = 4 * 1024 * 1024;

/// For the usual size; apart from the turn, since an opening in turn takes a while.
static USUAL: Semaphore = Semaphore::const_new(1);
/// Each may hold tens of MiB.
static TURN: Semaphore = Semaphore::const_new(1);

/// Runs `work`, which takes the number of bytes that it may open batches to, on a thread that may block: within the
/// usual size, and again in turn where its problem `wants_room`.
pub async fn open<T: Send + 'static, E: Send + 'static>(
    work: impl Fn(usize) -> Result<T, E> + Send + Sync + 'static,
    wants_room: fn(&E) -> bool,
) -> Result<T, E> {
    let work = Arc::new(work);
    let usual = work.clone();
    match at_a_place_of(&USUAL, move || usual(DECOMPRESSED_SIZE_USUAL)).await {
        Err(problem) if wants_room(&problem) => in_turn(move || work(DECOMPRESSED_SIZE_MAX)).await,
        opened => opened,
    }
}

/// Runs `work` on a thread that may block, when no other such work runs.
pub async fn in_turn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    at_a_place_of(&TURN, work).await
}

/// Whoever gives up waiting does not free the place before the work is done.
async fn at_a_place_of<T: Send + 'static>(
    places: &'static Semaphore,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    // The semaphores are never closed.
    let place = places.acquire().await.ok();
    let working = move || {
        let done = work();
        drop(place);
        done
    };
    blocking::run(working).await
}
