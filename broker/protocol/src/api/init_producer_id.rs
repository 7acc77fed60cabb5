//! InitProducerId (key 22): an id and epoch for an idempotent or transactional producer.
//!
//! | version | change |
//! | --- | --- |
//! | 1 | responses before throttling |
//! | 2 | flexible |
//! | 3 | a producer may go on with its id and epoch (KIP-360) |
//! | 4 | PRODUCER_FENCED may be answered (KIP-588) |
//! | 5 | TRANSACTION_ABORTABLE may be answered (KIP-890) |

use crate::schema::{api, schema};
use crate::{ErrorCode, Str};

api!(22, InitProducerId, InitProducerIdRequest => InitProducerIdResponse, versions 0..=5, flexible 2);

schema! {
    /// The producer that asks.
    pub struct InitProducerIdRequest {
        /// Null asks for an idempotent producer.
        transactional_id: Option<Str>, nullable 0..;
        transaction_timeout_ms: i32;
        producer_id: i64 = -1, in 3..;
        producer_epoch: i16 = -1, in 3..;
    }

    /// Its id and epoch.
    pub struct InitProducerIdResponse {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        producer_id: i64 = -1;
        producer_epoch: i16;
    }
}
