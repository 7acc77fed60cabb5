//! ApiVersions (key 18): which APIs a broker serves, in which versions.
//!
//! | version | change |
//! | --- | --- |
//! | 1 | throttle time |
//! | 3 | flexible; the client's software name and version; features (KIP-584) |
//! | 4 | features whose lowest version is 0 (KIP-1022) |

use crate::schema::{api, schema};
use crate::{ErrorCode, Str};

api!(18, ApiVersions, ApiVersionsRequest => ApiVersionsResponse, versions 0..=4, flexible 3);

schema! {
    /// Asks for the APIs.
    pub struct ApiVersionsRequest {
        client_software_name: Str, in 3..;
        client_software_version: Str, in 3..;
    }

    /// The APIs, and the cluster's features.
    pub struct ApiVersionsResponse {
        error_code: ErrorCode;
        api_keys: Vec<ApiVersion>;
        throttle_time_ms: i32, in 1..;
        supported_features: Vec<SupportedFeature>, tagged 0 in 3..;
        finalized_features_epoch: i64 = -1, tagged 1 in 3..;
        finalized_features: Vec<FinalizedFeature>, tagged 2 in 3..;
        zk_migration_ready: bool, tagged 3 in 3..;
    }

    /// One API's versions.
    pub struct ApiVersion {
        api_key: i16;
        min_version: i16;
        max_version: i16;
    }

    /// A feature that this broker can run.
    pub struct SupportedFeature {
        name: Str, in 3..;
        min_version: i16, in 3..;
        max_version: i16, in 3..;
    }

    /// A feature level that the cluster has settled on.
    pub struct FinalizedFeature {
        name: Str, in 3..;
        max_version_level: i16, in 3..;
        min_version_level: i16, in 3..;
    }
}
