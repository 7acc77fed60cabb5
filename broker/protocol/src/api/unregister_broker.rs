//! UnregisterBroker (key 64): forget a broker that is gone for good (KIP-500). Flexible from the start.

use crate::schema::{api, schema};
use crate::{ErrorCode, Str};

api!(64, UnregisterBroker, UnregisterBrokerRequest => UnregisterBrokerResponse, versions 0..=0, flexible 0);

schema! {
    /// Which broker.
    pub struct UnregisterBrokerRequest {
        broker_id: i32;
    }

    /// Whether it is forgotten.
    pub struct UnregisterBrokerResponse {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        error_message: Option<Str>, nullable 0..;
    }
}
