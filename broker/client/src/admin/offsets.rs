//! Offsets by place or time, and deleting the records below one.

use std::collections::BTreeMap;

use milena_protocol::ErrorCode;
use milena_protocol::api::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use milena_protocol::api::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use tokio::time::Instant;

use crate::client::call;
use crate::retry::retry;
use crate::{Client, Connection, Error};

/// A consumer's replica id.
const NO_REPLICA: i32 = -1;

/// Which offset of a partition is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The first that is kept.
    Start,
    /// The one that the next record gets.
    End,
    /// The first record that is not older, in milliseconds since 1970; the end where all are older.
    Time(i64),
}

impl When {
    fn timestamp(self) -> i64 {
        match self {
            Self::End => -1,
            Self::Start => -2,
            Self::Time(millis) => millis.max(0),
        }
    }
}

/// Offsets by topic and partition.
pub type Offsets = BTreeMap<(String, i32), i64>;

impl Client {
    /// The offset of each of these partitions, from their leaders.
    pub async fn offsets(
        &self,
        partitions: &[(String, i32)],
        when: When,
    ) -> Result<Offsets, Error> {
        let mut found = self.offsets_found(partitions, when).await?;
        // A time that no record has reached is answered with -1.
        let behind: Vec<_> = partitions
            .iter()
            .filter(|partition| found.get(partition).is_none_or(|&offset| offset < 0))
            .cloned()
            .collect();
        if !behind.is_empty() && when != When::End {
            found.extend(self.offsets_found(&behind, When::End).await?);
        }
        Ok(found)
    }

    async fn offsets_found(
        &self,
        partitions: &[(String, i32)],
        when: When,
    ) -> Result<Offsets, Error> {
        retry(self.options().deadline, || async {
            let mut found = Offsets::new();
            let seen = Instant::now();
            for (leader, led) in self.by_leader(partitions).await? {
                match list(&leader, &led, when).await {
                    Ok(listed) => found.extend(listed),
                    Err(error) => {
                        self.relearn(&led, seen, &error).await;
                        return Err(error);
                    }
                }
            }
            Ok(found)
        })
        .await
    }

    /// Deletes each partition's records below its offset; -1 is the high watermark. Returns where each
    /// log starts now.
    pub async fn delete_records(&self, before: &Offsets) -> Result<Offsets, Error> {
        let partitions: Vec<_> = before.keys().cloned().collect();
        retry(self.options().deadline, || async {
            let mut starts = Offsets::new();
            let seen = Instant::now();
            for (leader, led) in self.by_leader(&partitions).await? {
                match self.delete_on(&leader, &led, before).await {
                    Ok(deleted) => starts.extend(deleted),
                    Err(error) => {
                        self.relearn(&led, seen, &error).await;
                        return Err(error);
                    }
                }
            }
            Ok(starts)
        })
        .await
    }

    async fn delete_on(
        &self,
        leader: &Connection,
        led: &[(String, i32)],
        before: &Offsets,
    ) -> Result<Offsets, Error> {
        let topics = by_topic(led, |partition| DeleteRecordsPartition {
            partition_index: partition.1,
            offset: before.get(partition).copied().unwrap_or(-1),
        });
        let request = DeleteRecordsRequest {
            topics: topics
                .into_iter()
                .map(|(name, partitions)| DeleteRecordsTopic {
                    name: name.into(),
                    partitions,
                })
                .collect(),
            timeout_ms: self.timeout_ms(),
        };
        let response = call(leader, &request).await?;
        let mut starts = Offsets::new();
        for topic in &response.topics {
            for result in &topic.partitions {
                let subject = format!("{}-{}", topic.name, result.partition_index);
                Error::check(subject, result.error_code)?;
                starts.insert(
                    (topic.name.to_string(), result.partition_index),
                    result.low_watermark,
                );
            }
        }
        Ok(starts)
    }

    async fn relearn(&self, led: &[(String, i32)], seen: Instant, error: &Error) {
        if error.is_retriable() {
            for (topic, _) in led {
                // What this fails with, the next attempt will meet.
                self.stale(topic, seen).await.ok();
            }
        }
    }

    /// The partitions, with a connection to the leader of each lot.
    pub(crate) async fn by_leader(
        &self,
        partitions: &[(String, i32)],
    ) -> Result<Vec<(Connection, Vec<(String, i32)>)>, Error> {
        let mut led: BTreeMap<String, (Connection, Vec<(String, i32)>)> = BTreeMap::new();
        for (topic, partition) in partitions {
            let leader = self.leader(topic, *partition).await?;
            let entry = led.entry(leader.address().to_owned());
            let (_, lot) = entry.or_insert_with(|| (leader, Vec::new()));
            lot.push((topic.clone(), *partition));
        }
        Ok(led.into_values().collect())
    }
}

/// One value for each partition, by topic.
pub(crate) fn by_topic<T>(
    partitions: &[(String, i32)],
    value: impl Fn(&(String, i32)) -> T,
) -> BTreeMap<&str, Vec<T>> {
    let mut topics: BTreeMap<&str, Vec<T>> = BTreeMap::new();
    for partition in partitions {
        topics
            .entry(&partition.0)
            .or_default()
            .push(value(partition));
    }
    topics
}

/// A broker that the metadata has for the leader may not have heard of the partition yet: it is asked again, until the
/// metadata has no such topic either.
fn as_of_a_leader(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::UnknownTopicOrPartition => ErrorCode::LeaderNotAvailable,
        code => code,
    }
}

async fn list(leader: &Connection, led: &[(String, i32)], when: When) -> Result<Offsets, Error> {
    let topics = by_topic(led, |(_, index)| ListOffsetsPartition {
        partition_index: *index,
        timestamp: when.timestamp(),
        ..Default::default()
    });
    let request = ListOffsetsRequest {
        replica_id: NO_REPLICA,
        topics: topics
            .into_iter()
            .map(|(name, partitions)| ListOffsetsTopic {
                name: name.into(),
                partitions,
            })
            .collect(),
        ..Default::default()
    };
    let response = call(leader, &request).await?;
    let mut offsets = Offsets::new();
    for topic in &response.topics {
        for found in &topic.partitions {
            let subject = format!("{}-{}", topic.name, found.partition_index);
            Error::check(subject, as_of_a_leader(found.error_code))?;
            offsets.insert(
                (topic.name.to_string(), found.partition_index),
                found.offset,
            );
        }
    }
    Ok(offsets)
}
