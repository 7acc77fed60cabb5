//! What a start waits for of the metadata quorum: shown to whoever asks, and said in the log at times.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The log says the same no more often.
const TELL: Duration = Duration::from_secs(10);
/// Nor something else: what is tried fails in turn for several reasons.
const TELL_NEWS: Duration = Duration::from_secs(1);

/// A handle: all clones share what is waited for.
#[derive(Debug, Clone, Default)]
pub struct StartWait(Arc<Mutex<Waits>>);

#[derive(Debug, Default)]
struct Waits {
    why: Option<String>,
    said: Option<(String, Instant)>,
}

impl StartWait {
    /// The start goes no further for now.
    pub fn tell(&self, why: impl Into<String>) {
        let why = why.into();
        let mut waits = self.0.lock();
        let is_due = waits.said.as_ref().is_none_or(|(last, at)| {
            let pause = if *last == why { TELL } else { TELL_NEWS };
            at.elapsed() >= pause
        });
        if is_due {
            tracing::info!("waiting for the metadata quorum: {why}");
            waits.said = Some((why.clone(), Instant::now()));
        }
        waits.why = Some(why);
    }

    /// It goes on.
    pub fn over(&self) {
        *self.0.lock() = Waits::default();
    }

    /// What is waited for now.
    pub fn why(&self) -> Option<String> {
        self.0.lock().why.clone()
    }
}
