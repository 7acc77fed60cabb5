//! What a topic's configuration means for its partitions' logs.

use milena_log::LogConfig;
use milena_protocol::records::{Codec, Compression};

use crate::config::{BrokerConfig, CompressionType, TopicConfig};

/// Kafka's way of saying "never" for an interval.
pub(super) const NEVER: i64 = i64::MAX;

impl TopicConfig {
    /// The log's settings; `producer.id.expiration.ms` is the broker's.
    pub fn log_config(&self, broker: &BrokerConfig) -> LogConfig {
        LogConfig {
            segment_bytes: size(self.segment_bytes),
            segment_ms: span(self.segment_ms),
            segment_jitter_ms: span(self.segment_jitter_ms),
            index_interval_bytes: size(self.index_interval_bytes),
            segment_index_bytes: size(self.segment_index_bytes),
            retention_ms: limit(self.retention_ms),
            retention_bytes: limit(self.retention_bytes),
            delete: self.cleanup_policy.delete,
            compact: self.cleanup_policy.compact,
            delete_retention_ms: span(self.delete_retention_ms),
            min_cleanable_dirty_ratio: self.min_cleanable_dirty_ratio,
            min_compaction_lag_ms: span(self.min_compaction_lag_ms),
            max_compaction_lag_ms: span(self.max_compaction_lag_ms),
            file_delete_delay_ms: span(self.file_delete_delay_ms),
            preallocate: self.preallocate,
            producer_id_expiration_ms: span(i64::from(broker.producer_id_expiration_ms)),
        }
    }

    /// The codec that batches are stored in; `None` keeps the producer's.
    pub fn codec(&self) -> Option<Codec> {
        let (compression, level) = match self.compression_type {
            CompressionType::Producer => return None,
            CompressionType::Uncompressed => (Compression::None, None),
            CompressionType::Gzip => (Compression::Gzip, Some(self.compression_gzip_level)),
            CompressionType::Snappy => (Compression::Snappy, None),
            CompressionType::Lz4 => (Compression::Lz4, Some(self.compression_lz4_level)),
            CompressionType::Zstd => (Compression::Zstd, Some(self.compression_zstd_level)),
        };
        let level = level.filter(|&level| level != -1 || compression == Compression::Zstd);
        Some(Codec { compression, level })
    }
}

fn size(bytes: i32) -> u32 {
    u32::try_from(bytes).unwrap_or(0)
}

fn span(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0)
}

fn limit(value: i64) -> Option<u64> {
    u64::try_from(value).ok()
}

/// How often, or `None` for never.
pub(super) fn interval(value: i64) -> Option<u64> {
    (value < NEVER).then(|| span(value))
}
