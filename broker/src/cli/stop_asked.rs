//! Ctrl-C and SIGTERM, for commands that end in order.

use std::future::pending;
use std::pin::pin;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

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

/// The end of a command that has things in hand: the first signal gives them a while, the second none.
pub struct Ending {
    stop: StopAsked,
    grace: Duration,
    asked: Option<Asked>,
}

/// By which signal, and when the time is over.
#[derive(Clone, Copy)]
struct Asked {
    exit: Exit,
    until: Instant,
}

impl Ending {
    /// From here on signals are waited for; `grace` is what the first of them leaves.
    pub fn listen(grace: Duration) -> Result<Self, Failure> {
        Ok(Self {
            stop: StopAsked::listen()?,
            grace,
            asked: None,
        })
    }

    /// What the command exits with that a signal has cut short; `None` before any.
    pub fn asked(&self) -> Option<Exit> {
        self.asked.map(|asked| asked.exit)
    }

    /// Waits for a signal, which [`Self::asked`] tells from then on.
    pub async fn signal(&mut self) {
        let exit = self.stop.asked().await;
        let grace = self.asked.map_or(self.grace, |_| Duration::ZERO);
        let until = Instant::now() + grace;
        self.asked = Some(Asked { exit, until });
    }

    /// Does the work, unless a second signal comes, or the time is over that the first has left.
    pub async fn within<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Exit> {
        let mut work = pin!(work);
        loop {
            let asked = self.asked;
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                exit = over(asked) => return Err(exit),
                () = self.signal() => {}
            }
        }
    }
}

/// Waits until the time is over.
async fn over(asked: Option<Asked>) -> Exit {
    match asked {
        Some(asked) => {
            sleep_until(asked.until).await;
            asked.exit
        }
        None => pending().await,
    }
}
