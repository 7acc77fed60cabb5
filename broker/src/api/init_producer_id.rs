//! InitProducerId (key 22): an id for an idempotent producer (KIP-98, KIP-360).

use milena_protocol::ErrorCode;
use milena_protocol::api::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

use super::RequestContext;
use crate::broker::Broker;

/// A producer id that no other producer has had, or will have.
pub async fn handle(
    broker: &Broker,
    _context: &RequestContext,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let failed = |error_code| InitProducerIdResponse {
        error_code,
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    match request.transactional_id {
        // Fatal to clients, where an error that can be retried would make them ask for ever.
        Some(_) => failed(ErrorCode::TransactionalIdAuthorizationFailed),
        None => match broker.producer_ids().next().await {
            Ok(producer_id) => InitProducerIdResponse {
                producer_id,
                producer_epoch: 0,
                ..Default::default()
            },
            Err(refusal) => failed(refusal.code()),
        },
    }
}
