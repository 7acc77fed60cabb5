//! ApiVersions (key 18): the routing table, told to clients.

use milena_metadata::{Image, SUPPORTED_FEATURES};
use milena_protocol::api::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse, FinalizedFeature, SupportedFeature,
};
use milena_protocol::{ErrorCode, Str};

use super::{ROUTES, RequestContext};
use crate::broker::Broker;

/// What is served, and the features of the cluster.
pub async fn handle(
    broker: &Broker,
    context: &RequestContext,
    request: ApiVersionsRequest,
) -> ApiVersionsResponse {
    if context.version >= 3
        && !(names_software(&request.client_software_name)
            && names_software(&request.client_software_version))
    {
        return ApiVersionsResponse {
            error_code: ErrorCode::InvalidRequest,
            ..Default::default()
        };
    }
    broker.metrics().client_seen(
        &request.client_software_name,
        &request.client_software_version,
    );
    answer(broker, ErrorCode::None)
}

/// The answer to a version that is not served: what is, so that the client can ask again.
pub fn unsupported(broker: &Broker) -> ApiVersionsResponse {
    answer(broker, ErrorCode::UnsupportedVersion)
}

fn answer(broker: &Broker, error_code: ErrorCode) -> ApiVersionsResponse {
    let api_keys = ROUTES.iter().map(|route| ApiVersion {
        api_key: route.key,
        min_version: *route.versions.start(),
        max_version: *route.versions.end(),
    });
    let mut api_keys: Vec<_> = api_keys.collect();
    api_keys.sort_by_key(|api| api.api_key);
    let image = broker.image();
    ApiVersionsResponse {
        error_code,
        api_keys,
        supported_features: supported_features(),
        finalized_features_epoch: i64::try_from(image.position().offset).unwrap_or(i64::MAX),
        finalized_features: finalized_features(&image),
        ..Default::default()
    }
}

fn supported_features() -> Vec<SupportedFeature> {
    let supported = SUPPORTED_FEATURES.iter().map(|feature| SupportedFeature {
        name: feature.name.into(),
        // Level 0 is off and always allowed, and no client below version 4 could read it (KIP-1022).
        min_version: feature.level_min,
        max_version: feature.level_max,
    });
    supported.collect()
}

/// The levels that hold: as in Kafka, the lowest is the highest.
fn finalized_features(image: &Image) -> Vec<FinalizedFeature> {
    let finalized = image.features().map(|(name, level)| FinalizedFeature {
        name: Str::from(&**name),
        max_version_level: level,
        min_version_level: level,
    });
    finalized.collect()
}

/// Letters, digits, dots and dashes, with one of the first two at both ends (KIP-511).
fn names_software(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(plain)
        && text.ends_with(plain)
        && text.chars().all(|c| plain(c) || c == '.' || c == '-')
}
