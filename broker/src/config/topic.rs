//! A topic's settings, row by row, and how a topic without its own value gets the broker's. As in Kafka 4
//! (<https://kafka.apache.org/documentation/#topicconfigs>).

use std::borrow::Cow;

use milena_metadata::BrokerId;

use super::setting::Bounds::{self, Any, AtLeast, Between, BetweenOr, Form, Fraction, OneOf};
use super::setting::{Setting, settings};
use super::value::{CleanupPolicy, CompressionType, TimestampType};
use super::{Layers, Values};

/// What the broker's three retention settings allow: 0 would delete everything at once.
pub(super) const RETENTION: Bounds = Form("-1 or at least 1", |text| {
    text.parse::<i64>()
        .is_ok_and(|number| number == -1 || number > 0)
});

/// What `placement.node.spread` may be; the first is the default.
pub(super) const NODE_SPREADS: &[&str] = &["required", "preferred"];
/// What `placement.rack.spread` may be; the first is the default.
pub(super) const RACK_SPREADS: &[&str] = &["preferred", "required"];

const MAX_LONG: Option<&str> = Some("9223372036854775807");

settings! {
    /// A topic's settings with their types: its own values over those of its broker.
    TOPIC => TopicConfig;

    /// What happens to old records: `delete` drops segments past the retention, `compact` keeps the last
    /// record of each key, both do both, none keeps all.
    "cleanup.policy" cleanup_policy: CleanupPolicy =
        Some("delete"), OneOf(CleanupPolicy::WORDS), Medium, ClusterWide, from ["log.cleanup.policy" * 1];
    /// How batches are kept: as the producer sent them, or compressed anew.
    "compression.type" compression_type: CompressionType =
        Some("producer"), OneOf(CompressionType::WORDS), Medium, ClusterWide, from ["compression.type" * 1];
    /// The level for gzip; -1 is the library's default.
    "compression.gzip.level" compression_gzip_level: i32 =
        Some("-1"), BetweenOr(1, 9, -1), Medium, ClusterWide, from ["compression.gzip.level" * 1];
    /// The level for LZ4. Accepted and shown, without effect: LZ4 is written at one level, the fastest.
    "compression.lz4.level" compression_lz4_level: i32 =
        Some("9"), Between(1, 17), Medium, ClusterWide, from ["compression.lz4.level" * 1];
    /// The level for Zstandard.
    "compression.zstd.level" compression_zstd_level: i32 =
        Some("3"), Between(-131072, 22), Medium, ClusterWide, from ["compression.zstd.level" * 1];
    /// How many milliseconds a delete marker stays after its key is compacted away.
    "delete.retention.ms" delete_retention_ms: i64 =
        Some("86400000"), AtLeast(0), Medium, ClusterWide, from ["log.cleaner.delete.retention.ms" * 1];
    /// The replicas whose copying is throttled while they catch up: `partition:broker`, separated by commas, or `*`.
    "follower.replication.throttled.replicas" follower_throttled_replicas: Vec<String> =
        Some(""), Any, Medium, ClusterWide;
    /// How many milliseconds a deleted segment's files stay on disk.
    "file.delete.delay.ms" file_delete_delay_ms: i64 =
        Some("60000"), AtLeast(0), Medium, ClusterWide, from ["log.segment.delete.delay.ms" * 1];
    /// After how many records the log is synced to disk; acknowledgements wait for the sync. With 1 whatever is
    /// acknowledged is on disk, with acks=all on the disks of all in-sync replicas, and acknowledgements share syncs.
    "flush.messages" flush_messages: i64 =
        MAX_LONG, AtLeast(1), Medium, ClusterWide, from ["log.flush.interval.messages" * 1];
    /// After how many milliseconds, and up to 100 more, a record is synced to disk; nothing waits for it.
    "flush.ms" flush_ms: i64 = MAX_LONG, AtLeast(0), Medium, ClusterWide,
        from ["log.flush.interval.ms" * 1, "log.flush.scheduler.interval.ms" * 1];
    /// After how many bytes of records the index gets another entry.
    "index.interval.bytes" index_interval_bytes: i32 =
        Some("4096"), AtLeast(0), Medium, ClusterWide, from ["log.index.interval.bytes" * 1];
    /// After how many milliseconds a record must be compacted, however little there is to compact.
    "max.compaction.lag.ms" max_compaction_lag_ms: i64 =
        MAX_LONG, AtLeast(1), Medium, ClusterWide, from ["log.cleaner.max.compaction.lag.ms" * 1];
    /// The largest batch in bytes, as it is on disk.
    "max.message.bytes" max_message_bytes: i32 =
        Some("1048588"), AtLeast(0), Medium, ClusterWide, from ["message.max.bytes" * 1];
    /// By how many milliseconds a producer's timestamp may lie ahead of the broker's clock.
    "message.timestamp.after.max.ms" message_timestamp_after_max_ms: i64 =
        Some("3600000"), AtLeast(0), Medium, ClusterWide, from ["log.message.timestamp.after.max.ms" * 1];
    /// By how many milliseconds a producer's timestamp may lie behind the broker's clock.
    "message.timestamp.before.max.ms" message_timestamp_before_max_ms: i64 =
        MAX_LONG, AtLeast(0), Medium, ClusterWide, from ["log.message.timestamp.before.max.ms" * 1];
    /// Whether a record's timestamp is the producer's or the time of the append.
    "message.timestamp.type" message_timestamp_type: TimestampType =
        Some("CreateTime"), OneOf(TimestampType::WORDS), Medium, ClusterWide,
        from ["log.message.timestamp.type" * 1];
    /// A log is compacted when this part of it is not compacted yet.
    "min.cleanable.dirty.ratio" min_cleanable_dirty_ratio: f64 =
        Some("0.5"), Fraction(0.0, 1.0), Medium, ClusterWide, from ["log.cleaner.min.cleanable.ratio" * 1];
    /// For how many milliseconds a record is not compacted.
    "min.compaction.lag.ms" min_compaction_lag_ms: i64 =
        Some("0"), AtLeast(0), Medium, ClusterWide, from ["log.cleaner.min.compaction.lag.ms" * 1];
    /// How many replicas must have a record before acks=all is answered; with fewer in sync the write is
    /// refused.
    "min.insync.replicas" min_insync_replicas: i32 =
        Some("1"), AtLeast(1), Medium, ClusterWide, from ["min.insync.replicas" * 1];
    /// Whether space is claimed from the file system before the records come. (Kafka's default is false.)
    "preallocate" preallocate: bool = Some("true"), Any, Medium, ClusterWide, from ["log.preallocate" * 1];
    /// The racks whose brokers may host the topic's replicas, separated by commas; empty for all. (Not in Kafka.)
    "placement.racks" placement_racks: Vec<String> = Some(""), Any, Medium, ClusterWide;
    /// The pools whose brokers may host the topic's replicas, separated by commas; empty for all. (Not in Kafka.)
    "placement.pools" placement_pools: Vec<String> = Some(""), Any, Medium, ClusterWide;
    /// The rack that the topic's preferred leaders should be in; empty for any. (Not in Kafka.)
    "placement.leader.rack" placement_leader_rack: String = Some(""), Any, Medium, ClusterWide;
    /// `required`: no two replicas of a partition are on one machine; `preferred`: where there are too few machines,
    /// they may be. (Not in Kafka.)
    "placement.node.spread" placement_node_spread: String =
        Some("required"), OneOf(NODE_SPREADS), Medium, ClusterWide, from ["placement.node.spread" * 1];
    /// `preferred`: a partition's replicas are spread over the racks as evenly as can be; `required`: no rack has two
    /// more than another, so that with as many racks as replicas no two share one, and what can't be placed so is
    /// refused. (Not in Kafka.)
    "placement.rack.spread" placement_rack_spread: String =
        Some("preferred"), OneOf(RACK_SPREADS), Medium, ClusterWide, from ["placement.rack.spread" * 1];
    /// How many bytes a partition keeps; -1 is no bound.
    "retention.bytes" retention_bytes: i64 =
        Some("-1"), Any, Medium, ClusterWide, from ["log.retention.bytes" * 1];
    /// How many milliseconds records stay; -1 is for ever.
    "retention.ms" retention_ms: i64 = Some("604800000"), AtLeast(-1), Medium, ClusterWide,
        from ["log.retention.ms" * 1, "log.retention.minutes" * 60_000, "log.retention.hours" * 3_600_000];
    /// A segment is closed when it has so many bytes. (Kafka 4 asks for at least 1 MiB, Kafka 3 for 14.)
    "segment.bytes" segment_bytes: i32 =
        Some("1073741824"), AtLeast(14), Medium, ClusterWide, from ["log.segment.bytes" * 1];
    /// The most bytes of a segment's index.
    "segment.index.bytes" segment_index_bytes: i32 =
        Some("10485760"), AtLeast(4), Medium, ClusterWide, from ["log.index.size.max.bytes" * 1];
    /// By up to how many milliseconds, at random, a segment is closed earlier, so that not all close at
    /// once.
    "segment.jitter.ms" segment_jitter_ms: i64 = Some("0"), AtLeast(0), Medium, ClusterWide,
        from ["log.roll.jitter.ms" * 1, "log.roll.jitter.hours" * 3_600_000];
    /// A segment is closed when it is so many milliseconds old.
    "segment.ms" segment_ms: i64 = Some("604800000"), AtLeast(1), Medium, ClusterWide,
        from ["log.roll.ms" * 1, "log.roll.hours" * 3_600_000];
    /// Whether a replica that may lack records leads where nobody else can: rather lose records than wait.
    "unclean.leader.election.enable" unclean_leader_election_enable: bool =
        Some("false"), Any, Medium, ClusterWide, from ["unclean.leader.election.enable" * 1];
}

impl TopicConfig {
    /// Whether a broker's replica of a partition is copied at the throttled rate while it catches up.
    pub fn throttles_follower(&self, partition: i32, broker: BrokerId) -> bool {
        let named = |item: &String| {
            let both = item.split_once(':');
            let both = both.and_then(|(p, b)| Some((p.parse().ok()?, b.parse().ok()?)));
            item == "*" || both == Some((partition, broker.get()))
        };
        self.follower_throttled_replicas.iter().any(named)
    }

    /// The topic's own values over the broker's. Values that this version does not allow are passed over.
    pub(super) fn resolve(layers: &Layers, own: &Values) -> Self {
        Self::read(|name| {
            let setting = find(name)?;
            let valid = |text: &String| setting.check(text).ok();
            own.get(name)
                .and_then(valid)
                .map(Cow::Owned)
                .or_else(|| inherited(setting, layers))
        })
        .expect("values were checked and every row has a default")
    }
}

/// The row of a topic setting.
pub(super) fn find(name: &str) -> Option<&'static Setting> {
    TOPIC
        .iter()
        .chain(super::accepted::TOPIC)
        .find(|setting| setting.name == name)
}

/// The value that a topic has without one of its own.
pub(super) fn inherited<'a>(setting: &'static Setting, layers: &'a Layers) -> Option<Cow<'a, str>> {
    let synonym = setting
        .synonyms
        .iter()
        .find_map(|(name, factor)| Some((layers.get(name)?, *factor)));
    match synonym {
        Some((text, factor)) => Some(scaled(text, factor)),
        None => setting.default.map(Cow::Borrowed),
    }
}

/// A broker's value in the unit of the topic's setting.
pub(super) fn scaled(text: &str, factor: i64) -> Cow<'_, str> {
    match text.parse::<i64>() {
        Ok(-1) | Err(_) => Cow::Borrowed(text),
        Ok(_) if factor == 1 => Cow::Borrowed(text),
        Ok(number) => Cow::Owned(number.saturating_mul(factor).to_string()),
    }
}
