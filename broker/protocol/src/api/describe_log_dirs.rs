//! DescribeLogDirs (key 35): sizes of the partitions in each log directory (KIP-113).
//!
//! | version | change |
//! | --- | --- |
//! | 1 | responses before throttling |
//! | 2 | flexible |
//! | 3 | error of the whole response |
//! | 4 | total and usable bytes of the volume (KIP-827) |
//! | 5 | cordoned directories (KIP-1066) |

use crate::schema::{api, schema};
use crate::{ErrorCode, Str};

api!(35, DescribeLogDirs, DescribeLogDirsRequest => DescribeLogDirsResponse, versions 0..=5, flexible 2);

schema! {
    /// Which partitions.
    pub struct DescribeLogDirsRequest {
        /// Null asks for all topics.
        topics: Option<Vec<DescribableLogDirTopic>>, nullable 0..;
    }

    /// One topic's partitions.
    pub struct DescribableLogDirTopic {
        topic: Str;
        partitions: Vec<i32>;
    }

    /// The log directories.
    pub struct DescribeLogDirsResponse {
        throttle_time_ms: i32;
        error_code: ErrorCode, in 3..;
        results: Vec<DescribeLogDirsResult>;
    }

    /// One log directory.
    pub struct DescribeLogDirsResult {
        error_code: ErrorCode;
        log_dir: Str;
        topics: Vec<DescribeLogDirsTopic>;
        total_bytes: i64 = -1, in 4..;
        usable_bytes: i64 = -1, in 4..;
        is_cordoned: bool, in 5..;
    }

    /// One topic's partitions in it.
    pub struct DescribeLogDirsTopic {
        name: Str;
        partitions: Vec<DescribeLogDirsPartition>;
    }

    /// One partition; sizes are in bytes.
    pub struct DescribeLogDirsPartition {
        partition_index: i32;
        partition_size: i64;
        offset_lag: i64;
        is_future_key: bool;
    }
}
