//! The way to the brokers: opened where there is a cluster, opened anew where nobody answers, and said to be down only
//! after a while, so that a broker's restart changes no status.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::super::brokers::Open;
use super::super::feed::{Feed, Heard};
use super::super::metrics::Metrics;
use crate::crd::KafkaCluster;

/// Silence for so long is told in the statuses.
pub const DOWN_AFTER: Duration = Duration::from_secs(30);
/// A way that leads nowhere is opened anew: addresses and the token may have changed.
const OPEN_AGAIN: Duration = Duration::from_secs(15);
/// Opening reads a Secret.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// The way to one cluster's brokers.
pub struct Link<O: Open> {
    name: String,
    open: Arc<O>,
    metrics: Arc<Metrics>,
    brokers: Option<Arc<O::Brokers>>,
    feed: Option<Feed>,
    /// All topics have been told of.
    live: bool,
    silent_since: Option<Instant>,
    /// Why nobody answers, since that is told.
    down: Option<String>,
    last_words: String,
    opened: Option<Instant>,
}

impl<O: Open> Link<O> {
    pub fn new(name: String, open: Arc<O>, metrics: Arc<Metrics>) -> Self {
        Self {
            name,
            open,
            metrics,
            brokers: None,
            feed: None,
            live: false,
            silent_since: None,
            down: None,
            last_words: String::new(),
            opened: None,
        }
    }

    /// Whether all topics are known, and nobody has said that the brokers are down.
    pub fn is_live(&self) -> bool {
        self.live && self.down.is_none()
    }

    /// Why nobody answers, where that holds.
    pub fn down(&self) -> Option<&str> {
        self.down.as_deref()
    }

    pub fn brokers(&self) -> Option<Arc<O::Brokers>> {
        self.brokers.clone()
    }

    /// Forgets the cluster.
    pub fn close(&mut self) {
        *self = Self::new(
            std::mem::take(&mut self.name),
            self.open.clone(),
            self.metrics.clone(),
        );
    }

    /// Opens the way anew, and goes on with what is known.
    pub fn reopen(&mut self) {
        self.opened = None;
    }

    /// The feed has answered: whether that is the first time, or the first time since it was down.
    pub fn heard(&mut self) -> bool {
        let anew = !self.live || self.down.is_some();
        if self.down.take().is_some() {
            info!(cluster = self.name, "brokers answer again");
        }
        self.live = true;
        self.silent_since = None;
        self.metrics.feed(&self.name, true);
        anew
    }

    /// The feed has not answered.
    pub fn missed(&mut self, words: String, now: Instant) {
        self.silent_since.get_or_insert(now);
        self.last_words = words;
        self.metrics.feed(&self.name, false);
    }

    /// Opens the way where that is due, and says whether the brokers have just been found to be down.
    pub async fn look_after(&mut self, cluster: Option<&KafkaCluster>, now: Instant) -> bool {
        let Some(cluster) = cluster else {
            return false;
        };
        if self.opening_due(now) {
            self.opened = Some(now);
            match timeout(OPEN_WITHIN, self.open.open(cluster)).await {
                Ok(Ok(brokers)) => {
                    let brokers = Arc::new(brokers);
                    self.feed = Some(Feed::follow(brokers.clone(), self.metrics.clone()));
                    self.brokers = Some(brokers);
                    // Where nothing was ever heard the silence begins now.
                    if !self.live {
                        self.silent_since.get_or_insert(now);
                    }
                }
                Ok(Err(trouble)) => self.missed(trouble.to_string(), now),
                Err(_) => self.missed("the way to the brokers was not found in time".into(), now),
            }
        }
        let silent = self.silent_since.map(|since| now.duration_since(since));
        let found = self.down.is_none() && silent.is_some_and(|silent| silent >= DOWN_AFTER);
        if found {
            let why = match self.last_words.is_empty() {
                true => "no answer yet".to_owned(),
                false => self.last_words.clone(),
            };
            warn!(cluster = self.name, why, "no broker answers");
            self.down = Some(why);
        }
        found
    }

    fn opening_due(&self, now: Instant) -> bool {
        match (self.opened, self.silent_since) {
            (None, _) => true,
            (Some(opened), Some(since)) => now >= opened.max(since) + OPEN_AGAIN,
            (Some(_), None) => false,
        }
    }

    /// When it has to be looked after next.
    pub fn next_look(&self, has_cluster: bool) -> Option<Instant> {
        let silent_since = self.silent_since.filter(|_| has_cluster);
        let down = silent_since.filter(|_| self.down.is_none());
        let down = down.map(|since| since + DOWN_AFTER);
        let open = match self.opened {
            Some(opened) => silent_since.map(|since| opened.max(since) + OPEN_AGAIN),
            None => has_cluster.then(Instant::now),
        };
        down.into_iter().chain(open).min()
    }

    /// What comes next of the feed.
    pub async fn next(&mut self) -> Heard {
        match &mut self.feed {
            Some(feed) => feed.next().await,
            None => std::future::pending().await,
        }
    }

    /// What has come of the feed.
    pub fn try_next(&mut self) -> Option<Heard> {
        self.feed.as_mut()?.try_next()
    }
}
