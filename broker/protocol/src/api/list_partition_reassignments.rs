//! ListPartitionReassignments (key 46): what is being moved (KIP-455). Flexible from the start.

use crate::schema::{api, schema};
use crate::{ErrorCode, Str};

api!(
    46, ListPartitionReassignments,
    ListPartitionReassignmentsRequest => ListPartitionReassignmentsResponse, versions 0..=0, flexible 0
);

schema! {
    /// Which partitions to look at.
    pub struct ListPartitionReassignmentsRequest {
        timeout_ms: i32 = 60_000;
        /// Null is all.
        topics: Option<Vec<ListPartitionReassignmentsTopics>>, nullable 0..;
    }

    /// One topic's partitions.
    pub struct ListPartitionReassignmentsTopics {
        name: Str;
        partition_indexes: Vec<i32>;
    }

    /// The reassignments in progress.
    pub struct ListPartitionReassignmentsResponse {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        error_message: Option<Str>, nullable 0..;
        topics: Vec<OngoingTopicReassignment>;
    }

    /// One topic's partitions on the move.
    pub struct OngoingTopicReassignment {
        name: Str;
        partitions: Vec<OngoingPartitionReassignment>;
    }

    /// One partition: its brokers now, those among them that are new, and those that will leave.
    pub struct OngoingPartitionReassignment {
        partition_index: i32;
        replicas: Vec<i32>;
        adding_replicas: Vec<i32>;
        removing_replicas: Vec<i32>;
    }
}
