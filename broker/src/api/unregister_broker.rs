//! UnregisterBroker (key 64): forgets a broker that is stopped for good and hosts nothing.

use milena_metadata::{BrokerId, Refusal, UnregisterBroker};
use milena_protocol::api::unregister_broker::{UnregisterBrokerRequest, UnregisterBrokerResponse};
use milena_protocol::{ErrorCode, Str};

use super::RequestContext;
use crate::broker::Broker;

/// Whether it is forgotten.
pub async fn handle(
    broker: &Broker,
    _context: &RequestContext,
    request: UnregisterBrokerRequest,
) -> UnregisterBrokerResponse {
    match unregister(broker, request.broker_id).await {
        Ok(()) => UnregisterBrokerResponse::default(),
        Err(refusal) => UnregisterBrokerResponse {
            error_code: refusal.code,
            error_message: Some(Str::from(refusal.message)),
            ..Default::default()
        },
    }
}

async fn unregister(broker: &Broker, number: i32) -> Result<(), Refusal> {
    let id = BrokerId::new(number)
        .map_err(|error| Refusal::new(ErrorCode::BrokerIdNotRegistered, error.to_string()))?;
    broker.change(UnregisterBroker { id }).await
}

#[cfg(test)]
mod tests;
