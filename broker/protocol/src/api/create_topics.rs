//! CreateTopics (key 19): create topics.
//!
//! | version | change |
//! | --- | --- |
//! | 1 | validation alone; error messages |
//! | 2 | throttle time |
//! | 3 | responses before throttling |
//! | 4 | -1 asks for the broker's default partitions and replication factor (KIP-464) |
//! | 5 | flexible; the created topic's partitions and configs (KIP-525) |
//! | 6 | THROTTLING_QUOTA_EXCEEDED may be answered (KIP-599) |
//! | 7 | topic id (KIP-516) |

use crate::schema::{api, schema};
use crate::{ErrorCode, Str, Uuid};

api!(19, CreateTopics, CreateTopicsRequest => CreateTopicsResponse, versions 0..=7, flexible 5);

schema! {
    /// The topics to create.
    pub struct CreateTopicsRequest {
        topics: Vec<CreatableTopic>;
        timeout_ms: i32 = 60_000;
        validate_only: bool, in 1..;
    }

    /// One topic.
    pub struct CreatableTopic {
        name: Str;
        /// -1 is the broker's default, or the number of assignments.
        num_partitions: i32;
        /// -1 is the broker's default, or that of the assignments.
        replication_factor: i16;
        assignments: Vec<CreatableReplicaAssignment>;
        configs: Vec<CreatableTopicConfig>;
    }

    /// Brokers for one partition, the preferred leader first.
    pub struct CreatableReplicaAssignment {
        partition_index: i32;
        broker_ids: Vec<i32>;
    }

    /// A config of the topic.
    pub struct CreatableTopicConfig {
        name: Str;
        value: Option<Str>, nullable 0..;
    }

    /// What became of each topic.
    pub struct CreateTopicsResponse {
        throttle_time_ms: i32, in 2..;
        topics: Vec<CreatableTopicResult>;
    }

    /// One topic's result.
    pub struct CreatableTopicResult {
        name: Str;
        topic_id: Uuid, in 7..;
        error_code: ErrorCode;
        error_message: Option<Str>, in 1.., nullable 1..;
        topic_config_error_code: ErrorCode, tagged 0 in 5..;
        num_partitions: i32 = -1, in 5..;
        replication_factor: i16 = -1, in 5..;
        configs: Option<Vec<CreatableTopicConfigs>>, in 5.., nullable 5..;
    }

    /// A config that the topic was created with.
    pub struct CreatableTopicConfigs {
        name: Str, in 5..;
        value: Option<Str>, in 5.., nullable 5..;
        read_only: bool, in 5..;
        config_source: i8 = -1, in 5..;
        is_sensitive: bool, in 5..;
    }
}
