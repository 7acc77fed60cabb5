//! AlterReplicaLogDirs (key 34): move replicas between the log directories of one broker (KIP-113).
//!
//! | version | change |
//! | --- | --- |
//! | 1 | responses before throttling |
//! | 2 | flexible |

use crate::schema::{api, schema};
use crate::{ErrorCode, Str};

api!(34, AlterReplicaLogDirs, AlterReplicaLogDirsRequest => AlterReplicaLogDirsResponse, versions 0..=2, flexible 2);

schema! {
    /// Which replicas are to be where.
    pub struct AlterReplicaLogDirsRequest {
        dirs: Vec<AlterReplicaLogDir>;
    }

    /// One directory.
    pub struct AlterReplicaLogDir {
        /// Absolute.
        path: Str;
        topics: Vec<AlterReplicaLogDirTopic>;
    }

    /// One topic's partitions that are to be in it.
    pub struct AlterReplicaLogDirTopic {
        name: Str;
        partitions: Vec<i32>;
    }

    /// Whether the moves have begun.
    pub struct AlterReplicaLogDirsResponse {
        throttle_time_ms: i32;
        results: Vec<AlterReplicaLogDirTopicResult>;
    }

    /// One topic's results.
    pub struct AlterReplicaLogDirTopicResult {
        topic_name: Str;
        partitions: Vec<AlterReplicaLogDirPartitionResult>;
    }

    /// One partition's result.
    pub struct AlterReplicaLogDirPartitionResult {
        partition_index: i32;
        error_code: ErrorCode;
    }
}
