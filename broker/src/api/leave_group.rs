//! LeaveGroup (key 13): members go; from version 3 several, and an administrator removes them.

use milena_protocol::api::leave_group::{
    LeaveGroupMember, LeaveGroupMemberResponse, LeaveGroupRequest, LeaveGroupResponse,
};

use super::RequestContext;
use crate::group::classic::Leaving;
use crate::group::host::GroupHost;

/// The first version that names several members.
const SEVERAL_FROM: i16 = 3;

pub async fn handle(
    broker: &impl GroupHost,
    context: &RequestContext,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    let members = match context.version {
        SEVERAL_FROM.. => request.members,
        _ => vec![LeaveGroupMember {
            member_id: request.member_id,
            ..Default::default()
        }],
    };
    let leaving = members.iter().map(|member| Leaving {
        member_id: member.member_id.to_string(),
        instance_id: member.group_instance_id.as_ref().map(|id| id.to_string()),
    });
    let left = broker
        .groups()
        .leave(request.group_id.to_string(), leaving.collect())
        .await;
    let errors = match left {
        Ok(errors) => errors,
        Err(error_code) => {
            return LeaveGroupResponse {
                error_code,
                ..Default::default()
            };
        }
    };
    if context.version < SEVERAL_FROM {
        let error_code = errors.into_iter().next().unwrap_or_default();
        return LeaveGroupResponse {
            error_code,
            ..Default::default()
        };
    }
    let results =
        members
            .into_iter()
            .zip(errors)
            .map(|(member, error_code)| LeaveGroupMemberResponse {
                member_id: member.member_id,
                group_instance_id: member.group_instance_id,
                error_code,
            });
    LeaveGroupResponse {
        members: results.collect(),
        ..Default::default()
    }
}
