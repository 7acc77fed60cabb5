//! DescribeProducers (key 61): the idempotent and transactional producers of partitions (KIP-664).
//!
//! Version 0 is the only one, and flexible.

use crate::schema::{api, schema};
use crate::{ErrorCode, Str};

api!(61, DescribeProducers, DescribeProducersRequest => DescribeProducersResponse, versions 0..=0, flexible 0);

schema! {
    /// Which partitions.
    pub struct DescribeProducersRequest {
        topics: Vec<DescribeProducersTopic>;
    }

    /// One topic's partitions.
    pub struct DescribeProducersTopic {
        name: Str;
        partition_indexes: Vec<i32>;
    }

    /// The producers.
    pub struct DescribeProducersResponse {
        throttle_time_ms: i32;
        topics: Vec<DescribeProducersTopicResponse>;
    }

    /// One topic's producers.
    pub struct DescribeProducersTopicResponse {
        name: Str;
        partitions: Vec<DescribeProducersPartition>;
    }

    /// One partition's producers.
    pub struct DescribeProducersPartition {
        partition_index: i32;
        error_code: ErrorCode;
        error_message: Option<Str>, nullable 0..;
        active_producers: Vec<ActiveProducer>;
    }

    /// A producer that the partition remembers.
    pub struct ActiveProducer {
        producer_id: i64;
        producer_epoch: i32;
        last_sequence: i32 = -1;
        last_timestamp: i64 = -1;
        coordinator_epoch: i32;
        current_txn_start_offset: i64 = -1;
    }
}
