//! DeleteRecords (key 21): moves the log start offset forward (KIP-107).

use std::sync::Arc;

use milena_protocol::ErrorCode;
use milena_protocol::api::delete_records::{
    DeleteRecordsPartition, DeleteRecordsPartitionResult, DeleteRecordsRequest,
    DeleteRecordsResponse, DeleteRecordsTopicResult,
};

use super::RequestContext;
use crate::broker::Broker;
use crate::partition::Partition;

/// Means the high watermark: everything that is committed.
const TO_HIGH_WATERMARK: i64 = -1;

/// Answers with each log's new start.
pub async fn handle(
    broker: &Broker,
    _context: &RequestContext,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let mut wanted = Vec::new();
    let mut topics: Vec<DeleteRecordsTopicResult> = request
        .topics
        .into_iter()
        .map(|topic| {
            let partitions = &topic.partitions;
            let found = partitions
                .iter()
                .map(|asked| match find(broker, &topic.name, asked) {
                    Ok(deletion) => {
                        wanted.push(deletion);
                        answer(asked, ErrorCode::None)
                    }
                    Err(error) => answer(asked, error),
                });
            DeleteRecordsTopicResult {
                partitions: found.collect(),
                name: topic.name,
            }
        })
        .collect();
    delete(broker, wanted, &mut topics).await;
    DeleteRecordsResponse {
        throttle_time_ms: 0,
        topics,
    }
}

fn answer(asked: &DeleteRecordsPartition, error_code: ErrorCode) -> DeleteRecordsPartitionResult {
    DeleteRecordsPartitionResult {
        partition_index: asked.partition_index,
        low_watermark: -1,
        error_code,
    }
}

/// The partition, and the offset below which its records are to go.
fn find(
    broker: &Broker,
    topic: &str,
    asked: &DeleteRecordsPartition,
) -> Result<(Arc<Partition>, i64), ErrorCode> {
    let partition = broker
        .partitions()
        .partition(topic, asked.partition_index)?;
    partition.check_leads(-1)?;
    if partition.topic().is_internal() {
        return Err(ErrorCode::InvalidTopicException);
    }
    if !partition.config().cleanup_policy.delete {
        return Err(ErrorCode::PolicyViolation);
    }
    let high_watermark = partition.high_watermark();
    let offset = if asked.offset == TO_HIGH_WATERMARK {
        high_watermark
    } else {
        asked.offset
    };
    if offset < 0 || offset > high_watermark {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    Ok((partition, offset))
}

/// Deletes what was found, all at once, and writes how it went into the answers that have no error yet.
async fn delete(
    broker: &Broker,
    wanted: Vec<(Arc<Partition>, i64)>,
    topics: &mut [DeleteRecordsTopicResult],
) {
    if wanted.is_empty() {
        return;
    }
    let starts = broker.partitions().delete_records_before(wanted).await;
    let places = topics.iter_mut().flat_map(|topic| {
        let name = &topic.name;
        topic.partitions.iter_mut().map(move |place| (name, place))
    });
    let found = places.filter(|(_, place)| place.error_code == ErrorCode::None);
    for ((topic, place), start) in found.zip(starts) {
        match start {
            Ok(start) => place.low_watermark = start,
            Err(error) => {
                tracing::error!(%topic, partition = place.partition_index, %error, "records could not be deleted");
                place.error_code = ErrorCode::KafkaStorageError;
            }
        }
    }
}

#[cfg(test)]
mod tests;
