//! Heartbeat (key 12): a classic member is alive.
//!
//! | version | change |
//! | --- | --- |
//! | 1 | throttle time |
//! | 2 | responses before throttling |
//! | 3 | static members (KIP-345) |
//! | 4 | flexible |

use crate::schema::{api, schema};
use crate::{ErrorCode, Str};

api!(12, Heartbeat, HeartbeatRequest => HeartbeatResponse, versions 0..=4, flexible 4);

schema! {
    /// Who is alive.
    pub struct HeartbeatRequest {
        group_id: Str;
        generation_id: i32;
        member_id: Str;
        group_instance_id: Option<Str>, in 3.., nullable 3..;
    }

    /// Whether the member is still in the generation.
    pub struct HeartbeatResponse {
        throttle_time_ms: i32, in 1..;
        error_code: ErrorCode;
    }
}
