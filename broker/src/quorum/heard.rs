//! What a voter has heard of its leader.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::types::NodeId;

/// When the leader last spoke, and whether its connection was closed since.
pub(super) struct Heard(Mutex<State>);

struct State {
    from: Option<NodeId>,
    at: Instant,
    closed: bool,
}

impl Heard {
    /// A start counts as hearing of a leader: there may be one that does not know of it yet.
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            from: None,
            at: Instant::now(),
            closed: false,
        }))
    }

    /// As at a start: a member that led, or did not vote, has heard nothing, and that says nothing.
    pub(super) fn start_over(&self) {
        *self.0.lock() = State {
            from: None,
            at: Instant::now(),
            closed: false,
        };
    }

    /// A leader spoke.
    pub(super) fn note(&self, from: NodeId) {
        *self.0.lock() = State {
            from: Some(from),
            at: Instant::now(),
            closed: false,
        };
    }

    /// A member closed its connection.
    pub(super) fn closed(&self, from: NodeId) {
        let mut state = self.0.lock();
        if state.from == Some(from) {
            state.closed = true;
        }
    }

    /// For how long no leader has spoken.
    pub(super) fn silence(&self) -> Duration {
        self.0.lock().at.elapsed()
    }

    /// The leader that closed its connection and has not spoken since.
    pub(super) fn closed_by(&self) -> Option<NodeId> {
        let state = self.0.lock();
        state.from.filter(|_| state.closed)
    }
}
