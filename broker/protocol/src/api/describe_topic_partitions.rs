//! DescribeTopicPartitions (key 75): partitions of topics, page by page (KIP-966).
//!
//! Version 0 is the only one, and flexible.

use crate::schema::{api, schema};
use crate::{ErrorCode, Str, Uuid};

api!(75, DescribeTopicPartitions, DescribeTopicPartitionsRequest => DescribeTopicPartitionsResponse, versions 0..=0, flexible 0);

schema! {
    /// Which topics, and from where on.
    pub struct DescribeTopicPartitionsRequest {
        topics: Vec<DescribeTopicPartitionsTopic>;
        response_partition_limit: i32 = 2000;
        cursor: Option<Box<DescribeTopicPartitionsCursor>>;
    }

    /// A topic by name.
    pub struct DescribeTopicPartitionsTopic {
        name: Str;
    }

    /// The first partition of the next page.
    pub struct DescribeTopicPartitionsCursor {
        topic_name: Str;
        partition_index: i32;
    }

    /// A page of partitions.
    pub struct DescribeTopicPartitionsResponse {
        throttle_time_ms: i32;
        topics: Vec<DescribeTopicPartitionsResponseTopic>;
        next_cursor: Option<Box<DescribeTopicPartitionsCursor>>;
    }

    /// A topic, or why there is none.
    pub struct DescribeTopicPartitionsResponseTopic {
        error_code: ErrorCode;
        name: Option<Str>, nullable 0..;
        topic_id: Uuid;
        is_internal: bool;
        partitions: Vec<DescribeTopicPartitionsResponsePartition>;
        topic_authorized_operations: i32 = i32::MIN;
    }

    /// Who leads and who keeps a partition.
    pub struct DescribeTopicPartitionsResponsePartition {
        error_code: ErrorCode;
        partition_index: i32;
        leader_id: i32;
        leader_epoch: i32 = -1;
        replica_nodes: Vec<i32>;
        isr_nodes: Vec<i32>;
        eligible_leader_replicas: Option<Vec<i32>>, nullable 0..;
        last_known_elr: Option<Vec<i32>>, nullable 0..;
        offline_replicas: Vec<i32>;
    }
}
