//! AlterConfigs (key 33): replace all configs of a resource.
//!
//! | version | change |
//! | --- | --- |
//! | 1 | responses before throttling |
//! | 2 | flexible |

use crate::schema::{api, schema};
use crate::{ErrorCode, Str};

api!(33, AlterConfigs, AlterConfigsRequest => AlterConfigsResponse, versions 0..=2, flexible 2);

schema! {
    /// The new configs.
    pub struct AlterConfigsRequest {
        resources: Vec<AlterConfigsResource>;
        validate_only: bool;
    }

    /// One resource's configs; those left out go back to their defaults.
    pub struct AlterConfigsResource {
        /// 2 is a topic, 4 a broker, 8 a broker's loggers, 16 client metrics, 32 a group.
        resource_type: i8;
        resource_name: Str;
        configs: Vec<AlterableConfig>;
    }

    /// One config.
    pub struct AlterableConfig {
        name: Str;
        value: Option<Str>, nullable 0..;
    }

    /// What became of each resource.
    pub struct AlterConfigsResponse {
        throttle_time_ms: i32;
        responses: Vec<AlterConfigsResourceResponse>;
    }

    /// One resource's result.
    pub struct AlterConfigsResourceResponse {
        error_code: ErrorCode;
        error_message: Option<Str>, nullable 0..;
        resource_type: i8;
        resource_name: Str;
    }
}
