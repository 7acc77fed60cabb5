//! JoinGroup (key 11): become a member of a classic group, or stay one.
//!
//! | version | change |
//! | --- | --- |
//! | 1 | rebalance timeout |
//! | 2 | throttle time |
//! | 3 | responses before throttling |
//! | 4 | the first answer is MEMBER_ID_REQUIRED (KIP-394) |
//! | 5 | static members (KIP-345) |
//! | 6 | flexible |
//! | 7 | protocol type in the response (KIP-559) |
//! | 8 | reason for joining (KIP-800) |
//! | 9 | the leader can be told to skip the assignment (KIP-814) |

use bytes::Bytes;

use crate::schema::{api, schema};
use crate::{ErrorCode, Str};

api!(11, JoinGroup, JoinGroupRequest => JoinGroupResponse, versions 0..=9, flexible 6);

schema! {
    /// A member and what it offers.
    pub struct JoinGroupRequest {
        group_id: Str;
        session_timeout_ms: i32;
        rebalance_timeout_ms: i32 = -1, in 1..;
        member_id: Str;
        group_instance_id: Option<Str>, in 5.., nullable 5..;
        protocol_type: Str;
        protocols: Vec<JoinGroupRequestProtocol>;
        reason: Option<Str>, in 8.., nullable 8..;
    }

    /// An assignor that the member knows, and its subscription for it.
    pub struct JoinGroupRequestProtocol {
        name: Str;
        metadata: Bytes;
    }

    /// The new generation; the leader's holds the members.
    pub struct JoinGroupResponse {
        throttle_time_ms: i32, in 2..;
        error_code: ErrorCode;
        generation_id: i32 = -1;
        protocol_type: Option<Str>, in 7.., nullable 7..;
        protocol_name: Option<Str>, nullable 7..;
        leader: Str;
        skip_assignment: bool, in 9..;
        member_id: Str;
        members: Vec<JoinGroupResponseMember>;
    }

    /// A member, with its subscription.
    pub struct JoinGroupResponseMember {
        member_id: Str;
        group_instance_id: Option<Str>, in 5.., nullable 5..;
        metadata: Bytes;
    }
}
