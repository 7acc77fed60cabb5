//! Where partitions lie: elections, reassignments, and the brokers' log directories.

use std::collections::BTreeMap;

use milena_protocol::api::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use milena_protocol::api::describe_log_dirs::{DescribeLogDirsRequest, DescribeLogDirsResult};
use milena_protocol::api::elect_leaders::{ElectLeadersRequest, ElectLeadersTopic};
use milena_protocol::api::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsTopics,
};
use milena_protocol::{ErrorCode, Str};

use super::offsets::by_topic;
use super::refusal;
use crate::client::call;
use crate::retry::retry;
use crate::{Client, Error};

/// Who is to lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum Election {
    /// The first replica, if it is in sync.
    Preferred = 0,
    /// Where nobody leads: anybody, be it with loss.
    Unclean = 1,
}

/// What became of each partition, by topic and number.
pub type PartitionResults = BTreeMap<(String, i32), Result<(), Error>>;

/// The brokers that each partition is to have, the preferred leader first; `None` cancels.
pub type ReplicaWishes = BTreeMap<(String, i32), Option<Vec<i32>>>;

/// A partition on the move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reassignment {
    /// All its brokers at present.
    pub replicas: Vec<i32>,
    /// Those of them that are new.
    pub adding: Vec<i32>,
    /// Those of them that will leave.
    pub removing: Vec<i32>,
}

/// One log directory of a broker.
#[derive(Debug, Clone)]
pub struct LogDir {
    /// Its path on the broker.
    pub path: String,
    /// Why it can't be used.
    pub error: Option<ErrorCode>,
    /// The bytes of its file system; `None` where the broker does not tell.
    pub total_bytes: Option<i64>,
    /// The bytes that are free there; `None` where the broker does not tell.
    pub usable_bytes: Option<i64>,
    /// The replicas in it, by topic and partition.
    pub replicas: BTreeMap<(String, i32), ReplicaInDir>,
}

/// A replica in a log directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaInDir {
    /// Its log's size in bytes.
    pub size_bytes: i64,
    /// How many offsets it is behind the high watermark, or a future replica behind the present one.
    pub offset_lag: i64,
    /// Whether it is being moved to this directory.
    pub is_future: bool,
}

impl Client {
    /// Elects leaders. `None` is every partition, of which those are answered that needed an election.
    pub async fn elect_leaders(
        &self,
        election: Election,
        partitions: Option<&[(String, i32)]>,
    ) -> Result<PartitionResults, Error> {
        let topics = partitions.map(|partitions| {
            let topics = by_topic(partitions, |partition| partition.1).into_iter();
            let topics = topics.map(|(topic, partitions)| ElectLeadersTopic {
                topic: topic.into(),
                partitions,
            });
            topics.collect()
        });
        let request = ElectLeadersRequest {
            election_type: election as i8,
            topic_partitions: topics,
            timeout_ms: self.timeout_ms(),
        };
        let check = |code| Error::check("the election", code);
        let told = self
            .call_controller(&request, |told| check(told.error_code))
            .await?;
        let mut results = PartitionResults::new();
        for topic in &told.replica_election_results {
            for one in &topic.partition_result {
                let key = (topic.topic.to_string(), one.partition_id);
                let result = (one.error_code, &one.error_message);
                results.insert(key.clone(), of_partition(&key, result));
            }
        }
        Ok(results)
    }

    /// Starts, replaces and cancels moves. `allow_factor_change` has to be said where a partition gets another number
    /// of replicas; brokers before Kafka 4.1 do not ask.
    pub async fn alter_partition_reassignments(
        &self,
        wanted: &ReplicaWishes,
        allow_factor_change: bool,
    ) -> Result<PartitionResults, Error> {
        let partitions: Vec<_> = wanted.keys().cloned().collect();
        let topics = by_topic(&partitions, |partition| ReassignablePartition {
            partition_index: partition.1,
            replicas: wanted[partition].clone(),
        });
        let topics = topics
            .into_iter()
            .map(|(name, partitions)| ReassignableTopic {
                name: name.into(),
                partitions,
            });
        let request = AlterPartitionReassignmentsRequest {
            timeout_ms: self.timeout_ms(),
            allow_replication_factor_change: allow_factor_change,
            topics: topics.collect(),
        };
        let told = self
            .call_controller(&request, |told| {
                refusal("the reassignment", told.error_code, &told.error_message)
            })
            .await?;
        let mut results = PartitionResults::new();
        for topic in &told.responses {
            for one in &topic.partitions {
                let key = (topic.name.to_string(), one.partition_index);
                let result = (one.error_code, &one.error_message);
                results.insert(key.clone(), of_partition(&key, result));
            }
        }
        Ok(results)
    }

    /// The partitions on the move: of those named, or of all.
    pub async fn list_partition_reassignments(
        &self,
        partitions: Option<&[(String, i32)]>,
    ) -> Result<BTreeMap<(String, i32), Reassignment>, Error> {
        let topics = partitions.map(|partitions| {
            let topics = by_topic(partitions, |partition| partition.1).into_iter();
            let topics = topics.map(
                |(name, partition_indexes)| ListPartitionReassignmentsTopics {
                    name: name.into(),
                    partition_indexes,
                },
            );
            topics.collect()
        });
        let request = ListPartitionReassignmentsRequest {
            timeout_ms: self.timeout_ms(),
            topics,
        };
        let told = self
            .call_controller(&request, |told| {
                refusal("reassignments", told.error_code, &told.error_message)
            })
            .await?;
        let mut ongoing = BTreeMap::new();
        for topic in told.topics {
            for one in topic.partitions {
                let key = (topic.name.to_string(), one.partition_index);
                let reassignment = Reassignment {
                    replicas: one.replicas,
                    adding: one.adding_replicas,
                    removing: one.removing_replicas,
                };
                ongoing.insert(key, reassignment);
            }
        }
        Ok(ongoing)
    }

    /// A broker's log directories and what lies in them.
    pub async fn describe_log_dirs(&self, broker: i32) -> Result<Vec<LogDir>, Error> {
        let request = DescribeLogDirsRequest { topics: None };
        let told = retry(self.options().deadline, || async {
            let told = call(&self.broker(broker).await?, &request).await?;
            Error::check(format!("broker {broker}"), told.error_code).map(|()| told)
        })
        .await?;
        Ok(told.results.iter().map(log_dir).collect())
    }
}

fn of_partition(
    (topic, partition): &(String, i32),
    (code, message): (ErrorCode, &Option<Str>),
) -> Result<(), Error> {
    refusal(&format!("{topic}-{partition}"), code, message)
}

fn log_dir(told: &DescribeLogDirsResult) -> LogDir {
    let known = |bytes: i64| Some(bytes).filter(|&bytes| bytes >= 0);
    let mut replicas = BTreeMap::new();
    for topic in &told.topics {
        for one in &topic.partitions {
            let replica = ReplicaInDir {
                size_bytes: one.partition_size,
                offset_lag: one.offset_lag,
                is_future: one.is_future_key,
            };
            replicas.insert((topic.name.to_string(), one.partition_index), replica);
        }
    }
    LogDir {
        path: told.log_dir.to_string(),
        error: told.error_code.ok().err(),
        total_bytes: known(told.total_bytes),
        usable_bytes: known(told.usable_bytes),
        replicas,
    }
}
