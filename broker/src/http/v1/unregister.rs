//! `POST /v1/brokers/{id}/unregister`: forgets a broker that is gone for good. 409 while it has replicas, votes, or is
//! alive; each with a sentence that says what is to be done first.

use axum::Json;
use axum::extract::Path;
use milena_metadata::{BrokerId, UnregisterBroker};
use serde::{Deserialize, Serialize};

use super::cluster::QUORUM_WITHIN;
use super::{Failure, Serving, named};
use crate::broker::{Broker, into_refusal};
use crate::quorum::{MemberProgress, QuorumProgress};

/// Who has answered the quorum's leader so lately may come back at once: as long as a session.
const ALIVE: std::time::Duration = std::time::Duration::from_secs(3);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// Its number.
    pub unregistered: i32,
}

/// `POST`.
pub async fn forget(
    Serving(broker): Serving,
    id: Path<String>,
) -> Result<Json<Forgotten>, Failure> {
    let id = named(&broker, &id)?;
    if broker.image().broker(id).is_none() {
        return Err(Failure::unknown_broker(id));
    }
    let quorum = broker.quorum().progress(QUORUM_WITHIN).await;
    let quorum = quorum.map_err(Failure::no_leader)?;
    check_gone(&quorum, id)?;
    // Whether it runs, and has replicas, the metadata knows.
    let asked = broker.quorum().request(UnregisterBroker { id }).await;
    asked.map_err(into_refusal).map_err(Failure::not_now)?;
    tracing::info!(broker = %id, "the broker is no longer part of the cluster");
    let unregistered = id.get();
    for learner in quorum
        .learners
        .iter()
        .filter(|one| one.broker == unregistered)
    {
        forget_member(&broker, learner).await;
    }
    Ok(Json(Forgotten { unregistered }))
}

/// The quorum's leader need not look for it any more. That it does is no harm, but noise.
async fn forget_member(broker: &Broker, learner: &MemberProgress) {
    let Some(directory) = learner.directory else {
        return;
    };
    let forgotten = broker
        .quorum()
        .remove_voter(learner.broker, directory)
        .await;
    if let Err(error) = forgotten {
        tracing::warn!(broker = learner.broker, %error, "a broker that is gone stays a learner of the metadata quorum");
    }
}

/// Whether the quorum counts on a broker, or hears of it.
fn check_gone(quorum: &QuorumProgress, id: BrokerId) -> Result<(), Failure> {
    let is_it = |member: &&MemberProgress| member.broker == id.get();
    if quorum.voters.iter().any(|voter| is_it(&voter)) {
        return Err(Failure::conflict(format!(
            "Broker {id} votes in the metadata quorum: take its vote first (POST /v1/quorum/voters with {{\"remove\": {id}}})."
        )));
    }
    let learners = quorum.learners.iter().filter(is_it);
    match learners.filter_map(|member| member.silent).min() {
        Some(silent) if silent < ALIVE => Err(Failure::conflict(format!(
            "Broker {id} answered {:.1} s ago: stop it first if it runs, and {} s after its last answer unregister it.",
            silent.as_secs_f64(),
            ALIVE.as_secs()
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_answered_lately_is_not_forgotten_and_the_answer_says_when_to_ask_again() {
        let quorum = |silent| QuorumProgress {
            leader: 1,
            term: 1,
            last_index: 1,
            committed_index: 1,
            voters: Vec::new(),
            learners: vec![MemberProgress {
                broker: 5,
                directory: None,
                matched_index: None,
                silent: Some(silent),
            }],
        };
        let id = BrokerId::new(5).unwrap();
        let refused = check_gone(&quorum(Duration::from_millis(1_200)), id).unwrap_err();
        for word in ["answered 1.2 s ago", "3 s after"] {
            assert!(refused.error.contains(word), "{}", refused.error);
        }
        assert!(check_gone(&quorum(ALIVE), id).is_ok());
    }
}
