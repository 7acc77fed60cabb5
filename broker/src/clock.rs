//! The broker's clock, in one place so that a simulation can put another there.

#[cfg(not(feature = "simulation"))]
use std::time::{SystemTime, UNIX_EPOCH};

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
}
