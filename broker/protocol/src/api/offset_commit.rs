//! OffsetCommit (key 8): keep the offsets that a group has consumed.
//!
//! | version | change |
//! | --- | --- |
//! | 1 | generation, member, and a timestamp for each offset |
//! | 2 | retention time instead of timestamps |
//! | 3 | throttle time |
//! | 4 | responses before throttling |
//! | 5 | no more retention time: the broker's applies (KIP-211) |
//! | 6 | leader epochs (KIP-320) |
//! | 7 | static members (KIP-345) |
//! | 8 | flexible |
//! | 9 | member epochs as generations, for consumer groups (KIP-848) |
//! | 10 | topic ids instead of names (KIP-848) |

use crate::schema::{api, schema};
use crate::{ErrorCode, Str, Uuid};

api!(8, OffsetCommit, OffsetCommitRequest => OffsetCommitResponse, versions 0..=10, flexible 8);

schema! {
    /// A group's offsets.
    pub struct OffsetCommitRequest {
        group_id: Str;
        /// -1 commits without being a member.
        generation_id_or_member_epoch: i32 = -1, in 1..;
        member_id: Str, in 1..;
        group_instance_id: Option<Str>, in 7.., nullable 7..;
        /// -1 is the broker's.
        retention_time_ms: i64 = -1, in 2..=4;
        topics: Vec<OffsetCommitRequestTopic>;
    }

    /// One topic's offsets.
    pub struct OffsetCommitRequestTopic {
        name: Str, in ..=9;
        topic_id: Uuid, in 10..;
        partitions: Vec<OffsetCommitRequestPartition>;
    }

    /// One partition's offset: the next record to consume.
    pub struct OffsetCommitRequestPartition {
        partition_index: i32;
        committed_offset: i64;
        committed_leader_epoch: i32 = -1, in 6..;
        commit_timestamp: i64 = -1, in 1..=1;
        committed_metadata: Option<Str>, nullable 0..;
    }

    /// What became of each offset.
    pub struct OffsetCommitResponse {
        throttle_time_ms: i32, in 3..;
        topics: Vec<OffsetCommitResponseTopic>;
    }

    /// One topic's results.
    pub struct OffsetCommitResponseTopic {
        name: Str, in ..=9;
        topic_id: Uuid, in 10..;
        partitions: Vec<OffsetCommitResponsePartition>;
    }

    /// One partition's result.
    pub struct OffsetCommitResponsePartition {
        partition_index: i32;
        error_code: ErrorCode;
    }
}
