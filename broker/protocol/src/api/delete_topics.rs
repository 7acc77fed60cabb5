//! DeleteTopics (key 20): delete topics.
//!
//! | version | change |
//! | --- | --- |
//! | 1 | throttle time |
//! | 2 | responses before throttling |
//! | 3 | TOPIC_DELETION_DISABLED may be answered |
//! | 4 | flexible |
//! | 5 | error messages; THROTTLING_QUOTA_EXCEEDED may be answered (KIP-599) |
//! | 6 | topics by id (KIP-516) |

use crate::schema::{api, schema};
use crate::{ErrorCode, Str, Uuid};

api!(20, DeleteTopics, DeleteTopicsRequest => DeleteTopicsResponse, versions 0..=6, flexible 4);

schema! {
    /// The topics to delete.
    pub struct DeleteTopicsRequest {
        topics: Vec<DeleteTopicState>, in 6..;
        topic_names: Vec<Str>, in ..=5;
        timeout_ms: i32;
    }

    /// A topic by name or id.
    pub struct DeleteTopicState {
        name: Option<Str>, in 6.., nullable 6..;
        topic_id: Uuid, in 6..;
    }

    /// What became of each topic.
    pub struct DeleteTopicsResponse {
        throttle_time_ms: i32, in 1..;
        responses: Vec<DeletableTopicResult>;
    }

    /// One topic's result.
    pub struct DeletableTopicResult {
        name: Option<Str>, nullable 6..;
        topic_id: Uuid, in 6..;
        error_code: ErrorCode;
        error_message: Option<Str>, in 5.., nullable 5..;
    }
}
