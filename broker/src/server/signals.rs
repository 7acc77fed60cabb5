//! SIGTERM and SIGINT.

use super::StartError;

/// The signals that ask the broker to stop.
#[cfg(not(feature = "simulation"))]
pub struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(not(feature = "simulation"))]
impl Signals {
    /// Takes the signals over from the system's default, which would end the process at once.
    pub fn listen() -> Result<Self, StartError> {
        use tokio::signal::unix::{SignalKind, signal};
        let take = |kind| signal(kind).map_err(StartError::System);
        Ok(Self {
            terminate: take(SignalKind::terminate())?,
            interrupt: take(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next of them.
    pub async fn stop_asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The simulation's: one that asks to stop. A second would end the process, which is all brokers there.
#[cfg(feature = "simulation")]
pub struct Signals(Option<tokio::sync::mpsc::UnboundedReceiver<()>>);

#[cfg(feature = "simulation")]
impl Signals {
    /// There are none to take over.
    pub fn listen() -> Result<Self, StartError> {
        Ok(Self(None))
    }

    /// Those that come by a channel.
    pub fn from(signals: tokio::sync::mpsc::UnboundedReceiver<()>) -> Self {
        Self(Some(signals))
    }

    /// Waits for it; for ever once it has come.
    pub async fn stop_asked(&mut self) {
        if let Some(signals) = &mut self.0
            && signals.recv().await.is_some()
        {
            self.0 = None;
            return;
        }
        std::future::pending::<()>().await;
    }
}
