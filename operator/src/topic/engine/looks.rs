//! What the feed does not tell, and is asked for only while somebody waits for it: replicas on their way, and misplaced
//! ones.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;
use tracing::debug;

use super::super::board::TopicKey;
use super::super::brokers::{Brokers, Misplaced};
use super::super::decide::{Seen, Step};
use super::super::metrics::Metrics;
use super::super::moves::{Moving, progress};

/// Progress is told no more often.
const MOVES_EVERY: Duration = Duration::from_secs(10);
/// After a move was begun: it may be over at once.
const MOVES_SOON: Duration = Duration::from_secs(1);
/// Misplaced replicas: racks and pools change seldom.
const MISPLACED_EVERY: Duration = Duration::from_secs(60);

/// What was seen last.
#[derive(Debug, Default)]
pub struct Looks {
    /// Topics that wait for what is on its way.
    movers: BTreeSet<TopicKey>,
    moves: Option<HashMap<String, Moving>>,
    moves_from: Option<Instant>,
    misplaced: Option<HashMap<String, Vec<Misplaced>>>,
    misplaced_from: Option<Instant>,
}

/// Who has something new.
#[derive(Debug, Default)]
pub struct Anew {
    pub movers: Vec<TopicKey>,
    /// Those with rules for their placement.
    pub placed: bool,
}

impl Looks {
    /// What is known of a topic's replicas on their way.
    pub fn moves(&self, topic: &str) -> Seen<Option<&Moving>> {
        match &self.moves {
            Some(moves) => Seen::As(moves.get(topic)),
            None => Seen::NotYet,
        }
    }

    /// What is known of a topic's misplaced replicas.
    pub fn misplaced(&self, topic: &str) -> Seen<&[Misplaced]> {
        match &self.misplaced {
            Some(misplaced) => Seen::As(misplaced.get(topic).map_or(&[], Vec::as_slice)),
            None => Seen::NotYet,
        }
    }

    /// Notes from a decision whether the topic waits for what is on its way.
    pub fn note(&mut self, key: &TopicKey, step: &Step, name: &str) {
        let moving = matches!(self.moves(name), Seen::As(Some(_)));
        if moving || matches!(step, Step::Look | Step::Replicate(_)) {
            self.movers.insert(key.clone());
        } else if self.moves.is_some() {
            self.forget(key);
        }
    }

    /// A move was begun.
    pub fn begun(&mut self, key: &TopicKey, now: Instant) {
        self.movers.insert(key.clone());
        self.moves = None;
        self.moves_from = Some(now + MOVES_SOON);
    }

    /// Nobody waits for this one any more.
    pub fn forget(&mut self, key: &TopicKey) {
        self.movers.remove(key);
        if self.movers.is_empty() {
            self.moves = None;
        }
    }

    /// When to look next.
    pub fn next(&self, live: bool, placed: bool) -> Option<Instant> {
        if !live {
            return None;
        }
        let now = Instant::now();
        let moves = (!self.movers.is_empty()).then(|| self.moves_from.unwrap_or(now));
        let misplaced = placed.then(|| self.misplaced_from.unwrap_or(now));
        moves.into_iter().chain(misplaced).min()
    }

    /// Looks at what is due.
    pub async fn look<B: Brokers>(
        &mut self,
        brokers: &B,
        metrics: &Metrics,
        placed: bool,
        now: Instant,
    ) -> Anew {
        let due = |from: Option<Instant>| from.is_none_or(|from| from <= now);
        let mut anew = Anew::default();
        if !self.movers.is_empty() && due(self.moves_from) {
            self.moves_from = Some(now + MOVES_EVERY);
            metrics.call("reassignments");
            match brokers.moves().await {
                Ok(moves) => {
                    let before = self.moves.take().unwrap_or_default();
                    self.moves = Some(progress(&before, &moves, Timestamp::now()));
                    anew.movers = self.movers.iter().cloned().collect();
                }
                Err(trouble) => debug!(%trouble, "what is on its way was not told"),
            }
        }
        if placed && due(self.misplaced_from) {
            self.misplaced_from = Some(now + MISPLACED_EVERY);
            metrics.call("misplaced");
            match brokers.misplaced().await {
                Ok(misplaced) => {
                    let mut by_topic: HashMap<String, Vec<Misplaced>> = HashMap::new();
                    for one in misplaced {
                        by_topic.entry(one.topic.clone()).or_default().push(one);
                    }
                    anew.placed = self.misplaced.as_ref() != Some(&by_topic);
                    self.misplaced = Some(by_topic);
                }
                Err(trouble) => debug!(%trouble, "what is misplaced was not told"),
            }
        }
        anew
    }
}
