//! What is to be reconciled, and when: each key once, never twice at the same time, the earliest wish wins.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// A queue of keys with due times. As long as the keys are few it is looked through; topics have their own.
#[derive(Debug)]
pub struct Queue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

#[derive(Debug)]
struct State<K> {
    due: HashMap<K, Instant>,
    running: HashSet<K>,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                due: HashMap::new(),
                running: HashSet::new(),
            }),
            changed: Notify::new(),
        }
    }
}

impl<K: Clone + Eq + Hash> Queue<K> {
    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wants `key` after `delay`, or earlier where that is wanted already.
    pub fn add(&self, key: K, delay: Duration) {
        let at = Instant::now() + delay;
        let mut state = self.state();
        let due = state.due.entry(key).or_insert(at);
        *due = at.min(*due);
        drop(state);
        self.changed.notify_one();
    }

    /// The next key that is due and not in hand; it is in hand from now on, until [`Queue::done`].
    pub async fn next(&self) -> K {
        loop {
            let until = match self.take() {
                Ok(key) => return key,
                Err(until) => until,
            };
            let changed = self.changed.notified();
            match until {
                None => changed.await,
                Some(until) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(until) => {}
                },
            }
        }
    }

    /// A due key, or when there will be one.
    fn take(&self) -> Result<K, Option<Instant>> {
        let now = Instant::now();
        let mut state = self.state();
        let idle = state
            .due
            .iter()
            .filter(|(key, _)| !state.running.contains(key));
        let Some((key, at)) = idle.min_by_key(|(_, at)| **at) else {
            return Err(None);
        };
        let (key, at) = (key.clone(), *at);
        if at > now {
            return Err(Some(at));
        }
        state.due.remove(&key);
        state.running.insert(key.clone());
        drop(state);
        // Another worker may wait for what else is due.
        self.changed.notify_one();
        Ok(key)
    }

    /// `key` is no longer in hand, and wanted `again` after that time.
    pub fn done(&self, key: K, again: Option<Duration>) {
        self.state().running.remove(&key);
        match again {
            Some(again) => self.add(key, again),
            None => self.changed.notify_one(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(20);
    const LATE: Duration = Duration::from_secs(3_600);

    #[tokio::test]
    async fn a_key_wanted_twice_comes_once_and_at_the_earlier_time() {
        let queue = Queue::default();
        queue.add("a", LATE);
        queue.add("a", Duration::ZERO);
        queue.add("a", LATE);
        assert_eq!(queue.next().await, "a");
        queue.done("a", None);
        assert!(tokio::time::timeout(SOON, queue.next()).await.is_err());
    }

    #[tokio::test]
    async fn a_key_in_hand_waits_until_it_is_done() {
        let queue = Queue::default();
        queue.add("a", Duration::ZERO);
        assert_eq!(queue.next().await, "a");
        queue.add("a", Duration::ZERO);
        assert!(tokio::time::timeout(SOON, queue.next()).await.is_err());
        queue.add("b", SOON);
        assert_eq!(queue.next().await, "b", "another is not held up");
        queue.done("a", Some(LATE));
        assert_eq!(
            queue.next().await,
            "a",
            "what was wanted meanwhile is not forgotten"
        );
    }
}
