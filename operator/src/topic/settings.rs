//! The settings that a topic may have, and what their values may be: as `milena config reference` lists them for the
//! scope `topic`. What passes here can still be refused by the brokers, whose version may be another.

/// What a setting's value may be.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// A whole number from..=to.
    Number(i64, i64),
    /// A number from..=to.
    Fraction(f64, f64),
    /// `true` or `false`.
    Switch,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Some of these words, separated by commas, or none.
    SomeOf(&'static [&'static str]),
    /// Anything.
    Text,
    /// Known to Kafka, and not to be had here.
    Refused(&'static str),
}

use Form::{Fraction, Number, OneOf, Refused, SomeOf, Switch, Text};

const INT: i64 = i32::MAX as i64;
const LONG: i64 = i64::MAX;
const TIERED: &str = "there is no tiered storage";

/// By name.
const SETTINGS: &[(&str, Form)] = &[
    ("cleanup.policy", SomeOf(&["delete", "compact"])),
    ("compression.gzip.level", Number(-1, 9)),
    ("compression.lz4.level", Number(1, 17)),
    (
        "compression.type",
        OneOf(&["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"]),
    ),
    ("compression.zstd.level", Number(-131_072, 22)),
    ("delete.retention.ms", Number(0, LONG)),
    ("file.delete.delay.ms", Number(0, LONG)),
    ("flush.messages", Number(1, LONG)),
    ("flush.ms", Number(0, LONG)),
    ("follower.replication.throttled.replicas", Text),
    ("index.interval.bytes", Number(0, INT)),
    ("leader.replication.throttled.replicas", Text),
    ("local.retention.bytes", Number(-2, LONG)),
    ("local.retention.ms", Number(-2, LONG)),
    ("max.compaction.lag.ms", Number(1, LONG)),
    ("max.message.bytes", Number(0, INT)),
    ("message.downconversion.enable", Switch),
    ("message.format.version", Text),
    ("message.timestamp.after.max.ms", Number(0, LONG)),
    ("message.timestamp.before.max.ms", Number(0, LONG)),
    ("message.timestamp.difference.max.ms", Number(0, LONG)),
    (
        "message.timestamp.type",
        OneOf(&["CreateTime", "LogAppendTime"]),
    ),
    ("min.cleanable.dirty.ratio", Fraction(0.0, 1.0)),
    ("min.compaction.lag.ms", Number(0, LONG)),
    ("min.insync.replicas", Number(1, INT)),
    ("placement.leader.rack", Text),
    ("placement.node.spread", OneOf(&["required", "preferred"])),
    ("placement.pools", Text),
    ("placement.rack.spread", OneOf(&["preferred", "required"])),
    ("placement.racks", Text),
    ("preallocate", Switch),
    ("remote.log.copy.disable", Switch),
    ("remote.log.delete.on.disable", Switch),
    ("remote.storage.enable", Refused(TIERED)),
    ("retention.bytes", Number(i64::MIN, LONG)),
    ("retention.ms", Number(-1, LONG)),
    ("segment.bytes", Number(14, INT)),
    ("segment.index.bytes", Number(4, INT)),
    ("segment.jitter.ms", Number(0, LONG)),
    ("segment.ms", Number(1, LONG)),
    ("unclean.leader.election.enable", Switch),
];

/// Settings that tools set while they move replicas: nobody's drift.
const OF_TOOLS: [&str; 2] = [
    "follower.replication.throttled.replicas",
    "leader.replication.throttled.replicas",
];

/// Settings whose value is a list without an order.
const LISTS: [&str; 3] = ["cleanup.policy", "placement.pools", "placement.racks"];

/// What is wrong with a setting, in words that name it.
pub fn check(name: &str, value: &str) -> Result<(), String> {
    let found = SETTINGS.iter().find(|(known, _)| *known == name);
    let Some((_, form)) = found else {
        return Err(format!("{name}: there is no such topic setting"));
    };
    let number = |from: i64, to: i64| {
        let number = value.trim().parse::<i64>();
        number.is_ok_and(|number| (from..=to).contains(&number))
    };
    let expected = match *form {
        Number(from, to) if number(from, to) => return Ok(()),
        Number(from, LONG) => format!("a whole number, at least {from}"),
        Number(from, to) => format!("a whole number from {from} to {to}"),
        Fraction(from, to) => {
            let fraction = value.trim().parse::<f64>();
            if fraction.is_ok_and(|number| (from..=to).contains(&number)) {
                return Ok(());
            }
            format!("a number from {from} to {to}")
        }
        Switch if ["true", "false"].contains(&value.to_ascii_lowercase().as_str()) => return Ok(()),
        Switch => "true or false".to_owned(),
        OneOf(words) if words.contains(&value) => return Ok(()),
        OneOf(words) => format!("one of {}", words.join(", ")),
        SomeOf(words) if list(value).iter().all(|word| words.contains(word)) => return Ok(()),
        SomeOf(words) => format!("some of {}, separated by commas", words.join(", ")),
        Text => return Ok(()),
        Refused(why) => return Err(format!("{name}: {why}")),
    };
    Err(format!("{name}: {value:?} is not {expected}"))
}

/// Whether nobody is to take this setting for a change made elsewhere.
pub fn is_of_tools(name: &str) -> bool {
    OF_TOOLS.contains(&name)
}

/// Whether two values of a setting mean the same.
pub fn same(name: &str, one: &str, other: &str) -> bool {
    if LISTS.contains(&name) {
        let (mut one, mut other) = (list(one), list(other));
        one.sort_unstable();
        other.sort_unstable();
        return one == other;
    }
    one.trim() == other.trim()
}

fn list(value: &str) -> Vec<&str> {
    let items = value.split(',').map(str::trim);
    items.filter(|item| !item.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What the brokers' generated documentation lists for topics, those without effect included.
    fn documented() -> BTreeSet<String> {
        let docs = include_str!("../../../docs/configuration.md");
        let part = |from: &str, to: &str| {
            let (_, rest) = docs.split_once(from).expect(from);
            rest.split_once(to)
                .map_or(rest, |(part, _)| part)
                .to_owned()
        };
        let table = part("## Topic settings", "\n## ");
        let rows = table.lines().filter(|line| line.starts_with("| `"));
        let mut names: BTreeSet<String> = rows.map(|row| quoted(row)[0].clone()).collect();
        let without_effect = part("### Of topics", "\n## ");
        names.extend(without_effect.lines().flat_map(quoted));
        names
    }

    fn quoted(line: &str) -> Vec<String> {
        line.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn every_documented_topic_setting_is_known_and_no_other() {
        let ours: BTreeSet<String> = SETTINGS
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        let dotted =
            |name: &String| !name.contains(' ') && name.contains(|c: char| c.is_lowercase());
        let documented: BTreeSet<String> = documented().into_iter().filter(dotted).collect();
        assert_eq!(ours, documented);
    }

    #[test]
    fn a_refused_setting_is_named_with_what_it_may_be() {
        for (name, value, words) in [
            ("retention.ms", "-2", "a whole number, at least -1"),
            ("retention.ms", "soon", "a whole number, at least -1"),
            ("cleanup.policy", "shred", "some of delete, compact"),
            ("compression.type", "rar", "one of producer, uncompressed"),
            ("preallocate", "perhaps", "true or false"),
            ("min.cleanable.dirty.ratio", "1.5", "a number from 0 to 1"),
            ("compression.zstd.level", "23", "from -131072 to 22"),
            ("retenton.ms", "1", "there is no such topic setting"),
            ("remote.storage.enable", "true", "no tiered storage"),
        ] {
            let error = check(name, value).unwrap_err();
            assert!(error.starts_with(name) && error.contains(words), "{error}");
        }
        for (name, value) in [
            ("retention.ms", "-1"),
            ("cleanup.policy", "compact, delete"),
            ("cleanup.policy", ""),
            ("preallocate", "true"),
            ("min.cleanable.dirty.ratio", "0.1"),
            ("placement.racks", "a,b"),
        ] {
            assert_eq!(check(name, value), Ok(()));
        }
    }

    #[test]
    fn lists_are_the_same_in_any_order_and_other_values_are_compared_as_text() {
        assert!(same("cleanup.policy", "compact,delete", "delete, compact"));
        assert!(same("placement.racks", "a,b", "b,a"));
        assert!(!same("retention.ms", "10", "100"));
        assert!(same("retention.ms", "10", " 10"));
    }
}
