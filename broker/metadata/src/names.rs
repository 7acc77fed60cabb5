//! Names and numbers as types: checked once where they come in, trusted ever after.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use milena_protocol::Uuid;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Kafka's bound: `<topic>-<partition>` and a suffix have to fit into a file name of 255 bytes.
pub const TOPIC_NAME_LENGTH_MAX: usize = 249;

/// Why a name or number was refused, in words for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(pub(crate) String);

/// A topic's name: 1 to 249 of `[a-zA-Z0-9._-]`, and neither `.` nor `..`. A clone copies no text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Checks the name; the error's text is the one that Kafka's clients show.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let invalid = |why: &str| NameError(format!("Topic name is invalid: {why}"));
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if name.is_empty() {
            Err(invalid("the empty string is not allowed"))
        } else if name == "." || name == ".." {
            Err(invalid(&format!("'{name}' is not allowed")))
        } else if name.len() > TOPIC_NAME_LENGTH_MAX {
            Err(invalid(&format!(
                "the length of '{name}' is longer than the max allowed length {TOPIC_NAME_LENGTH_MAX}"
            )))
        } else if !name.bytes().all(legal) {
            Err(invalid(&format!(
                "'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
            )))
        } else {
            Ok(Self(name.into()))
        }
    }

    /// Whether it is one of Kafka's own, which clients are shown as internal.
    pub fn is_internal(&self) -> bool {
        matches!(&*self.0, "__consumer_offsets" | "__transaction_state")
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, shared.
    pub fn as_arc(&self) -> &Arc<str> {
        &self.0
    }

    /// What the name looks like in metric names, where `.` becomes `_`: two topics that look the same there
    /// may not exist together. `None` where the name holds neither, and so can't collide.
    pub fn collision_key(&self) -> Option<Arc<str>> {
        self.0
            .contains(['.', '_'])
            .then(|| self.0.replace('.', "_").into())
    }
}

impl Deref for TopicName {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for TopicName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Serialize for TopicName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TopicName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::new(&name).map_err(serde::de::Error::custom)
    }
}

/// A number from 0 to `i32::MAX`, as the wire has it.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "i32", into = "i32")]
        pub struct $name(i32);

        impl $name {
            /// Refuses negative numbers.
            pub fn new(number: i32) -> Result<Self, NameError> {
                if number < 0 {
                    return Err(NameError(format!(concat!($what, " {} is negative"), number)));
                }
                Ok(Self(number))
            }

            /// The number as the wire has it.
            pub const fn get(self) -> i32 {
                self.0
            }
        }

        impl TryFrom<i32> for $name {
            type Error = NameError;
            fn try_from(number: i32) -> Result<Self, NameError> {
                Self::new(number)
            }
        }

        impl From<$name> for i32 {
            fn from(number: $name) -> i32 {
                number.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// A broker's number, `node.id`.
    BrokerId, "broker id"
}
number! {
    /// A partition's number within its topic, from 0.
    PartitionId, "partition"
}

impl PartitionId {
    /// The partition's place in its topic's list.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The partition at a place of its topic's list; a topic is bounded far below `i32::MAX`.
    pub(crate) fn at(index: usize) -> Self {
        Self(i32::try_from(index).expect("a topic's partitions are bounded"))
    }
}

/// A 128-bit id, written as Kafka's 22 characters.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Draws a new one. For the edge: no decision draws.
            pub fn random() -> Self {
                Self(Uuid::random())
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Uuid {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                let id = Uuid::parse(&text).ok_or_else(|| {
                    serde::de::Error::custom(format!("'{text}' is not an id of 22 base64 characters"))
                })?;
                Ok(Self(id))
            }
        }
    };
}

id! {
    /// A topic's id, new for each creation of a name (KIP-516).
    TopicId
}
id! {
    /// A log directory's id, `directory.id` in its `meta.properties` (KIP-858).
    DirectoryId
}
id! {
    /// One life of a broker process.
    IncarnationId
}

impl DirectoryId {
    /// The broker has yet to choose a directory (KIP-858).
    pub const UNASSIGNED: Self = Self(Uuid::ZERO);
    /// The replica can't be used, whatever directory it is in (KIP-858). No directory has this id.
    pub const LOST: Self = Self(Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_name_keeps_kafkas_rules() {
        for good in ["a", "A-b_c.9", "...", &"x".repeat(249)] {
            assert_eq!(TopicName::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "..",
            "a b",
            "é",
            "a/b",
            "a\0",
            "$",
            &"x".repeat(250),
        ] {
            assert!(TopicName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_that_look_alike_in_metrics_share_a_collision_key() {
        let key = |name| TopicName::new(name).unwrap().collision_key();
        assert_eq!(key("a.b_c"), key("a_b.c"));
        assert_ne!(key("a.b"), key("a.c"));
        assert_eq!(key("ab-c"), None);
    }

    #[test]
    fn negative_numbers_and_broken_ids_are_refused_when_read() {
        assert!(serde_json::from_str::<BrokerId>("-1").is_err());
        assert_eq!(serde_json::from_str::<PartitionId>("7").unwrap().get(), 7);
        assert!(serde_json::from_str::<TopicId>("\"short\"").is_err());
        assert!(serde_json::from_str::<TopicName>("\"a b\"").is_err());
    }
}
