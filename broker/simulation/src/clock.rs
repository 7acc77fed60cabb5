//! The time: of the simulation, and of day as each machine has it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::machine;

/// When every simulation begins: 2026-01-01, UTC.
const BEGIN_MS: i64 = 1_767_225_600_000;

static NOW_MS: AtomicU64 = AtomicU64::new(0);

/// Sets how long the simulation has run.
pub fn set(now_ms: u64) {
    NOW_MS.store(now_ms, Ordering::Relaxed);
}

/// Milliseconds since the simulation began; no machine's clock changes it.
pub fn elapsed_ms() -> u64 {
    NOW_MS.load(Ordering::Relaxed)
}

/// Milliseconds since 1970 as the clock of the calling machine has it.
pub fn now_ms() -> i64 {
    let skew_ms = machine::current().map_or(0, machine::skew_ms);
    BEGIN_MS + i64::try_from(elapsed_ms()).unwrap_or(i64::MAX - BEGIN_MS) + skew_ms
}
