//! Ctrl-C and SIGTERM, for commands that end in order.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use super::failure::{Exit, Failure};
use crate::repeated_signal::FirstSignal;

/// Takes both over from the system's default, which would end the process at once.
pub struct StopAsked {
    interrupt: Signal,
    terminate: Signal,
    first: FirstSignal,
}

impl StopAsked {
    /// From here on they are waited for.
    pub fn listen() -> Result<Self, Failure> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            first: FirstSignal::default(),
        })
    }

    /// Waits for the next that is not the first once more; what a command exits with that it cuts short.
    pub async fn asked(&mut self) -> Exit {
        loop {
            let exit = tokio::select! {
                _ = self.interrupt.recv() => Exit::Interrupted,
                _ = self.terminate.recv() => Exit::Terminated,
            };
            if !self.first.is_repeated(Instant::now()) {
                return exit;
            }
        }
    }
}
