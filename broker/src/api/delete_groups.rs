//! DeleteGroups (key 42): forget empty groups and their offsets.

use milena_protocol::api::delete_groups::{
    DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse,
};

use super::RequestContext;
use crate::group::host::GroupHost;

pub async fn handle(
    broker: &impl GroupHost,
    _context: &RequestContext,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group_id in request.groups_names {
        let deleted = broker.groups().delete(group_id.to_string()).await;
        let error_code = deleted.err().unwrap_or_default();
        results.push(DeletableGroupResult {
            group_id,
            error_code,
        });
    }
    DeleteGroupsResponse {
        results,
        ..Default::default()
    }
}
