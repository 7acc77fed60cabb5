//! DescribeGroups (key 15): groups with their members and assignments.

use milena_protocol::ErrorCode;
use milena_protocol::api::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup,
};

use super::RequestContext;
use crate::group::classic::GroupState;
use crate::group::host::GroupHost;

/// Before, a group that does not exist is Dead and no error (KIP-1043).
const NOT_FOUND_FROM: i16 = 6;
/// Read, delete, describe, describe configs and alter configs (AclOperation 3, 6, 8, 10, 11): what
/// everyone may do with a group while there is no authorizer.
const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

pub async fn handle(
    broker: &impl GroupHost,
    context: &RequestContext,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let mut groups = Vec::with_capacity(request.groups.len());
    for id in request.groups {
        let mut group = match broker.groups().describe(id.to_string()).await {
            Ok(Some(group)) => group,
            Ok(None) => missing(context.version, &id),
            Err(error_code) => DescribedGroup {
                error_code,
                ..Default::default()
            },
        };
        group.group_id = id;
        if request.include_authorized_operations && group.error_code.is_none() {
            group.authorized_operations = GROUP_OPERATIONS;
        }
        groups.push(group);
    }
    DescribeGroupsResponse {
        groups,
        ..Default::default()
    }
}

fn missing(version: i16, id: &str) -> DescribedGroup {
    let mut group = DescribedGroup {
        group_state: GroupState::Dead.name().into(),
        ..Default::default()
    };
    if version >= NOT_FOUND_FROM {
        group.error_code = ErrorCode::GroupIdNotFound;
        group.error_message = Some(format!("Group {id} not found.").into());
    }
    group
}
