//! What is done with one partition's part of a leader's answer.

use bytes::Bytes;
use milena_log::BatchToAppend;
use milena_protocol::api::fetch::{FetchEpochEndOffset, FetchPartitionResponse};
use milena_protocol::records::{BatchProblem, batches};
use milena_protocol::{ErrorCode, Records};

use crate::partition::{Partition, Refused};

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// So many bytes were appended; the last batch is of that epoch.
    Appended {
        bytes: usize,
        last_epoch: i32,
    },
    /// The log was cut, or begun anew: what the leader has is asked for from there.
    Cut,
    Nothing,
    /// The leader, or this replica, would not: it is tried again after a while.
    Refused,
}

/// Takes what the leader of `epoch` sent.
pub(super) async fn take(
    partition: &Partition,
    epoch: i32,
    answer: FetchPartitionResponse,
    now_ms: i64,
) -> Taken {
    let taken = match answer.error_code {
        ErrorCode::None if answer.diverging_epoch.end_offset >= 0 => {
            let FetchEpochEndOffset {
                epoch: common,
                end_offset,
            } = answer.diverging_epoch;
            cut(partition, epoch, (common, end_offset), now_ms).await
        }
        ErrorCode::None => append(partition, epoch, answer, now_ms).await,
        ErrorCode::OffsetOutOfRange if answer.log_start_offset >= 0 => {
            restart(partition, epoch, answer.log_start_offset, now_ms).await
        }
        code => {
            tracing::debug!(
                topic = %partition.topic(), partition = partition.index(), epoch, %code,
                "the leader refuses to be copied from, for now"
            );
            return Taken::Refused;
        }
    };
    taken.unwrap_or_else(|why| {
        // Another epoch has begun meanwhile, which is nothing to tell of.
        if why.code() != ErrorCode::FencedLeaderEpoch {
            tracing::warn!(
                topic = %partition.topic(), partition = partition.index(), epoch, %why,
                "what the leader sent could not be taken"
            );
        }
        Taken::Refused
    })
}

async fn append(
    partition: &Partition,
    epoch: i32,
    answer: FetchPartitionResponse,
    now_ms: i64,
) -> Result<Taken, Refused> {
    let bytes = match answer.records {
        Some(Records::Bytes(bytes)) => bytes,
        _ => Bytes::new(),
    };
    let end = partition.reader().log_end_offset();
    let batches = whole_batches(&bytes, end)?;
    // The leader's log starts inside a batch (DeleteRecords), and so does this one, which has nothing yet: the batch
    // comes whole, and the start moves up again with the leader's.
    if let Some(first) = batches.first().map(|batch| batch.header.base_offset)
        && first < end
        && partition.reader().log_start_offset() == end
    {
        partition.restart_following(first, epoch, now_ms).await?;
    }
    let last_epoch = batches
        .last()
        .map(|batch| batch.header.partition_leader_epoch);
    let committed = (answer.high_watermark, answer.log_start_offset);
    partition
        .append_fetched(&batches, epoch, committed, now_ms)
        .await?;
    let bytes = batches.iter().map(|batch| batch.body.len()).sum();
    Ok(match last_epoch {
        Some(last_epoch) => Taken::Appended { bytes, last_epoch },
        None => Taken::Nothing,
    })
}

/// The batches from `end` on. Those before it came with an earlier answer: a request that was sent before that answer
/// was taken asks for them once more. The last may be cut short by the bound on the answer, and comes with the next.
fn whole_batches(bytes: &Bytes, end: i64) -> Result<Vec<BatchToAppend>, Refused> {
    let corrupt = |_| Refused::Code(ErrorCode::CorruptMessage);
    let mut whole = Vec::new();
    for batch in batches(bytes) {
        let (header, body) = match batch {
            Err(BatchProblem::Truncated { .. }) => break,
            batch => batch.map_err(corrupt)?,
        };
        if header.last_offset() < end {
            continue;
        }
        header.check_crc(&body).map_err(corrupt)?;
        whole.push(BatchToAppend { header, body });
    }
    Ok(whole)
}

/// The logs come apart: what is behind the last epoch that both have, as far as it is the same, is not the leader's.
async fn cut(
    partition: &Partition,
    epoch: i32,
    common: (i32, i64),
    now_ms: i64,
) -> Result<Taken, Refused> {
    let end = partition.reader().log_end_offset();
    let from = partition.truncate_following(common, epoch, now_ms).await?;
    tracing::info!(
        topic = %partition.topic(), partition = partition.index(), epoch, from, end,
        "records that the leader does not have were cut off"
    );
    Ok(Taken::Cut)
}

/// The leader has nothing of what this replica has, or of what it would need next.
async fn restart(
    partition: &Partition,
    epoch: i32,
    leader_start: i64,
    now_ms: i64,
) -> Result<Taken, Refused> {
    let end = partition.reader().log_end_offset();
    partition
        .restart_following(leader_start, epoch, now_ms)
        .await?;
    tracing::warn!(
        topic = %partition.topic(), partition = partition.index(), epoch, leader_start, end,
        "the leader's log has nothing in common with this replica's, which is copied anew"
    );
    Ok(Taken::Cut)
}
