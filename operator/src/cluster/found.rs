//! What of the Kubernetes cluster and the brokers bears on what is wanted.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::observed::{Claim, Leaving, Observed, View};
use super::validate::{Elsewhere, Found, Standing, Version};
use crate::crd::KafkaCluster;
use crate::crd::cluster::KafkaClusterStatus;

/// What of the surroundings bears on what is wanted.
pub fn of(cluster: &KafkaCluster, observed: &Observed) -> Found {
    let status = cluster.status.as_ref();
    let ids: BTreeSet<String> = observed
        .cluster_ids()
        .into_iter()
        .map(str::to_owned)
        .collect();
    let view = observed.view.as_ref();
    let voters = view.map(|view| view.voters().into_iter().collect());
    let voters = voters
        .or_else(|| status.map(|status| status.voters.clone()))
        .unwrap_or_default();
    Found {
        claim_cluster_ids: ids,
        founded: observed.is_founded(),
        fresh_cluster_id: fresh_id(),
        standing: Standing {
            voters,
            leader: view.and_then(View::leader),
            places: observed.places(),
            at_rest: observed.is_at_rest(),
        },
        pool_starts: observed
            .sets
            .iter()
            .map(|(pool, set)| (pool.clone(), set.start))
            .collect(),
        level: observed.level.or_else(|| told_level(status, observed)),
        claim_version: noted_version(cluster, observed),
        claim_classes: claim_classes(observed),
        elsewhere: elsewhere(observed),
    }
}

/// A pool that the spec names no more was of the version of its time.
fn noted_version(cluster: &KafkaCluster, observed: &Observed) -> Option<Version> {
    let pools = &cluster.spec.pools;
    let named = |claim: &&Claim| pools.iter().any(|pool| pool.name == claim.pool);
    let noted = observed
        .all_claims()
        .filter(named)
        .filter_map(|claim| claim.version.as_ref());
    noted.filter_map(|version| version.parse().ok()).max()
}

fn claim_classes(observed: &Observed) -> BTreeMap<String, BTreeSet<String>> {
    let mut classes: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for claim in observed.all_claims().filter(|claim| !claim.terminating) {
        let of_pool = classes.entry(claim.pool.clone()).or_default();
        of_pool.extend(claim.class.clone());
    }
    classes
}

/// A broker that was drained has left nothing on its claim; one that has a claim in its own pool by now lives there.
fn elsewhere(observed: &Observed) -> Vec<Elsewhere> {
    let left = observed.left_claims.iter().filter(|(id, claim)| {
        let holds = claim.founded && claim.leaving != Some(Leaving::Emptied);
        holds && !observed.claims.contains_key(id)
    });
    let told = left.map(|(id, claim)| Elsewhere {
        id: *id,
        pool: claim.pool.clone(),
        claim: claim.name.clone(),
    });
    told.collect()
}

/// The level that the brokers wrote when they last said so: it never goes down, and a version that can't read it must not
/// be let in for a moment in which nobody is asked.
fn told_level(status: Option<&KafkaClusterStatus>, observed: &Observed) -> Option<i16> {
    let told = status.and_then(|status| status.metadata_version.as_deref()?.parse().ok());
    let noted = observed.all_claims().filter_map(|claim| claim.level).max();
    told.max(noted)
}

/// 22 letters of URL-safe base64, as Kafka's tools make them. The first and the last are letters or digits: it is a label's
/// value, too.
fn fresh_id() -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    loop {
        let bits = Uuid::new_v4().as_u128();
        let letter = |at: u32| {
            // 128 bits are 21 letters of six bits, and two bits in the last.
            let index = match at {
                21 => (bits << 4) & 0b11_0000,
                _ => bits >> (122 - 6 * at),
            };
            char::from(LETTERS[(index & 0b11_1111) as usize])
        };
        let id: String = (0..22).map(letter).collect();
        if id.starts_with(is_plain) && id.ends_with(is_plain) {
            return id;
        }
    }
}

fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::build::samples;
    use crate::cluster::step;

    #[test]
    fn a_level_that_the_brokers_have_told_holds_while_they_are_not_asked() {
        let mut cluster = samples::cluster();
        let mut observed = Observed::default();
        let level = |cluster: &KafkaCluster, observed: &Observed| of(cluster, observed).level;
        assert_eq!(level(&cluster, &observed), None);
        cluster.status = Some(KafkaClusterStatus {
            metadata_version: Some("2".to_owned()),
            ..KafkaClusterStatus::default()
        });
        assert_eq!(level(&cluster, &observed), Some(2));
        observed.level = Some(3);
        assert_eq!(level(&cluster, &observed), Some(3));
    }

    #[test]
    fn a_cluster_whose_status_is_gone_is_known_by_its_claims() {
        let (_, mut observed) = step::samples::healthy();
        observed.view = None;
        for (id, (version, level)) in [("0.1.0", 1), ("0.2.0", 2), ("0.1.0", 1)]
            .iter()
            .enumerate()
        {
            let claim = observed
                .claims
                .get_mut(&i32::try_from(id).unwrap())
                .unwrap();
            (claim.version, claim.level) = (Some((*version).to_owned()), Some(*level));
        }
        let cluster = samples::cluster();
        let pool = cluster.spec.pools[0].name.clone();
        let claims = observed.claims.values_mut();
        claims.for_each(|claim| claim.pool = pool.clone());
        let found = of(&cluster, &observed);
        assert_eq!(found.claim_version, "0.2.0".parse().ok());
        assert_eq!(found.level, Some(2));
        assert!(found.founded);
        observed.claims.get_mut(&1).unwrap().pool = "long-gone".to_owned();
        let found = of(&cluster, &observed);
        assert_eq!(found.claim_version, "0.1.0".parse().ok());
    }

    #[test]
    fn records_are_elsewhere_on_a_claim_left_behind_unless_it_was_drained_or_another_lives_there() {
        let (_, mut observed) = step::samples::healthy();
        let mut left = observed.claims.remove(&1).unwrap();
        left.pool = "old".to_owned();
        let elsewhere = |observed: &Observed| of(&samples::cluster(), observed).elsewhere.len();
        observed.left_claims = vec![(1, left.clone())];
        assert_eq!(elsewhere(&observed), 1);
        observed.left_claims[0].1.leaving = Some(Leaving::ScaleDown);
        assert_eq!(elsewhere(&observed), 1, "that has only begun");
        observed.left_claims[0].1.leaving = Some(Leaving::Emptied);
        assert_eq!(elsewhere(&observed), 0);
        observed.left_claims[0].1.leaving = None;
        observed.claims.insert(1, left);
        assert_eq!(elsewhere(&observed), 0);
    }

    #[test]
    fn a_fresh_cluster_id_is_22_letters_a_label_and_another_each_time() {
        let ids: BTreeSet<String> = (0..1000).map(|_| fresh_id()).collect();
        assert_eq!(ids.len(), 1000);
        for id in ids {
            let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            assert!(id.len() == 22 && id.bytes().all(letter), "{id}");
            assert!(
                !id.starts_with(['-', '_']) && !id.ends_with(['-', '_']),
                "{id} is no value of a label"
            );
        }
    }
}
