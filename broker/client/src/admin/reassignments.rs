//! Partitions on their way from brokers to brokers (KIP-455), what they weigh, and who may lead them (KIP-966).

use std::collections::BTreeMap;

use milena_protocol::api::describe_log_dirs::{DescribableLogDirTopic, DescribeLogDirsRequest};
use milena_protocol::api::describe_topic_partitions::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsTopic,
};
use milena_protocol::{ErrorCode, Request};

use crate::client::call;
use crate::retry::retry;
use crate::{Client, Error};

/// The most pages of one topic's partitions: a broker that never ends must not keep its client for ever.
const PAGES_MAX: usize = 1_000;

/// Bytes of partitions' logs, by topic and partition.
pub type Sizes = BTreeMap<(String, i32), u64>;

/// Where one partition is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedReplicas {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Its brokers then, the preferred leader first; `None` cancels what is in progress.
    pub brokers: Option<Vec<i32>>,
}

/// A partition on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OngoingReassignment {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Its brokers now, those that join included.
    pub replicas: Vec<i32>,
    /// Those that join.
    pub adding: Vec<i32>,
    /// Those that leave at the end.
    pub removing: Vec<i32>,
}

impl Client {
    /// Begins, replaces or cancels reassignments: all answers are looked at, and the first refusal is the error.
    pub async fn reassign(&self, wanted: &[WantedReplicas]) -> Result<(), Error> {
        let wish = |one: &WantedReplicas| {
            let key = (one.topic.clone(), one.partition);
            (key, one.brokers.clone())
        };
        let wishes = wanted.iter().map(wish).collect();
        let answers = self.alter_partition_reassignments(&wishes, true).await?;
        answers.into_values().collect()
    }

    /// Every partition that is on its way.
    pub async fn reassignments(&self) -> Result<Vec<OngoingReassignment>, Error> {
        let ongoing = self.list_partition_reassignments(None).await?;
        let ongoing = ongoing.into_iter();
        Ok(ongoing
            .map(|((topic, partition), one)| OngoingReassignment {
                topic,
                partition,
                replicas: one.replicas,
                adding: one.adding,
                removing: one.removing,
            })
            .collect())
    }

    /// Bytes of these partitions' logs on one broker; those that it does not have are left out.
    pub async fn log_sizes(
        &self,
        broker: i32,
        partitions: &[(String, i32)],
    ) -> Result<Sizes, Error> {
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in partitions {
            topics.entry(topic).or_default().push(*partition);
        }
        let topics = topics
            .into_iter()
            .map(|(topic, partitions)| DescribableLogDirTopic {
                topic: topic.into(),
                partitions,
            });
        let request = DescribeLogDirsRequest {
            topics: Some(topics.collect()),
        };
        let response = retry(self.options().deadline, || async {
            let connection = self.broker(broker).await?;
            let response = call(&connection, &request).await?;
            Error::check(format!("broker {broker}"), response.error_code)?;
            Ok(response)
        })
        .await?;
        let mut sizes = Sizes::new();
        for topic in response.results.iter().flat_map(|dir| &dir.topics) {
            for one in topic.partitions.iter().filter(|one| !one.is_future_key) {
                let key = (topic.name.to_string(), one.partition_index);
                *sizes.entry(key).or_default() += u64::try_from(one.partition_size).unwrap_or(0);
            }
        }
        Ok(sizes)
    }

    /// The replicas of each partition of a topic that are out of sync and hold every committed record (KIP-966); `None`
    /// where the broker is too old to tell.
    pub async fn eligible_leaders(
        &self,
        topic: &str,
    ) -> Result<Option<BTreeMap<i32, Vec<i32>>>, Error> {
        let connection = self.any().await?;
        if connection
            .served(DescribeTopicPartitionsRequest::KEY)
            .is_none()
        {
            return Ok(None);
        }
        let mut request = DescribeTopicPartitionsRequest {
            topics: vec![DescribeTopicPartitionsTopic { name: topic.into() }],
            ..Default::default()
        };
        let mut eligible = BTreeMap::new();
        for _ in 0..PAGES_MAX {
            let response = call(&connection, &request).await?;
            for described in response.topics {
                Error::check(topic, described.error_code)?;
                for one in described.partitions {
                    let replicas = one.eligible_leader_replicas.unwrap_or_default();
                    eligible.insert(one.partition_index, replicas);
                }
            }
            if response.next_cursor.is_none() {
                return Ok(Some(eligible));
            }
            request.cursor = response.next_cursor;
        }
        Err(Error::refused(
            topic,
            ErrorCode::UnknownServerError,
            Some("the list of partitions does not end"),
        ))
    }
}
