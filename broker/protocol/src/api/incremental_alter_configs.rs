//! IncrementalAlterConfigs (key 44): change some configs of a resource (KIP-339).
//!
//! | version | change |
//! | --- | --- |
//! | 1 | flexible |

use crate::schema::{api, schema};
use crate::{ErrorCode, Str};

api!(44, IncrementalAlterConfigs, IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse, versions 0..=1, flexible 1);

schema! {
    /// The changes.
    pub struct IncrementalAlterConfigsRequest {
        resources: Vec<IncrementalAlterConfigsResource>;
        validate_only: bool;
    }

    /// One resource's changes.
    pub struct IncrementalAlterConfigsResource {
        /// 2 is a topic, 4 a broker, 8 a broker's loggers, 16 client metrics, 32 a group.
        resource_type: i8;
        resource_name: Str;
        configs: Vec<IncrementalAlterableConfig>;
    }

    /// One change.
    pub struct IncrementalAlterableConfig {
        name: Str;
        /// 0 sets, 1 deletes, 2 appends to and 3 takes from a list.
        config_operation: i8;
        value: Option<Str>, nullable 0..;
    }

    /// What became of each resource.
    pub struct IncrementalAlterConfigsResponse {
        throttle_time_ms: i32;
        responses: Vec<IncrementalAlterConfigsResourceResponse>;
    }

    /// One resource's result.
    pub struct IncrementalAlterConfigsResourceResponse {
        error_code: ErrorCode;
        error_message: Option<Str>, nullable 0..;
        resource_type: i8;
        resource_name: Str;
    }
}
