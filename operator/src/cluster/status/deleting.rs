//! The status of a cluster that is being deleted with its volumes.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::conditions::bounded;
use crate::crd::KafkaCluster;
use crate::crd::cluster::KafkaClusterStatus;

/// As it was, but that the cluster serves no more, and what its deletion waits for.
pub fn of(cluster: &KafkaCluster, now: Timestamp, awaited: &str) -> KafkaClusterStatus {
    let mut status = cluster.status.clone().unwrap_or_default();
    let generation = cluster.metadata.generation;
    let said = [
        ("Available", "False", String::new()),
        ("Progressing", "True", format!("waits for {awaited}")),
    ];
    for (kind, holds, message) in said {
        let known = status.conditions.iter().position(|one| one.type_ == kind);
        let before = known.map(|at| status.conditions.remove(at));
        let since = before.filter(|before| before.status == holds);
        let condition = Condition {
            type_: kind.to_owned(),
            status: holds.to_owned(),
            reason: "Deleting".to_owned(),
            message: bounded(message),
            last_transition_time: since.map_or(Time(now), |one| one.last_transition_time),
            observed_generation: generation,
        };
        let at = known.unwrap_or(status.conditions.len());
        status.conditions.insert(at, condition);
    }
    status.observed_generation = generation;
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_is_told_once_and_keeps_the_other_conditions() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let mut cluster = KafkaCluster::default();
        cluster.status = Some(of(&cluster, now, "main-broker-0 to stop"));
        let later = now
            .checked_add(jiff::SignedDuration::from_secs(60))
            .unwrap();
        let status = of(&cluster, later, "main-broker-0 to stop");
        assert_eq!(cluster.status.as_ref(), Some(&status));
        let told: Vec<_> = status
            .conditions
            .iter()
            .map(|one| (&*one.type_, &*one.status, &*one.message))
            .collect();
        assert_eq!(
            told,
            [
                ("Available", "False", ""),
                ("Progressing", "True", "waits for main-broker-0 to stop")
            ]
        );
    }
}
