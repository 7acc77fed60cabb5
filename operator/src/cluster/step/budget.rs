//! How many brokers may be evicted: one while every broker could get a stop lease, or while a broker whose node is to go
//! holds one; else none.
//!
//! It is safe with the operator dead: a pod is ready only once its broker has been in every ISR, so that one budget
//! never lets a second broker go before the first has caught up.

use super::unsafe_topics;
use crate::cluster::brokers::State;
use crate::cluster::observed::{Observed, View};
use crate::cluster::wanted::Wanted;
use crate::crd::cluster::Unreplicated;

/// 0 or 1.
pub fn max_unavailable(wanted: &Wanted, observed: &Observed) -> i32 {
    i32::from(may_evict(wanted, observed))
}

fn may_evict(wanted: &Wanted, observed: &Observed) -> bool {
    observed.view.as_ref().is_some_and(|view| {
        every_broker_may_stop(wanted, observed, view)
            || one_holds_a_lease_and_must_go(observed, view)
    })
}

fn every_broker_may_stop(wanted: &Wanted, observed: &Observed, view: &View) -> bool {
    let allow = wanted.rollout.unreplicated == Unreplicated::Allow;
    let serving = |id: i32| {
        let broker = view.brokers.get(&id);
        broker.is_some_and(|broker| broker.state == State::Serving)
    };
    let leases = view
        .brokers
        .values()
        .any(|broker| broker.lease_expires_ms.is_some());
    let all_there = wanted.ids().all(serving) && observed.pods.values().all(|pod| pod.is_ready());
    // These pause whatever is done, which the policy allows, or does not.
    let pausing: i32 = unsafe_topics(wanted, observed)
        .map(|(_, partitions)| partitions)
        .sum();
    let pausing = usize::try_from(pausing).unwrap_or(0);
    let health = &view.cluster.partitions;
    let at_the_edge = health.at_min_isr + health.under_min_isr;
    let partitions_spare = health.offline == 0
        && match allow {
            true => at_the_edge <= pausing,
            false => at_the_edge == 0 && pausing == 0,
        };
    !leases && all_there && partitions_spare && (quorum_spares_one(view) || allow)
}

/// Any voter may stop, and those that stay are a majority.
fn quorum_spares_one(view: &View) -> bool {
    let Some(quorum) = &view.cluster.quorum else {
        return false;
    };
    let (there, all) = quorum.heard();
    there > all / 2 + 1
}

/// Its eviction is to be admitted at once. Another one that is evicted instead waits in its preStop hook.
fn one_holds_a_lease_and_must_go(observed: &Observed, view: &View) -> bool {
    let now_ms = observed.now.as_millisecond();
    let ready = observed.pods.iter().filter(|(_, pod)| pod.is_ready());
    let must_go = ready.filter(|(_, pod)| observed.node_of(pod).is_some_and(|node| node.leaving));
    let holds = |id: &i32| {
        let broker = view.brokers.get(id);
        let expires = broker.and_then(|broker| broker.lease_expires_ms);
        expires.is_some_and(|expires| expires > now_ms)
    };
    let all_ready = observed.pods.values().all(|pod| pod.is_ready());
    all_ready && must_go.map(|(id, _)| id).any(holds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::step::samples::{self, broker_of, node_of};

    fn budget(wanted: &Wanted, observed: &Observed) -> bool {
        may_evict(wanted, observed)
    }

    #[test]
    fn one_may_be_evicted_only_while_every_broker_could_get_a_lease() {
        let (wanted, healthy) = samples::healthy();
        assert!(budget(&wanted, &healthy));
        let spoilt: [fn(&mut Observed); 6] = [
            |observed| observed.view = None,
            |observed| samples::fence(observed, 1),
            |observed| samples::unready(observed, 1),
            |observed| broker_of(observed, 2).lease_expires_ms = Some(i64::MAX),
            |observed| {
                observed
                    .view
                    .as_mut()
                    .unwrap()
                    .cluster
                    .partitions
                    .at_min_isr = 1
            },
            |observed| samples::topic(observed, "single", 1),
        ];
        for spoil in spoilt {
            let mut observed = healthy.clone();
            spoil(&mut observed);
            assert!(!budget(&wanted, &observed), "{observed:?}");
        }
    }

    #[test]
    fn a_silent_voter_of_three_keeps_the_others() {
        let (wanted, mut observed) = samples::healthy();
        let quorum = observed
            .view
            .as_mut()
            .unwrap()
            .cluster
            .quorum
            .as_mut()
            .unwrap();
        quorum.voters[2].silent_ms = Some(60_000);
        assert!(!budget(&wanted, &observed));
    }

    #[test]
    fn what_may_pause_does_not_keep_brokers() {
        let (mut wanted, mut observed) = samples::healthy();
        wanted.rollout.unreplicated = Unreplicated::Allow;
        samples::topic(&mut observed, "single", 1);
        let health = &mut observed.view.as_mut().unwrap().cluster.partitions;
        (health.under_min_isr, health.at_min_isr) = (3, 0);
        assert!(budget(&wanted, &observed));
        observed
            .view
            .as_mut()
            .unwrap()
            .cluster
            .partitions
            .at_min_isr = 1;
        assert!(
            !budget(&wanted, &observed),
            "one is at the edge that needs not be"
        );
    }

    #[test]
    fn a_lone_broker_may_be_evicted_where_its_pause_is_allowed() {
        let (mut wanted, observed) = (samples::wanted(1), samples::observed(1));
        assert!(!budget(&wanted, &observed));
        wanted.rollout.unreplicated = Unreplicated::Allow;
        assert!(budget(&wanted, &observed));
    }

    #[test]
    fn the_broker_of_a_cordoned_node_goes_with_its_lease() {
        let (wanted, mut observed) = samples::healthy();
        node_of(&mut observed, 1).leaving = true;
        broker_of(&mut observed, 1).state = State::Draining;
        assert!(!budget(&wanted, &observed));
        broker_of(&mut observed, 1).lease_expires_ms = Some(i64::MAX);
        assert!(budget(&wanted, &observed));
        samples::unready(&mut observed, 2);
        assert!(!budget(&wanted, &observed), "another one is down already");
    }
}
