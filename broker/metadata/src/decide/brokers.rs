//! A broker's life: registered, fenced, unfenced, draining.

use milena_protocol::ErrorCode;

use super::Draft;
use crate::command::{ChangeBroker, Refusal, RegisterBroker, Registered};
use crate::election::{self, Change};
use crate::record::{BrokerRecord, BrokerStateRecord};

/// Registrations are never forgotten, and every decision looks at all of them.
pub const BROKERS_MAX: usize = 1_000;

/// Starts a new life, which ends the one before. Asking again in the same life is answered as the first time.
pub(super) fn register(draft: &mut Draft, ask: &RegisterBroker) -> Result<Registered, Refusal> {
    let present = draft.image.broker(ask.id);
    let known = present.is_some();
    if let Some(broker) = present.filter(|broker| broker.incarnation == ask.incarnation) {
        let epoch = broker.epoch;
        return Ok(Registered { epoch });
    }
    if !known && draft.image.brokers().count() >= BROKERS_MAX {
        return Err(Refusal::new(
            ErrorCode::InvalidRegistration,
            format!(
                "{BROKERS_MAX} brokers are registered already, so broker {} is refused.",
                ask.id
            ),
        ));
    }
    // As in Kafka, the position of the registration: it only grows, and starts at 1.
    let epoch = draft.image.position().offset as i64 + 1;
    draft.push(BrokerRecord {
        id: ask.id,
        epoch,
        incarnation: ask.incarnation,
        endpoints: ask.endpoints.clone(),
        node: ask.node.clone(),
        rack: ask.rack.clone(),
        pool: ask.pool.clone(),
        directories: ask.directories.clone(),
        software: ask.software.clone(),
        last_end: ask.last_end,
        fenced: ask.fenced,
        draining: false,
    });
    if known {
        let change = match ask.fenced {
            true => Change::Fenced,
            false => Change::Restarted,
        };
        decide_partitions(draft, ask.id, change);
    }
    Ok(Registered { epoch })
}

/// Changes a broker's state in its present life, and with it who leads.
pub(super) fn change(draft: &mut Draft, ask: &ChangeBroker) -> Result<(), Refusal> {
    let broker = present(draft, ask.id, ask.epoch)?;
    let fenced = ask.fenced.unwrap_or(broker.fenced);
    let draining = ask.draining.unwrap_or(broker.draining);
    let (fenced_before, draining_before) = (broker.fenced, broker.draining);
    if (fenced, draining) == (fenced_before, draining_before) {
        return Ok(());
    }
    draft.push(BrokerStateRecord {
        id: ask.id,
        epoch: ask.epoch,
        fenced,
        draining,
    });
    match (fenced_before, fenced) {
        (false, true) => decide_partitions(draft, ask.id, Change::Fenced),
        (true, false) => decide_partitions(draft, ask.id, Change::Unfenced),
        _ => {}
    }
    Ok(())
}

fn decide_partitions(draft: &mut Draft, broker: crate::BrokerId, change: Change) {
    for record in election::after(&draft.image, broker, change) {
        draft.push(record);
    }
}

/// The broker, if the life that asks is its present one.
pub(super) fn present(
    draft: &Draft,
    id: crate::BrokerId,
    epoch: i64,
) -> Result<&BrokerRecord, Refusal> {
    match draft.image.broker(id) {
        None => Err(Refusal::new(
            ErrorCode::BrokerIdNotRegistered,
            format!("Broker {id} is not registered."),
        )),
        Some(broker) if broker.epoch != epoch => Err(Refusal::new(
            ErrorCode::StaleBrokerEpoch,
            format!(
                "Broker {id} is at epoch {}, and the request is of epoch {epoch}.",
                broker.epoch
            ),
        )),
        Some(broker) => Ok(broker),
    }
}
