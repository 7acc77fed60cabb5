//! Metadata (key 3): brokers, topics and who leads their partitions.
//!
//! | version | change |
//! | --- | --- |
//! | 1 | null asks for all topics and an empty list for none (in 0, empty asks for all); rack, controller, internal topics |
//! | 2 | cluster id |
//! | 3 | throttle time |
//! | 4 | auto-creation can be refused |
//! | 5 | offline replicas |
//! | 6 | responses before throttling |
//! | 7 | leader epochs (KIP-320) |
//! | 8 | authorized operations (KIP-430) |
//! | 9 | flexible |
//! | 10 | topic ids in the response; in requests not before 12 |
//! | 11 | no more the cluster's authorized operations: DescribeCluster tells them (KIP-700) |
//! | 12 | topics by id (KIP-516) |
//! | 13 | error of the whole response (KIP-1102) |

use crate::schema::{api, schema};
use crate::{ErrorCode, Str, Uuid};

api!(3, Metadata, MetadataRequest => MetadataResponse, versions 0..=13, flexible 9);

schema! {
    /// Which topics to describe.
    pub struct MetadataRequest {
        /// Null asks for all topics; in version 0 an empty list does.
        topics: Option<Vec<MetadataRequestTopic>>, nullable 1..;
        allow_auto_topic_creation: bool = true, in 4..;
        include_cluster_authorized_operations: bool, in 8..=10;
        include_topic_authorized_operations: bool, in 8..;
    }

    /// A topic by name or id.
    pub struct MetadataRequestTopic {
        topic_id: Uuid, in 10..;
        name: Option<Str>, nullable 10..;
    }

    /// The cluster as clients see it.
    pub struct MetadataResponse {
        throttle_time_ms: i32, in 3..;
        brokers: Vec<MetadataResponseBroker>;
        cluster_id: Option<Str>, in 2.., nullable 2..;
        controller_id: i32 = -1, in 1..;
        topics: Vec<MetadataResponseTopic>;
        cluster_authorized_operations: i32 = i32::MIN, in 8..=10;
        error_code: ErrorCode, in 13..;
    }

    /// Where a broker is reached.
    pub struct MetadataResponseBroker {
        node_id: i32;
        host: Str;
        port: i32;
        rack: Option<Str>, in 1.., nullable 1..;
    }

    /// A topic, or why there is none.
    pub struct MetadataResponseTopic {
        error_code: ErrorCode;
        name: Option<Str>, nullable 12..;
        topic_id: Uuid, in 10..;
        is_internal: bool, in 1..;
        partitions: Vec<MetadataResponsePartition>;
        topic_authorized_operations: i32 = i32::MIN, in 8..;
    }

    /// Who leads and who keeps a partition.
    pub struct MetadataResponsePartition {
        error_code: ErrorCode;
        partition_index: i32;
        leader_id: i32;
        leader_epoch: i32 = -1, in 7..;
        replica_nodes: Vec<i32>;
        isr_nodes: Vec<i32>;
        offline_replicas: Vec<i32>, in 5..;
    }
}
