//! DeleteGroups (key 42): delete empty groups (KIP-229).
//!
//! | version | change |
//! | --- | --- |
//! | 1 | responses before throttling |
//! | 2 | flexible |

use crate::schema::{api, schema};
use crate::{ErrorCode, Str};

api!(42, DeleteGroups, DeleteGroupsRequest => DeleteGroupsResponse, versions 0..=2, flexible 2);

schema! {
    /// The groups to delete.
    pub struct DeleteGroupsRequest {
        groups_names: Vec<Str>;
    }

    /// What became of each group.
    pub struct DeleteGroupsResponse {
        throttle_time_ms: i32;
        results: Vec<DeletableGroupResult>;
    }

    /// One group's result.
    pub struct DeletableGroupResult {
        group_id: Str;
        error_code: ErrorCode;
    }
}
