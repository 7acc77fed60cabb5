//! What a member has heard of its leader.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::types::NodeId;

/// When the leader last spoke, and whether its connection was closed since.
pub(super) struct Heard(Mutex<State>);

struct State {
    from: Option<NodeId>,
    at: Instant,
    /// When a leader last spoke, or this began; nothing else moves it.
    spoke: Instant,
    closed: bool,
    voted: Option<Instant>,
    promised: Option<Instant>,
}

impl State {
    fn now(from: Option<NodeId>) -> Self {
        let now = Instant::now();
        Self {
            from,
            at: now,
            spoke: now,
            closed: false,
            voted: None,
            promised: None,
        }
    }
}

impl Heard {
    /// A start counts as hearing of a leader: there may be one that does not know of it yet.
    pub(super) fn new() -> Self {
        Self(Mutex::new(State::now(None)))
    }

    /// As at a start, for whoever would call an election: a member that led, or did not vote, has heard nothing, and
    /// that says nothing.
    pub(super) fn start_over(&self) {
        let mut state = self.0.lock();
        let spoke = state.spoke;
        *state = State {
            spoke,
            ..State::now(None)
        };
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

    /// This member promises its vote to another.
    pub(super) fn promised(&self) {
        self.0.lock().promised = Some(Instant::now());
    }

    /// Whether it did, so lately.
    pub(super) fn promised_within(&self, within: Duration) -> bool {
        let promised = self.0.lock().promised;
        promised.is_some_and(|at| at.elapsed() < within)
    }

    /// For how long no leader has spoken, while this member might have called an election.
    pub(super) fn silence(&self) -> Duration {
        self.0.lock().at.elapsed()
    }

    /// For how long no leader has spoken, whatever this member was meanwhile; since the start where none ever has.
    pub(super) fn unheard(&self) -> Duration {
        self.0.lock().spoke.elapsed()
    }

    /// The leader that closed its connection and has not spoken since.
    pub(super) fn closed_by(&self) -> Option<NodeId> {
        let state = self.0.lock();
        state.from.filter(|_| state.closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_does_not_vote_still_knows_for_how_long_no_leader_has_spoken() {
        let (heard, long) = (Heard::new(), Duration::from_secs(5));
        tokio::time::advance(long).await;
        // As elections do for learners, again and again.
        heard.start_over();
        assert_eq!((heard.silence(), heard.unheard()), (Duration::ZERO, long));
        heard.note(7);
        assert_eq!(heard.unheard(), Duration::ZERO);
        tokio::time::advance(long).await;
        assert_eq!((heard.silence(), heard.unheard()), (long, long));
    }
}
