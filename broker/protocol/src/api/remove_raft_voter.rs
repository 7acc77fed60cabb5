//! RemoveRaftVoter (key 81): take a member of the metadata quorum its vote (KIP-853). Flexible from the start.

use crate::schema::{api, schema};
use crate::{ErrorCode, Str, Uuid};

api!(81, RemoveRaftVoter, RemoveRaftVoterRequest => RemoveRaftVoterResponse, versions 0..=0, flexible 0);

schema! {
    /// Who is to vote no longer.
    pub struct RemoveRaftVoterRequest {
        cluster_id: Option<Str>, nullable 0..;
        voter_id: i32;
        voter_directory_id: Uuid;
    }

    /// Whether it does not.
    pub struct RemoveRaftVoterResponse {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        error_message: Option<Str>, nullable 0..;
    }
}
