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
        quorum: quorum.ok().map(Into::into),
        partitions,
    }))
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
