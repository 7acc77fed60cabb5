//! One broker that is copied from: a task, a connection, a session.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use milena_client::{Answer, Connection, ConnectionError, ConnectionOptions};
use milena_metadata::BrokerId;
use milena_protocol::api::fetch::{FetchRequest, FetchResponse};
use milena_protocol::{ErrorCode, Request as _};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::copies::{Bounds, Copies, Key};
use super::news::News;
use super::take::Taken;
use super::taking::{Part, TakenThere, Taking, by_directory, take_all};
use super::throttle::Throttle;
use crate::broker::Broker;

/// One request waits for records at the leader; another may follow it, with partitions that have joined meanwhile,
/// and ends its wait.
const IN_FLIGHT_MAX: usize = 2;
/// A rate that is raised or taken away while bytes are paid for counts within this.
const THROTTLE_LOOK: Duration = Duration::from_secs(1);
/// Connecting to a broker of the same network, name lookup included.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Beyond the wait that was asked for, an answer takes no longer than this, or the leader hangs.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// So long all of an answer is waited for; then the partitions of a disk that is slower are left out of the session, and
/// asked for again once theirs is taken. Longer than a healthy disk takes, or each would be left out and named anew.
const TAKE_TOGETHER: Duration = Duration::from_millis(50);
/// Between attempts to connect: a leader that has died is replaced within that order of time, one that restarts is
/// back within it.
const CONNECT_AGAIN: Duration = Duration::from_millis(50);

/// Why a conversation with the leader ended.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    /// The metadata has no address of it.
    #[error("the metadata has no address of the broker on listener {0}")]
    NoAddress(String),
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The leader refused the whole request.
    #[error("the leader answered {0}")]
    Refused(ErrorCode),
}

/// The copying from one broker.
pub(super) struct Link {
    broker: Arc<Broker>,
    leader: BrokerId,
    news: Arc<News>,
    copies: Copies,
    throttle: Throttle,
    taking: Taking,
    /// Flushes that are waited for: at most one for each partition that is copied, or was.
    flushes: JoinSet<(Key, bool)>,
    /// Whether the present conversation has begun.
    connected: bool,
}

impl Link {
    /// `throttle` is the broker's.
    pub(super) fn new(
        broker: Arc<Broker>,
        leader: BrokerId,
        news: Arc<News>,
        throttle: Throttle,
    ) -> Self {
        Self {
            broker,
            leader,
            news,
            copies: Copies::of(leader),
            throttle,
            taking: Taking::default(),
            flushes: JoinSet::new(),
            connected: false,
        }
    }

    pub(super) async fn run(mut self, stopping: CancellationToken) {
        tokio::select! {
            () = self.copy() => {}
            () = stopping.cancelled() => {}
        }
    }

    async fn copy(&mut self) {
        let mut told = false;
        loop {
            while self.copies.is_empty() {
                let changed = self.news.next().await;
                self.copies.note_all(&changed);
            }
            let Err(error) = self.converse().await;
            if std::mem::take(&mut self.connected) {
                self.broker.suspects().lost(self.leader);
            }
            // Once for each outage; who leads is the quorum's to find out.
            if !std::mem::replace(&mut told, !matches!(error, LinkError::Refused(_))) {
                tracing::info!(leader = self.leader.get(), %error, "copying is interrupted");
            } else {
                tracing::debug!(leader = self.leader.get(), %error, "copying is interrupted");
            }
            sleep(CONNECT_AGAIN).await;
            self.copies.note_all(&self.news.take());
        }
    }

    /// Fetches until the connection ends.
    async fn converse(&mut self) -> Result<Infallible, LinkError> {
        let connection = self.connect().await?;
        tracing::debug!(
            leader = self.leader.get(),
            address = connection.address(),
            "copying"
        );
        self.connected = true;
        self.broker.suspects().found(self.leader);
        self.copies.start_over();
        let mut asked = VecDeque::with_capacity(IN_FLIGHT_MAX);
        loop {
            self.retry(Instant::now());
            for (key, partition) in self.copies.hold_unflushed() {
                let claimed = async move { (key, partition.claimed_all().await) };
                self.flushes.spawn(claimed);
            }
            let is_due = match asked.is_empty() {
                // What is to be forgotten can wait for whoever is to be asked for.
                true => self.copies.is_asking() || self.copies.has_due(),
                // Until the session has its id, nothing can follow.
                false => self.copies.has_session() && self.copies.has_news(),
            };
            if is_due && asked.len() < IN_FLIGHT_MAX {
                asked.push_back(self.ask(&connection).await?);
            }
            let retry = self.copies.next_retry();
            tokio::select! {
                answer = front(&mut asked) => {
                    asked.pop_front();
                    self.take(answer?).await?;
                }
                changed = self.news.next() => self.copies.note_all(&changed),
                Some(flushed) = self.flushes.join_next() => self.note_flush(flushed),
                Some(taken) = self.taking.next() => self.note_taken(taken),
                () = wait_until(retry), if retry.is_some() => {}
            }
        }
    }

    async fn connect(&self) -> Result<Connection, LinkError> {
        let config = self.broker.config();
        let listener = config
            .peers_listener()
            .map_or("", |listener| listener.name.as_str());
        let image = self.broker.image();
        let endpoint = image.broker(self.leader).and_then(|broker| {
            let endpoints = broker.endpoints.iter();
            endpoints
                .filter(|endpoint| &*endpoint.listener == listener)
                .map(|endpoint| format!("{}:{}", endpoint.host, endpoint.port))
                .next()
        });
        let address = endpoint.ok_or_else(|| LinkError::NoAddress(listener.to_owned()))?;
        let wait_max = Duration::from_millis(self.bounds().wait_max_ms.unsigned_abs().into());
        let options = ConnectionOptions {
            client_id: format!("replica-{}", self.broker.node_id()).into(),
            connect_timeout: CONNECT_WITHIN,
            request_timeout: wait_max + ANSWER_WITHIN,
            ..Default::default()
        };
        Ok(Connection::open(&address, &options).await?)
    }

    fn bounds(&self) -> Bounds {
        let config = self.broker.config();
        Bounds {
            wait_max_ms: config.replica_fetch_wait_max_ms,
            response_bytes_max: config.replica_fetch_response_max_bytes,
            partition_bytes_max: config.replica_fetch_max_bytes,
        }
    }

    async fn ask(&mut self, connection: &Connection) -> Result<Answer<FetchRequest>, LinkError> {
        for (key, partition) in self.copies.unknown_ends() {
            self.copies.set_last_epoch(key, partition.last_epoch());
        }
        let me = (self.broker.broker_id(), self.broker.broker_epoch());
        let request = self.copies.request(me, self.bounds());
        let version = connection.version_up_to::<FetchRequest>(*FetchRequest::VERSIONS.end())?;
        Ok(connection.send(&request, version).await?)
    }

    async fn take(&mut self, answer: FetchResponse) -> Result<(), LinkError> {
        if !answer.error_code.is_none() {
            return Err(LinkError::Refused(answer.error_code));
        }
        self.copies.answered(answer.session_id);
        let parts = answer.responses.into_iter().flat_map(|topic| {
            let parts = topic.partitions.into_iter();
            parts.map(move |part| ((topic.topic_id, part.partition_index), part))
        });
        let copies = &self.copies;
        let asked = parts.filter_map(|(key, answer)| {
            let (replica, epoch) = copies.asked(key)?;
            Some(Part {
                key,
                replica,
                epoch,
                answer,
            })
        });
        self.take_parts(by_directory(asked)).await;
        Ok(())
    }

    /// Takes them, and where there are several disks waits for none that stalls.
    async fn take_parts(&mut self, parts: Vec<(usize, Vec<Part>)>) {
        let now_ms = self.broker.now_ms();
        if self.broker.partitions().dirs().len() == 1 {
            // All stall together: a task would only cost the way to it and back.
            for (directory, parts) in parts {
                let partitions = self.broker.partitions().clone();
                let taken = take_all(partitions, (directory, parts), now_ms).await;
                self.note_taken(taken);
            }
            return;
        }
        let mut awaited = Vec::new();
        for (directory, parts) in parts {
            let keys: Vec<Key> = parts.iter().map(|part| part.key).collect();
            let partitions = self.broker.partitions();
            match self.taking.begin(partitions, (directory, parts), now_ms) {
                true => awaited.push((directory, keys)),
                false => self.hold(keys),
            }
        }
        let until = Instant::now() + TAKE_TOGETHER;
        while !awaited.is_empty()
            && let Ok(Some(taken)) = timeout_at(until, self.taking.next()).await
        {
            awaited.retain(|(directory, _)| *directory != taken.directory);
            self.note_taken(taken);
        }
        awaited.into_iter().for_each(|(_, keys)| self.hold(keys));
    }

    fn hold(&mut self, keys: Vec<Key>) {
        keys.into_iter().for_each(|key| self.copies.hold(key));
    }

    fn note_taken(&mut self, taken: TakenThere) {
        for (key, taken) in taken.parts {
            self.copies.release(key);
            self.note(key, taken);
        }
    }

    fn note(&mut self, key: Key, taken: Taken) {
        let now = Instant::now();
        match taken {
            Taken::Appended { bytes, last_epoch } => {
                if let Some(copy) = self.copies.get(key) {
                    self.broker.metrics().copied(bytes, copy.following);
                }
                self.copies.advanced(key, Some(last_epoch));
                self.hold_back(key, bytes, now);
            }
            Taken::Cut => self.copies.advanced(key, None),
            Taken::Nothing => {}
            Taken::Refused => {
                let wait_max = self.wait_max();
                self.copies.refused(key, now, wait_max);
            }
        }
    }

    fn note_flush(&mut self, flushed: Result<(Key, bool), JoinError>) {
        match flushed {
            Ok((key, true)) => self.copies.flushed(key),
            Ok((key, false)) => {
                let wait_max = self.wait_max();
                self.copies.unflushed(key, Instant::now(), wait_max);
            }
            // It panicked, which is a bug; nobody ends it otherwise.
            Err(error) => tracing::error!(%error, "a flush that was waited for came to nothing"),
        }
    }

    /// `replica.fetch.backoff.ms`: what was refused is asked for again after this at the latest.
    fn wait_max(&self) -> Duration {
        let wait_max = self.broker.config().replica_fetch_backoff_ms;
        Duration::from_millis(wait_max.unsigned_abs().into())
    }

    /// A replica that catches up, and is named by `follower.replication.throttled.replicas`, waits for its turn.
    fn hold_back(&mut self, key: Key, bytes: usize, now: Instant) {
        let rate = self.broker.config().follower_replication_throttled_rate;
        if rate == i64::MAX {
            return;
        }
        let throttled = self.copies.get(key).is_some_and(|copy| {
            let config = copy.partition.config();
            let me = self.broker.broker_id();
            !copy.following.in_sync && config.throttles_follower(key.1, me)
        });
        if throttled && let Some(until) = self.throttle.spend(bytes, rate, now) {
            self.copies.pause(key, until.min(now + THROTTLE_LOOK));
        }
    }

    /// Takes up what has waited, but for what still has bytes to pay for at the rate of now.
    fn retry(&mut self, now: Instant) {
        for key in self.copies.retry(now) {
            self.hold_back(key, 0, now);
        }
    }
}

/// The oldest answer; never where none is awaited.
async fn front(
    asked: &mut VecDeque<Answer<FetchRequest>>,
) -> Result<FetchResponse, ConnectionError> {
    match asked.front_mut() {
        Some(answer) => answer.receive().await,
        None => std::future::pending().await,
    }
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
