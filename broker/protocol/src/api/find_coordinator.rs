//! FindCoordinator (key 10): which broker coordinates a group or a transaction.
//!
//! | version | change |
//! | --- | --- |
//! | 1 | key types, throttle time, error message |
//! | 2 | responses before throttling |
//! | 3 | flexible |
//! | 4 | several keys (KIP-699) |
//! | 5 | TRANSACTION_ABORTABLE may be answered (KIP-890) |
//! | 6 | share groups (KIP-932) |

use crate::schema::{api, schema};
use crate::{ErrorCode, Str};

api!(10, FindCoordinator, FindCoordinatorRequest => FindCoordinatorResponse, versions 0..=6, flexible 3);

schema! {
    /// Whose coordinator: by one key, from version 4 by several.
    pub struct FindCoordinatorRequest {
        key: Str, in ..=3;
        /// 0 is a group, 1 a transaction, 2 a share group.
        key_type: i8, in 1..;
        coordinator_keys: Vec<Str>, in 4..;
    }

    /// The coordinator, from version 4 one for each key.
    pub struct FindCoordinatorResponse {
        throttle_time_ms: i32, in 1..;
        error_code: ErrorCode, in ..=3;
        error_message: Option<Str>, in 1..=3, nullable 1..;
        node_id: i32, in ..=3;
        host: Str, in ..=3;
        port: i32, in ..=3;
        coordinators: Vec<Coordinator>, in 4..;
    }

    /// Who coordinates one key.
    pub struct Coordinator {
        key: Str, in 4..;
        node_id: i32, in 4..;
        host: Str, in 4..;
        port: i32, in 4..;
        error_code: ErrorCode, in 4..;
        error_message: Option<Str>, in 4.., nullable 4..;
    }
}
