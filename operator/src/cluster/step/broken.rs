//! Pods of an old revision that take nothing away: they need no lease, and are replaced at once, so that a mended spec
//! heals what a broken one did.
//!
//! That is a pod that never started, or one that crashes or never got ready *and* whose broker is fenced. Without a
//! quorum nobody says who is fenced: then one at a time, and none whose process answers.

use std::time::Duration;

use jiff::Timestamp;

use super::{Decision, Named, Step};
use crate::cluster::observed::{Observed, Pod};
use crate::cluster::wanted::Wanted;

/// Without a quorum, how long a replaced pod has to start before the next one is replaced.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// The pods to replace.
pub fn next(wanted: &Wanted, observed: &Observed) -> Decision {
    let broken = observed.pods.iter().filter(|(id, pod)| {
        pod.deadline.is_none() && differs(wanted, pod) && takes_nothing(observed, **id, pod)
    });
    let steps = broken.map(|(id, pod)| Step::DeletePod {
        id: *id,
        pod: Named::pod(pod),
        why: why(pod),
    });
    let mut decision = Decision {
        steps: steps.collect(),
        waits: Vec::new(),
    };
    if observed.view.is_none() {
        let first = observed.pods.iter().find(|(id, _)| {
            let named =
                |step: &Step| matches!(step, Step::DeletePod { id: other, .. } if other == *id);
            decision.steps.first().is_some_and(named)
        });
        // What never ran has nothing that could be lost: for it the last one need only be there again.
        let starts = first.is_some_and(|(_, pod)| pod.started) && one_starts(wanted, observed);
        let wait = starts || one_is_away(observed);
        decision.steps.truncate(usize::from(!wait));
    }
    decision
}

/// Here a change of the operator's own counts too: the pod does not work as it is.
fn differs(wanted: &Wanted, pod: &Pod) -> bool {
    let pool = wanted.pools.iter().find(|pool| pool.name == pod.pool);
    pool.is_some_and(|pool| {
        pod.revision != pool.revision || pod.template_revision != pool.template_revision
    })
}

fn takes_nothing(observed: &Observed, id: i32, pod: &Pod) -> bool {
    if !pod.started {
        return true;
    }
    let crashes = pod.trouble.is_some();
    let never_worked = !pod.was_ready;
    let down = match &observed.view {
        Some(view) => view.is_fenced(id),
        // The way to it may be cut here and not there: the kubelet's word counts too.
        None => !observed.live.contains(&id) && !pod.answers,
    };
    !pod.is_ready() && (crashes || never_worked) && down
}

fn why(pod: &Pod) -> String {
    let state = match (&pod.trouble, pod.started) {
        (Some(word), _) => word.clone(),
        (None, false) => "it has not started".to_owned(),
        (None, true) => "it never got ready".to_owned(),
    };
    format!("it is of an old revision and does not work ({state})")
}

/// A pod that was just replaced is not there again.
fn one_is_away(observed: &Observed) -> bool {
    let missing = observed.sets.keys().any(|pool| {
        let mut ids = observed.set_ids(pool);
        ids.any(|id| !observed.pods.contains_key(&id))
    });
    missing || observed.pods.values().any(|pod| pod.deadline.is_some())
}

/// A pod that was just replaced may still come up.
fn one_starts(wanted: &Wanted, observed: &Observed) -> bool {
    let young = |pod: &Pod| age(observed.now, pod.created) < STARTS_WITHIN;
    let mut pods = observed.pods.values();
    pods.any(|pod| !differs(wanted, pod) && !pod.started && young(pod))
}

fn age(now: Timestamp, created: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(created)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::step::samples;

    fn deleted(wanted: &Wanted, observed: &Observed) -> Vec<i32> {
        let steps = next(wanted, observed).steps;
        let ids = steps.iter().map(|step| match step {
            Step::DeletePod { id, .. } => *id,
            other => panic!("{other:?}"),
        });
        ids.collect()
    }

    fn never_started(observed: &mut Observed, id: i32) {
        samples::unready(observed, id);
        let pod = observed.pods.get_mut(&id).unwrap();
        (pod.started, pod.was_ready, pod.answers) = (false, false, false);
        pod.trouble = Some("ErrImagePull".to_owned());
        pod.revision = "r0".to_owned();
    }

    fn crashes(observed: &mut Observed, id: i32) {
        samples::fence(observed, id);
        let pod = observed.pods.get_mut(&id).unwrap();
        pod.trouble = Some("CrashLoopBackOff".to_owned());
        pod.answers = false;
        pod.revision = "r0".to_owned();
    }

    #[test]
    fn a_pod_that_never_started_is_replaced_once_its_revision_is_old() {
        let (wanted, mut observed) = samples::healthy();
        never_started(&mut observed, 1);
        assert_eq!(deleted(&wanted, &observed), [1]);
        observed.pods.get_mut(&1).unwrap().revision = samples::REVISION.to_owned();
        assert_eq!(deleted(&wanted, &observed), [0; 0]);
    }

    #[test]
    fn a_crashing_pod_is_replaced_only_while_its_broker_is_fenced() {
        let (wanted, mut observed) = samples::healthy();
        crashes(&mut observed, 1);
        assert_eq!(deleted(&wanted, &observed), [1]);
        samples::broker_of(&mut observed, 1).state = crate::cluster::brokers::State::Serving;
        assert_eq!(deleted(&wanted, &observed), [0; 0]);
    }

    #[test]
    fn a_broker_that_is_only_down_for_a_moment_is_left_alone() {
        let (wanted, mut observed) = samples::healthy();
        samples::fence(&mut observed, 1);
        observed.pods.get_mut(&1).unwrap().revision = "r0".to_owned();
        assert_eq!(
            deleted(&wanted, &observed),
            [0; 0],
            "it was ready, and does not crash"
        );
    }

    #[test]
    fn without_a_quorum_none_that_answers_its_kubelet() {
        let (wanted, mut observed) = samples::healthy();
        crashes(&mut observed, 1);
        observed.view = None;
        assert_eq!(deleted(&wanted, &observed), [1]);
        observed.pods.get_mut(&1).unwrap().answers = true;
        assert_eq!(
            deleted(&wanted, &observed),
            [0; 0],
            "only from here it does not"
        );
    }

    #[test]
    fn without_a_quorum_one_at_a_time_and_none_that_lives() {
        let (wanted, mut observed) = samples::healthy();
        for id in 0..3 {
            crashes(&mut observed, id);
        }
        observed.view = None;
        assert_eq!(deleted(&wanted, &observed), [0]);
        observed.live.insert(0);
        assert_eq!(deleted(&wanted, &observed), [1]);
        // The replaced one is there again, and has not started.
        never_started(&mut observed, 1);
        let now = observed.now;
        let pod = observed.pods.get_mut(&1).unwrap();
        pod.revision = samples::REVISION.to_owned();
        pod.created = now;
        assert_eq!(deleted(&wanted, &observed), [0; 0]);
        observed.pods.get_mut(&1).unwrap().started = true;
        assert_eq!(deleted(&wanted, &observed), [2]);
        observed.pods.remove(&1);
        assert_eq!(
            deleted(&wanted, &observed),
            [0; 0],
            "it is not there again yet"
        );
    }
}
