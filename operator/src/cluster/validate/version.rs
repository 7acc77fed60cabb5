//! Which version of the brokers, and what they may write.

use std::fmt;
use std::str::FromStr;

use super::{Found, MetadataVersion, Operator, Problems, Reason};
use crate::crd::cluster::KafkaClusterSpec;

/// A version as `1.2.3` or `1.2.3-rc.1`. One with such an end comes before the one without.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Version {
    numbers: (u64, u64, u64),
    end: String,
}

impl Version {
    /// Major and minor.
    pub fn minor(&self) -> (u64, u64) {
        (self.numbers.0, self.numbers.1)
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |it: &Self| (it.numbers, it.end.is_empty());
        key(self)
            .cmp(&key(other))
            .then_with(|| self.end.cmp(&other.end))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (numbers, end) = text.split_once('-').unwrap_or((text, ""));
        let parsed: Vec<u64> = numbers
            .split('.')
            .filter_map(|part| part.parse().ok())
            .collect();
        match (parsed.as_slice(), numbers.split('.').count()) {
            (&[major, minor, patch], 3) => Ok(Self {
                numbers: (major, minor, patch),
                end: end.to_owned(),
            }),
            _ => Err(format!("{text:?} is no version: write one such as 0.1.0")),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = self.numbers;
        write!(f, "{major}.{minor}.{patch}")?;
        match self.end.as_str() {
            "" => Ok(()),
            end => write!(f, "-{end}"),
        }
    }
}

/// The spec's version, else the pinned one, else the operator's; and what the brokers may write.
pub(super) fn check(
    spec: &KafkaClusterSpec,
    pinned: Option<String>,
    found: &Found,
    operator: &Operator,
    problems: &mut Problems,
) -> (Version, MetadataVersion) {
    let said = spec.version.clone().or(pinned);
    let version = said.map_or(Ok(operator.version.clone()), |text| text.parse());
    let version = version.unwrap_or_else(|problem| {
        problems.add(Reason::UnsupportedVersion, "spec.version", problem);
        operator.version.clone()
    });
    if version.minor() > operator.version.minor() {
        let message = format!(
            "{version} is newer than this operator, {}, knows: upgrade the operator first",
            operator.version
        );
        problems.add(Reason::UnsupportedVersion, "spec.version", message);
    }
    let level_max = level_max(&version, operator);
    if let Some(level) = found.level.filter(|level| *level > level_max) {
        let message = format!(
            "{version} reads what is written at level {level_max} of milena.version, and the brokers write {level}: there \
             is no way back to it"
        );
        problems.add(Reason::DowngradeRefused, "spec.version", message);
    }
    let metadata_version = match spec.metadata_version.as_deref() {
        None => MetadataVersion::Unchanged,
        Some("Auto") => MetadataVersion::Auto,
        Some(text) => MetadataVersion::Level(level(text, level_max, &version, found, problems)),
    };
    (version, metadata_version)
}

fn level(
    text: &str,
    level_max: i16,
    version: &Version,
    found: &Found,
    problems: &mut Problems,
) -> i16 {
    let field = "spec.metadataVersion";
    let Ok(level) = text.parse::<i16>() else {
        problems.add(
            Reason::UnsupportedVersion,
            field,
            format!("{text:?} is neither Auto nor a level"),
        );
        return 0;
    };
    // A version that can't read what is written is the one thing to say, whatever it would write.
    let is_way_back = found.level.is_some_and(|now| now > level_max);
    if level > level_max && !is_way_back {
        let message =
            format!("version {version} writes up to {level_max}: raise spec.version first");
        problems.add(Reason::UnsupportedVersion, field, message);
    }
    if let Some(now) = found.level.filter(|now| level < *now) {
        let message = format!(
            "the brokers write {now} already, and what they have written can't be read below that"
        );
        problems.add(Reason::DowngradeRefused, field, message);
    }
    level
}

/// The highest level that a version writes; the lowest there is where nothing is known of it.
fn level_max(version: &Version, operator: &Operator) -> i16 {
    let known = operator
        .levels
        .iter()
        .rev()
        .find(|(from, _)| from <= version);
    known
        .or(operator.levels.first())
        .map_or(1, |(_, level)| *level)
}
