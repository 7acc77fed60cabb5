//! What is a state and not a count, read off the broker at the time of a scrape.
//!
//! Nothing here waits for a partition's lock: offsets are atomics, sizes come from the log's reading half.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use milena_metadata::BrokerId;

use super::replication::Replication;
use super::table;
use super::text::Page;
use crate::broker::Broker;
use crate::group::GroupsSnapshot;
use crate::group::classic::GroupState;
use crate::group::request::GroupSnapshot;
use crate::partition::Partition;
use crate::partitions::HostedTopic;

/// Partitions with series of their own, those first by topic and number: five series each, and beyond some ten
/// thousand series a broker weighs on a Prometheus that scrapes many.
pub const PARTITIONS_MAX: usize = 2_000;
/// Groups with series of their own, those first by name; the names come from the network.
pub const GROUPS_MAX: usize = 1_000;
/// Committed offsets with series of their own: a group may commit for every partition there is.
pub const GROUP_OFFSETS_MAX: usize = 5_000;

/// The states that groups which are there can be in.
const GROUP_STATES: [GroupState; 4] = [
    GroupState::Empty,
    GroupState::PreparingRebalance,
    GroupState::CompletingRebalance,
    GroupState::Stable,
];

/// One partition's log and offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PartitionState {
    topic: String,
    index: i32,
    log_bytes: u64,
    segments: usize,
    log_start_offset: i64,
    log_end_offset: i64,
    high_watermark: i64,
}

/// A data directory's file system, bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct DirState {
    path: String,
    bytes: u64,
    usable_bytes: u64,
}

/// Everything that is shown of the broker's state.
#[derive(Debug, Default)]
pub struct State {
    connections: usize,
    fetch_sessions: usize,
    in_flight_bytes: usize,
    in_flight_max_bytes: usize,
    topics: usize,
    partitions_count: usize,
    partitions_offline: usize,
    logs_bytes: u64,
    /// By topic and number, at most [`PARTITIONS_MAX`].
    partitions: Vec<PartitionState>,
    replication: Replication,
    groups: GroupsSnapshot,
    /// By topic and partition, for the lag of groups.
    high_watermarks: BTreeMap<(String, i32), i64>,
    dirs: Vec<DirState>,
    uptime: Duration,
}

impl State {
    /// Reads it. May wait for a file system that does not answer, so it wants a thread that may block.
    pub fn read(broker: &Broker, mut groups: GroupsSnapshot) -> Self {
        let mut topics = broker.partitions().topics();
        topics.sort_by(|a, b| a.name().as_str().cmp(b.name().as_str()));
        groups.groups.sort_by(|a, b| a.group.cmp(&b.group));
        let hosted = || topics.iter().flat_map(|topic| topic.partitions());
        let (in_flight, in_flight_max) = broker.in_flight();
        let in_flight_max_bytes = in_flight_max as usize;
        let unwritable = |partition: &&Arc<Partition>| partition.reader().check_writable().is_err();
        Self {
            connections: broker.connections().count(),
            fetch_sessions: broker.fetch_sessions().len(),
            in_flight_bytes: in_flight_max_bytes.saturating_sub(in_flight.available_permits()),
            in_flight_max_bytes,
            topics: topics.len(),
            partitions_count: hosted().count(),
            partitions_offline: not_opened(broker, hosted().count())
                + hosted().filter(unwritable).count(),
            logs_bytes: hosted()
                .map(|partition| partition.reader().size_bytes())
                .sum(),
            partitions: hosted()
                .take(PARTITIONS_MAX)
                .map(|partition| partition_state(partition))
                .collect(),
            replication: Replication::read(broker),
            high_watermarks: high_watermarks(&topics, &groups),
            groups,
            dirs: dirs(broker),
            uptime: broker.metrics().uptime(),
        }
    }

    pub fn write(&self, page: &mut Page) {
        page.one(&table::IN_FLIGHT_BYTES, self.in_flight_bytes as f64);
        page.one(&table::IN_FLIGHT_MAX_BYTES, self.in_flight_max_bytes as f64);
        page.one(&table::FETCH_SESSIONS, self.fetch_sessions as f64);
        page.one(&table::CONNECTIONS, self.connections as f64);
        self.write_partitions(page);
        self.replication.write(page);
        self.write_groups(page);
        let mut family = page.family(&table::DIR_BYTES);
        for dir in &self.dirs {
            family.series(&[&dir.path], dir.bytes as f64);
        }
        let mut family = page.family(&table::DIR_USABLE_BYTES);
        for dir in &self.dirs {
            family.series(&[&dir.path], dir.usable_bytes as f64);
        }
        page.family(&table::BUILD_INFO)
            .series(&[milena_metadata::VERSION], 1.0);
        page.one(&table::UPTIME, self.uptime.as_secs_f64());
    }

    fn write_partitions(&self, page: &mut Page) {
        let left_out = self.partitions_count.saturating_sub(self.partitions.len());
        page.one(&table::TOPICS, self.topics as f64);
        page.one(&table::PARTITIONS, self.partitions_count as f64);
        page.one(&table::PARTITIONS_OFFLINE, self.partitions_offline as f64);
        page.one(&table::PARTITIONS_LEFT_OUT, left_out as f64);
        page.one(&table::LOGS_BYTES, self.logs_bytes as f64);
        type Value = fn(&PartitionState) -> f64;
        let families: [(_, Value); 5] = [
            (&table::LOG_BYTES, |p| p.log_bytes as f64),
            (&table::LOG_SEGMENTS, |p| p.segments as f64),
            (&table::LOG_START_OFFSET, |p| p.log_start_offset as f64),
            (&table::LOG_END_OFFSET, |p| p.log_end_offset as f64),
            (&table::HIGH_WATERMARK, |p| p.high_watermark as f64),
        ];
        for (metric, value) in families {
            let mut family = page.family(metric);
            for partition in &self.partitions {
                let index = partition.index.to_string();
                family.series(&[&partition.topic, &index], value(partition));
            }
        }
    }

    fn write_groups(&self, page: &mut Page) {
        let all = &self.groups.groups;
        let shown = &all[..all.len().min(GROUPS_MAX)];
        let mut family = page.family(&table::GROUPS);
        for state in GROUP_STATES {
            let count = all.iter().filter(|group| group.state == state).count();
            family.series(&[state.name()], count as f64);
        }
        let left_out = all.len() - shown.len();
        page.one(&table::GROUPS_LEFT_OUT, left_out as f64);
        page.one(
            &table::GROUP_SHARDS_UNREAD,
            self.groups.shards_unread as f64,
        );
        let mut family = page.family(&table::GROUP_STATE);
        for group in shown {
            family.series(&[&group.group, group.state.name()], 1.0);
        }
        let mut family = page.family(&table::GROUP_MEMBERS);
        for group in shown {
            family.series(&[&group.group], group.member_count as f64);
        }
        self.write_group_offsets(page, shown);
    }

    fn write_group_offsets(&self, page: &mut Page, shown: &[GroupSnapshot]) {
        let offsets = || {
            shown
                .iter()
                .flat_map(|group| {
                    group
                        .offsets
                        .iter()
                        .map(move |offset| (&group.group, offset))
                })
                .take(GROUP_OFFSETS_MAX)
        };
        let all: usize = self.groups.groups.iter().map(|g| g.offsets.len()).sum();
        let left_out = all - offsets().count();
        page.one(&table::GROUP_OFFSETS_LEFT_OUT, left_out as f64);
        let mut family = page.family(&table::GROUP_OFFSET);
        for (group, (topic, index, offset)) in offsets() {
            family.series(&[group, topic, &index.to_string()], *offset as f64);
        }
        let mut family = page.family(&table::GROUP_LAG);
        for (group, (topic, index, offset)) in offsets() {
            if let Some(high_watermark) = self.high_watermarks.get(&(topic.clone(), *index)) {
                // A commit may lie behind the log's end after an unclean stop: nobody lags by less than nothing.
                let lag = high_watermark.saturating_sub(*offset).max(0);
                family.series(&[group, topic, &index.to_string()], lag as f64);
            }
        }
    }
}

fn partition_state(partition: &Partition) -> PartitionState {
    let reader = partition.reader();
    PartitionState {
        topic: partition.topic().to_string(),
        index: partition.index(),
        log_bytes: reader.size_bytes(),
        segments: reader.segments().len(),
        log_start_offset: reader.log_start_offset(),
        log_end_offset: reader.log_end_offset(),
        high_watermark: partition.high_watermark(),
    }
}

/// Partitions that the metadata places here and that are not here.
fn not_opened(broker: &Broker, opened: usize) -> usize {
    let placed = BrokerId::new(broker.node_id()).map(|id| broker.image().load(id).replicas);
    placed.map_or(0, |placed| (placed as usize).saturating_sub(opened))
}

/// The high watermarks of the partitions that groups have committed for.
fn high_watermarks(
    topics: &[Arc<HostedTopic>],
    groups: &GroupsSnapshot,
) -> BTreeMap<(String, i32), i64> {
    let by_name: BTreeMap<&str, &Arc<HostedTopic>> = topics
        .iter()
        .map(|topic| (topic.name().as_str(), topic))
        .collect();
    let committed = groups.groups.iter().flat_map(|group| &group.offsets);
    committed
        .filter_map(|(topic, index, _)| {
            let partition = by_name.get(topic.as_str())?.partition(*index)?;
            Some(((topic.clone(), *index), partition.high_watermark()))
        })
        .collect()
}

/// What the data directories' file systems say; one that does not answer is left out.
fn dirs(broker: &Broker) -> Vec<DirState> {
    let dirs = broker.partitions().dirs().iter();
    dirs.filter_map(|dir| {
        let path = dir.directory.path();
        let stat = rustix::fs::statvfs(path).ok()?;
        Some(DirState {
            path: path.display().to_string(),
            bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            usable_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    })
    .collect()
}

#[cfg(test)]
mod tests;
