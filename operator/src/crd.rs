//! The custom resources of `milena.dev/v1alpha1`: one file a kind. `crds/` is generated from these types.
//!
//! After the first release no field is renamed, re-typed or re-defaulted. Choices are enums of strings. Defaults that may
//! change live in the operator and are written to the status.

pub mod cluster;
pub mod topic;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use cluster::KafkaCluster;
pub use topic::Topic;

/// The API group of all our resources, labels and annotations.
pub const GROUP: &str = "milena.dev";

/// A value of a Kafka property as a manifest may write it: a string, an integer or a boolean.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ConfigValue {
    Bool(bool),
    Int(i64),
    Text(String),
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

    /// Kubernetes' schemas have no type for "one of these"; the operator refuses what is none of the three.
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
    }
}
