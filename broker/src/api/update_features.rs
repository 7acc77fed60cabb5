//! UpdateFeatures (key 57): settles on feature levels, all or none (KIP-584, KIP-1022).

use milena_metadata::{Refusal, SetFeatures};
use milena_protocol::api::update_features::{
    FeatureUpdateKey, UpdatableFeatureResult, UpdateFeaturesRequest, UpdateFeaturesResponse,
};
use milena_protocol::{ErrorCode, Str};

use super::RequestContext;
use crate::broker::Broker;

/// The first version that says what kind of upgrade it wants.
const UPGRADE_TYPE_FROM: i16 = 1;
/// The last version with a result for each feature.
const RESULTS_UP_TO: i16 = 1;
/// Refuses lower levels.
const UPGRADE: i8 = 1;
/// Takes lower levels where nothing is lost, which here is always.
const SAFE_DOWNGRADE: i8 = 2;
/// Takes lower levels.
const UNSAFE_DOWNGRADE: i8 = 3;

/// Whether the levels hold from now on.
pub async fn handle(
    broker: &Broker,
    context: &RequestContext,
    request: UpdateFeaturesRequest,
) -> UpdateFeaturesResponse {
    let outcome = match update(&request, context.version) {
        Ok(command) => broker.change(command).await,
        Err(refusal) => Err(refusal),
    };
    match outcome {
        Ok(()) => UpdateFeaturesResponse {
            results: results(&request, context.version),
            ..Default::default()
        },
        Err(refusal) => UpdateFeaturesResponse {
            error_code: refusal.code,
            error_message: Some(Str::from(sentence(refusal))),
            ..Default::default()
        },
    }
}

/// As Kafka says that one feature was the reason for all.
fn sentence(refusal: Refusal) -> String {
    match refusal.code {
        ErrorCode::InvalidUpdateVersion => format!(
            "The update failed for all features since the following feature had an error: {}",
            refusal.message
        ),
        _ => refusal.message,
    }
}

fn update(request: &UpdateFeaturesRequest, version: i16) -> Result<SetFeatures, Refusal> {
    let mut levels: Vec<(String, i16)> = Vec::with_capacity(request.feature_updates.len());
    let mut downgrades = Vec::with_capacity(levels.capacity());
    for update in &request.feature_updates {
        let (name, level) = (update.feature.to_string(), update.max_version_level);
        if levels.iter().any(|(known, _)| *known == name) {
            let message = format!("Feature {name} is named twice.");
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
        downgrades.push(allows_downgrade(update, version)?);
        levels.push((name, level));
    }
    // The quorum takes one word for all: a request that allows it for some is no way around the others.
    let downgrade = !downgrades.is_empty() && downgrades.iter().all(|allowed| *allowed);
    Ok(SetFeatures {
        levels,
        downgrade,
        validate_only: request.validate_only,
    })
}

fn allows_downgrade(update: &FeatureUpdateKey, version: i16) -> Result<bool, Refusal> {
    if version < UPGRADE_TYPE_FROM {
        return Ok(update.allow_downgrade);
    }
    match update.upgrade_type {
        UPGRADE => Ok(false),
        SAFE_DOWNGRADE | UNSAFE_DOWNGRADE => Ok(true),
        _ => Err(Refusal::new(
            ErrorCode::InvalidUpdateVersion,
            format!(
                "Invalid update version {} for feature {}. The controller does not support the given upgrade type.",
                update.max_version_level, update.feature
            ),
        )),
    }
}

fn results(request: &UpdateFeaturesRequest, version: i16) -> Vec<UpdatableFeatureResult> {
    let done = |update: &FeatureUpdateKey| UpdatableFeatureResult {
        feature: update.feature.clone(),
        ..Default::default()
    };
    match version <= RESULTS_UP_TO {
        true => request.feature_updates.iter().map(done).collect(),
        false => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
