//! `spec.replace`: a broker whose volume is gone for good is rebuilt on a new one, on an explicit word that names the
//! very claim. Once that claim is gone the word does nothing, so it may stay in the manifest.
//!
//! Order: see that every partition has an in-sync replica elsewhere (or that its loss is accepted), remove the vote,
//! delete the claim, delete the pod; a broker that still lives has to get its stop lease first. What is seen is seen again
//! before each of them: the data is there until the pod has gone. What follows is what is done for any broker: its new volume is filled, and
//! `voters.rs` lets it vote again.

use jiff::SignedDuration;

use super::{Decision, Named, Step, Waiting, never_safe, voters};
use crate::cluster::brokers::ShownBroker;
use crate::cluster::observed::Observed;
use crate::cluster::wanted::Wanted;
use crate::crd::cluster::Replace;

/// The replacement that is to be done, one broker at a time.
pub fn next(wanted: &Wanted, observed: &Observed) -> Decision {
    let mut decision = Decision::default();
    for replace in &wanted.replace {
        let next = one(wanted, observed, replace);
        let acts = !next.steps.is_empty();
        decision.and(next);
        if acts {
            break;
        }
    }
    decision
}

/// Whether a broker's old volume is still there, and is to go.
pub fn is_pending(wanted: &Wanted, observed: &Observed, id: i32) -> bool {
    let mut of_broker = wanted
        .replace
        .iter()
        .filter(|replace| replace.broker_id == id);
    of_broker.any(|replace| names_what_is_there(observed, replace))
}

fn names_what_is_there(observed: &Observed, replace: &Replace) -> bool {
    let claim = observed.claims.get(&replace.broker_id);
    let pod = observed.pods.get(&replace.broker_id);
    // The claim may be gone while its pod is still there, bound to what it named.
    match claim {
        Some(claim) => claim.uid == replace.claim_uid,
        None => pod.is_some_and(|pod| pod.claim_uid.as_ref() == Some(&replace.claim_uid)),
    }
}

fn one(wanted: &Wanted, observed: &Observed, replace: &Replace) -> Decision {
    if !names_what_is_there(observed, replace) {
        return Decision::default();
    }
    let id = replace.broker_id;
    let claim = observed.claims.get(&id);
    let pod = observed.pods.get(&id);
    let Some(view) = &observed.view else {
        let why = observed.no_view.as_deref().unwrap_or("they do not answer");
        let text = format!("the brokers' word before broker {id} is replaced: {why}");
        return Decision::wait(Waiting::Replace, text);
    };
    let known = view.brokers.get(&id);
    if let Some(loss) = known.and_then(loss).filter(|_| !replace.accept_loss) {
        return Decision::wait(Waiting::Replace, loss);
    }
    if let Some(quorum) = &view.cluster.quorum
        && view.voters().contains(&id)
        && view.voters().len() > 1
    {
        return voters::remove(quorum, &[id]);
    }
    let pod = pod.filter(|pod| pod.deadline.is_none()).map(Named::pod);
    let claim = claim.filter(|claim| !claim.terminating).map(Named::claim);
    if pod.is_none() && claim.is_none() {
        let text = format!("broker {id}'s old volume and pod to go");
        return Decision::wait(Waiting::Replace, text);
    }
    Decision::of(Step::ReplaceVolume {
        id,
        claim,
        pod,
        lease: (!view.is_fenced(id)).then(|| lease(wanted, replace)),
    })
}

/// What is lost by an explicit word may go offline before that, too. Nothing else may.
fn lease(wanted: &Wanted, replace: &Replace) -> &'static str {
    match replace.accept_loss {
        true => "allow",
        false => never_safe(wanted),
    }
}

/// What would be lost with the broker's volume, in words.
fn loss(broker: &ShownBroker) -> Option<String> {
    let id = broker.id;
    match broker.sole {
        Some(0) => None,
        Some(sole) => {
            let named = broker.sole_first.join(", ");
            let more = match sole - broker.sole_first.len().min(sole) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            Some(format!(
                "acceptLoss: true, or their other replicas: broker {id} alone has {named}{more}"
            ))
        }
        None => Some(format!(
            "acceptLoss: true, or a newer version of the brokers, which tells what only broker {id} has"
        )),
    }
}

/// A pod that has waited so long for its volume's node may wait for good. Only a person knows: a volume of a zone attaches
/// to another node of it, though its first one has been taken away.
const GONE_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// The line to paste for a broker whose volume seems to be gone for good.
pub fn offers(observed: &Observed) -> Vec<(i32, String)> {
    let gone = observed.claims.iter().filter(|(id, claim)| {
        let nodes = observed.nodes.as_ref();
        let node = nodes.and_then(|nodes| nodes.get(claim.node.as_ref()?));
        let given_up = node.is_some_and(|node| node.out_of_service);
        let node_gone = observed.pods.get(id).is_some_and(|pod| {
            let waited = observed.now.duration_since(pod.created);
            pod.waits_for_its_volume() && (given_up || waited > GONE_AFTER)
        });
        claim.lost || claim.terminating || node_gone
    });
    gone.map(|(id, claim)| {
        let uid = &claim.uid;
        (
            *id,
            format!("replace: [{{brokerId: {id}, claimUid: {uid}}}]"),
        )
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::step::samples;

    fn replacing(uid: &str) -> (Wanted, Observed) {
        let (mut wanted, observed) = samples::healthy();
        wanted.replace = vec![Replace {
            broker_id: 1,
            claim_uid: uid.to_owned(),
            accept_loss: false,
        }];
        (wanted, observed)
    }

    #[test]
    fn the_vote_goes_first_then_claim_and_pod_and_then_nothing_more() {
        let (wanted, mut observed) = replacing("claim-1");
        assert_eq!(next(&wanted, &observed), Decision::of(Step::RemoveVoter(1)));
        samples::quorum_of(&mut observed).voters.remove(1);
        let steps = next(&wanted, &observed).steps;
        let [
            Step::ReplaceVolume {
                id: 1,
                claim: Some(claim),
                pod: Some(pod),
                lease: Some("block"),
            },
        ] = &steps[..]
        else {
            panic!("{steps:?}");
        };
        assert_eq!((&*claim.uid, &*pod.uid), ("claim-1", "pod-1"));
        // The claim waits for its pod, which was not deleted yet.
        observed.claims.get_mut(&1).unwrap().terminating = true;
        let steps = next(&wanted, &observed).steps;
        assert!(matches!(
            &steps[..],
            [Step::ReplaceVolume {
                claim: None,
                pod: Some(_),
                ..
            }]
        ));
        observed.pods.get_mut(&1).unwrap().deadline = Some(observed.now);
        assert_eq!(next(&wanted, &observed).steps, []);
        // A new claim is there.
        let claim = observed.claims.get_mut(&1).unwrap();
        (claim.uid, claim.terminating) = ("claim-9".to_owned(), false);
        assert_eq!(next(&wanted, &observed), Decision::default());
    }

    #[test]
    fn nothing_goes_while_only_this_broker_has_some_partition() {
        let (mut wanted, mut observed) = replacing("claim-1");
        let broker = samples::broker_of(&mut observed, 1);
        broker.sole = Some(2);
        broker.sole_first = vec!["a-0".to_owned()];
        let waits = next(&wanted, &observed);
        assert_eq!(waits.steps, [], "the vote stays, too");
        assert!(
            waits.waits[0]
                .1
                .contains("broker 1 alone has a-0 and 1 more"),
            "{waits:?}"
        );
        // Also once the claim is on its way: the data goes with the pod.
        samples::quorum_of(&mut observed).voters.remove(1);
        observed.claims.get_mut(&1).unwrap().terminating = true;
        assert_eq!(next(&wanted, &observed).steps, []);
        wanted.replace[0].accept_loss = true;
        let lease_of = |observed: &Observed| match &next(&wanted, observed).steps[..] {
            [Step::ReplaceVolume { lease, .. }] => *lease,
            steps => panic!("{steps:?}"),
        };
        assert_eq!(
            lease_of(&observed),
            Some("allow"),
            "it lives, and stops in its turn"
        );
        let mut down = observed.clone();
        samples::fence(&mut down, 1);
        assert_eq!(lease_of(&down), None);
        samples::broker_of(&mut observed, 1).sole = None;
        wanted.replace[0].accept_loss = false;
        assert_eq!(next(&wanted, &observed).steps, [], "nobody tells");
    }

    #[test]
    fn the_vote_is_taken_only_while_most_others_answer() {
        let (wanted, mut observed) = replacing("claim-1");
        samples::quorum_of(&mut observed).voters[2].silent_ms = None;
        assert_eq!(next(&wanted, &observed).steps, []);
    }

    #[test]
    fn another_claims_uid_does_nothing_and_nothing_happens_without_the_brokers_word() {
        let (wanted, observed) = replacing("claim-0");
        assert_eq!(next(&wanted, &observed), Decision::default());
        let (wanted, mut observed) = replacing("claim-1");
        observed.view = None;
        assert_eq!(next(&wanted, &observed).steps, []);
    }

    #[test]
    fn a_lost_volume_offers_the_line_to_paste() {
        let (_, mut observed) = samples::healthy();
        assert!(offers(&observed).is_empty());
        observed.claims.get_mut(&2).unwrap().lost = true;
        let line = "replace: [{brokerId: 2, claimUid: claim-2}]".to_owned();
        assert_eq!(offers(&observed), [(2, line.clone())]);
        let claim = observed.claims.get_mut(&2).unwrap();
        (claim.lost, claim.terminating) = (false, true);
        assert_eq!(offers(&observed), [(2, line)], "it goes with its pod");
    }

    #[test]
    fn a_volume_whose_node_is_away_offers_the_line_once_the_node_is_given_up_or_ten_minutes_later()
    {
        let (_, mut observed) = samples::healthy();
        let pod = observed.pods.get_mut(&1).unwrap();
        (pod.node, pod.started, pod.created) = (None, false, observed.now);
        pod.trouble_text = "0/6 nodes: 5 didn't match PersistentVolume's node affinity".to_owned();
        observed.claims.get_mut(&1).unwrap().node = Some("node-1".to_owned());
        assert!(offers(&observed).is_empty(), "it may come back");
        let node = observed.nodes.as_mut().unwrap().get_mut("node-1").unwrap();
        node.gone = true;
        assert!(offers(&observed).is_empty(), "another may take the volume");
        let node = observed.nodes.as_mut().unwrap().get_mut("node-1").unwrap();
        (node.gone, node.out_of_service) = (false, true);
        assert_eq!(offers(&observed).len(), 1);
        let node = observed.nodes.as_mut().unwrap().get_mut("node-1").unwrap();
        node.out_of_service = false;
        observed.now += SignedDuration::from_mins(11);
        assert_eq!(offers(&observed).len(), 1);
    }
}
