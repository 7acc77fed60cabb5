//! A broker's life: registered, fenced, unfenced, draining, stopping, moved to another rack, reached elsewhere, and at
//! last removed.

use milena_protocol::ErrorCode;

use super::{Draft, settle};
use crate::command::{
    ChangeBroker, ChangeBrokers, ChangeEndpoints, ChangeRack, Refusal, RegisterBroker, Registered,
    UnregisterBroker,
};
use crate::configs::ConfigRules;
use crate::election::Turn;
use crate::features::{Levels, MILENA_VERSION};
use crate::names::BrokerId;
use crate::record::{BrokerRecord, BrokerRemovedRecord, BrokerStateRecord, LastEnd};
use crate::rule::is_broken;

/// Registrations are kept until a person removes them, and every decision looks at all of them.
pub const BROKERS_MAX: usize = 1_000;

/// Starts a new life, which ends the one before. Asking again in the same life is answered as the first time.
///
/// After an unclean end the broker leaves every ISR and ELR, but those of topics whose records are on disk before they
/// count (`flush.messages=1`); on new disks all. Whatever the end was, it leads
/// nothing on in the epoch of the life before.
pub(super) fn register(
    draft: &mut Draft,
    ask: &RegisterBroker,
    rules: &dyn ConfigRules,
) -> Result<Registered, Refusal> {
    let present = draft.image.broker(ask.id);
    if let Some(broker) = present.filter(|broker| broker.incarnation == ask.incarnation) {
        let epoch = broker.epoch;
        return Ok(Registered { epoch });
    }
    let known = present.is_some();
    let draining = present.is_some_and(|broker| broker.draining);
    if !known && draft.image.brokers().count() >= BROKERS_MAX {
        return Err(Refusal::new(
            ErrorCode::InvalidRegistration,
            format!(
                "{BROKERS_MAX} brokers are registered already, so broker {} is refused.",
                ask.id
            ),
        ));
    }
    let level = draft.image.feature(MILENA_VERSION);
    if !ask.levels.allow(level) {
        let Levels { min, max } = ask.levels;
        let message = format!(
            "Unable to register because the broker does not support level {level} of {MILENA_VERSION}, at which this \
             cluster is. Its software ({}) knows levels {min} to {max}: start a version that knows {level}.",
            ask.software
        );
        return Err(Refusal::new(ErrorCode::UnsupportedVersion, message));
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
        levels: ask.levels,
        last_end: ask.last_end,
        fenced: ask.fenced,
        draining,
        stopping: false,
    });
    if known {
        let unclean = matches!(ask.last_end, LastEnd::Unclean | LastEnd::None);
        let restarted = match is_broken!(LeadsInOldEpoch) {
            true => Vec::new(),
            false => vec![ask.id],
        };
        let turn = Turn {
            restarted,
            unclean: unclean.then_some(ask.id).into_iter().collect(),
        };
        settle::hosted(draft, rules, &[ask.id], &turn);
    }
    Ok(Registered { epoch })
}

/// Changes one broker's state in its present life, and with it who leads.
pub(super) fn change(
    draft: &mut Draft,
    ask: &ChangeBroker,
    rules: &dyn ConfigRules,
) -> Result<(), Refusal> {
    if record_change(draft, ask)? {
        settle::hosted(draft, rules, &[ask.id], &Turn::default());
    }
    Ok(())
}

/// As [`change`], for several at once: leaders move once, and never to one that is fenced by the same command.
pub(super) fn change_all(
    draft: &mut Draft,
    ask: &ChangeBrokers,
    rules: &dyn ConfigRules,
) -> Vec<Result<(), Refusal>> {
    let mut changed = Vec::new();
    let mut record = |change: &ChangeBroker| {
        if record_change(draft, change)? {
            changed.push(change.id);
        }
        Ok(())
    };
    let answers = ask.changes.iter().map(&mut record).collect();
    settle::hosted(draft, rules, &changed, &Turn::default());
    answers
}

/// Whether the broker's state is another than before.
fn record_change(draft: &mut Draft, ask: &ChangeBroker) -> Result<bool, Refusal> {
    let broker = present(draft, ask.id, ask.epoch)?;
    let before = (broker.fenced, broker.draining, broker.stopping);
    let fenced = ask.fenced.unwrap_or(broker.fenced);
    let draining = ask.draining.unwrap_or(broker.draining);
    let stopping = ask.stopping.unwrap_or(broker.stopping);
    if (fenced, draining, stopping) == before {
        return Ok(false);
    }
    let state = BrokerStateRecord {
        fenced,
        draining,
        stopping,
        ..as_it_is(broker)
    };
    draft.push(state);
    Ok(true)
}

/// The record of a change that changes nothing yet.
fn as_it_is(broker: &BrokerRecord) -> BrokerStateRecord {
    BrokerStateRecord {
        id: broker.id,
        epoch: broker.epoch,
        fenced: broker.fenced,
        draining: broker.draining,
        stopping: broker.stopping,
        directories: None,
        rack: None,
        endpoints: None,
    }
}

/// Says that a broker is in another rack, in its present life. What is placed stays: where a rule of placement does
/// not hold any more, that is told and repaired as for any other reason.
pub(super) fn change_rack(draft: &mut Draft, ask: &ChangeRack) -> Result<(), Refusal> {
    let broker = present(draft, ask.id, ask.epoch)?;
    if broker.rack.as_ref() == Some(&ask.rack) {
        return Ok(());
    }
    let state = BrokerStateRecord {
        rack: Some(ask.rack.clone()),
        ..as_it_is(broker)
    };
    draft.push(state);
    Ok(())
}

/// Says that a broker is reached elsewhere, in its present life: clients hear of it with their next metadata.
pub(super) fn change_endpoints(draft: &mut Draft, ask: &ChangeEndpoints) -> Result<(), Refusal> {
    let broker = present(draft, ask.id, ask.epoch)?;
    if broker.endpoints == ask.endpoints {
        return Ok(());
    }
    let state = BrokerStateRecord {
        endpoints: Some(ask.endpoints.clone()),
        ..as_it_is(broker)
    };
    draft.push(state);
    Ok(())
}

/// Removes a broker that is gone for good: stopped, and without a replica (API 64).
pub(super) fn unregister(draft: &mut Draft, ask: &UnregisterBroker) -> Result<(), Refusal> {
    let id = ask.id;
    let refuse = |message: String| Err(Refusal::new(ErrorCode::InvalidRequest, message));
    let Some(broker) = draft.image.broker(id) else {
        return Err(unregistered(id));
    };
    if !broker.fenced {
        return refuse(format!(
            "Broker {id} is running: stop it first, then unregister it."
        ));
    }
    let epoch = broker.epoch;
    let hosted = draft.image.topics().flat_map(|topic| {
        let here = topic.partitions().filter(|(_, p)| p.hosts(id));
        here.map(|(number, _)| (topic.name.clone(), number))
    });
    let mut hosted = hosted.peekable();
    if let Some((topic, partition)) = hosted.peek().cloned() {
        let count = hosted.count();
        return refuse(format!(
            "Broker {id} still has {count} replica(s), of {topic}-{partition} first: move them to other brokers \
             first (drain it)."
        ));
    }
    drop(hosted);
    draft.push(BrokerRemovedRecord { id, epoch });
    Ok(())
}

fn unregistered(id: BrokerId) -> Refusal {
    Refusal::new(
        ErrorCode::BrokerIdNotRegistered,
        format!("Broker {id} is not registered."),
    )
}

/// The broker, if the life that asks is its present one.
pub(super) fn present(draft: &Draft, id: BrokerId, epoch: i64) -> Result<&BrokerRecord, Refusal> {
    match draft.image.broker(id) {
        None => Err(unregistered(id)),
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
