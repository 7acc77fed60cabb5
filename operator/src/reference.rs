//! The brokers' settings, as `milena config reference -o json` lists them: one file for each version of the brokers that
//! the operator can run, kept the same as the brokers' own by a test.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

/// Each version's list, the oldest first. A version stands for all its patches.
static VERSIONS: LazyLock<Vec<Reference>> =
    LazyLock::new(|| vec![Reference::parse((0, 1), include_str!("reference/0.1.json"))]);

/// Edits from one name to another within which the other is offered.
const EDITS_MAX: usize = 4;
/// Names that begin so are taken for Kafka's sake, whatever follows.
const PREFIXES: &[&str] = &[
    "listener.name.",
    "rsm.config.",
    "rlmm.config.",
    "confluent.",
];

/// The settings of one version of the brokers.
#[derive(Debug)]
pub struct Reference {
    /// Major and minor.
    pub version: (u64, u64),
    broker: BTreeMap<String, Setting>,
    topic: BTreeMap<String, Setting>,
}

/// Whose settings.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// A broker's.
    Broker,
    /// A topic's own.
    Topic,
}

/// One setting.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Setting {
    name: String,
    /// Kafka's name of the type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What holds where nothing is set.
    pub default: Option<String>,
    /// The bounds in words.
    pub allowed: String,
    /// `read-only`, `cluster-wide` or `per-broker`.
    pub update: String,
}

#[derive(Deserialize)]
struct Row {
    scope: Scope,
    #[serde(flatten)]
    setting: Setting,
}

impl Reference {
    /// That of the newest version that is not above `version`, or else of the oldest.
    pub fn of(version: (u64, u64)) -> &'static Self {
        let versions = &*VERSIONS;
        let fitting = versions.iter().rev().find(|it| it.version <= version);
        fitting.unwrap_or(&versions[0])
    }

    fn parse(version: (u64, u64), text: &str) -> Self {
        let rows: Vec<Row> = serde_json::from_str(text).expect("the list is the brokers' own");
        let of = |scope: Scope| {
            let rows = rows.iter().filter(move |row| row.scope == scope);
            rows.map(|row| (row.setting.name.clone(), row.setting.clone()))
                .collect()
        };
        Self {
            version,
            broker: of(Scope::Broker),
            topic: of(Scope::Topic),
        }
    }

    /// The setting of that name.
    pub fn find(&self, scope: Scope, name: &str) -> Option<&Setting> {
        self.rows(scope).get(name)
    }

    /// Why such a setting can't be made, if so, as the end of a sentence that begins with its name.
    pub fn check(&self, scope: Scope, name: &str, value: &str) -> Result<(), String> {
        match self.find(scope, name) {
            Some(setting) => setting.check(value),
            None if PREFIXES.iter().any(|prefix| name.starts_with(prefix)) => Ok(()),
            None => Err(match self.nearest(scope, name) {
                Some(other) => format!("is not known; {other} is"),
                None => "is not known".to_owned(),
            }),
        }
    }

    fn nearest(&self, scope: Scope, name: &str) -> Option<&str> {
        let names = self.rows(scope).keys();
        let near = names.map(|other| (strsim::damerau_levenshtein(name, other), other.as_str()));
        let (edits, other) = near.min()?;
        (edits <= EDITS_MAX).then_some(other)
    }

    fn rows(&self, scope: Scope) -> &BTreeMap<String, Setting> {
        match scope {
            Scope::Broker => &self.broker,
            Scope::Topic => &self.topic,
        }
    }
}

impl Setting {
    /// Whether a running broker takes over a new value.
    pub fn is_live(&self) -> bool {
        self.update != "read-only"
    }

    /// Whether brokers never show its value.
    pub fn is_secret(&self) -> bool {
        self.kind == "password"
    }

    /// A value as brokers store and show it.
    pub fn normal(&self, value: &str) -> String {
        match self.kind.as_str() {
            "boolean" => value.trim().to_ascii_lowercase(),
            "list" => items(value).collect::<Vec<_>>().join(","),
            "password" => value.to_owned(),
            _ => value.trim().to_owned(),
        }
    }

    /// Why the value is not allowed, if so.
    pub fn check(&self, value: &str) -> Result<(), String> {
        let value = value.trim();
        self.check_type(value)?;
        match self.is_allowed(value) {
            true => Ok(()),
            false => Err(format!("may not be {value:?}: it must be {}", self.allowed)),
        }
    }

    fn check_type(&self, value: &str) -> Result<(), String> {
        let (fits, name) = match self.kind.as_str() {
            "boolean" => (
                matches!(value.to_ascii_lowercase().as_str(), "true" | "false"),
                "true or false",
            ),
            "int" => (value.parse::<i32>().is_ok(), "a whole number of 32 bits"),
            "short" => (value.parse::<i16>().is_ok(), "a whole number of 16 bits"),
            "long" => (value.parse::<i64>().is_ok(), "a whole number of 64 bits"),
            "double" => (value.parse::<f64>().is_ok_and(f64::is_finite), "a number"),
            _ => (true, ""),
        };
        match fits {
            true => Ok(()),
            false => Err(format!("may not be {value:?}: it must be {name}")),
        }
    }

    /// Reads the bounds' words; what is worded otherwise is left to the broker.
    fn is_allowed(&self, value: &str) -> bool {
        let words = self.allowed.as_str();
        if words == "not empty" {
            return !value.is_empty();
        }
        if let Some(list) = words.strip_prefix("one of ") {
            let allowed: Vec<&str> = list.split(", ").collect();
            return match self.kind.as_str() {
                "list" => items(value).all(|item| allowed.contains(&item)),
                _ => allowed.contains(&value),
            };
        }
        let Ok(number) = value.parse::<f64>() else {
            return true;
        };
        let (words, or) = match words.split_once(", or ") {
            Some((words, or)) => (words, or.parse::<f64>().ok()),
            None => match words.split_once(" or at least ") {
                Some((or, least)) => {
                    return within(number, least, None) || Some(number) == or.parse().ok();
                }
                None => (words, None),
            },
        };
        let range = words
            .strip_prefix("from ")
            .and_then(|rest| rest.split_once(" to "));
        or == Some(number)
            || match (words.strip_prefix("at least "), range) {
                (Some(least), _) => within(number, least, None),
                (None, Some((least, most))) => within(number, least, Some(most)),
                (None, None) => true,
            }
    }
}

fn within(number: f64, least: &str, most: Option<&str>) -> bool {
    let bound = |text: &str| text.parse::<f64>().ok();
    bound(least).is_none_or(|least| number >= least)
        && most.and_then(bound).is_none_or(|most| number <= most)
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: &str) -> Result<(), String> {
        Reference::of((0, 1)).check(Scope::Broker, name, value)
    }

    #[test]
    fn a_name_that_is_nearly_right_is_told_the_right_one() {
        let problem = check("num.partition", "3").unwrap_err();
        assert_eq!(problem, "is not known; num.partitions is");
        assert_eq!(check("utterly.other", "3").unwrap_err(), "is not known");
        assert_eq!(check("listener.name.x.y", "3"), Ok(()));
    }

    #[test]
    fn types_and_ranges_are_kept() {
        for (name, good, bad) in [
            ("num.partitions", "3", "0"),
            ("num.partitions", "3", "three"),
            ("compression.gzip.level", "-1", "0"),
            ("compression.gzip.level", "9", "10"),
            ("compression.type", "zstd", "zst"),
            ("log.cleanup.policy", "compact, delete", "compact,drop"),
            ("log.cleaner.min.cleanable.ratio", "0.5", "1.5"),
            ("auto.create.topics.enable", "FALSE", "no"),
            ("connections.max.idle.ms", "-1", "-2"),
        ] {
            assert_eq!(check(name, good), Ok(()), "{name}={good}");
            assert!(check(name, bad).is_err(), "{name}={bad}");
        }
    }

    #[test]
    fn every_setting_takes_its_own_default() {
        for version in VERSIONS.iter() {
            for scope in [Scope::Broker, Scope::Topic] {
                for (name, setting) in version.rows(scope) {
                    let default = setting.default.as_deref();
                    let checked = default.map_or(Ok(()), |default| setting.check(default));
                    assert_eq!(checked, Ok(()), "{name}");
                }
            }
        }
    }

    #[test]
    fn a_version_without_a_list_of_its_own_has_that_of_the_one_before() {
        assert_eq!(
            Reference::of((7, 3)).version,
            VERSIONS.last().unwrap().version
        );
        assert_eq!(Reference::of((0, 0)).version, VERSIONS[0].version);
    }
}
