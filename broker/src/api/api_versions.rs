//! ApiVersions (key 18): the routing table, told to clients.

use milena_protocol::ErrorCode;
use milena_protocol::api::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};

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
    answer(ErrorCode::None)
}

/// The answer to a version that is not served: what is, so that the client can ask again.
pub fn unsupported(_broker: &Broker) -> ApiVersionsResponse {
    answer(ErrorCode::UnsupportedVersion)
}

fn answer(error_code: ErrorCode) -> ApiVersionsResponse {
    let api_keys = ROUTES.iter().map(|route| ApiVersion {
        api_key: route.key,
        min_version: *route.versions.start(),
        max_version: *route.versions.end(),
    });
    let mut api_keys: Vec<_> = api_keys.collect();
    api_keys.sort_by_key(|api| api.api_key);
    ApiVersionsResponse {
        error_code,
        api_keys,
        finalized_features_epoch: 0,
        ..Default::default()
    }
}

/// Letters, digits, dots and dashes, with one of the first two at both ends (KIP-511).
fn names_software(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(plain)
        && text.ends_with(plain)
        && text.chars().all(|c| plain(c) || c == '.' || c == '-')
}
