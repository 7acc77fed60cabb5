//! AddRaftVoter (key 80): gives a member of the metadata quorum a vote (KIP-853).

use milena_metadata::{DirectoryId, Refusal};
use milena_protocol::api::add_raft_voter::{AddRaftVoterRequest, AddRaftVoterResponse};
use milena_protocol::{ErrorCode, Str};

use super::RequestContext;
use crate::broker::{Broker, into_refusal};

/// Whether it votes: answered when the change is committed, also to who would not wait for that. Where the member is
/// reached it has told the quorum itself.
pub async fn handle(
    broker: &Broker,
    _context: &RequestContext,
    request: AddRaftVoterRequest,
) -> AddRaftVoterResponse {
    match add(broker, &request).await {
        Ok(()) => AddRaftVoterResponse::default(),
        Err(refusal) => AddRaftVoterResponse {
            error_code: refusal.code,
            error_message: Some(Str::from(refusal.message)),
            ..Default::default()
        },
    }
}

async fn add(broker: &Broker, request: &AddRaftVoterRequest) -> Result<(), Refusal> {
    check_cluster(broker, request.cluster_id.as_deref())?;
    let directory = DirectoryId(request.voter_directory_id);
    let added = broker.quorum().add_voter(request.voter_id, directory).await;
    added.map_err(into_refusal)?;
    tracing::info!(broker = request.voter_id, %directory, "a broker votes in the metadata quorum");
    Ok(())
}

/// Refuses what was meant for another cluster; who names none means this one.
pub(super) fn check_cluster(broker: &Broker, named: Option<&str>) -> Result<(), Refusal> {
    let image = broker.image();
    let ours = image.cluster_id().map_or("", |id| id);
    match named {
        Some(named) if named != ours => Err(Refusal::new(
            ErrorCode::InconsistentClusterId,
            format!("This is cluster {ours}, and the request is for {named}."),
        )),
        _ => Ok(()),
    }
}
