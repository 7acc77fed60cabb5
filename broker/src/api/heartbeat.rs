//! Heartbeat (key 12): a member lives, and learns whether it must join again.

use milena_protocol::api::heartbeat::{HeartbeatRequest, HeartbeatResponse};

use super::RequestContext;
use crate::group::host::GroupHost;
use crate::group::request::MemberOf;

/// Whether the generation goes on.
pub async fn handle(
    broker: &impl GroupHost,
    _context: &RequestContext,
    request: HeartbeatRequest,
) -> HeartbeatResponse {
    let member = MemberOf {
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.map(|id| id.to_string()),
        generation: request.generation_id,
    };
    let result = broker
        .groups()
        .heartbeat(request.group_id.to_string(), member)
        .await;
    HeartbeatResponse {
        error_code: result.err().unwrap_or_default(),
        ..Default::default()
    }
}
