//! What UpdateFeatures does, and what ApiVersions tells of it.

use milena_protocol::ErrorCode;
use milena_protocol::api::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use milena_protocol::api::update_features::{
    FeatureUpdateKey, UpdateFeaturesRequest, UpdateFeaturesResponse,
};

use super::{SAFE_DOWNGRADE, UPGRADE, handle};
use crate::api::api_versions;
use crate::broker::Broker;
use crate::broker::tests::{broker, context};

const FEATURE: &str = "milena.version";

async fn versions(broker: &Broker) -> ApiVersionsResponse {
    let request = ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
    };
    api_versions::handle(broker, &context(3), request).await
}

async fn set(
    broker: &Broker,
    version: i16,
    feature: &str,
    (max_version_level, upgrade_type): (i16, i8),
) -> UpdateFeaturesResponse {
    let update = FeatureUpdateKey {
        feature: feature.into(),
        max_version_level,
        allow_downgrade: upgrade_type != UPGRADE,
        upgrade_type,
    };
    let request = UpdateFeaturesRequest {
        feature_updates: vec![update],
        ..Default::default()
    };
    handle(broker, &context(version), request).await
}

#[tokio::test]
async fn a_level_that_is_set_is_told_with_a_new_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    let founded = versions(&broker).await;
    let level = |told: &ApiVersionsResponse| told.finalized_features[0].max_version_level;
    assert_eq!(level(&founded), 1, "a new cluster has what its founder can");
    set(&broker, 1, FEATURE, (0, SAFE_DOWNGRADE)).await;
    let before = versions(&broker).await;
    assert!(before.finalized_features.is_empty());
    let supported = &before.supported_features[0];
    assert_eq!((&*supported.name, supported.max_version), (FEATURE, 1));
    let answer = set(&broker, 1, FEATURE, (1, UPGRADE)).await;
    assert_eq!(answer.error_code, ErrorCode::None);
    assert_eq!(&*answer.results[0].feature, FEATURE);
    let after = versions(&broker).await;
    let finalized = &after.finalized_features[0];
    let levels = (finalized.min_version_level, finalized.max_version_level);
    assert_eq!((&*finalized.name, levels), (FEATURE, (1, 1)));
    assert!(after.finalized_features_epoch > before.finalized_features_epoch);
    for version in [0, 2] {
        let off = set(&broker, version, FEATURE, (0, SAFE_DOWNGRADE)).await;
        assert_eq!(off.error_code, ErrorCode::None);
        assert!(versions(&broker).await.finalized_features.is_empty());
        set(&broker, 2, FEATURE, (1, UPGRADE)).await;
    }
}

#[tokio::test]
async fn levels_that_are_not_supported_lower_or_of_nothing_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    set(&broker, 2, FEATURE, (1, UPGRADE)).await;
    let tried = [
        (FEATURE, (2, UPGRADE), "from 1 to 1"),
        (FEATURE, (0, UPGRADE), "downgrade"),
        (FEATURE, (1, 9), "upgrade type"),
        (
            "kraft.version",
            (1, UPGRADE),
            "does not support this feature",
        ),
    ];
    for (feature, update, why) in tried {
        let answer = set(&broker, 2, feature, update).await;
        assert_eq!(answer.error_code, ErrorCode::InvalidUpdateVersion);
        let message = answer.error_message.unwrap();
        assert!(message.contains(why), "{message}");
    }
    let finalized = versions(&broker).await.finalized_features;
    assert_eq!(finalized[0].max_version_level, 1);
}
