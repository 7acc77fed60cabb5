//! UpdateFeatures (key 57): settle on feature levels (KIP-584).
//!
//! | version | change |
//! | --- | --- |
//! | 0 | flexible from the start |
//! | 1 | kind of upgrade instead of allowing a downgrade, dry run (KIP-778) |
//! | 2 | one result for all (KIP-1022) |

use crate::schema::{api, schema};
use crate::{ErrorCode, Str};

api!(57, UpdateFeatures, UpdateFeaturesRequest => UpdateFeaturesResponse, versions 0..=2, flexible 0);

schema! {
    /// The levels wished for.
    pub struct UpdateFeaturesRequest {
        timeout_ms: i32 = 60_000;
        feature_updates: Vec<FeatureUpdateKey>;
        validate_only: bool, in 1..;
    }

    /// One feature's level.
    pub struct FeatureUpdateKey {
        feature: Str;
        max_version_level: i16;
        allow_downgrade: bool, in ..=0;
        /// 1 is an upgrade, 2 a downgrade that loses nothing, 3 one that may.
        upgrade_type: i8 = 1, in 1..;
    }

    /// What became of them.
    pub struct UpdateFeaturesResponse {
        throttle_time_ms: i32;
        error_code: ErrorCode;
        error_message: Option<Str>, nullable 0..;
        results: Vec<UpdatableFeatureResult>, in ..=1;
    }

    /// One feature's result.
    pub struct UpdatableFeatureResult {
        feature: Str, in ..=1;
        error_code: ErrorCode, in ..=1;
        error_message: Option<Str>, in ..=1, nullable 0..;
    }
}
