//! The features that a cluster may switch on, and the levels that this software knows (KIP-584).

use serde::{Deserialize, Serialize};

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

/// The level of what brokers write for each other: it is raised by hand once every broker runs software that reads it,
/// and until then nothing newer is written. Who writes what software of level 1 can't read, be it a record or a request to
/// a peer, asks `image.feature(MILENA_VERSION)` first. All there is today is of level 1, so nobody asks yet. A request
/// that goes out too early is answered as failed, and the connection goes on.
pub(crate) const MILENA_VERSION: &str = "milena.version";

/// This software's version. A build for tests of version changes is stamped with another one.
pub const VERSION: &str = match option_env!("STAMP_VERSION") {
    Some(stamped) => stamped,
    None => env!("CARGO_PKG_VERSION"),
};

/// The highest level of `milena.version` that this software knows. A stamped build may know a higher one, at which
/// nothing is written otherwise.
const LEVEL_MAX: i16 = match option_env!("STAMP_LEVEL") {
    Some(stamped) => match i16::from_str_radix(stamped, 10) {
        Ok(level) => level,
        Err(_) => panic!("STAMP_LEVEL is a level, such as 2"),
    },
    None => 1,
};

/// All of them.
pub const SUPPORTED_FEATURES: &[SupportedFeature] = &[SupportedFeature {
    name: MILENA_VERSION,
    level_min: Levels::OWN.min,
    level_max: Levels::OWN.max,
}];

/// The levels of `milena.version` that a broker's software knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Levels {
    /// The lowest.
    pub min: i16,
    /// The highest.
    pub max: i16,
}

impl Levels {
    /// What this software knows.
    pub const OWN: Self = Self {
        min: 1,
        max: LEVEL_MAX,
    };

    /// Whether a cluster at that level may have such software; 0 is off.
    pub(crate) fn allow(self, level: i16) -> bool {
        level == 0 || (self.min..=self.max).contains(&level)
    }

    pub(crate) fn are_unsaid(&self) -> bool {
        *self == Self::default()
    }
}

/// What all software knew that did not say so.
impl Default for Levels {
    fn default() -> Self {
        Self { min: 1, max: 1 }
    }
}

/// The feature of that name.
pub(crate) fn find(name: &str) -> Option<&'static SupportedFeature> {
    SUPPORTED_FEATURES
        .iter()
        .find(|feature| feature.name == name)
}
