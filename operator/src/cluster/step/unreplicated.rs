//! What was moved away for a restart comes back, before the next broker restarts. See [`crate::cluster::unreplicated`].

use super::{Decision, Named, Step, Waiting, is_outdated};
use crate::cluster::brokers::State;
use crate::cluster::observed::Observed;
use crate::cluster::wanted::Wanted;

/// Brings back what a broker had that is done, or is not to be restarted after all.
pub fn next(wanted: &Wanted, observed: &Observed) -> Decision {
    let Some(view) = &observed.view else {
        return Decision::default();
    };
    for (id, claim) in observed
        .claims
        .iter()
        .filter(|(_, claim)| !claim.moved.is_empty() && claim.leaving.is_none())
    {
        let pod = observed
            .pods
            .get(id)
            .filter(|pod| pod.is_ready() && !is_outdated(wanted, pod));
        let serves = view
            .brokers
            .get(id)
            .is_some_and(|broker| broker.state == State::Serving);
        if pod.is_some() && serves {
            let mut decision = Decision::of(Step::BringBack {
                id: *id,
                claim: Named::claim(claim),
                moved: claim.moved.clone(),
            });
            let count = claim.moved.len();
            let text = format!("{count} partitions to come back to broker {id}");
            decision.waits.push((Waiting::Roll, text));
            return decision;
        }
    }
    Decision::default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::observed::Leaving;
    use crate::cluster::step::samples;
    use crate::cluster::unreplicated::Moved;

    #[test]
    fn what_was_moved_comes_back_once_the_broker_is_done() {
        let (mut wanted, mut observed) = samples::healthy();
        let moved = vec![Moved("t".to_owned(), 0, vec![1])];
        observed.claims.get_mut(&1).unwrap().moved = moved.clone();
        let steps = next(&wanted, &observed).steps;
        assert!(
            matches!(&steps[..], [Step::BringBack { id: 1, moved: back, .. }] if *back == moved)
        );
        wanted.pools[0].revision = "r2".to_owned();
        assert_eq!(
            next(&wanted, &observed),
            Decision::default(),
            "it is still to be restarted"
        );
        observed.pods.get_mut(&1).unwrap().revision = "r2".to_owned();
        observed.claims.get_mut(&1).unwrap().leaving = Some(Leaving::Cordon);
        assert_eq!(
            next(&wanted, &observed),
            Decision::default(),
            "it is to leave its node"
        );
        observed.claims.get_mut(&1).unwrap().leaving = None;
        samples::unready(&mut observed, 1);
        assert_eq!(
            next(&wanted, &observed),
            Decision::default(),
            "it is not back itself"
        );
    }
}
