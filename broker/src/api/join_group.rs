//! JoinGroup (key 11): become part of a group's next generation. Answered when that begins.

use bytes::Bytes;
use milena_protocol::Uuid;
use milena_protocol::api::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};

use super::RequestContext;
use crate::group::classic::{Join, Protocol};
use crate::group::host::GroupHost;

/// The first version with a rebalance timeout of its own.
const REBALANCE_TIMEOUT_FROM: i16 = 1;
/// The first version in which a new member learns its id before it joins (KIP-394).
const KNOWN_ID_FROM: i16 = 4;
/// The first version that can skip the assignment (KIP-814).
const SKIP_ASSIGNMENT_FROM: i16 = 9;

pub async fn handle(
    broker: &impl GroupHost,
    context: &RequestContext,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let rebalance_timeout_ms = match context.version {
        REBALANCE_TIMEOUT_FROM.. => request.rebalance_timeout_ms,
        _ => request.session_timeout_ms,
    };
    let join = Join {
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.map(|id| id.to_string()),
        client_id: context.client_id.to_string(),
        // As Java shows an address without a name.
        client_host: format!("/{}", context.address.ip()),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms,
        protocol_type: request.protocol_type.to_string(),
        protocols: request.protocols.iter().map(owned).collect(),
        unique: hyphened(Uuid::random()),
        requires_known_id: context.version >= KNOWN_ID_FROM,
        can_skip_assignment: context.version >= SKIP_ASSIGNMENT_FROM,
    };
    broker
        .groups()
        .join(request.group_id.to_string(), join)
        .await
}

/// Copied: the member outlives the request's frame.
fn owned(protocol: &JoinGroupRequestProtocol) -> Protocol {
    Protocol {
        name: protocol.name.to_string(),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    }
}

/// 32 hexadecimal digits with hyphens, as member ids have ended since the first consumers.
fn hyphened(id: Uuid) -> String {
    let digits = format!("{:032x}", u128::from_be_bytes(id.0));
    [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ]
    .join("-")
}
