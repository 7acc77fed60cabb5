//! Producer ids, handed out from blocks that the quorum grants.

use std::sync::Arc;

use milena_metadata::{AllocateProducerIds, BrokerId, ProducerIdBlock};
use tokio::sync::Mutex;

use crate::quorum::{Quorum, QuorumError};

/// The block that this broker hands out at present.
pub struct ProducerIds {
    quorum: Arc<Quorum>,
    broker: BrokerId,
    broker_epoch: i64,
    block: Mutex<ProducerIdBlock>,
}

impl ProducerIds {
    /// Hands out ids for this life of the broker; what an earlier one left of its block is never used.
    pub fn new(quorum: Arc<Quorum>, broker: BrokerId, broker_epoch: i64) -> Self {
        Self {
            quorum,
            broker,
            broker_epoch,
            block: Mutex::new(ProducerIdBlock { first: 0, count: 0 }),
        }
    }

    /// An id that was never given before, in the whole cluster.
    pub async fn next(&self) -> Result<i64, QuorumError> {
        let mut block = self.block.lock().await;
        if block.count == 0 {
            let command = AllocateProducerIds {
                broker: self.broker,
                broker_epoch: self.broker_epoch,
            };
            *block = self.quorum.request(command).await?;
        }
        let id = block.first;
        (block.first, block.count) = (block.first + 1, block.count - 1);
        Ok(id)
    }
}
