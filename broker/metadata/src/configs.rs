//! Whose configuration a key belongs to, and the rules that the caller's table of keys brings.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What kind of thing is configured. The numbers are the wire's (`ConfigResource.Type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceKind {
    /// A topic, by name.
    Topic,
    /// A broker, by number; the empty name holds the default of all brokers.
    Broker,
    /// A client metrics subscription (KIP-714).
    ClientMetrics,
    /// A consumer group (KIP-848).
    Group,
}

impl ResourceKind {
    /// The kind behind the wire's number; `None` for the others, such as a broker's loggers (8).
    pub const fn from_wire(number: i8) -> Option<Self> {
        match number {
            2 => Some(Self::Topic),
            4 => Some(Self::Broker),
            16 => Some(Self::ClientMetrics),
            32 => Some(Self::Group),
            _ => None,
        }
    }

    /// The wire's number.
    pub const fn to_wire(self) -> i8 {
        match self {
            Self::Topic => 2,
            Self::Broker => 4,
            Self::ClientMetrics => 16,
            Self::Group => 32,
        }
    }
}

/// The owner of some configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConfigResource {
    /// What it is.
    #[serde(rename = "resource")]
    pub kind: ResourceKind,
    /// Its name; empty for the default of all brokers.
    pub name: Arc<str>,
}

impl ConfigResource {
    /// A topic's configuration.
    pub fn topic(name: impl Into<Arc<str>>) -> Self {
        Self {
            kind: ResourceKind::Topic,
            name: name.into(),
        }
    }

    /// One broker's configuration, or with `None` the default of all.
    pub fn broker(id: Option<crate::BrokerId>) -> Self {
        Self {
            kind: ResourceKind::Broker,
            name: id.map_or_else(String::new, |id| id.to_string()).into(),
        }
    }
}

impl std::fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            ResourceKind::Topic => "topic",
            ResourceKind::Broker => "broker",
            ResourceKind::ClientMetrics => "client metrics",
            ResourceKind::Group => "group",
        };
        write!(f, "{kind} '{}'", self.name)
    }
}

/// What the table of configuration keys says. Errors are sentences for people, and become INVALID_CONFIG.
pub trait ConfigRules: Send + Sync {
    /// Whether this resource has such a key, may change it while running, and may have this value.
    fn check(&self, kind: ResourceKind, key: &str, value: &str) -> Result<(), String>;

    /// For a key whose type is a list: the value in effect where the resource sets none. `None` for a key of
    /// another type, to which nothing can be appended.
    fn list_default(&self, kind: ResourceKind, key: &str) -> Option<String>;

    /// The value in effect where neither the resource nor the cluster sets one: from the broker's start, or the
    /// key's own default. `None` for a key that nobody knows.
    fn default_value(&self, _kind: ResourceKind, _key: &str) -> Option<String> {
        None
    }

    /// Whether all of a resource's own values go together.
    fn check_together(
        &self,
        _kind: ResourceKind,
        _configs: &BTreeMap<Arc<str>, Arc<str>>,
    ) -> Result<(), String> {
        Ok(())
    }
}

/// Rules that allow everything and know no lists: for tests, and for replaying decisions already checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoConfigRules;

impl ConfigRules for NoConfigRules {
    fn check(&self, _: ResourceKind, _: &str, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn list_default(&self, _: ResourceKind, _: &str) -> Option<String> {
        None
    }
}
