//! SyncGroup (key 14): the leader hands in the assignment, and each member gets its part.
//!
//! | version | change |
//! | --- | --- |
//! | 1 | throttle time |
//! | 2 | responses before throttling |
//! | 3 | static members (KIP-345) |
//! | 4 | flexible |
//! | 5 | protocol type and name, to be checked by both sides (KIP-559) |

use bytes::Bytes;

use crate::schema::{api, schema};
use crate::{ErrorCode, Str};

api!(14, SyncGroup, SyncGroupRequest => SyncGroupResponse, versions 0..=5, flexible 4);

schema! {
    /// A member; the leader's holds the assignments.
    pub struct SyncGroupRequest {
        group_id: Str;
        generation_id: i32;
        member_id: Str;
        group_instance_id: Option<Str>, in 3.., nullable 3..;
        protocol_type: Option<Str>, in 5.., nullable 5..;
        protocol_name: Option<Str>, in 5.., nullable 5..;
        assignments: Vec<SyncGroupRequestAssignment>;
    }

    /// What one member is to consume.
    pub struct SyncGroupRequestAssignment {
        member_id: Str;
        assignment: Bytes;
    }

    /// The member's assignment.
    pub struct SyncGroupResponse {
        throttle_time_ms: i32, in 1..;
        error_code: ErrorCode;
        protocol_type: Option<Str>, in 5.., nullable 5..;
        protocol_name: Option<Str>, in 5.., nullable 5..;
        assignment: Bytes;
    }
}
