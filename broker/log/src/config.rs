//! The settings of one partition's log, by Kafka's names; plain values, replaceable while the log runs.

/// A log's settings. Times are milliseconds, sizes bytes; `None` is "no limit" (Kafka's -1).
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment rolls before it would exceed this; also the largest batch set that is taken.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment rolls when an append is this much younger than its first batch.
    pub segment_ms: u64,
    /// `segment.jitter.ms`: up to this much, drawn for each segment, is taken off `segment_ms`, so that logs do not roll
    /// together.
    pub segment_jitter_ms: u64,
    /// `index.interval.bytes`: bytes between two index entries.
    pub index_interval_bytes: u32,
    /// `segment.index.bytes`: a segment rolls when one of its indexes has this size.
    pub segment_index_bytes: u32,
    /// `retention.ms`.
    pub retention_ms: Option<u64>,
    /// `retention.bytes`.
    pub retention_bytes: Option<u64>,
    /// `cleanup.policy` contains `delete`.
    pub delete: bool,
    /// `cleanup.policy` contains `compact`.
    pub compact: bool,
    /// `delete.retention.ms`: how long a tombstone outlives the compaction that first met it.
    pub delete_retention_ms: u64,
    /// `min.cleanable.dirty.ratio`.
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: u64,
    /// `max.compaction.lag.ms`; the active segment of a compacted log rolls after this, for it is not compacted.
    pub max_compaction_lag_ms: u64,
    /// `file.delete.delay.ms`.
    pub file_delete_delay_ms: u64,
    /// Reserve disk blocks ahead of the head of a busy log (see `preallocation.rs`).
    pub preallocate: bool,
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: u64,
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

impl Default for LogConfig {
    /// Kafka's defaults, except that blocks are preallocated.
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * DAY_MS,
            segment_jitter_ms: 0,
            index_interval_bytes: 4096,
            segment_index_bytes: 10 << 20,
            retention_ms: Some(7 * DAY_MS),
            retention_bytes: None,
            delete: true,
            compact: false,
            delete_retention_ms: DAY_MS,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX as u64,
            file_delete_delay_ms: 60_000,
            preallocate: true,
            producer_id_expiration_ms: DAY_MS,
        }
    }
}
