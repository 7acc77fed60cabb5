//! The features that a cluster may switch on, and the levels that this software knows (KIP-584).

/// A feature and its levels; 0 is always allowed and means off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SupportedFeature {
    /// As in ApiVersions and UpdateFeatures.
    pub name: &'static str,
    /// The lowest level that is not off.
    pub level_min: i16,
    /// The highest level.
    pub level_max: i16,
}

/// `milena.version` is the level of what brokers write for each other: it is raised by hand once every broker
/// runs software that reads it, and until then nothing newer is written.
pub const SUPPORTED_FEATURES: &[SupportedFeature] = &[SupportedFeature {
    name: "milena.version",
    level_min: 1,
    level_max: 1,
}];

/// The feature of that name.
pub(crate) fn find(name: &str) -> Option<&'static SupportedFeature> {
    SUPPORTED_FEATURES
        .iter()
        .find(|feature| feature.name == name)
}
