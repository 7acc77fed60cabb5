//! The broker's clock, in one place so that a simulation can put another there.

#[cfg(not(feature = "simulation"))]
use std::sync::LazyLock;
#[cfg(not(feature = "simulation"))]
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// What [`Clock::monotonic_ms`] counts from.
#[cfg(not(feature = "simulation"))]
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

#[derive(Debug, Clone, Copy, Default)]
pub struct Clock;

impl Clock {
    /// Milliseconds since 1970, UTC; 0 where the machine's clock stands before that.
    #[cfg(not(feature = "simulation"))]
    pub fn now_ms(self) -> i64 {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    /// Milliseconds since 1970 as the simulated machine has it.
    #[cfg(feature = "simulation")]
    pub fn now_ms(self) -> i64 {
        milena_simulation::clock::now_ms()
    }

    /// Milliseconds since some moment of this process's life, for how long something takes: whoever sets the machine's
    /// clock does not change it.
    #[cfg(not(feature = "simulation"))]
    pub fn monotonic_ms(self) -> i64 {
        i64::try_from(ORIGIN.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// Milliseconds since the simulation began.
    #[cfg(feature = "simulation")]
    pub fn monotonic_ms(self) -> i64 {
        i64::try_from(milena_simulation::clock::elapsed_ms()).unwrap_or(i64::MAX)
    }
}
