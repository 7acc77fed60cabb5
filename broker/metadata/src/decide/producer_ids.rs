//! Producer ids, given away in blocks (KIP-730), so that none is ever given twice.

use milena_protocol::ErrorCode;

use super::{Draft, brokers};
use crate::command::{AllocateProducerIds, ProducerIdBlock, Refusal};
use crate::record::ProducerIdsRecord;

/// Ids a block, as in Kafka: rare enough to write each, and 2^63 of them last.
pub const PRODUCER_ID_BLOCK: i32 = 1_000;

pub(super) fn allocate(
    draft: &mut Draft,
    ask: &AllocateProducerIds,
) -> Result<ProducerIdBlock, Refusal> {
    brokers::present(draft, ask.broker, ask.broker_epoch)?;
    let first = draft.image.next_producer_id();
    let next = first
        .checked_add(i64::from(PRODUCER_ID_BLOCK))
        .ok_or_else(|| {
            Refusal::new(
                ErrorCode::UnknownServerError,
                "Exhausted all producerIds as the next block's end producerId has exceeded the int64 type limit.",
            )
        })?;
    draft.push(ProducerIdsRecord {
        broker: ask.broker,
        broker_epoch: ask.broker_epoch,
        next,
    });
    let count = PRODUCER_ID_BLOCK;
    Ok(ProducerIdBlock { first, count })
}
