//! AddRaftVoter (key 80): give a member of the metadata quorum a vote (KIP-853).
//!
//! | version | change |
//! | --- | --- |
//! | 0 | flexible from the start |
//! | 1 | whether the answer waits for the commit (KIP-1186) |

use crate::schema::{api, schema};
use crate::{ErrorCode, Str, Uuid};

api!(80, AddRaftVoter, AddRaftVoterRequest => AddRaftVoterResponse, versions 0..=1, flexible 0);

schema! {
    /// Who is to vote.
    pub struct AddRaftVoterRequest {
        cluster_id: Option<Str>, nullable 0..;
        timeout_ms: i32;
        voter_id: i32;
        voter_directory_id: Uuid;
        listeners: Vec<AddRaftVoterListener>;
        ack_when_committed: bool = true, in 1..;
    }

    /// Where it is reached.
    pub struct AddRaftVoterListener {
        name: Str;
        host: Str;
        port: u16;
    }

    /// Whether it votes.
    pub struct AddRaftVoterResponse {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        error_message: Option<Str>, nullable 0..;
    }
}
