//! ListGroups (key 16): the groups that this broker coordinates, by state (version 4) and type (version 5).

use milena_protocol::Str;
use milena_protocol::api::list_groups::{ListGroupsRequest, ListGroupsResponse};

use super::RequestContext;
use crate::group::host::GroupHost;

/// The groups that pass both filters; names of states and types in any case.
pub async fn handle(
    broker: &impl GroupHost,
    _context: &RequestContext,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    let mut groups = match broker.groups().list().await {
        Ok(groups) => groups,
        Err(error_code) => {
            return ListGroupsResponse {
                error_code,
                ..Default::default()
            };
        }
    };
    groups.retain(|group| {
        passes(&request.states_filter, &group.group_state)
            && passes(&request.types_filter, &group.group_type)
    });
    ListGroupsResponse {
        groups,
        ..Default::default()
    }
}

fn passes(filter: &[Str], name: &str) -> bool {
    filter.is_empty()
        || filter
            .iter()
            .any(|wanted| wanted.eq_ignore_ascii_case(name))
}
