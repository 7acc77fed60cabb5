//! Each broker in the status: where it is, what it does, and why it may not stop.

use std::collections::BTreeSet;

use super::Facts;
use crate::cluster::brokers::State;
use crate::cluster::observed::{Observed, Pod};
use crate::cluster::step::replace;
use crate::crd::cluster::BrokerStatus;

/// All brokers that are wanted, have a pod, or are registered, by id.
pub fn of(facts: &Facts) -> Vec<BrokerStatus> {
    let observed = facts.observed;
    let mut ids: BTreeSet<i32> = observed.pods.keys().copied().collect();
    ids.extend(observed.view.iter().flat_map(|view| view.brokers.keys()));
    if let Ok(wanted) = facts.wanted {
        ids.extend(wanted.ids());
    }
    let offers = replace::offers(observed);
    let one = |id: i32| {
        let pod = observed.pods.get(&id);
        let known = observed
            .view
            .as_ref()
            .and_then(|view| view.brokers.get(&id));
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let rack = known.and_then(|broker| broker.rack.clone());
        let offer = offers.iter().find(|(other, _)| *other == id);
        BrokerStatus {
            id,
            pod: pod.map(|pod| pod.name.clone()),
            node: pod.and_then(|pod| pod.node.clone()),
            rack: rack.or_else(|| pod.and_then(|pod| pod.zone.clone())),
            state: state(observed, id, pod),
            leaders: known.map_or(0, |broker| count(broker.leaders)),
            replicas: known.map_or(0, |broker| count(broker.replicas)),
            under_replicated: known.map_or(0, |broker| count(broker.out_of_sync)),
            blocked_by: facts.blocked.get(&id).cloned().unwrap_or_default(),
            replace_with: offer.map(|(_, line)| line.clone()),
        }
    };
    ids.into_iter().map(one).collect()
}

/// What a broker does, in a word.
pub fn state(observed: &Observed, id: i32, pod: Option<&Pod>) -> String {
    let Some(pod) = pod else {
        return "Missing".to_owned();
    };
    let known = observed
        .view
        .as_ref()
        .and_then(|view| view.brokers.get(&id));
    let word = match (&pod.trouble, known.map(|broker| broker.state)) {
        _ if pod.deadline.is_some() => "Stopping",
        // Its volume is on a node that is not there now.
        (Some(_), _) if pod.waits_for_its_volume() => "WaitingForNode",
        (Some(word), _) => word,
        _ if !pod.started => "Pending",
        (None, Some(State::Draining)) if pod.is_ready() => "Draining",
        (None, Some(State::Stopping)) => "Stopping",
        (None, Some(State::Fenced)) if pod.was_ready => "Fenced",
        (None, Some(State::Serving | State::Draining)) if !pod.is_ready() => "Recovering",
        _ if pod.is_ready() => "Running",
        _ => "Starting",
    };
    word.to_owned()
}
