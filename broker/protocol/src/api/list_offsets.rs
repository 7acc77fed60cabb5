//! ListOffsets (key 2): offsets by timestamp, and both ends of a log.
//!
//! | version | change |
//! | --- | --- |
//! | 1 | one offset with its timestamp instead of a list of segment starts |
//! | 2 | isolation level, throttle time |
//! | 3 | responses before throttling |
//! | 4 | leader epochs (KIP-320) |
//! | 5 | OFFSET_NOT_AVAILABLE may be answered |
//! | 6 | flexible |
//! | 7 | -3, the offset of the largest timestamp (KIP-734) |
//! | 8 | -4, the start of the local log (KIP-405) |
//! | 9 | -5, the last tiered offset (KIP-1005) |
//! | 10 | timeout, for answers that need the remote log (KIP-1075) |
//! | 11 | -6, the earliest offset yet to be uploaded (KIP-1023) |

use crate::schema::{api, schema};
use crate::{ErrorCode, Str};

api!(2, ListOffsets, ListOffsetsRequest => ListOffsetsResponse, versions 0..=11, flexible 6);

schema! {
    /// Which offsets to find.
    pub struct ListOffsetsRequest {
        /// -1 is a consumer.
        replica_id: i32;
        /// 0 reads uncommitted records, 1 only committed ones.
        isolation_level: i8, in 2..;
        topics: Vec<ListOffsetsTopic>;
        timeout_ms: i32, in 10..;
    }

    /// One topic's partitions.
    pub struct ListOffsetsTopic {
        name: Str;
        partitions: Vec<ListOffsetsPartition>;
    }

    /// What to find in one partition.
    pub struct ListOffsetsPartition {
        partition_index: i32;
        current_leader_epoch: i32 = -1, in 4..;
        /// Milliseconds since 1970; -1 asks for the end of the log, -2 for its start.
        timestamp: i64;
        max_num_offsets: i32 = 1, in ..=0;
    }

    /// What was found.
    pub struct ListOffsetsResponse {
        throttle_time_ms: i32, in 2..;
        topics: Vec<ListOffsetsTopicResponse>;
    }

    /// One topic's offsets.
    pub struct ListOffsetsTopicResponse {
        name: Str;
        partitions: Vec<ListOffsetsPartitionResponse>;
    }

    /// One partition's offset, -1 where there is none.
    pub struct ListOffsetsPartitionResponse {
        partition_index: i32;
        error_code: ErrorCode;
        old_style_offsets: Vec<i64>, in ..=0;
        timestamp: i64 = -1, in 1..;
        offset: i64 = -1, in 1..;
        leader_epoch: i32 = -1, in 4..;
    }
}
