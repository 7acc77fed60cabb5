//! What brokers and later operators must know, written where it lasts: zone and claim on pods, from where the broker
//! reads them; on claims that the cluster has been available, from where on nobody may found it again, and which version
//! and level of metadata its volumes have seen: a cluster that is applied again under a newer operator stays at those.
//!
//! And what Kubernetes must know: a pod belongs to the cluster, not only to its StatefulSet. What belongs to two is
//! deleted with neither alone, so a StatefulSet that somebody deletes leaves its pods behind, for the next one to adopt.
//! Otherwise all of a cluster's brokers would be told to go at once; and a StatefulSet makes none of them anew while the
//! first is still there, waiting for its lease.

use std::collections::BTreeMap;

use super::{Decision, Named, Step};
use crate::cluster::observed::{Claim, Observed, Pod};
use crate::cluster::wanted::Wanted;

/// The broker's rack, read from the pod's annotations.
pub const ZONE: &str = "milena.dev/zone";
/// The broker's claim, read from the pod's annotations.
pub const CLAIM_UID: &str = "milena.dev/claim-uid";

/// The brokers' version that is wanted, noted on claims.
pub const VERSION: &str = "milena.dev/version";
/// The level of the feature `milena.version` that they write, noted on claims.
pub const LEVEL: &str = "milena.dev/metadata-version";

/// What is not written yet.
pub fn next(wanted: &Wanted, observed: &Observed) -> Decision {
    let mut decision = Decision::default();
    for (id, pod) in &observed.pods {
        let values = missing(wanted, observed, *id, pod);
        if !values.is_empty() && pod.deadline.is_none() {
            let pod = Named::pod(pod);
            decision.steps.push(Step::AnnotatePod { pod, values });
        }
        if !pod.owners.contains(&wanted.uid) && pod.deadline.is_none() {
            decision.steps.push(Step::KeepPod(Named::pod(pod)));
        }
    }
    if has_been_available(wanted, observed) {
        let new = observed
            .claims
            .values()
            .filter(|claim| !claim.founded && !claim.terminating);
        decision
            .steps
            .extend(new.map(|claim| Step::NoteFounded(Named::claim(claim))));
    }
    for (_, claim) in observed
        .claims
        .iter()
        .filter(|(id, _)| wanted.pool_of(**id).is_some())
    {
        let values = outdated(wanted, observed, claim);
        if !values.is_empty() && !claim.terminating {
            let claim = Named::claim(claim);
            decision.steps.push(Step::AnnotateClaim { claim, values });
        }
    }
    decision
}

/// What a claim does not say yet of its cluster's version and level.
fn outdated(wanted: &Wanted, observed: &Observed, claim: &Claim) -> BTreeMap<&'static str, String> {
    let mut values = BTreeMap::new();
    if claim.version.as_ref() != Some(&wanted.version) {
        values.insert(VERSION, wanted.version.clone());
    }
    if let Some(level) = observed.level.filter(|level| claim.level != Some(*level)) {
        values.insert(LEVEL, level.to_string());
    }
    values
}

fn missing(
    wanted: &Wanted,
    observed: &Observed,
    id: i32,
    pod: &Pod,
) -> BTreeMap<&'static str, String> {
    let mut values = BTreeMap::new();
    let labels = observed.node_of(pod).map(|node| &node.labels);
    let zone = labels.and_then(|labels| labels.get(&wanted.placement.rack_key));
    if let Some(zone) = zone
        && pod.zone.as_ref() != Some(zone)
    {
        values.insert(ZONE, zone.clone());
    }
    // A claim may be bound anew until the pod is on a node.
    let claim = observed.claims.get(&id).filter(|claim| !claim.terminating);
    if let Some(claim) = claim
        && pod.node.is_some()
        && pod.claim_uid.as_ref() != Some(&claim.uid)
    {
        values.insert(CLAIM_UID, claim.uid.clone());
    }
    values
}

/// All voters are there, or it was noted before: the cluster exists from then on.
fn has_been_available(wanted: &Wanted, observed: &Observed) -> bool {
    if observed.is_founded() {
        return true;
    }
    let Some(view) = &observed.view else {
        return false;
    };
    let voters = view.voters();
    wanted
        .voters
        .iter()
        .all(|id| voters.contains(id) && !view.is_fenced(*id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::step::samples;

    #[test]
    fn a_scheduled_pod_is_told_its_zone_and_its_claim_once() {
        let (wanted, mut observed) = samples::healthy();
        assert_eq!(next(&wanted, &observed), Decision::default());
        let pod = observed.pods.get_mut(&1).unwrap();
        (pod.zone, pod.claim_uid) = (None, Some("older".to_owned()));
        let decision = next(&wanted, &observed);
        let [Step::AnnotatePod { pod, values }] = &decision.steps[..] else {
            panic!("{decision:?}");
        };
        assert_eq!(pod.name, "main-broker-1");
        assert_eq!((&*values[ZONE], &*values[CLAIM_UID]), ("zone-1", "claim-1"));
    }

    #[test]
    fn a_pod_comes_to_belong_to_the_cluster_of_this_uid() {
        let (wanted, mut observed) = samples::healthy();
        // That of a cluster that was deleted with its pods left, and applied again.
        observed.pods.get_mut(&1).unwrap().owners = vec!["set".to_owned(), "former".to_owned()];
        let named = Named::pod(&observed.pods[&1]);
        assert_eq!(next(&wanted, &observed), Decision::of(Step::KeepPod(named)));
        observed.pods.get_mut(&1).unwrap().deadline = Some(observed.now);
        assert_eq!(next(&wanted, &observed), Decision::default());
    }

    #[test]
    fn claims_say_which_version_and_level_their_cluster_has_once() {
        let (mut wanted, mut observed) = samples::healthy();
        wanted.version = "2".to_owned();
        observed.level = Some(3);
        let decision = next(&wanted, &observed);
        let [Step::AnnotateClaim { values, .. }, _, _] = &decision.steps[..] else {
            panic!("{decision:?}");
        };
        assert_eq!((&*values[VERSION], &*values[LEVEL]), ("2", "3"));
        for claim in observed.claims.values_mut() {
            (claim.version, claim.level) = (Some("2".to_owned()), Some(3));
        }
        assert_eq!(next(&wanted, &observed), Decision::default());
        observed.level = None;
        assert_eq!(next(&wanted, &observed), Decision::default(), "nobody says");
    }

    #[test]
    fn the_cluster_is_founded_once_every_voter_is_there_and_stays_so() {
        let (wanted, mut observed) = samples::healthy();
        for claim in observed.claims.values_mut() {
            claim.founded = false;
        }
        assert_eq!(next(&wanted, &observed).steps.len(), 3);
        samples::fence(&mut observed, 2);
        assert_eq!(next(&wanted, &observed).steps.len(), 0);
        observed.claims.get_mut(&0).unwrap().founded = true;
        observed.view = None;
        assert_eq!(
            next(&wanted, &observed).steps.len(),
            2,
            "new claims are noted too"
        );
    }
}
