//! The table for programs: `milena config reference -o json`, an array of objects, the broker's settings first, by name.
//!
//! | field | is |
//! | --- | --- |
//! | `name` | the property |
//! | `scope` | `broker` or `topic` |
//! | `type` | `boolean`, `string`, `int`, `short`, `long`, `double`, `list`, `class` or `password` |
//! | `default` | as one would write it; null where there is none |
//! | `min`, `max` | the bounds of a number, both allowed; null where only the type bounds it |
//! | `values` | the words that it, or each of a list's items, may be; null where others may be, too |
//! | `allowed` | in words all that is allowed: also what the three above don't say, such as a form |
//! | `dynamic` | whether it changes without a restart |
//! | `update` | `read-only`, `cluster-wide` or `per-broker` |
//! | `effect` | `honoured`; `ignored`: known and without effect; `refused`: any value but the default stops the start |
//! | `importance` | `high`, `medium` or `low` |
//! | `doc` | what it does |
//! | `variable` | the environment variable that sets it; the broker's alone |
//! | `broker_settings` | where a topic's default comes from: the first of these that has a value |
//!
//! Fields are added, and none changes its meaning.

use serde::Serialize;
use serde_json::{Number, Value};

use super::super::setting::{Bounds, Effect, Setting, Update};
use super::super::{broker_settings, topic_settings};

#[derive(Serialize)]
struct Row {
    name: &'static str,
    scope: Scope,
    #[serde(rename = "type")]
    kind: String,
    default: Option<&'static str>,
    min: Value,
    max: Value,
    values: Option<&'static [&'static str]>,
    allowed: String,
    dynamic: bool,
    update: String,
    effect: &'static str,
    importance: String,
    doc: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    variable: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    broker_settings: Vec<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Scope {
    Broker,
    Topic,
}

/// All rows, ending with a line break.
pub fn json() -> String {
    let broker = broker_settings().map(|setting| row(setting, Scope::Broker));
    let topic = topic_settings().map(|setting| row(setting, Scope::Topic));
    let mut rows: Vec<Row> = broker.chain(topic).collect();
    rows.sort_by_key(|row| (row.scope, row.name));
    let text = serde_json::to_string_pretty(&rows).expect("rows are texts and numbers");
    text + "\n"
}

fn row(setting: &'static Setting, scope: Scope) -> Row {
    let (min, max) = range(&setting.bounds);
    Row {
        name: setting.name,
        scope,
        kind: setting.kind.to_string(),
        default: setting.default,
        min,
        max,
        values: match setting.bounds {
            Bounds::OneOf(words) => Some(words),
            _ => None,
        },
        allowed: setting.bounds.to_string(),
        dynamic: scope == Scope::Topic || setting.update != Update::ReadOnly,
        update: setting.update.to_string(),
        effect: match setting.effect {
            Effect::Honoured => "honoured",
            Effect::Ignored => "ignored",
            Effect::Refused => "refused",
        },
        importance: setting.importance.to_string(),
        doc: setting.documentation(),
        variable: (scope == Scope::Broker).then(|| setting.variable()),
        broker_settings: setting.synonyms.iter().map(|(name, _)| *name).collect(),
    }
}

/// The least and the greatest number. A single one beside a range widens it: what is between, `allowed` says.
fn range(bounds: &Bounds) -> (Value, Value) {
    match *bounds {
        Bounds::AtLeast(least) => (least.into(), Value::Null),
        Bounds::Between(least, most) => (least.into(), most.into()),
        Bounds::BetweenOr(least, most, or) => (least.min(or).into(), most.max(or).into()),
        Bounds::Fraction(least, most) => (fraction(least), fraction(most)),
        Bounds::Any | Bounds::OneOf(_) | Bounds::NotEmpty | Bounds::Form(..) => {
            (Value::Null, Value::Null)
        }
    }
}

fn fraction(number: f64) -> Value {
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Value> {
        serde_json::from_str(&json()).unwrap()
    }

    fn of(scope: &str, name: &str) -> Value {
        let mut rows = rows().into_iter();
        let row = rows.find(|row| row["scope"] == scope && row["name"] == name);
        row.unwrap_or_else(|| panic!("no {scope} setting {name}"))
    }

    #[test]
    fn programs_get_every_setting_once_in_an_order_that_stays() {
        let all = rows();
        assert_eq!(
            all.len(),
            broker_settings().count() + topic_settings().count()
        );
        let key = |row: &Value| (row["scope"].to_string(), row["name"].to_string());
        let keys: Vec<_> = all.iter().map(key).collect();
        assert!(
            keys.windows(2).all(|two| two[0] < two[1]),
            "sorted, and no name twice"
        );
    }

    #[test]
    fn a_row_says_what_its_setting_may_be() {
        let row = of("broker", "num.partitions");
        assert_eq!(
            (&row["type"], &row["default"]),
            (&"int".into(), &"1".into())
        );
        assert_eq!((&row["min"], &row["max"]), (&1.into(), &Value::Null));
        assert_eq!(
            (&row["dynamic"], &row["effect"]),
            (&false.into(), &"honoured".into())
        );
        let row = of("broker", "log.cleaner.min.cleanable.ratio");
        assert_eq!((&row["min"], &row["max"]), (&0.0.into(), &1.0.into()));
        assert_eq!(row["dynamic"], true);
        let row = of("broker", "compression.gzip.level");
        assert_eq!((&row["min"], &row["max"]), (&(-1).into(), &9.into()));
        assert_eq!(row["allowed"], "from 1 to 9, or -1");
        let row = of("topic", "cleanup.policy");
        assert_eq!(row["values"], serde_json::json!(["compact", "delete"]));
        assert_eq!(
            (&row["dynamic"], &row["broker_settings"][0]),
            (&true.into(), &"log.cleanup.policy".into())
        );
        assert!(row["doc"].as_str().is_some_and(|doc| !doc.is_empty()));
    }
}
