//! The custom resources of `milena.dev/v1alpha1`: one file a kind. `crds/` and `docs/resources.md` are generated from
//! these types.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `crd/cluster.rs`, `crd/topic.rs` | the types; their comments are what `kubectl explain` says |
//! | `crd/cluster/rules.rs`, `crd/topic/rules.rs` | what a schema can't say: rules in CEL |
//! | `crd/schema.rs` | types and rules together, bounded, as CustomResourceDefinitions |
//! | `crd/reference.rs` | every field as a page |
//!
//! After the first release no field is renamed, re-typed or re-defaulted. Choices are enums of strings. Defaults that may
//! change live in the operator and are written to the status. Unknown fields are no error here, the API server refuses
//! or drops them: an older operator has to read what a newer schema let in. Enums have an empty `description`, or their
//! words would take the place of a field's.

pub mod cluster;
pub mod reference;
pub mod schema;
pub mod topic;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use cluster::KafkaCluster;
pub use schema::crds;
pub use topic::Topic;

/// The API group of all our resources, labels and annotations.
pub const GROUP: &str = "milena.dev";

/// A value of a Kafka property as a manifest may write it: a string, an integer or a boolean.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ConfigValue {
    /// `true`.
    Bool(bool),
    /// `42`.
    Int(i64),
    /// `"text"`.
    Text(String),
    /// Anything else, which whoever reads the value refuses: the schema can't.
    Other(serde_json::Value),
}

/// Kafka's property names with their values.
pub type ConfigMapping = BTreeMap<String, ConfigValue>;

/// The conditions of a resource, keyed by type.
pub type Conditions = Vec<Condition>;

impl std::fmt::Display for ConfigValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
            Self::Other(value) => value.fmt(f),
        }
    }
}

impl ConfigValue {
    /// The value as Kafka writes it, unless it is none of the three.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Other(_) => None,
            value => Some(value.to_string()),
        }
    }
}

impl JsonSchema for ConfigValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ConfigValue".into()
    }

    fn inline_schema() -> bool {
        true
    }

    /// Kubernetes' schemas have no type for "one of these three"; a bound on members refuses lists and objects.
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "x-kubernetes-preserve-unknown-fields": true,
            "maxLength": 4096,
            "maxItems": 0,
            "maxProperties": 0,
        })
    }
}

/// An amount as Kubernetes writes it, `500m` or `2Gi`; a bare number is as good.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Amount(pub String);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Int(i64),
            Text(String),
        }
        Ok(Self(match Written::deserialize(deserializer)? {
            Written::Int(number) => number.to_string(),
            Written::Text(text) => text,
        }))
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Amount".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "x-kubernetes-int-or-string": true,
            "maxLength": 24,
            "pattern": r"^[0-9]+(\.[0-9]{1,3})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$",
        })
    }
}
