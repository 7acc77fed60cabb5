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
    voted: Option<Instant>,
}

impl State {
    fn now(from: Option<NodeId>) -> Self {
        Self {
            from,
            at: Instant::now(),
            closed: false,
            voted: None,
        }
    }
}

impl Heard {
    /// A start counts as hearing of a leader: there may be one that does not know of it yet.
    pub(super) fn new() -> Self {
        Self(Mutex::new(State::now(None)))
    }

    /// As at a start: a member that led, or did not vote, has heard nothing, and that says nothing.
    pub(super) fn start_over(&self) {
        *self.0.lock() = State::now(None);
    }

    /// A leader spoke.
    pub(super) fn note(&self, from: NodeId) {
        *self.0.lock() = State::now(Some(from));
    }

    /// A member closed its connection.
    pub(super) fn closed(&self, from: NodeId) {
        let mut state = self.0.lock();
        if state.from == Some(from) {
            state.closed = true;
        }
    }

    /// This member gave its vote to another.
    pub(super) fn voted(&self) {
        self.0.lock().voted = Some(Instant::now());
    }

    /// Whether it did, so lately.
    pub(super) fn voted_within(&self, within: Duration) -> bool {
        self.0.lock().voted.is_some_and(|at| at.elapsed() < within)
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
