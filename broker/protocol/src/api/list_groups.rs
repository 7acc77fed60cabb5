//! ListGroups (key 16): the groups that this broker coordinates.
//!
//! | version | change |
//! | --- | --- |
//! | 1 | throttle time |
//! | 2 | responses before throttling |
//! | 3 | flexible |
//! | 4 | states, also as a filter (KIP-518) |
//! | 5 | types, also as a filter (KIP-848) |

use crate::schema::{api, schema};
use crate::{ErrorCode, Str};

api!(16, ListGroups, ListGroupsRequest => ListGroupsResponse, versions 0..=5, flexible 3);

schema! {
    /// Which groups; an empty filter lets all through.
    pub struct ListGroupsRequest {
        states_filter: Vec<Str>, in 4..;
        types_filter: Vec<Str>, in 5..;
    }

    /// The groups.
    pub struct ListGroupsResponse {
        throttle_time_ms: i32, in 1..;
        error_code: ErrorCode;
        groups: Vec<ListedGroup>;
    }

    /// One group.
    pub struct ListedGroup {
        group_id: Str;
        protocol_type: Str;
        group_state: Str, in 4..;
        group_type: Str, in 5..;
    }
}
