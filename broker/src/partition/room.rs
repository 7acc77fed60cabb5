//! What keeps one stalled disk from holding up more than its own appends.
//!
//! An append runs in the task that read the request, and holds its worker while the disk stalls. With a worker go
//! three things that others wait for, and each has its remedy:
//!
//! | lost with the worker | remedy |
//! | --- | --- |
//! | the worker itself, and with several stalled files several | [`AppendRoom`]: appends of a directory are fewer than workers |
//! | the poll for sockets and timers, which no other worker takes over by itself | `server/pulse.rs` wakes one |
//! | the task that this worker has woken last, which tokio lets no other worker steal | [`let_woken_run`] before an append |

use std::cell::Cell;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::lookup::LookupRoom;

thread_local! {
    // A task that this worker has woken may wait for it alone.
    static HAS_WOKEN: Cell<bool> = const { Cell::new(false) };
}

/// A data directory's room for appends, and for the lookups that wait for its disk.
#[derive(Debug)]
pub struct AppendRoom {
    pub(super) lookups: LookupRoom,
    free: Semaphore,
    size: usize,
}

impl AppendRoom {
    /// Room for `size` appends at once.
    pub fn new(size: usize) -> Self {
        let free = Semaphore::new(size);
        Self {
            lookups: LookupRoom::default(),
            free,
            size,
        }
    }

    /// Waits for room, without holding a thread.
    pub async fn enter(&self) -> SemaphorePermit<'_> {
        match self.free.try_acquire() {
            Ok(room) => room,
            Err(_) => {
                let room = self.free.acquire().await;
                room.unwrap_or_else(|_| unreachable!("the semaphore is never closed"))
            }
        }
    }

    /// How many appends are under way.
    pub fn used(&self) -> usize {
        self.size - self.free.available_permits()
    }

    /// Whether others may wait for room.
    pub fn is_full(&self) -> bool {
        self.free.available_permits() == 0
    }
}

/// Notes that this thread has woken a task.
pub fn note_woken() {
    HAS_WOKEN.set(true);
}

/// Lets a task run that this worker has woken, before the worker is held by an append.
pub async fn let_woken_run() {
    if HAS_WOKEN.take() {
        tokio::task::yield_now().await;
    }
}
