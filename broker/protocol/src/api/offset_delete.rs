//! OffsetDelete (key 47): delete committed offsets of a group (KIP-496).
//!
//! Version 0 is the only one, and not flexible.

use crate::schema::{api, schema};
use crate::{ErrorCode, Str};

api!(47, OffsetDelete, OffsetDeleteRequest => OffsetDeleteResponse, versions 0..=0, flexible i16::MAX);

schema! {
    /// The offsets to delete.
    pub struct OffsetDeleteRequest {
        group_id: Str;
        topics: Vec<OffsetDeleteRequestTopic>;
    }

    /// One topic's partitions.
    pub struct OffsetDeleteRequestTopic {
        name: Str;
        partitions: Vec<OffsetDeleteRequestPartition>;
    }

    /// One partition.
    pub struct OffsetDeleteRequestPartition {
        partition_index: i32;
    }

    /// What became of each offset.
    pub struct OffsetDeleteResponse {
        error_code: ErrorCode;
        throttle_time_ms: i32;
        topics: Vec<OffsetDeleteResponseTopic>;
    }

    /// One topic's results.
    pub struct OffsetDeleteResponseTopic {
        name: Str;
        partitions: Vec<OffsetDeleteResponsePartition>;
    }

    /// One partition's result.
    pub struct OffsetDeleteResponsePartition {
        partition_index: i32;
        error_code: ErrorCode;
    }
}
