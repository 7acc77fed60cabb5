//! The roll: pods of an old revision are restarted, each with the brokers' lease, the quorum's leader last.
//!
//! It goes on only while no more than `maxUnavailable` brokers are away, those included that came back less than
//! `soakSeconds` ago. So it stops by itself behind the first broker that does not come back.

use super::{Decision, Named, Step, Waiting, is_outdated};
use crate::cluster::observed::{Observed, Pod, View};
use crate::cluster::wanted::Wanted;

/// So many brokers are asked for in one turn: where one is refused, another may be granted. The one that would mend what
/// blocks the first is among them, since brokers whose replicas are behind are asked for before others.
const ASKED_MAX: usize = 3;

/// The restart, or what it waits for.
pub fn next(wanted: &Wanted, observed: &Observed) -> Decision {
    let outdated: Vec<(i32, &Pod)> = outdated(wanted, observed).collect();
    if outdated.is_empty() {
        return Decision::default();
    }
    let Some(view) = &observed.view else {
        let why = observed
            .no_view
            .as_deref()
            .unwrap_or("the brokers do not answer");
        return Decision::wait(Waiting::Roll, format!("the brokers' own word: {why}"));
    };
    let away = away(wanted, observed, view);
    let max = usize::try_from(wanted.rollout.max_unavailable)
        .unwrap_or(1)
        .max(1);
    // A broker that is away itself takes nothing more away by being restarted.
    let others = |id: i32| away.iter().filter(|(other, _)| *other != id).count();
    let may_go = |(id, _): &(i32, &Pod)| others(*id) < max;
    let mut candidates: Vec<(i32, &Pod)> = outdated.iter().copied().filter(may_go).collect();
    if candidates.is_empty() {
        let why = away.iter().map(|(_, why)| why.as_str()).next();
        return Decision::wait(Waiting::Roll, why.unwrap_or("other brokers"));
    }
    candidates.sort_by_key(|(id, pod)| order(view, *id, pod));
    let pods = candidates
        .iter()
        .take(ASKED_MAX)
        .map(|(id, pod)| (*id, Named::pod(pod)));
    Decision::of(Step::Restart(pods.collect()))
}

/// Brokers to be restarted. Those that are to be taken away are not.
pub fn outdated<'a>(
    wanted: &'a Wanted,
    observed: &'a Observed,
) -> impl Iterator<Item = (i32, &'a Pod)> {
    let stays = |id: i32| wanted.ids().any(|wanted| wanted == id);
    let outdated = observed
        .pods
        .iter()
        .filter(move |(id, pod)| pod.deadline.is_none() && stays(**id) && is_outdated(wanted, pod));
    outdated.map(|(id, pod)| (*id, pod))
}

/// Those that are away first, then those whose replicas are behind, the quorum's leader last.
fn order(view: &View, id: i32, pod: &Pod) -> (bool, bool, bool, i32) {
    let known = view.brokers.get(&id);
    let is_whole = known.is_none_or(|broker| broker.out_of_sync == 0);
    (pod.is_ready(), view.leader() == Some(id), is_whole, id)
}

/// Brokers that are not there, or not long enough, and why.
fn away(wanted: &Wanted, observed: &Observed, view: &View) -> Vec<(i32, String)> {
    let mut away = Vec::new();
    for id in wanted.ids() {
        let why = match observed.pods.get(&id) {
            None => Some(format!("broker {id} to have a pod")),
            Some(pod) if pod.deadline.is_some() => Some(format!("broker {id} to stop")),
            Some(pod) => match observed.ready_for(pod) {
                None => Some(not_ready(id, pod, view)),
                Some(since) if since < wanted.rollout.soak && !is_outdated(wanted, pod) => {
                    Some(format!("broker {id} to have been ready for a while"))
                }
                Some(_) => None,
            },
        };
        away.extend(why.map(|why| (id, why)));
    }
    away
}

fn not_ready(id: i32, pod: &Pod, view: &View) -> String {
    let behind = view.brokers.get(&id).map_or(0, |broker| broker.out_of_sync);
    let why = match &pod.trouble {
        Some(word) => word.clone(),
        None if view.is_fenced(id) => "the others have not heard it yet".to_owned(),
        None if behind > 0 => format!("{behind} of its replicas are not in sync yet"),
        None => return format!("broker {id} to be ready"),
    };
    format!("broker {id} to be ready ({why})")
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::cluster::step::samples;

    fn rolling() -> (Wanted, Observed) {
        let (mut wanted, observed) = samples::healthy();
        wanted.pools[0].revision = "r2".to_owned();
        (wanted, observed)
    }

    fn asked(wanted: &Wanted, observed: &Observed) -> Vec<i32> {
        match next(wanted, observed).steps.as_slice() {
            [Step::Restart(pods)] => pods.iter().map(|(id, _)| *id).collect(),
            [] => Vec::new(),
            other => panic!("{other:?}"),
        }
    }

    fn waits(wanted: &Wanted, observed: &Observed) -> String {
        next(wanted, observed).waits[0].1.clone()
    }

    fn updated(observed: &mut Observed, id: i32, ready_seconds: i64) {
        let since = observed
            .now
            .checked_sub(SignedDuration::from_secs(ready_seconds));
        let pod = observed.pods.get_mut(&id).unwrap();
        pod.revision = "r2".to_owned();
        pod.ready_since = Some(since.unwrap());
    }

    #[test]
    fn what_is_up_to_date_is_left_alone() {
        let (wanted, observed) = samples::healthy();
        assert_eq!(next(&wanted, &observed), Decision::default());
    }

    #[test]
    fn the_quorums_leader_is_the_last() {
        let (wanted, mut observed) = rolling();
        assert_eq!(asked(&wanted, &observed), [1, 2, 0], "broker 0 leads");
        updated(&mut observed, 1, 60);
        updated(&mut observed, 2, 60);
        assert_eq!(asked(&wanted, &observed), [0]);
    }

    #[test]
    fn a_broker_that_is_behind_is_asked_for_before_those_that_it_blocks() {
        let (mut wanted, mut observed) = (samples::wanted(6), samples::observed(6));
        wanted.pools[0].revision = "r2".to_owned();
        assert_eq!(asked(&wanted, &observed), [1, 2, 3]);
        let view = observed.view.as_mut().unwrap();
        view.brokers.get_mut(&5).unwrap().out_of_sync = 4;
        assert_eq!(asked(&wanted, &observed), [5, 1, 2]);
    }

    #[test]
    fn the_next_one_waits_until_the_last_one_has_been_ready_for_the_soak_time() {
        let (wanted, mut observed) = rolling();
        updated(&mut observed, 1, 3);
        assert_eq!(asked(&wanted, &observed), [0; 0]);
        assert_eq!(
            waits(&wanted, &observed),
            "broker 1 to have been ready for a while"
        );
        updated(&mut observed, 1, 11);
        assert_eq!(asked(&wanted, &observed), [2, 0]);
    }

    #[test]
    fn the_roll_stops_behind_a_broker_that_does_not_come_back() {
        let (wanted, mut observed) = rolling();
        updated(&mut observed, 1, 0);
        samples::fence(&mut observed, 1);
        observed.pods.get_mut(&1).unwrap().trouble = Some("CrashLoopBackOff".to_owned());
        assert_eq!(asked(&wanted, &observed), [0; 0]);
        assert_eq!(
            waits(&wanted, &observed),
            "broker 1 to be ready (CrashLoopBackOff)"
        );
        observed.pods.remove(&1);
        assert_eq!(waits(&wanted, &observed), "broker 1 to have a pod");
    }

    #[test]
    fn a_broker_that_runs_and_is_not_ready_is_told_with_what_it_lacks() {
        let (wanted, mut observed) = rolling();
        updated(&mut observed, 1, 0);
        observed.pods.get_mut(&1).unwrap().ready_since = None;
        let broker = samples::broker_of(&mut observed, 1);
        broker.out_of_sync = 4;
        assert_eq!(
            waits(&wanted, &observed),
            "broker 1 to be ready (4 of its replicas are not in sync yet)"
        );
        samples::fence(&mut observed, 1);
        assert_eq!(
            waits(&wanted, &observed),
            "broker 1 to be ready (the others have not heard it yet)"
        );
    }

    #[test]
    fn an_outdated_broker_that_is_away_is_the_first_and_the_only_one() {
        let (wanted, mut observed) = rolling();
        samples::unready(&mut observed, 2);
        assert_eq!(asked(&wanted, &observed), [2]);
    }

    #[test]
    fn two_may_be_away_where_that_is_allowed() {
        let (mut wanted, mut observed) = rolling();
        wanted.rollout.max_unavailable = 2;
        samples::unready(&mut observed, 2);
        assert_eq!(asked(&wanted, &observed), [2, 1, 0]);
    }

    #[test]
    fn nothing_is_restarted_without_the_brokers_word() {
        let (wanted, mut observed) = rolling();
        observed.view = None;
        assert_eq!(asked(&wanted, &observed), [0; 0]);
        assert!(waits(&wanted, &observed).starts_with("the brokers' own word"));
    }

    #[test]
    fn a_change_of_the_operators_own_restarts_brokers_only_where_that_is_allowed() {
        let (mut wanted, observed) = samples::healthy();
        wanted.pools[0].template_revision = "t2".to_owned();
        assert_eq!(asked(&wanted, &observed), [0; 0]);
        wanted.rollout.on_operator_upgrade = crate::crd::cluster::OnOperatorUpgrade::Auto;
        assert_eq!(asked(&wanted, &observed).len(), 3);
    }

    #[test]
    fn a_broker_that_is_to_be_taken_away_is_not_restarted_before() {
        let (mut wanted, observed) = (samples::wanted(3), samples::observed(4));
        wanted.pools[0].revision = "r2".to_owned();
        assert!(!asked(&wanted, &observed).contains(&3));
    }
}
