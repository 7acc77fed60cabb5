//! SyncGroup (key 14): the leader hands in the assignments, everybody takes theirs.

use bytes::Bytes;
use milena_protocol::api::sync_group::{SyncGroupRequest, SyncGroupResponse};

use super::RequestContext;
use crate::group::classic::Syncing;
use crate::group::host::GroupHost;

pub async fn handle(
    broker: &impl GroupHost,
    _context: &RequestContext,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    // Copied: the assignments outlive the request's frame.
    let assignments = request
        .assignments
        .iter()
        .map(|given| {
            (
                given.member_id.to_string(),
                Bytes::copy_from_slice(&given.assignment),
            )
        })
        .collect();
    let sync = Syncing {
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.map(|id| id.to_string()),
        generation: request.generation_id,
        protocol_type: request.protocol_type.map(|name| name.to_string()),
        protocol: request.protocol_name.map(|name| name.to_string()),
        assignments,
    };
    broker
        .groups()
        .sync(request.group_id.to_string(), sync)
        .await
}
