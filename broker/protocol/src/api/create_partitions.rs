//! CreatePartitions (key 37): add partitions to topics (KIP-195).
//!
//! | version | change |
//! | --- | --- |
//! | 1 | responses before throttling |
//! | 2 | flexible |
//! | 3 | THROTTLING_QUOTA_EXCEEDED may be answered (KIP-599) |

use crate::schema::{api, schema};
use crate::{ErrorCode, Str};

api!(37, CreatePartitions, CreatePartitionsRequest => CreatePartitionsResponse, versions 0..=3, flexible 2);

schema! {
    /// How many partitions each topic is to have.
    pub struct CreatePartitionsRequest {
        topics: Vec<CreatePartitionsTopic>;
        timeout_ms: i32;
        validate_only: bool;
    }

    /// One topic.
    pub struct CreatePartitionsTopic {
        name: Str;
        /// Partitions in all, old and new.
        count: i32;
        assignments: Option<Vec<CreatePartitionsAssignment>>, nullable 0..;
    }

    /// Brokers for one new partition, the preferred leader first.
    pub struct CreatePartitionsAssignment {
        broker_ids: Vec<i32>;
    }

    /// What became of each topic.
    pub struct CreatePartitionsResponse {
        throttle_time_ms: i32;
        results: Vec<CreatePartitionsTopicResult>;
    }

    /// One topic's result.
    pub struct CreatePartitionsTopicResult {
        name: Str;
        error_code: ErrorCode;
        error_message: Option<Str>, nullable 0..;
    }
}
