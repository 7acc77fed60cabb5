//! DeleteRecords (key 21): drop the records before an offset.
//!
//! | version | change |
//! | --- | --- |
//! | 1 | responses before throttling |
//! | 2 | flexible |

use crate::schema::{api, schema};
use crate::{ErrorCode, Str};

api!(21, DeleteRecords, DeleteRecordsRequest => DeleteRecordsResponse, versions 0..=2, flexible 2);

schema! {
    /// Where logs are to start.
    pub struct DeleteRecordsRequest {
        topics: Vec<DeleteRecordsTopic>;
        timeout_ms: i32;
    }

    /// One topic's partitions.
    pub struct DeleteRecordsTopic {
        name: Str;
        partitions: Vec<DeleteRecordsPartition>;
    }

    /// One partition's new start.
    pub struct DeleteRecordsPartition {
        partition_index: i32;
        /// The first offset to keep; -1 is the high watermark.
        offset: i64;
    }

    /// Where logs start now.
    pub struct DeleteRecordsResponse {
        throttle_time_ms: i32;
        topics: Vec<DeleteRecordsTopicResult>;
    }

    /// One topic's results.
    pub struct DeleteRecordsTopicResult {
        name: Str;
        partitions: Vec<DeleteRecordsPartitionResult>;
    }

    /// One partition's result.
    pub struct DeleteRecordsPartitionResult {
        partition_index: i32;
        low_watermark: i64;
        error_code: ErrorCode;
    }
}
