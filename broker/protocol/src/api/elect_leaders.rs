//! ElectLeaders (key 43): have partitions led by their first replica, or by whoever is left (KIP-183, KIP-460).
//!
//! | version | change |
//! | --- | --- |
//! | 1 | election type, an error for all |
//! | 2 | flexible |

use crate::schema::{api, schema};
use crate::{ErrorCode, Str};

api!(43, ElectLeaders, ElectLeadersRequest => ElectLeadersResponse, versions 0..=2, flexible 2);

schema! {
    /// Which partitions get which leader.
    pub struct ElectLeadersRequest {
        /// 0 is the preferred replica, 1 an unclean election.
        election_type: i8, in 1..;
        /// Null is every partition.
        topic_partitions: Option<Vec<ElectLeadersTopic>>, nullable 0..;
        timeout_ms: i32 = 60_000;
    }

    /// One topic's partitions.
    pub struct ElectLeadersTopic {
        topic: Str;
        partitions: Vec<i32>;
    }

    /// What became of the elections.
    pub struct ElectLeadersResponse {
        throttle_time_ms: i32;
        error_code: ErrorCode, in 1..;
        replica_election_results: Vec<ReplicaElectionResult>;
    }

    /// One topic's results.
    pub struct ReplicaElectionResult {
        topic: Str;
        partition_result: Vec<PartitionElectionResult>;
    }

    /// One partition's result.
    pub struct PartitionElectionResult {
        partition_id: i32;
        error_code: ErrorCode;
        error_message: Option<Str>, nullable 0..;
    }
}
