//! How a topic differs from what it is to be.

use super::super::brokers::ConfigChanges;
use super::super::known::KnownTopic;
use super::super::settings;
use super::super::wanted::Wanted;

/// Differences told one by one; the others are counted.
const TOLD_MAX: usize = 8;

/// Each pair is what the topic has, and what is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    pub configs: ConfigChanges,
    /// What the changed settings are now; none where they have their default.
    had: std::collections::BTreeMap<String, String>,
    pub grow: Option<(i32, i32)>,
    /// More partitions than wanted, which nothing can change.
    pub shrink: Option<(i32, i32)>,
    pub replicas: Option<(i32, i32)>,
}

impl Differences {
    pub fn between(wanted: &Wanted, known: &KnownTopic) -> Self {
        let mut configs = ConfigChanges::new();
        for (name, value) in &wanted.configs {
            let has = known.configs.get(name);
            if !has.is_some_and(|has| settings::same(name, has, value)) {
                configs.insert(name.clone(), Some(value.clone()));
            }
        }
        let unnamed = known.configs.keys();
        let unnamed = unnamed.filter(|name| !wanted.configs.contains_key(*name));
        for name in unnamed.filter(|name| !wanted.leaves(name)) {
            configs.insert(name.clone(), None);
        }
        let had = known.configs.iter();
        let had = had.filter(|(name, _)| configs.contains_key(*name));
        let had = had.map(|(name, value)| (name.clone(), value.clone()));
        let had = had.collect();
        let (has, count) = (known.partitions, wanted.partitions);
        let factor = wanted.replication_factor;
        Self {
            had,
            configs,
            grow: Some((has, count)).filter(|_| has < count),
            shrink: Some((has, count)).filter(|_| has > count),
            replicas: factor
                .map(|factor| (known.replication_factor, factor))
                .filter(|(has, factor)| has != factor),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.configs.is_empty()
            && self.grow.is_none()
            && self.shrink.is_none()
            && self.replicas.is_none()
    }

    /// In words, each with what is there and what is wanted.
    pub fn in_words(&self) -> String {
        let mut told = Vec::new();
        if let Some((has, wanted)) = self.grow.or(self.shrink) {
            told.push(format!("it has {has} partitions, wanted {wanted}"));
        }
        if let Some((has, wanted)) = self.replicas {
            told.push(format!("its replication factor is {has}, wanted {wanted}"));
        }
        for (name, wanted) in &self.configs {
            told.push(match (self.had.get(name), wanted) {
                (Some(has), Some(wanted)) => format!("{name} is {has}, wanted {wanted}"),
                (Some(has), None) => format!("{name} is {has}, wanted its default"),
                (None, Some(wanted)) => format!("{name} has its default, wanted {wanted}"),
                (None, None) => continue,
            });
        }
        let more = told.len().saturating_sub(TOLD_MAX);
        told.truncate(TOLD_MAX);
        match more {
            0 => told.join("; "),
            more => format!("{}; and {more} more", told.join("; ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn wanted(configs: &[(&str, &str)]) -> Wanted {
        Wanted {
            name: "t".into(),
            partitions: 3,
            replication_factor: Some(2),
            configs: map(configs),
            unmanaged: BTreeSet::from(["segment.ms".to_owned()]),
        }
    }

    fn known(configs: &[(&str, &str)]) -> KnownTopic {
        KnownTopic {
            name: "t".into(),
            id: "id".into(),
            partitions: 3,
            replication_factor: 2,
            internal: false,
            configs: map(configs),
        }
    }

    #[test]
    fn a_setting_that_nobody_names_goes_back_to_its_default_unless_it_is_unmanaged() {
        let has = known(&[
            ("retention.ms", "1"),
            ("segment.ms", "5"),
            ("flush.ms", "7"),
            ("follower.replication.throttled.replicas", "0:1"),
        ]);
        let differences = Differences::between(&wanted(&[("retention.ms", "2")]), &has);
        let expected = ConfigChanges::from([
            ("flush.ms".to_owned(), None),
            ("retention.ms".to_owned(), Some("2".to_owned())),
        ]);
        assert_eq!(differences.configs, expected);
        assert_eq!(
            differences.in_words(),
            "flush.ms is 7, wanted its default; retention.ms is 1, wanted 2"
        );
    }

    #[test]
    fn partitions_and_replicas_are_compared_and_a_factor_that_is_not_given_is_not() {
        let has = KnownTopic {
            partitions: 5,
            replication_factor: 1,
            ..known(&[])
        };
        let differences = Differences::between(&wanted(&[]), &has);
        assert_eq!((differences.grow, differences.shrink), (None, Some((5, 3))));
        assert_eq!(differences.replicas, Some((1, 2)));
        let default = Wanted {
            replication_factor: None,
            partitions: 9,
            ..wanted(&[])
        };
        let differences = Differences::between(&default, &has);
        assert_eq!(
            (differences.grow, differences.replicas),
            (Some((5, 9)), None)
        );
        assert!(Differences::between(&wanted(&[]), &known(&[])).is_empty());
    }

    #[test]
    fn a_long_list_is_cut_and_the_rest_counted() {
        let many: Vec<(String, String)> =
            (0..12).map(|n| (format!("k{n:02}"), "1".into())).collect();
        let has = KnownTopic {
            configs: many.into_iter().collect(),
            ..known(&[])
        };
        let words = Differences::between(&wanted(&[]), &has).in_words();
        assert!(
            words.ends_with("k07 is 1, wanted its default; and 4 more"),
            "{words}"
        );
    }
}
