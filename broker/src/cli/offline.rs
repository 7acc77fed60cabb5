//! Partitions that can't be read now, and why: a command goes on with the others of their topic.
//!
//! | a partition is offline | as it is seen |
//! | --- | --- |
//! | nobody may lead it | the metadata name no leader |
//! | its leader can't read its log | KAFKA_STORAGE_ERROR for it, and for it alone |

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use milena_client::admin::{Offsets, When};
use milena_client::{Client, Error};
use milena_protocol::ErrorCode;
use milena_protocol::api::fetch::{FetchPartition, FetchRequest, FetchTopic};
use milena_protocol::api::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use tokio::time::{Instant, sleep};

use super::failure::{Exit, Failure};

/// A consumer's replica id.
const NO_REPLICA: i32 = -1;
/// The newest Fetch that names topics; later ones have their ids.
const FETCH_BY_NAME: i16 = 12;
/// A fetch of no session.
const NO_SESSION: i32 = -1;
/// What is not settled is asked again after this.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// So many are named; a topic may have thousands.
pub const NAMED_MAX: usize = 8;

/// A topic's name and a partition's number.
pub type Place = (String, i32);

/// Why a partition can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offline {
    /// Nobody may lead it.
    NoLeader,
    /// Its leader can't read the log: all of it, or what lies `at` an offset.
    Log { broker: i32, at: Option<i64> },
}

impl fmt::Display for Offline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLeader => write!(f, "no leader"),
            Self::Log { broker, at: None } => write!(f, "its log on broker {broker} can't be read"),
            Self::Log {
                broker,
                at: Some(offset),
            } => write!(
                f,
                "its log on broker {broker} can't be read at offset {offset}"
            ),
        }
    }
}

impl Offline {
    /// What a person does about it.
    pub fn next_step(self) -> String {
        match self {
            Self::NoLeader => "`milena cluster describe` names the brokers that may lead: start those that are down; the log \
                               of one that runs says why it can't read its copy"
                .to_owned(),
            Self::Log { broker, .. } => format!(
                "the log of broker {broker} names the file: mend its disk and start it again, or stop it, and `milena log \
                 check DIR` says what is damaged"
            ),
        }
    }
}

/// Partitions that are offline.
pub type AllOffline = BTreeMap<Place, Offline>;

/// Names them, the first of many.
pub fn in_words(all: &AllOffline) -> String {
    let named = all.iter().take(NAMED_MAX);
    let mut named: Vec<String> = named
        .map(|((topic, partition), why)| format!("{topic}-{partition} is offline: {why}"))
        .collect();
    if let Some(more @ 1..) = all.len().checked_sub(NAMED_MAX) {
        named.push(format!("and {more} more"));
    }
    named.join("; ")
}

/// A failure for want of them.
pub fn failure(exit: Exit, before: &str, all: &AllOffline) -> Failure {
    let failure = Failure::new(exit, format!("{before}{}", in_words(all)));
    match all.values().next() {
        Some(first) => failure.hint(first.next_step()),
        None => failure,
    }
}

/// Whether an operation may have failed so for want of a partition: it was tried again in vain.
pub fn may_cause(error: &Error) -> bool {
    error.is_retriable() || matches!(error, Error::Deadline { .. })
}

/// What leaders say of partitions.
#[derive(Debug, Default)]
pub struct Told {
    /// Of those that can be read.
    pub offsets: Offsets,
    pub offline: AllOffline,
    /// Why something is not known of others, which another attempt may tell.
    unsettled: Option<Error>,
}

/// Asks once for an offset of each partition; -1 stands for a time that no record has reached. An error is of all of them.
pub async fn ask(client: &Client, partitions: &[Place], when: When) -> Result<Told, Error> {
    let mut told = Told::default();
    let mut led: BTreeMap<i32, Vec<Place>> = BTreeMap::new();
    for place in partitions {
        match client.topic(&place.0).await?.partition(place.1)?.leader {
            Some(leader) => led.entry(leader).or_default().push(place.clone()),
            None => {
                told.offline.insert(place.clone(), Offline::NoLeader);
            }
        }
    }
    for (broker, places) in led {
        match list(client, broker, &places, when).await {
            Ok(response) => told.take(broker, &response),
            Err(error) if error.is_retriable() => told.unsettled = Some(error),
            Err(error) => return Err(error),
        }
        if let Some(error) = told.unsettled.take_if(|error| !error.is_retriable()) {
            return Err(error);
        }
    }
    Ok(told)
}

impl Told {
    /// For whoever has it from elsewhere.
    #[cfg(test)]
    pub fn of(offsets: Offsets, offline: AllOffline) -> Self {
        Self {
            offsets,
            offline,
            unsettled: None,
        }
    }

    fn take(&mut self, broker: i32, response: &ListOffsetsResponse) {
        for topic in &response.topics {
            for one in &topic.partitions {
                let place = (topic.name.to_string(), one.partition_index);
                match one.error_code {
                    ErrorCode::None => {
                        self.offsets.insert(place, one.offset);
                    }
                    ErrorCode::KafkaStorageError => {
                        let why = Offline::Log { broker, at: None };
                        self.offline.insert(place, why);
                    }
                    // A broker may not have heard of it yet; the metadata tells where it is gone.
                    ErrorCode::UnknownTopicOrPartition => {
                        self.unsettled = Some(refused(&place, ErrorCode::LeaderNotAvailable));
                    }
                    code => self.unsettled = Some(refused(&place, code)),
                }
            }
        }
    }
}

fn refused((topic, partition): &Place, code: ErrorCode) -> Error {
    Error::refused(format!("{topic}-{partition}"), code, None)
}

/// Asks until each partition's offset is known, or that it is offline: that is believed after `patience`, for a leader may
/// just be elected. A time that no record has reached is answered with the end.
pub async fn offsets(
    client: &Client,
    partitions: &[Place],
    when: When,
    patience: Duration,
) -> Result<Told, Error> {
    let mut told = settled(client, partitions, when, patience).await?;
    let behind = told.offsets.iter().filter(|(_, offset)| **offset < 0);
    let behind: Vec<Place> = behind.map(|(place, _)| place.clone()).collect();
    if !behind.is_empty() && when != When::End {
        let ends = settled(client, &behind, When::End, patience).await?;
        told.offsets.retain(|_, offset| *offset >= 0);
        told.offsets.extend(ends.offsets);
        told.offline.extend(ends.offline);
    }
    Ok(told)
}

async fn settled(
    client: &Client,
    partitions: &[Place],
    when: When,
    patience: Duration,
) -> Result<Told, Error> {
    let (begun, within) = (Instant::now(), client.options().deadline);
    loop {
        let asked_at = Instant::now();
        let told = ask(client, partitions, when).await?;
        match &told.unsettled {
            None if told.offline.is_empty() || begun.elapsed() >= patience.min(within) => {
                return Ok(told);
            }
            Some(error) if begun.elapsed() + ASK_AGAIN >= within => {
                return Err(Error::Deadline {
                    after: within,
                    last: Box::new(error.clone()),
                });
            }
            _ => sleep(ASK_AGAIN).await,
        }
        for (topic, _) in partitions {
            // What this fails with, the next attempt will meet.
            client.stale(topic, asked_at).await.ok();
        }
    }
}

async fn list(
    client: &Client,
    broker: i32,
    places: &[Place],
    when: When,
) -> Result<ListOffsetsResponse, Error> {
    let timestamp = match when {
        When::End => -1,
        When::Start => -2,
        When::Time(millis) => millis.max(0),
    };
    let mut topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
    for (topic, partition_index) in places {
        topics.entry(topic).or_default().push(ListOffsetsPartition {
            partition_index: *partition_index,
            timestamp,
            ..Default::default()
        });
    }
    let topics = topics
        .into_iter()
        .map(|(name, partitions)| ListOffsetsTopic {
            name: name.into(),
            partitions,
        });
    let request = ListOffsetsRequest {
        replica_id: NO_REPLICA,
        topics: topics.collect(),
        ..Default::default()
    };
    Ok(client.broker(broker).await?.call(&request).await?)
}

/// Whether a partition can be read from `offset` on; an error where its leader does not say.
pub async fn look(client: &Client, place: &Place, offset: i64) -> Result<Option<Offline>, Error> {
    let Some(broker) = client.topic(&place.0).await?.partition(place.1)?.leader else {
        return Ok(Some(Offline::NoLeader));
    };
    let partition = FetchPartition {
        partition: place.1,
        fetch_offset: offset,
        partition_max_bytes: 1,
        ..Default::default()
    };
    let request = FetchRequest {
        max_wait_ms: 0,
        min_bytes: 0,
        max_bytes: 1,
        session_epoch: NO_SESSION,
        topics: vec![FetchTopic {
            topic: place.0.as_str().into(),
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    };
    let connection = client.broker(broker).await?;
    let version = connection.version_up_to::<FetchRequest>(FETCH_BY_NAME)?;
    let response = connection.send(&request, version).await?.receive().await?;
    let mut answers = response.responses.iter().flat_map(|one| &one.partitions);
    match answers
        .next()
        .map_or(response.error_code, |one| one.error_code)
    {
        // The consumer itself tells of an offset that is not there.
        ErrorCode::None | ErrorCode::OffsetOutOfRange => Ok(None),
        ErrorCode::KafkaStorageError => Ok(Some(Offline::Log {
            broker,
            at: Some(offset),
        })),
        code => Err(refused(place, code)),
    }
}

#[cfg(test)]
mod tests;
