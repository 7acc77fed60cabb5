//! LeaveGroup (key 13): members leave a classic group.
//!
//! | version | change |
//! | --- | --- |
//! | 1 | throttle time |
//! | 2 | responses before throttling |
//! | 3 | several members, static ones too (KIP-345) |
//! | 4 | flexible |
//! | 5 | reason for leaving (KIP-800) |

use crate::schema::{api, schema};
use crate::{ErrorCode, Str};

api!(13, LeaveGroup, LeaveGroupRequest => LeaveGroupResponse, versions 0..=5, flexible 4);

schema! {
    /// Who leaves: one member, from version 3 several.
    pub struct LeaveGroupRequest {
        group_id: Str;
        member_id: Str, in ..=2;
        members: Vec<LeaveGroupMember>, in 3..;
    }

    /// One member that leaves.
    pub struct LeaveGroupMember {
        member_id: Str, in 3..;
        group_instance_id: Option<Str>, in 3.., nullable 3..;
        reason: Option<Str>, in 5.., nullable 5..;
    }

    /// What became of it.
    pub struct LeaveGroupResponse {
        throttle_time_ms: i32, in 1..;
        error_code: ErrorCode;
        members: Vec<LeaveGroupMemberResponse>, in 3..;
    }

    /// One member's result.
    pub struct LeaveGroupMemberResponse {
        member_id: Str, in 3..;
        group_instance_id: Option<Str>, in 3.., nullable 3..;
        error_code: ErrorCode, in 3..;
    }
}
