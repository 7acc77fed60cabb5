//! How the connections between this member and each other one stand: who has closed its end, and where nobody
//! listens any more.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::client::CallError;
use crate::quorum::types::NodeId;

/// What is known of one member's connections. Times are of this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Link {
    /// The connection for heartbeats is there.
    pub open: bool,
    /// When it was lost: the other end closed it, or refused a dial. None was opened since.
    pub lost: Option<Instant>,
    /// When a dial was refused last. None was opened since.
    pub refused: Option<Instant>,
}

/// Those of all members.
#[derive(Default)]
pub struct Links {
    states: Mutex<HashMap<NodeId, State>>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    link: Link,
    /// Counts connections: the end of an earlier one says nothing of the present one.
    number: u64,
}

impl Links {
    /// As of now.
    pub fn get(&self, id: NodeId) -> Link {
        let states = self.states.lock();
        states.get(&id).map(|state| state.link).unwrap_or_default()
    }

    /// Waits until something was closed, refused or opened since the last time; for one task.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The member answered a greeting; the connection's number.
    pub(super) fn opened(&self, id: NodeId) -> u64 {
        let open = Link {
            open: true,
            ..Link::default()
        };
        self.update(id, |state| {
            state.number += 1;
            state.link = open;
            state.number
        })
    }

    /// That connection has ended.
    pub(super) fn ended(&self, id: NodeId, number: u64, by_peer: bool) {
        self.update(id, |state| {
            if state.number == number {
                state.link.open = false;
                state.link.lost = by_peer.then(Instant::now);
            }
        });
    }

    /// A dial came to nothing.
    pub(super) fn failed(&self, id: NodeId, error: &CallError) {
        if matches!(error, CallError::Refused { .. }) {
            let now = Instant::now();
            self.update(id, |state| {
                state.link.lost.get_or_insert(now);
                state.link.refused = Some(now);
            });
        }
    }

    /// The member has opened a connection here. Where it could not be dialled, it is back.
    pub fn heard_from(&self, id: NodeId) {
        self.update(id, |state| {
            (state.link.lost, state.link.refused) = (None, None);
        });
    }

    /// The member has closed a connection that it had opened. Of one that is connected from here as well, that
    /// connection's own end will tell.
    pub fn closed_there(&self, id: NodeId) {
        self.update(id, |state| {
            if !state.link.open {
                state.link.lost.get_or_insert_with(Instant::now);
            }
        });
    }

    /// Forgets who is no member any more.
    pub(super) fn keep(&self, is_member: impl Fn(NodeId) -> bool) {
        self.states.lock().retain(|id, _| is_member(*id));
    }

    fn update<T>(&self, id: NodeId, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(self.states.lock().entry(id).or_default());
        self.changed.notify_one();
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_earlier_connection_says_nothing_of_the_present_one() {
        let links = Links::default();
        let first = links.opened(7);
        let second = links.opened(7);
        links.ended(7, first, true);
        assert!(links.get(7).open && links.get(7).lost.is_none());
        links.ended(7, second, true);
        assert!(!links.get(7).open && links.get(7).lost.is_some());
    }

    #[test]
    fn only_the_other_end_closes_a_link_and_a_new_connection_mends_it() {
        let links = Links::default();
        let refused = CallError::Refused {
            address: String::new(),
        };
        let own = links.opened(7);
        links.ended(7, own, false);
        assert_eq!(links.get(7), Link::default());
        links.closed_there(7);
        links.failed(7, &CallError::Closed);
        assert!(links.get(7).lost.is_some() && links.get(7).refused.is_none());
        links.failed(7, &refused);
        assert!(links.get(7).refused.is_some());
        links.heard_from(7);
        assert_eq!(links.get(7), Link::default());
        links.opened(7);
        links.closed_there(7);
        assert!(links.get(7).open && links.get(7).lost.is_none());
    }
}
