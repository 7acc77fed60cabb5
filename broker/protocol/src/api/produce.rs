//! Produce (key 0): append record batches to partitions.
//!
//! | version | change |
//! | --- | --- |
//! | 1 | throttle time |
//! | 2 | log append time in the response; magic 1 |
//! | 3 | transactional id; magic 2 |
//! | 5 | log start offset in the response |
//! | 7 | zstd |
//! | 8 | per-record errors (KIP-467) |
//! | 9 | flexible |
//! | 10 | current leader and node endpoints on errors (KIP-951) |
//! | 12 | implicit transaction start (KIP-890) |
//! | 13 | topic ids (KIP-516) |

use bytes::Bytes;

use crate::schema::{api, schema};
use crate::{ErrorCode, Str, Uuid};

api!(0, Produce, ProduceRequest => ProduceResponse, versions 0..=13, flexible 9);

schema! {
    /// Batches to append.
    pub struct ProduceRequest {
        transactional_id: Option<Str>, in 3.., nullable 3..;
        acks: i16;
        timeout_ms: i32;
        topic_data: Vec<TopicProduceData>;
    }

    /// One topic's batches.
    pub struct TopicProduceData {
        name: Str, in ..=12;
        topic_id: Uuid, in 13..;
        partition_data: Vec<PartitionProduceData>;
    }

    /// One partition's batches, as they stand on the wire.
    pub struct PartitionProduceData {
        index: i32;
        records: Option<Bytes>, nullable 0..;
    }

    /// What became of each partition's batches.
    pub struct ProduceResponse {
        responses: Vec<TopicProduceResponse>;
        throttle_time_ms: i32, in 1..;
        node_endpoints: Vec<ProduceNodeEndpoint>, tagged 0 in 10..;
    }

    /// One topic's results.
    pub struct TopicProduceResponse {
        name: Str, in ..=12;
        topic_id: Uuid, in 13..;
        partition_responses: Vec<PartitionProduceResponse>;
    }

    /// One partition's result; the offset is the first record's.
    pub struct PartitionProduceResponse {
        index: i32;
        error_code: ErrorCode;
        base_offset: i64;
        log_append_time_ms: i64 = -1, in 2..;
        log_start_offset: i64 = -1, in 5..;
        record_errors: Vec<BatchIndexAndErrorMessage>, in 8..;
        error_message: Option<Str>, in 8.., nullable 8..;
        current_leader: ProduceLeader, tagged 0 in 10..;
    }

    /// Why one record made its batch be refused.
    pub struct BatchIndexAndErrorMessage {
        batch_index: i32, in 8..;
        batch_index_error_message: Option<Str>, in 8.., nullable 8..;
    }

    /// The leader that a client should go to instead.
    pub struct ProduceLeader {
        leader_id: i32 = -1, in 10..;
        leader_epoch: i32 = -1, in 10..;
    }

    /// Where that leader is reached.
    pub struct ProduceNodeEndpoint {
        node_id: i32, in 10..;
        host: Str, in 10..;
        port: i32, in 10..;
        rack: Option<Str>, in 10.., nullable 10..;
    }
}
