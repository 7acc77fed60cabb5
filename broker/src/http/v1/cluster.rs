//! `/v1/cluster`: the quorum, and how the partitions are. `/v1/cluster/stopping`: the cluster is being stopped as a whole.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use milena_metadata::placement::misplaced;
use milena_metadata::{Health, Scope, SetStopping};
use serde::{Deserialize, Serialize};

use super::{Failure, Serving, look};
use crate::broker::{Broker, into_refusal};
use crate::quorum::{MemberProgress, QuorumProgress};

/// The quorum's leader answers from memory; without it the rest is told all the same.
pub(super) const QUORUM_WITHIN: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownCluster {
    pub cluster_id: String,
    pub answered_by: i32,
    /// Whether it is being stopped as a whole, so that every broker may stop.
    pub stopping: bool,
    /// When that is over by itself, in milliseconds since 1970, where it is being stopped.
    pub stopping_until_ms: Option<i64>,
    /// The metadata quorum; none where nobody says that it leads it.
    pub quorum: Option<ShownQuorum>,
    /// Why nothing can be changed now; none where the quorum decides.
    #[serde(default)]
    pub quorum_trouble: Option<String>,
    /// How many partitions are how.
    pub partitions: ShownHealth,
}

/// The metadata quorum, as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownQuorum {
    pub leader: i32,
    pub term: u64,
    /// The last entry of its log.
    pub last_index: i64,
    /// The last entry that a majority has.
    pub committed_index: i64,
    pub voters: Vec<ShownMember>,
    /// Those that follow without a vote.
    pub learners: Vec<ShownMember>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownMember {
    pub broker: i32,
    /// The id of its metadata directory; none where the quorum's leader is of older software.
    pub directory: Option<String>,
    /// Entries that it is not known to have; none where nothing is known of it.
    pub lag: Option<i64>,
    /// How long ago it last answered, in milliseconds.
    pub silent_ms: Option<u64>,
}

/// How many partitions are in which condition. See `Condition` of the metadata for what each means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // they are Condition's
pub struct ShownHealth {
    pub all: usize,
    pub offline: usize,
    pub under_replicated: usize,
    pub under_min_isr: usize,
    pub at_min_isr: usize,
    pub not_preferred: usize,
    pub reassigning: usize,
    pub lossy: usize,
    pub misplaced: usize,
}

impl From<QuorumProgress> for ShownQuorum {
    fn from(progress: QuorumProgress) -> Self {
        let last = progress.last_index;
        let member = |member: MemberProgress| ShownMember {
            broker: member.broker,
            directory: member.directory.map(|directory| directory.to_string()),
            lag: member.matched_index.map(|matched| (last - matched).max(0)),
            silent_ms: member
                .silent
                .map(|silent| u64::try_from(silent.as_millis()).unwrap_or(u64::MAX)),
        };
        Self {
            leader: progress.leader,
            term: progress.term,
            last_index: last,
            committed_index: progress.committed_index,
            voters: progress.voters.into_iter().map(member).collect(),
            learners: progress.learners.into_iter().map(member).collect(),
        }
    }
}

/// `GET /v1/cluster`.
pub async fn show(Serving(broker): Serving) -> Result<Json<ShownCluster>, Failure> {
    let quorum = broker.quorum().progress(QUORUM_WITHIN).await;
    let partitions = look(&broker, health).await?;
    let image = broker.image();
    let cluster_id = image.cluster_id().map(|id| id.to_string());
    Ok(Json(ShownCluster {
        cluster_id: cluster_id.unwrap_or_default(),
        answered_by: broker.node_id(),
        stopping: image.stopping().is_some(),
        stopping_until_ms: image.stopping().map(|mark| mark.until_ms),
        quorum_trouble: trouble(&quorum),
        quorum: quorum.ok().map(Into::into),
        partitions,
    }))
}

/// Why nothing is decided, in words.
fn trouble(quorum: &Result<QuorumProgress, String>) -> Option<String> {
    let why = match quorum {
        Ok(quorum) if quorum.has_majority() => return None,
        Ok(quorum) => format!("no majority: {}", silent(&quorum.voters)),
        Err(why) => format!("no leader that answers ({why})"),
    };
    Some(format!(
        "{why}; the metadata can be read, and nothing can be changed"
    ))
}

/// Which voters are silent, and for how long at least.
fn silent(voters: &[MemberProgress]) -> String {
    let silent = voters.iter().filter(|voter| !voter.is_there());
    let silent: Vec<&MemberProgress> = silent.collect();
    let names: Vec<String> = silent.iter().map(|one| one.broker.to_string()).collect();
    let (noun, verb, names) = match &names[..] {
        [all @ .., last] if !all.is_empty() => {
            ("voters", "are", format!("{} and {last}", all.join(", ")))
        }
        _ => ("voter", "is", names.join("")),
    };
    let least = silent.iter().filter_map(|one| one.silent).min();
    match least {
        Some(least) => format!("{noun} {names} {verb} silent for {} s", least.as_secs()),
        None => format!("{noun} {names} {verb} silent"),
    }
}

/// Whether the cluster is being stopped as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WholeStop {
    pub stopping: bool,
}

/// `POST /v1/cluster/stopping`. How the mark ends is said in `milena_metadata`'s `decide/stopping.rs`.
pub async fn set_stopping(
    Serving(broker): Serving,
    wanted: Result<Json<WholeStop>, JsonRejection>,
) -> Result<Json<WholeStop>, Failure> {
    let Json(wanted) = wanted?;
    let command = SetStopping {
        stopping: wanted.stopping,
        now_ms: broker.now_ms(),
    };
    let asked = broker.quorum().request(command).await;
    asked.map_err(into_refusal)?;
    tracing::info!(
        stopping = wanted.stopping,
        "who operates the cluster says whether it is being stopped as a whole"
    );
    Ok(Json(wanted))
}

fn health(broker: &Broker) -> ShownHealth {
    let (image, config) = (broker.image(), broker.config());
    let Health {
        partitions,
        offline,
        under_replicated,
        under_min_isr,
        at_min_isr,
        not_preferred,
        reassigning,
        lossy,
    } = image.health(&*config, Scope::Cluster);
    ShownHealth {
        all: partitions,
        offline,
        under_replicated,
        under_min_isr,
        at_min_isr,
        not_preferred,
        reassigning,
        lossy,
        misplaced: misplaced(&image, &*config).len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_majority_is_told_of_with_who_is_silent() {
        let voter = |broker, silent_s: Option<u64>| MemberProgress {
            broker,
            directory: None,
            matched_index: None,
            silent: silent_s.map(Duration::from_secs),
        };
        let told = |voters: &[MemberProgress]| {
            trouble(&Ok(QuorumProgress {
                leader: 1,
                term: 1,
                last_index: 1,
                committed_index: 1,
                voters: voters.to_vec(),
                learners: Vec::new(),
            }))
        };
        let [me, two, three] = [voter(1, Some(0)), voter(2, Some(75)), voter(3, Some(80))];
        assert_eq!(told(&[me.clone(), voter(2, Some(0)), three.clone()]), None);
        let lost = told(&[me.clone(), two.clone(), three]).unwrap();
        assert_eq!(
            lost,
            "no majority: voters 2 and 3 are silent for 75 s; the metadata can be read, and nothing can be changed"
        );
        let of_two = told(&[me.clone(), two]).unwrap();
        assert!(of_two.contains("voter 2 is silent for 75 s"), "{of_two}");
        let unheard = told(&[me, voter(3, None)]).unwrap();
        assert!(unheard.contains("voter 3 is silent;"), "{unheard}");
        let leaderless = trouble(&Err("refused".to_owned())).unwrap();
        assert!(leaderless.contains("no leader that answers (refused)"));
    }
}
