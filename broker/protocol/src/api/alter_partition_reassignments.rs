//! AlterPartitionReassignments (key 45): move partitions to other brokers (KIP-455).
//!
//! | version | change |
//! | --- | --- |
//! | 0 | flexible from the start |
//! | 1 | whether the replication factor may change (KIP-860) |

use crate::schema::{api, schema};
use crate::{ErrorCode, Str};

api!(
    45, AlterPartitionReassignments,
    AlterPartitionReassignmentsRequest => AlterPartitionReassignmentsResponse, versions 0..=1, flexible 0
);

schema! {
    /// Where partitions are to go.
    pub struct AlterPartitionReassignmentsRequest {
        timeout_ms: i32 = 60_000;
        allow_replication_factor_change: bool = true, in 1..;
        topics: Vec<ReassignableTopic>;
    }

    /// One topic's partitions.
    pub struct ReassignableTopic {
        name: Str;
        partitions: Vec<ReassignablePartition>;
    }

    /// The brokers that one partition is to have, the preferred leader first; null cancels.
    pub struct ReassignablePartition {
        partition_index: i32;
        replicas: Option<Vec<i32>>, nullable 0..;
    }

    /// What became of each.
    pub struct AlterPartitionReassignmentsResponse {
        throttle_time_ms: i32;
        allow_replication_factor_change: bool = true, in 1..;
        error_code: ErrorCode;
        error_message: Option<Str>, nullable 0..;
        responses: Vec<ReassignableTopicResponse>;
    }

    /// One topic's results.
    pub struct ReassignableTopicResponse {
        name: Str;
        partitions: Vec<ReassignablePartitionResponse>;
    }

    /// One partition's result.
    pub struct ReassignablePartitionResponse {
        partition_index: i32;
        error_code: ErrorCode;
        error_message: Option<Str>, nullable 0..;
    }
}
