//! Consuming partitions that the caller names: positions, and a fetch on its way to each leader.

mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use milena_protocol::ErrorCode;
use milena_protocol::api::fetch::{FetchPartitionResponse, FetchResponse};
use milena_protocol::records::validate::magic;
use milena_protocol::records::{DECOMPRESSED_SIZE_MAX, Record, batches, records};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::admin::When;
use crate::client::call;
use crate::retry::backoff;
use crate::{Client, Error};
use session::Session;

/// How much a consumer asks for and how long it waits.
#[derive(Debug, Clone)]
pub struct ConsumerOptions {
    /// The most that one fetch brings, but for a first batch that is larger.
    pub max_bytes: i32,
    /// The most of one partition.
    pub partition_max_bytes: i32,
    /// The broker waits for this many bytes before it answers,
    pub min_bytes: i32,
    /// but for no longer than this.
    pub max_wait: Duration,
    /// Where to go on when the position is not there any more; `None` makes it an error.
    pub reset: Option<When>,
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self {
            max_bytes: 50 << 20,
            partition_max_bytes: 1 << 20,
            min_bytes: 1,
            max_wait: Duration::from_millis(500),
            reset: None,
        }
    }
}

/// Where to begin in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// At this offset.
    Offset(i64),
    /// At the start, the end, or a time.
    When(When),
    /// So many records before the end, or at the start where there are fewer.
    BeforeEnd(i64),
}

/// What one fetch brought of one partition.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The topic's name.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The position that was fetched; the first batch may begin before it.
    pub position: i64,
    /// Up to where records are there for consumers.
    pub high_watermark: i64,
    /// Record batches as they came, or the messages of a log that keeps the format of before Kafka 0.11.
    pub batches: Bytes,
    /// The position behind the last batch.
    pub next: i64,
}

impl Fetched {
    /// The records from the position on, without the control records that transactions leave.
    pub fn records(&self) -> Result<Vec<Record>, Error> {
        let (mut read, mut offset) = (Vec::new(), self.position);
        for record in records(&self.batches, DECOMPRESSED_SIZE_MAX) {
            let record = record.map_err(|problem| Error::BadBatch {
                topic: self.topic.clone(),
                partition: self.partition,
                offset,
                problem: problem.to_string(),
            })?;
            offset = record.offset + 1;
            if record.offset >= self.position {
                read.push(record);
            }
        }
        Ok(read)
    }
}

/// Reads partitions. What [`Consumer::poll`] has returned counts as consumed: positions are behind it.
pub struct Consumer {
    client: Client,
    options: ConsumerOptions,
    positions: BTreeMap<(String, i32), i64>,
    /// By the leader's address; `None` where the partitions are to be divided among leaders anew.
    sessions: Option<BTreeMap<String, Session>>,
    /// Counts the times that they were. What was asked before belongs to positions that hold no more.
    division: u64,
    fetches: JoinSet<Fetch>,
    /// Leaders that a fetch is on its way to.
    busy: BTreeSet<String>,
    failures: u32,
}

/// A fetch that has ended.
struct Fetch {
    leader: String,
    division: u64,
    begun: Instant,
    response: Result<FetchResponse, Error>,
}

impl Consumer {
    /// A consumer of nothing as yet.
    pub fn new(client: Client, options: ConsumerOptions) -> Self {
        Self {
            client,
            options,
            positions: BTreeMap::new(),
            sessions: None,
            division: 0,
            fetches: JoinSet::new(),
            busy: BTreeSet::new(),
            failures: 0,
        }
    }

    /// Consumes these partitions from now on, and no others.
    pub fn assign(&mut self, positions: BTreeMap<(String, i32), i64>) {
        self.positions = positions;
        self.divide_anew();
    }

    fn divide_anew(&mut self) {
        self.sessions = None;
        self.division += 1;
    }

    /// Consumes these partitions from now on, each from `start`, and no others.
    pub async fn start(
        &mut self,
        partitions: &[(String, i32)],
        start: StartAt,
    ) -> Result<(), Error> {
        let positions = match start {
            StartAt::Offset(offset) => {
                let at = partitions
                    .iter()
                    .map(|partition| (partition.clone(), offset));
                at.collect()
            }
            StartAt::When(when) => self.client.offsets(partitions, when).await?,
            StartAt::BeforeEnd(count) => {
                let starts = self.client.offsets(partitions, When::Start).await?;
                let mut ends = self.client.offsets(partitions, When::End).await?;
                for (partition, end) in &mut ends {
                    *end = (*end - count).max(starts.get(partition).copied().unwrap_or(0));
                }
                ends
            }
        };
        self.assign(positions);
        Ok(())
    }

    /// The next offset of each partition.
    pub fn positions(&self) -> &BTreeMap<(String, i32), i64> {
        &self.positions
    }

    /// Waits for one leader's answer and returns what it brought: nothing, where its wait was in vain.
    /// Dropping this future loses nothing.
    pub async fn poll(&mut self) -> Result<Vec<Fetched>, Error> {
        self.fetch_from_idle_leaders().await?;
        let Some(fetch) = self.fetches.join_next().await else {
            // Nothing is assigned.
            tokio::time::sleep(self.options.max_wait).await;
            return Ok(Vec::new());
        };
        let fetch =
            fetch.map_err(|bug| Error::Unexpected(format!("a fetch ended early: {bug}")))?;
        self.busy.remove(&fetch.leader);
        if fetch.division != self.division {
            return Ok(Vec::new());
        }
        match self.accept(&fetch) {
            Ok(fetched) => {
                self.failures = 0;
                // The next fetch is under way while the caller handles this one.
                self.fetch_from_idle_leaders().await?;
                Ok(fetched)
            }
            Err(error) => {
                self.divide_anew();
                self.recover(error, &fetch).await?;
                Ok(Vec::new())
            }
        }
    }

    /// Sends a fetch to every leader that none is on its way to.
    async fn fetch_from_idle_leaders(&mut self) -> Result<(), Error> {
        if self.sessions.is_none() {
            self.sessions = Some(self.divide().await?);
        }
        for (address, session) in self.sessions.iter_mut().flatten() {
            if self.busy.contains(address) {
                continue;
            }
            self.busy.insert(address.clone());
            let request = session.request(&self.positions, &self.options);
            let (leader, division) = (session.leader().clone(), self.division);
            self.fetches.spawn(async move {
                Fetch {
                    leader: leader.address().to_owned(),
                    division,
                    begun: Instant::now(),
                    response: call(&leader, &request).await,
                }
            });
        }
        Ok(())
    }

    /// Divides the partitions among their leaders, once each has one.
    async fn divide(&mut self) -> Result<BTreeMap<String, Session>, Error> {
        let partitions: Vec<_> = self.positions.keys().cloned().collect();
        let by_leader = loop {
            match self.client.by_leader(&partitions).await {
                Ok(by_leader) => break by_leader,
                Err(error) if error.is_retriable() => {
                    self.pause(&error).await?;
                    self.client.refresh_topics_of(&partitions).await?;
                }
                Err(error) => return Err(error),
            }
        };
        let sessions = by_leader.into_iter().map(|(leader, led)| {
            let address = leader.address().to_owned();
            (address, Session::new(leader, led))
        });
        Ok(sessions.collect())
    }

    /// What the answer brought, with positions moved behind it.
    fn accept(&mut self, fetch: &Fetch) -> Result<Vec<Fetched>, Error> {
        let response = fetch.response.as_ref().map_err(Clone::clone)?;
        Error::check(fetch.leader.as_str(), response.error_code)?;
        let session = self.sessions.as_mut();
        let Some(session) = session.and_then(|sessions| sessions.get_mut(&fetch.leader)) else {
            return Ok(Vec::new());
        };
        session.answered(response);
        let mut fetched = Vec::new();
        let mut failed = Ok(());
        for topic in &response.responses {
            for answered in &topic.partitions {
                let partition = (topic.topic.to_string(), answered.partition_index);
                let Some(&position) = self.positions.get(&partition) else {
                    continue;
                };
                match brought(partition.clone(), position, answered) {
                    Ok(brought) if brought.next > position => {
                        self.positions.insert(partition.clone(), brought.next);
                        session.moved(partition);
                        fetched.push(brought);
                    }
                    Ok(_) => {}
                    Err(error) => failed = Err(error),
                }
            }
        }
        // What came is handed on first; what failed will fail again.
        if fetched.is_empty() {
            failed.map(|()| fetched)
        } else {
            Ok(fetched)
        }
    }

    async fn recover(&mut self, error: Error, fetch: &Fetch) -> Result<(), Error> {
        let partitions: Vec<_> = self.positions.keys().cloned().collect();
        match (error.code(), self.options.reset) {
            (Some(ErrorCode::OffsetOutOfRange), Some(reset)) => {
                let starts = self.client.offsets(&partitions, When::Start).await?;
                let ends = self.client.offsets(&partitions, When::End).await?;
                let anew = self.client.offsets(&partitions, reset).await?;
                for (partition, offset) in anew {
                    let range = starts.get(&partition).zip(ends.get(&partition));
                    let position = self.positions.get_mut(&partition);
                    if let (Some(position), Some((start, end))) = (position, range)
                        && !(start..=end).contains(&&*position)
                    {
                        *position = offset;
                    }
                }
                Ok(())
            }
            // A broker that has not heard of the topic yet says so too.
            (Some(ErrorCode::UnknownTopicOrPartition), _) => {
                self.client.still_has_topics_of(&partitions).await?;
                self.pause(&error).await
            }
            _ if error.is_retriable() => {
                self.pause(&error).await?;
                for (topic, _) in &partitions {
                    // Where this fails, so will the next fetch, and say why.
                    self.client.stale(topic, fetch.begun).await.ok();
                }
                Ok(())
            }
            _ => Err(error),
        }
    }

    /// Waits a little longer after each failure in a row; gives up when they take longer than an operation may.
    async fn pause(&mut self, error: &Error) -> Result<(), Error> {
        self.failures += 1;
        // Pauses grow to a second, so their number is about the seconds that have passed.
        let after = self.client.options().deadline;
        if u64::from(self.failures) > after.as_secs() + 5 {
            return Err(Error::Deadline {
                after,
                last: Box::new(error.clone()),
            });
        }
        tokio::time::sleep(backoff(self.failures)).await;
        Ok(())
    }
}

/// One partition's part of an answer.
fn brought(
    (topic, partition): (String, i32),
    position: i64,
    answered: &FetchPartitionResponse,
) -> Result<Fetched, Error> {
    let at = || format!("{topic}-{partition} at offset {position}");
    Error::check(at(), answered.error_code)?;
    let bytes = answered.records.clone().map(|records| records.into_bytes());
    let bytes = bytes.unwrap_or_default();
    let next = match behind(&bytes, position) {
        Ok(next) => next,
        Err(problem) => {
            return Err(Error::BadBatch {
                topic,
                partition,
                offset: position,
                problem,
            });
        }
    };
    Ok(Fetched {
        topic,
        partition,
        position,
        high_watermark: answered.high_watermark,
        batches: bytes,
        next,
    })
}

/// The position behind what came whole.
fn behind(bytes: &Bytes, position: i64) -> Result<i64, String> {
    // A log in the format of before Kafka 0.11 may go on with batches, which the next fetch begins with.
    let last_offsets: Box<dyn Iterator<Item = Result<i64, String>>> = match magic(bytes) {
        Some(0 | 1) => Box::new(records(bytes, DECOMPRESSED_SIZE_MAX).map(|record| {
            let record = record.map_err(|problem| problem.to_string())?;
            Ok(record.offset)
        })),
        _ => Box::new(batches(bytes).map(|batch| {
            let (header, _) = batch.map_err(|problem| problem.to_string())?;
            Ok(header.last_offset())
        })),
    };
    let mut next = position;
    for last in last_offsets {
        match last {
            Ok(last) => next = next.max(last + 1),
            // Only behind a whole batch may one be cut short.
            Err(_) if next > position => break,
            Err(problem) => return Err(problem),
        }
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use milena_protocol::Records;
    use milena_protocol::records::convert::down;
    use milena_protocol::records::legacy::Magic;
    use milena_protocol::records::{BatchBuilder, BatchOptions, Compression};

    use super::*;

    fn batch(compression: Compression) -> Bytes {
        let mut builder = BatchBuilder::new(BatchOptions {
            codec: compression.into(),
            base_offset: 5,
            ..BatchOptions::default()
        });
        for value in ["a", "b", "c"] {
            builder.push(0, None, Some(value.as_bytes()), &[]).unwrap();
        }
        builder.finish().unwrap()
    }

    #[test]
    fn records_of_every_message_format_are_read_from_the_position_on() {
        for compression in [Compression::None, Compression::Gzip] {
            let new = batch(compression);
            let old = |magic| down(&new, magic, 0, DECOMPRESSED_SIZE_MAX).unwrap();
            for came in [old(Magic::V0), old(Magic::V1), new.clone()] {
                let answered = FetchPartitionResponse {
                    records: Some(Records::Bytes(came)),
                    ..Default::default()
                };
                let fetched = brought(("t".to_owned(), 0), 6, &answered).unwrap();
                assert_eq!(fetched.next, 8);
                let read = fetched.records().unwrap();
                let read: Vec<_> = read.iter().map(|one| (one.offset, &one.value)).collect();
                let value = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
                assert_eq!(read, [(6, &value("b")), (7, &value("c"))]);
            }
        }
    }
}
