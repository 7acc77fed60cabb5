//! AlterReplicaLogDirs (key 34): moves replicas between this broker's data directories (KIP-113).

use std::collections::BTreeMap;
use std::path::Path;

use milena_protocol::api::alter_replica_log_dirs::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
};
use milena_protocol::{ErrorCode, Str};

use super::RequestContext;
use crate::blocking;
use crate::broker::Broker;
use crate::partitions::Partitions;

/// The moves are under way when this is answered, and go on for as long as they take.
pub async fn handle(
    broker: &Broker,
    _context: &RequestContext,
    request: AlterReplicaLogDirsRequest,
) -> AlterReplicaLogDirsResponse {
    // Of several directories for one partition the last counts, as in Kafka.
    let mut wanted: BTreeMap<(Str, i32), Str> = BTreeMap::new();
    for dir in request.dirs {
        for topic in dir.topics {
            for index in topic.partitions {
                wanted.insert((topic.name.clone(), index), dir.path.clone());
            }
        }
    }
    let partitions = broker.partitions().clone();
    let altered = blocking::run(move || {
        let mut topics: BTreeMap<Str, Vec<AlterReplicaLogDirPartitionResult>> = BTreeMap::new();
        for ((topic, partition_index), path) in wanted {
            let altered = alter(&partitions, (&topic, partition_index), &path);
            let error_code = altered.err().unwrap_or_default();
            let result = AlterReplicaLogDirPartitionResult {
                partition_index,
                error_code,
            };
            topics.entry(topic).or_default().push(result);
        }
        topics
    });
    let results =
        altered
            .await
            .into_iter()
            .map(|(topic_name, partitions)| AlterReplicaLogDirTopicResult {
                topic_name,
                partitions,
            });
    AlterReplicaLogDirsResponse {
        results: results.collect(),
        ..Default::default()
    }
}

/// Begins one move. A replica that may come later is noted, and refused: that is what Kafka's tool waits for.
fn alter(
    partitions: &Partitions,
    (topic, index): (&str, i32),
    path: &str,
) -> Result<(), ErrorCode> {
    let mut dirs = partitions.dirs().iter();
    let is_named = |path: &Path, name: &str| {
        std::path::absolute(path).is_ok_and(|path| path == Path::new(name))
    };
    let to = dirs.position(|dir| is_named(dir.directory.path(), path));
    let to = to.ok_or(ErrorCode::LogDirNotFound)?;
    let hosted = partitions
        .topic(topic)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    match hosted.find(index) {
        Ok(partition) => partitions.move_to(partition, to),
        Err(ErrorCode::NotLeaderOrFollower) => {
            partitions.moves().prefer(hosted.name(), index, to);
            Err(ErrorCode::ReplicaNotAvailable)
        }
        Err(code) => Err(code),
    }
}

#[cfg(test)]
mod tests;
