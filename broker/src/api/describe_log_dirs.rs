//! DescribeLogDirs (key 35): the data directories, what lies in each, and their room (KIP-113, KIP-827).
//!
//! A directory is told as KAFKA_STORAGE_ERROR where its disk has refused something, or a log in it is offline. In Kafka such
//! a directory serves nothing, and nothing of it is listed; here its other logs go on, and are.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use milena_protocol::api::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse,
    DescribeLogDirsResult, DescribeLogDirsTopic,
};
use milena_protocol::{ErrorCode, Str};

use super::RequestContext;
use crate::blocking;
use crate::broker::Broker;
use crate::partition::Partition;
use crate::partitions::moves::Move;
use crate::partitions::{DataDir, HostedTopic};

/// Each directory, with the partitions that are asked for; null asks for all. One that the broker goes without is named with
/// KAFKA_STORAGE_ERROR.
pub async fn handle(
    broker: &Broker,
    _context: &RequestContext,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let wanted: Option<HashSet<(Str, i32)>> = request.topics.map(|topics| {
        let pairs = topics.into_iter().flat_map(|topic| {
            topic
                .partitions
                .into_iter()
                .map(move |index| (topic.topic.clone(), index))
                .collect::<Vec<_>>()
        });
        pairs.collect()
    });
    let topics = broker.partitions().topics();
    let moves = broker.partitions().moves();
    let dirs = broker.partitions().dirs();
    let paths = dirs.iter().map(|dir| dir.directory.path().to_path_buf());
    let paths: Vec<PathBuf> = paths.collect();
    let rooms = move || paths.iter().map(|path| room(path)).collect::<Vec<_>>();
    let rooms = blocking::run(rooms).await;
    let results = dirs.iter().zip(rooms).enumerate();
    let results = results.map(|(place, (dir, room))| {
        describe(
            (dir, &moves.bound_for(place)),
            room,
            &topics,
            wanted.as_ref(),
        )
    });
    // A log that is offline by itself says nothing of its directory: Kafka's tools pass over all that is in one with an error.
    let away = broker.partitions().away().iter();
    let away = away.map(|one| DescribeLogDirsResult {
        error_code: ErrorCode::KafkaStorageError,
        log_dir: Str::from(absolute(&one.path)),
        ..Default::default()
    });
    DescribeLogDirsResponse {
        results: results.chain(away).collect(),
        ..Default::default()
    }
}

fn describe(
    (dir, moves): (&DataDir, &[Arc<Move>]),
    (total_bytes, usable_bytes): (i64, i64),
    topics: &[Arc<HostedTopic>],
    wanted: Option<&HashSet<(Str, i32)>>,
) -> DescribeLogDirsResult {
    let mut described = Vec::new();
    for topic in topics {
        let name = Str::from(topic.name().as_str());
        let is_wanted =
            |index: i32| wanted.is_none_or(|wanted| wanted.contains(&(name.clone(), index)));
        let mut partitions: Vec<_> = topic
            .partitions()
            .filter(|partition| is_wanted(partition.index()))
            .filter(|partition| partition.reader().folder().parent() == Some(dir.directory.path()))
            .map(|partition| DescribeLogDirsPartition {
                partition_index: partition.index(),
                partition_size: i64::try_from(partition.reader().size_bytes()).unwrap_or(i64::MAX),
                offset_lag: lag(partition),
                is_future_key: false,
            })
            .collect();
        let coming = moves.iter().filter(|one| {
            let partition = one.partition();
            partition.topic_id() == topic.topic_id() && is_wanted(partition.index())
        });
        partitions.extend(coming.map(|one| future(one)));
        if !partitions.is_empty() {
            described.push(DescribeLogDirsTopic { name, partitions });
        }
    }
    DescribeLogDirsResult {
        log_dir: Str::from(absolute(dir.directory.path())),
        topics: described,
        total_bytes,
        usable_bytes,
        ..Default::default()
    }
}

/// A copy that is being made, and what it lacks of the log.
fn future(one: &Move) -> DescribeLogDirsPartition {
    let (size_bytes, offset_lag) = one.progress();
    DescribeLogDirsPartition {
        partition_index: one.partition().index(),
        partition_size: i64::try_from(size_bytes).unwrap_or(i64::MAX),
        offset_lag,
        is_future_key: true,
    }
}

/// Offsets below the high watermark that the log lacks, as far as it knows: a follower hears of the leader's high
/// watermark with the records below it.
fn lag(partition: &Partition) -> i64 {
    let lacks = partition.high_watermark() - partition.reader().log_end_offset();
    lacks.max(0)
}

fn absolute(dir: &Path) -> String {
    let path = std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf());
    path.display().to_string()
}

/// Bytes of the file system in all, and of them free; -1 where it does not say. May wait for the disk.
fn room(dir: &Path) -> (i64, i64) {
    let bytes =
        |blocks: u64, size: u64| i64::try_from(blocks.saturating_mul(size)).unwrap_or(i64::MAX);
    match rustix::fs::statvfs(dir) {
        Ok(stat) => (
            bytes(stat.f_blocks, stat.f_frsize),
            bytes(stat.f_bavail, stat.f_frsize),
        ),
        Err(_) => (-1, -1),
    }
}
