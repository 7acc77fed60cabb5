//! A shard's time, which stands still while the shard can't listen.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock;
use crate::group::classic::Now;

/// A shorter pause is part of normal work. If every append stopped the clock, a busy shard's sessions
/// would last for several times their timeouts.
const STALL_MIN: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Clock {
    origin: Instant,
    stalled: Duration,
}

impl Clock {
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
            stalled: Duration::ZERO,
        }
    }

    pub fn now(&self) -> Now {
        let listening = self.origin.elapsed().saturating_sub(self.stalled);
        Now {
            wall_ms: clock::Clock.now_ms(),
            tick_ms: listening.as_millis() as u64,
        }
    }

    /// When `tick_ms` will be, if nothing stalls.
    pub fn instant(&self, tick_ms: u64) -> Instant {
        self.origin + self.stalled + Duration::from_millis(tick_ms)
    }

    /// Nobody was listened to since `begin`.
    pub fn did_not_listen_since(&mut self, begin: Instant) {
        let pause = begin.elapsed();
        if pause >= STALL_MIN {
            self.stalled += pause;
        }
    }
}
