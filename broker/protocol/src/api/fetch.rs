//! Fetch (key 1): read record batches from partitions.
//!
//! | version | change |
//! | --- | --- |
//! | 1 | throttle time |
//! | 2 | magic 1 |
//! | 3 | size limit of the whole response; partitions are served in the order asked |
//! | 4 | isolation level, last stable offset, aborted transactions; magic 2 (KIP-98) |
//! | 5 | log start offset |
//! | 6 | KAFKA_STORAGE_ERROR may be answered |
//! | 7 | fetch sessions (KIP-227) |
//! | 8 | responses before throttling |
//! | 9 | current leader epoch (KIP-320) |
//! | 10 | zstd (KIP-110) |
//! | 11 | rack and preferred read replica (KIP-392) |
//! | 12 | flexible; last fetched and diverging epoch (KIP-595) |
//! | 13 | topic ids instead of names (KIP-516) |
//! | 14 | OFFSET_MOVED_TO_TIERED_STORAGE may be answered (KIP-405) |
//! | 15 | replica state instead of replica id (KIP-903) |
//! | 16 | node endpoints on leader changes (KIP-951) |
//! | 17 | directory id of the replica (KIP-853) |
//! | 18 | high watermark of the replica (KIP-1166) |

use crate::schema::{api, schema};
use crate::{ErrorCode, Records, Str, Uuid};

api!(1, Fetch, FetchRequest => FetchResponse, versions 0..=18, flexible 12);

schema! {
    /// Where to read, how long to wait and how much to answer at the most.
    pub struct FetchRequest {
        cluster_id: Option<Str>, tagged 0 in 12..;
        /// -1 is a consumer.
        replica_id: i32 = -1, in ..=14;
        replica_state: FetchReplicaState, tagged 1 in 15..;
        max_wait_ms: i32;
        min_bytes: i32;
        max_bytes: i32 = i32::MAX, in 3..;
        /// 0 reads uncommitted records, 1 only committed ones.
        isolation_level: i8, in 4..;
        /// 0 asks for a session, with epoch 0; epoch -1 is a fetch without one.
        session_id: i32, in 7..;
        session_epoch: i32 = -1, in 7..;
        topics: Vec<FetchTopic>;
        forgotten_topics_data: Vec<FetchForgottenTopic>, in 7..;
        rack_id: Str, in 11..;
    }

    /// The follower that fetches.
    pub struct FetchReplicaState {
        replica_id: i32 = -1, in 15..;
        replica_epoch: i64 = -1, in 15..;
    }

    /// One topic's partitions to read.
    pub struct FetchTopic {
        topic: Str, in ..=12;
        topic_id: Uuid, in 13..;
        partitions: Vec<FetchPartition>;
    }

    /// Where to read one partition.
    pub struct FetchPartition {
        partition: i32;
        current_leader_epoch: i32 = -1, in 9..;
        fetch_offset: i64;
        last_fetched_epoch: i32 = -1, in 12..;
        log_start_offset: i64 = -1, in 5..;
        partition_max_bytes: i32;
        replica_directory_id: Uuid, tagged 0 in 17..;
        high_watermark: i64 = i64::MAX, tagged 1 in 18..;
    }

    /// Partitions to drop from the session.
    pub struct FetchForgottenTopic {
        topic: Str, in 7..=12;
        topic_id: Uuid, in 13..;
        partitions: Vec<i32>, in 7..;
    }

    /// The batches.
    pub struct FetchResponse {
        throttle_time_ms: i32, in 1..;
        error_code: ErrorCode, in 7..;
        session_id: i32, in 7..;
        responses: Vec<FetchTopicResponse>;
        node_endpoints: Vec<FetchNodeEndpoint>, tagged 0 in 16..;
    }

    /// One topic's batches.
    pub struct FetchTopicResponse {
        topic: Str, in ..=12;
        topic_id: Uuid, in 13..;
        partitions: Vec<FetchPartitionResponse>;
    }

    /// One partition's batches, as they stand on disk.
    pub struct FetchPartitionResponse {
        partition_index: i32;
        error_code: ErrorCode;
        high_watermark: i64;
        last_stable_offset: i64 = -1, in 4..;
        log_start_offset: i64 = -1, in 5..;
        diverging_epoch: FetchEpochEndOffset, tagged 0 in 12..;
        current_leader: FetchLeader, tagged 1 in 12..;
        snapshot_id: FetchSnapshotId, tagged 2 in 12..;
        aborted_transactions: Option<Vec<FetchAbortedTransaction>>, in 4.., nullable 4..;
        preferred_read_replica: i32 = -1, in 11..;
        records: Option<Records>, nullable 0..;
    }

    /// Where the log diverges from what the follower has.
    pub struct FetchEpochEndOffset {
        epoch: i32 = -1, in 12..;
        end_offset: i64 = -1, in 12..;
    }

    /// The leader that a client should go to instead.
    pub struct FetchLeader {
        leader_id: i32 = -1, in 12..;
        leader_epoch: i32 = -1, in 12..;
    }

    /// The snapshot to read before the log.
    pub struct FetchSnapshotId {
        end_offset: i64 = -1;
        epoch: i32 = -1;
    }

    /// A transaction whose records a reader of committed ones skips.
    pub struct FetchAbortedTransaction {
        producer_id: i64, in 4..;
        first_offset: i64, in 4..;
    }

    /// Where that leader is reached.
    pub struct FetchNodeEndpoint {
        node_id: i32, in 16..;
        host: Str, in 16..;
        port: i32, in 16..;
        rack: Option<Str>, in 16.., nullable 16..;
    }
}
