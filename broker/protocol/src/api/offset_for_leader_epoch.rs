//! OffsetForLeaderEpoch (key 23): where a leader epoch ends in the log (KIP-101).
//!
//! | version | change |
//! | --- | --- |
//! | 1 | epoch in the response (KIP-279) |
//! | 2 | current leader epoch, throttle time (KIP-320) |
//! | 3 | replica id (KIP-392) |
//! | 4 | flexible |

use crate::schema::{api, schema};
use crate::{ErrorCode, Str};

api!(23, OffsetForLeaderEpoch, OffsetForLeaderEpochRequest => OffsetForLeaderEpochResponse, versions 0..=4, flexible 4);

schema! {
    /// Which epochs to find.
    pub struct OffsetForLeaderEpochRequest {
        /// -2 is a consumer that may see beyond the high watermark, -1 one that may not.
        replica_id: i32 = -2, in 3..;
        topics: Vec<OffsetForLeaderTopic>;
    }

    /// One topic's partitions.
    pub struct OffsetForLeaderTopic {
        topic: Str;
        partitions: Vec<OffsetForLeaderPartition>;
    }

    /// The epoch to find in one partition.
    pub struct OffsetForLeaderPartition {
        partition: i32;
        current_leader_epoch: i32 = -1, in 2..;
        leader_epoch: i32;
    }

    /// Where they end.
    pub struct OffsetForLeaderEpochResponse {
        throttle_time_ms: i32, in 2..;
        topics: Vec<OffsetForLeaderTopicResult>;
    }

    /// One topic's results.
    pub struct OffsetForLeaderTopicResult {
        topic: Str;
        partitions: Vec<EpochEndOffset>;
    }

    /// The largest epoch not above the one asked for, and the offset after its last record.
    pub struct EpochEndOffset {
        error_code: ErrorCode;
        partition: i32;
        leader_epoch: i32 = -1, in 1..;
        end_offset: i64 = -1;
    }
}
