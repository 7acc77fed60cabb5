//! RemoveRaftVoter (key 81): takes a member of the metadata quorum its vote (KIP-853).

use milena_metadata::{DirectoryId, Refusal};
use milena_protocol::Str;
use milena_protocol::api::remove_raft_voter::{RemoveRaftVoterRequest, RemoveRaftVoterResponse};

use super::RequestContext;
use super::add_raft_voter::check_cluster;
use crate::broker::{Broker, into_refusal};

/// Whether it votes no longer. It follows on, unless its broker has another disk by now.
pub async fn handle(
    broker: &Broker,
    _context: &RequestContext,
    request: RemoveRaftVoterRequest,
) -> RemoveRaftVoterResponse {
    match remove(broker, &request).await {
        Ok(()) => RemoveRaftVoterResponse::default(),
        Err(refusal) => RemoveRaftVoterResponse {
            error_code: refusal.code,
            error_message: Some(Str::from(refusal.message)),
            ..Default::default()
        },
    }
}

async fn remove(broker: &Broker, request: &RemoveRaftVoterRequest) -> Result<(), Refusal> {
    check_cluster(broker, request.cluster_id.as_deref())?;
    let directory = DirectoryId(request.voter_directory_id);
    let removed = broker
        .quorum()
        .remove_voter(request.voter_id, directory)
        .await;
    removed.map_err(into_refusal)?;
    tracing::info!(broker = request.voter_id, %directory, "a broker votes no more in the metadata quorum");
    Ok(())
}
