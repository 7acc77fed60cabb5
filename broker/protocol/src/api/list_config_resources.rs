//! ListConfigResources (key 74): names of the resources that have configs.
//!
//! | version | change |
//! | --- | --- |
//! | 0 | client metrics subscriptions alone, as ListClientMetricsResources (KIP-714) |
//! | 1 | resources of the types asked for (KIP-1142) |

use crate::schema::{api, schema};
use crate::{ErrorCode, Str};

api!(74, ListConfigResources, ListConfigResourcesRequest => ListConfigResourcesResponse, versions 0..=1, flexible 0);

schema! {
    /// Which types; an empty list asks for all.
    pub struct ListConfigResourcesRequest {
        resource_types: Vec<i8>, in 1..;
    }

    /// The resources.
    pub struct ListConfigResourcesResponse {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        config_resources: Vec<ConfigResource>;
    }

    /// One resource.
    pub struct ConfigResource {
        resource_name: Str;
        resource_type: i8 = 16, in 1..;
    }
}
