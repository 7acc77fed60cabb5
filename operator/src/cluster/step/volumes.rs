//! Volumes that grow, without a restart: each claim is patched, its capacity awaited, and then the StatefulSet deleted
//! without its pods, so that it is made anew with the larger template.

use super::{Decision, Named, Step, Waiting};
use crate::cluster::observed::{Claim, Observed};
use crate::cluster::validate::bytes;
use crate::cluster::wanted::{Wanted, WantedPool};

/// Claims to grow, and StatefulSets whose claims have grown.
pub fn next(wanted: &Wanted, observed: &Observed) -> Decision {
    let mut decision = Decision::default();
    for pool in &wanted.pools {
        decision.and(pool_next(pool, observed));
    }
    decision
}

fn pool_next(pool: &WantedPool, observed: &Observed) -> Decision {
    let mut decision = Decision::default();
    let claims = claims(pool, observed);
    let refusal = |claim: &Claim| {
        let refusal = observed.no_growth.get(&claim.uid);
        refusal.filter(|refusal| {
            refusal.size == pool.volume_size && claim.requested < pool.volume_bytes
        })
    };
    for claim in claims
        .iter()
        .filter(|claim| claim.requested < pool.volume_bytes)
    {
        let refusal = refusal(claim);
        if refusal.is_none_or(|refusal| refusal.is_due) {
            decision.steps.push(Step::GrowClaim {
                claim: Named::claim(claim),
                size: pool.volume_size.clone(),
            });
        }
        if let Some(refusal) = refusal {
            let text = refusal.text.clone();
            decision.and(Decision::wait(Waiting::VolumesRefused, text));
        }
    }
    let is_small = |claim: &&&Claim| claim.capacity > 0 && claim.capacity < pool.volume_bytes;
    let small = claims.iter().filter(is_small);
    let small = small.filter(|claim| refusal(claim).is_none());
    let small: Vec<&str> = small.map(|claim| claim.name.as_str()).collect();
    if let Some(first) = small.first() {
        let more = match small.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        decision.and(Decision::wait(
            Waiting::Volumes,
            format!("{first}{more} to grow"),
        ));
    }
    if claims.iter().any(|claim| is_small(&claim)) {
        return decision;
    }
    let Some(set) = observed.sets.get(&pool.name).filter(|set| !set.terminating) else {
        return decision;
    };
    let template = bytes(&set.volume_size).unwrap_or(0);
    let grown = claims
        .iter()
        .all(|claim| claim.requested >= pool.volume_bytes);
    if template < pool.volume_bytes && grown {
        decision.steps.push(Step::OrphanSet(Named::set(set)));
    }
    decision
}

/// The claims of a pool's brokers. Those of brokers that are gone stay as they are.
fn claims<'a>(pool: &WantedPool, observed: &'a Observed) -> Vec<&'a Claim> {
    let own = observed.claims.iter().filter(|(id, claim)| {
        claim.pool == pool.name && pool.ids.contains(*id) && !claim.terminating
    });
    own.map(|(_, claim)| claim).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::observed::NoGrowth;
    use crate::cluster::step::samples;

    #[test]
    fn claims_grow_first_then_the_set_is_made_anew() {
        let (mut wanted, mut observed) = samples::healthy();
        assert_eq!(next(&wanted, &observed), Decision::default());
        (wanted.pools[0].volume_size, wanted.pools[0].volume_bytes) = ("2Gi".to_owned(), 2 << 30);
        let decision = next(&wanted, &observed);
        assert_eq!(decision.steps.len(), 3);
        assert!(
            decision
                .steps
                .iter()
                .all(|step| matches!(step, Step::GrowClaim { size, .. } if size == "2Gi"))
        );
        for claim in observed.claims.values_mut() {
            claim.requested = 2 << 30;
        }
        observed.claims.get_mut(&0).unwrap().capacity = 2 << 30;
        let decision = next(&wanted, &observed);
        assert_eq!(decision.steps, []);
        assert_eq!(decision.waits[0].1, "data-main-broker-1 and 1 more to grow");
        for claim in observed.claims.values_mut() {
            claim.capacity = 2 << 30;
        }
        let set = Named {
            name: "main-broker".to_owned(),
            uid: "set".to_owned(),
        };
        assert_eq!(next(&wanted, &observed), Decision::of(Step::OrphanSet(set)));
        observed.sets.clear();
        assert_eq!(
            next(&wanted, &observed),
            Decision::default(),
            "it is made anew by what is built"
        );
    }

    #[test]
    fn a_claim_that_was_not_let_grow_is_named_and_asked_for_again_once_that_is_due() {
        let (mut wanted, mut observed) = samples::healthy();
        (wanted.pools[0].volume_size, wanted.pools[0].volume_bytes) = ("2Gi".to_owned(), 2 << 30);
        for claim in observed.claims.values() {
            let refusal = NoGrowth {
                size: "2Gi".to_owned(),
                text: format!("{} can't grow: forbidden", claim.name),
                is_due: claim.uid == "claim-2",
            };
            observed.no_growth.insert(claim.uid.clone(), refusal);
        }
        let decision = next(&wanted, &observed);
        let claim = Named::claim(&observed.claims[&2]);
        let size = "2Gi".to_owned();
        assert_eq!(decision.steps, [Step::GrowClaim { claim, size }]);
        let kinds: Vec<Waiting> = decision.waits.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [Waiting::VolumesRefused; 3]);
        assert!(!Waiting::VolumesRefused.comes_about());
        (wanted.pools[0].volume_size, wanted.pools[0].volume_bytes) = ("3Gi".to_owned(), 3 << 30);
        assert_eq!(next(&wanted, &observed).steps.len(), 3, "of another size");
    }
}
