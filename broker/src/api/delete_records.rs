//! DeleteRecords (key 21): moves the log start offset forward (KIP-107).

use milena_protocol::ErrorCode;
use milena_protocol::api::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest,
    DeleteRecordsResponse, DeleteRecordsTopicResult,
};

use super::RequestContext;
use crate::broker::Broker;

/// Means the high watermark: everything that is committed.
const TO_HIGH_WATERMARK: i64 = -1;

/// Answers with each log's new start.
pub async fn handle(
    broker: &Broker,
    _context: &RequestContext,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            let (low_watermark, error_code) = match delete(broker, &topic.name, wanted).await {
                Ok(start) => (start, ErrorCode::None),
                Err(error) => (-1, error),
            };
            let partition_index = wanted.partition_index;
            partitions.push(DeleteRecordsPartitionResult {
                partition_index,
                low_watermark,
                error_code,
            });
        }
        topics.push(DeleteRecordsTopicResult {
            name: topic.name,
            partitions,
        });
    }
    DeleteRecordsResponse {
        throttle_time_ms: 0,
        topics,
    }
}

async fn delete(
    broker: &Broker,
    topic: &str,
    wanted: &DeleteRecordsPartition,
) -> Result<i64, ErrorCode> {
    let partition = broker
        .partitions()
        .partition(topic, wanted.partition_index)?;
    if partition.topic().is_internal() {
        return Err(ErrorCode::InvalidTopicException);
    }
    if !partition.config().cleanup_policy.delete {
        return Err(ErrorCode::PolicyViolation);
    }
    let high_watermark = partition.high_watermark();
    let offset = if wanted.offset == TO_HIGH_WATERMARK {
        high_watermark
    } else {
        wanted.offset
    };
    if offset < 0 || offset > high_watermark {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    broker.partitions().delete_records_before(&partition, offset).await.map_err(|error| {
        tracing::error!(%topic, partition = partition.index(), %error, "records could not be deleted");
        ErrorCode::KafkaStorageError
    })
}
