//! OffsetFetch (key 9): the offsets that a group has committed.
//!
//! | version | change |
//! | --- | --- |
//! | 1 | offsets come from `__consumer_offsets` (0 read ZooKeeper's) |
//! | 2 | null asks for all topics; error of the whole response |
//! | 3 | throttle time |
//! | 4 | responses before throttling |
//! | 5 | leader epochs (KIP-320) |
//! | 6 | flexible |
//! | 7 | unstable offsets can be refused (KIP-447) |
//! | 8 | several groups (KIP-709) |
//! | 9 | member id and epoch (KIP-848) |
//! | 10 | topic ids instead of names (KIP-848) |

use crate::schema::{api, schema};
use crate::{ErrorCode, Str, Uuid};

api!(9, OffsetFetch, OffsetFetchRequest => OffsetFetchResponse, versions 0..=10, flexible 6);

schema! {
    /// Whose offsets: of one group, from version 8 of several.
    pub struct OffsetFetchRequest {
        group_id: Str, in ..=7;
        /// Null asks for all topics.
        topics: Option<Vec<OffsetFetchRequestTopic>>, in ..=7, nullable 2..;
        groups: Vec<OffsetFetchRequestGroup>, in 8..;
        require_stable: bool, in 7..;
    }

    /// One topic's partitions.
    pub struct OffsetFetchRequestTopic {
        name: Str, in ..=7;
        partition_indexes: Vec<i32>, in ..=7;
    }

    /// One group.
    pub struct OffsetFetchRequestGroup {
        group_id: Str, in 8..;
        member_id: Option<Str>, in 9.., nullable 9..;
        member_epoch: i32 = -1, in 9..;
        /// Null asks for all topics.
        topics: Option<Vec<OffsetFetchRequestGroupTopic>>, in 8.., nullable 8..;
    }

    /// One topic's partitions of a group.
    pub struct OffsetFetchRequestGroupTopic {
        name: Str, in 8..=9;
        topic_id: Uuid, in 10..;
        partition_indexes: Vec<i32>, in 8..;
    }

    /// The offsets: of one group, from version 8 of several.
    pub struct OffsetFetchResponse {
        throttle_time_ms: i32, in 3..;
        topics: Vec<OffsetFetchResponseTopic>, in ..=7;
        error_code: ErrorCode, in 2..=7;
        groups: Vec<OffsetFetchResponseGroup>, in 8..;
    }

    /// One topic's offsets.
    pub struct OffsetFetchResponseTopic {
        name: Str, in ..=7;
        partitions: Vec<OffsetFetchResponsePartition>, in ..=7;
    }

    /// One partition's offset, -1 where none is committed.
    pub struct OffsetFetchResponsePartition {
        partition_index: i32, in ..=7;
        committed_offset: i64, in ..=7;
        committed_leader_epoch: i32 = -1, in 5..=7;
        metadata: Option<Str>, in ..=7, nullable 0..;
        error_code: ErrorCode, in ..=7;
    }

    /// One group's offsets.
    pub struct OffsetFetchResponseGroup {
        group_id: Str, in 8..;
        topics: Vec<OffsetFetchResponseGroupTopic>, in 8..;
        error_code: ErrorCode, in 8..;
    }

    /// One topic's offsets of a group.
    pub struct OffsetFetchResponseGroupTopic {
        name: Str, in 8..=9;
        topic_id: Uuid, in 10..;
        partitions: Vec<OffsetFetchResponseGroupPartition>, in 8..;
    }

    /// One partition's offset of a group, -1 where none is committed.
    pub struct OffsetFetchResponseGroupPartition {
        partition_index: i32, in 8..;
        committed_offset: i64, in 8..;
        committed_leader_epoch: i32 = -1, in 8..;
        metadata: Option<Str>, in 8.., nullable 8..;
        error_code: ErrorCode, in 8..;
    }
}
