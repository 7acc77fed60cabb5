//! SIGTERM and SIGINT, which ask the broker to stop, and SIGHUP, which is ignored, as Kafka does under nohup.

use super::StartError;
#[cfg(not(feature = "simulation"))]
use crate::repeated_signal::FirstSignal;

/// The signals that ask the broker to stop.
#[cfg(not(feature = "simulation"))]
pub struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    first: FirstSignal,
}

#[cfg(not(feature = "simulation"))]
impl Signals {
    /// Takes the signals over from the system's default, which would end the process at once.
    pub fn listen() -> Result<Self, StartError> {
        use tokio::signal::unix::{SignalKind, signal};
        let take = |kind| signal(kind).map_err(StartError::System);
        let mut hangup = take(SignalKind::hangup())?;
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                tracing::info!("SIGHUP is ignored; SIGTERM stops the broker");
            }
        });
        Ok(Self {
            terminate: take(SignalKind::terminate())?,
            interrupt: take(SignalKind::interrupt())?,
            first: FirstSignal::default(),
        })
    }

    /// Waits for the next of them that is not the first once more.
    pub async fn stop_asked(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            if !self.first.is_repeated(tokio::time::Instant::now()) {
                return;
            }
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
