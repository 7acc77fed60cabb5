//! Groups' records in the partitions of `__consumer_offsets`.

use std::sync::Arc;

use bytes::Bytes;
use milena_log::BatchToAppend;
use milena_protocol::ErrorCode;
use milena_protocol::records::BatchHeader;

use super::OFFSETS_TOPIC;
use super::coordinator::{CoordinatorLog, LogFuture};
use crate::clock::Clock;
use crate::partition::{Commit, Partition};
use crate::partitions::Partitions;

/// Bytes read at once while groups are loaded.
const READ_SIZE: usize = 4 * 1024 * 1024;
/// All replicas must have a group's record before it holds.
const ACKS_ALL: i16 = -1;

/// The coordinator's log over this broker's partitions.
pub struct PartitionLog {
    partitions: Arc<Partitions>,
    clock: Clock,
}

impl PartitionLog {
    pub fn new(partitions: Arc<Partitions>, clock: Clock) -> Self {
        Self { partitions, clock }
    }

    fn partition(&self, shard: i32) -> Result<Arc<Partition>, ErrorCode> {
        self.partitions
            .partition(OFFSETS_TOPIC, shard)
            .map_err(|_| ErrorCode::NotCoordinator)
    }
}

impl CoordinatorLog for PartitionLog {
    fn append(&self, shard: i32, batch: Bytes) -> LogFuture<'_, i64> {
        Box::pin(async move {
            let partition = self.partition(shard)?;
            let header = BatchHeader::parse(&batch).map_err(|_| ErrorCode::UnknownServerError)?;
            let batches = vec![BatchToAppend {
                header,
                body: batch,
            }];
            let appended = partition
                .append(batches, ACKS_ALL, self.clock.now_ms())
                .await;
            let appended = appended.map_err(|refused| {
                tracing::error!(partition = shard, error = %refused, "a group's records could not be appended");
                refused.code()
            })?;
            committed(&partition, appended.last_offset, appended.leader_epoch).await?;
            Ok(appended.base_offset)
        })
    }

    fn read(&self, shard: i32, offset: i64) -> LogFuture<'_, Option<Bytes>> {
        Box::pin(async move {
            let partition = self.partition(shard)?;
            let reader = partition.reader().clone();
            // All of it: what the leader before had committed may be above the high watermark that this one knows yet.
            let end = partition.reader().log_end_offset();
            let read = move || {
                let from = offset.max(reader.log_start_offset());
                reader.read(from, READ_SIZE, end, true)?.read()
            };
            let batches = crate::blocking::spawn(read).await;
            match batches.map_err(|_| ErrorCode::UnknownServerError)? {
                Ok(batches) => Ok((!batches.bytes.is_empty()).then_some(batches.bytes)),
                Err(error) => {
                    tracing::error!(partition = shard, %error, "groups can't be read");
                    Err(ErrorCode::KafkaStorageError)
                }
            }
        })
    }
}

/// Waits until the replicas have it, however long: whether it will hold is not known before.
async fn committed(
    partition: &Partition,
    last_offset: i64,
    leader_epoch: i32,
) -> Result<(), ErrorCode> {
    loop {
        let moved = partition.high_watermark_moved();
        tokio::pin!(moved);
        moved.as_mut().enable();
        match partition.commit(last_offset, leader_epoch) {
            Commit::Done => return Ok(()),
            Commit::Lost(error) => return Err(error),
            Commit::Waiting => moved.await,
        }
    }
}
