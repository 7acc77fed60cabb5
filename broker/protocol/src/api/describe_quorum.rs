//! DescribeQuorum (key 55): who leads the metadata quorum, who votes, and how far each member is (KIP-595).
//!
//! | version | change |
//! | --- | --- |
//! | 0 | flexible from the start |
//! | 1 | when members last asked, and last had everything (KIP-836) |
//! | 2 | error messages, directory ids, the members' addresses (KIP-853) |

use crate::schema::{api, schema};
use crate::{ErrorCode, Str, Uuid};

api!(55, DescribeQuorum, DescribeQuorumRequest => DescribeQuorumResponse, versions 0..=2, flexible 0);

schema! {
    /// Which quorums; there is one, of the partition `__cluster_metadata-0`.
    pub struct DescribeQuorumRequest {
        topics: Vec<DescribeQuorumRequestTopic>;
    }

    /// One topic's partitions.
    pub struct DescribeQuorumRequestTopic {
        topic_name: Str;
        partitions: Vec<DescribeQuorumRequestPartition>;
    }

    /// One partition.
    pub struct DescribeQuorumRequestPartition {
        partition_index: i32;
    }

    /// The quorums.
    pub struct DescribeQuorumResponse {
        error_code: ErrorCode;
        error_message: Option<Str>, in 2.., nullable 2..;
        topics: Vec<DescribeQuorumTopic>;
        nodes: Vec<DescribeQuorumNode>, in 2..;
    }

    /// One topic's partitions.
    pub struct DescribeQuorumTopic {
        topic_name: Str;
        partitions: Vec<DescribeQuorumPartition>;
    }

    /// One partition's quorum.
    pub struct DescribeQuorumPartition {
        partition_index: i32;
        error_code: ErrorCode;
        error_message: Option<Str>, in 2.., nullable 2..;
        leader_id: i32;
        leader_epoch: i32;
        high_watermark: i64;
        current_voters: Vec<DescribeQuorumReplica>;
        observers: Vec<DescribeQuorumReplica>;
    }

    /// One member; -1 where something is not known.
    pub struct DescribeQuorumReplica {
        replica_id: i32;
        replica_directory_id: Uuid, in 2..;
        log_end_offset: i64;
        /// Milliseconds since 1970.
        last_fetch_timestamp: i64 = -1, in 1..;
        /// Milliseconds since 1970.
        last_caught_up_timestamp: i64 = -1, in 1..;
    }

    /// Where a member is reached.
    pub struct DescribeQuorumNode {
        node_id: i32, in 2..;
        listeners: Vec<DescribeQuorumListener>, in 2..;
    }

    /// One of its listeners.
    pub struct DescribeQuorumListener {
        name: Str, in 2..;
        host: Str, in 2..;
        port: u16, in 2..;
    }
}
