//! YAML, flat (`num.partitions: 3`) or nested (`num: {partitions: 3}`), lists as items or in one text.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::{Entry, Unreadable};

/// The entries in the order of the file.
pub(super) fn parse(text: &str) -> Result<Vec<Entry>, Unreadable> {
    // Without it `no` would be `false`, also where it is the name of a rack.
    let options = serde_saphyr::options! { strict_booleans: true };
    let tree =
        serde_saphyr::from_str_with_options::<Option<Node>>(text, options).map_err(|error| {
            Unreadable {
                line: error.location().map_or(1, |location| line(location.line())),
                problem: format!("is not YAML: {}", error.without_snippet()),
            }
        })?;
    let mut entries = Vec::new();
    match tree {
        None | Some(Node::Nothing) => {}
        Some(Node::Map(map)) => flatten("", map, &mut entries)?,
        Some(Node::Scalar(_) | Node::List(_)) => {
            return Err(Unreadable {
                line: 1,
                problem: "is neither `name: value` nor nested names".into(),
            });
        }
    }
    Ok(entries)
}

fn line(line: u64) -> usize {
    usize::try_from(line).unwrap_or(usize::MAX)
}

fn flatten(
    prefix: &str,
    map: Vec<(Spanned<String>, Node)>,
    entries: &mut Vec<Entry>,
) -> Result<(), Unreadable> {
    for (key, node) in map {
        let line = line(key.referenced.line());
        let name = match prefix {
            "" => key.value,
            prefix => format!("{prefix}.{}", key.value),
        };
        let value = match node {
            Node::Map(map) => {
                flatten(&name, map, entries)?;
                continue;
            }
            Node::Scalar(value) => value,
            Node::List(items) => items.join(","),
            Node::Nothing => {
                return Err(Unreadable {
                    line,
                    problem: format!("{name} has no value; write \"\" for an empty one"),
                });
            }
        };
        entries.push(Entry { line, name, value });
    }
    Ok(())
}

enum Node {
    Nothing,
    Scalar(String),
    List(Vec<String>),
    Map(Vec<(Spanned<String>, Node)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list or nested names")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Scalar(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Nothing)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut texts = Vec::new();
        while let Some(item) = items.next_element::<Node>()? {
            match item {
                Node::Scalar(text) => texts.push(text),
                _ => return Err(A::Error::custom("a list may hold texts and numbers only")),
            }
        }
        Ok(Node::List(texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            map.push((key, entries.next_value()?));
        }
        Ok(Node::Map(map))
    }
}
