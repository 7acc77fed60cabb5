//! DescribeGroups (key 15): state and members of groups.
//!
//! | version | change |
//! | --- | --- |
//! | 1 | throttle time |
//! | 2 | responses before throttling |
//! | 3 | authorized operations (KIP-430) |
//! | 4 | static members (KIP-345) |
//! | 5 | flexible |
//! | 6 | GROUP_ID_NOT_FOUND with a message, where older versions answer state Dead (KIP-1043) |

use bytes::Bytes;

use crate::schema::{api, schema};
use crate::{ErrorCode, Str};

api!(15, DescribeGroups, DescribeGroupsRequest => DescribeGroupsResponse, versions 0..=6, flexible 5);

schema! {
    /// Which groups.
    pub struct DescribeGroupsRequest {
        groups: Vec<Str>;
        include_authorized_operations: bool, in 3..;
    }

    /// The groups.
    pub struct DescribeGroupsResponse {
        throttle_time_ms: i32, in 1..;
        groups: Vec<DescribedGroup>;
    }

    /// One group.
    pub struct DescribedGroup {
        error_code: ErrorCode;
        error_message: Option<Str>, in 6.., nullable 6..;
        group_id: Str;
        group_state: Str;
        protocol_type: Str;
        protocol_data: Str;
        members: Vec<DescribedGroupMember>;
        authorized_operations: i32 = i32::MIN, in 3..;
    }

    /// One member.
    pub struct DescribedGroupMember {
        member_id: Str;
        group_instance_id: Option<Str>, in 4.., nullable 4..;
        client_id: Str;
        client_host: Str;
        member_metadata: Bytes;
        member_assignment: Bytes;
    }
}
