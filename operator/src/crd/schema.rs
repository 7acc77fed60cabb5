//! The CustomResourceDefinitions: the types' schemas with the rules, and every list, map and text bounded, so that a
//! rule's worst cost can be told and the API server lets it in.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use super::{KafkaCluster, Topic, cluster, topic};

/// A rule in CEL (<https://kubernetes.io/docs/reference/using-api/cel/>).
#[derive(Debug)]
pub struct Rule {
    /// Where it stands: `spec.pools[].podTemplate`; `[]` is a list's items, `{}` a map's values.
    pub at: &'static str,
    /// What must hold.
    pub check: &'static str,
    /// What to do where it does not.
    pub says: &'static str,
}

/// A bound of a type that is not ours, other than the usual one.
#[derive(Debug)]
pub struct Bound {
    /// Where it stands, as of a [`Rule`].
    pub at: &'static str,
    /// `maxLength`, `maxItems` or `maxProperties`.
    pub key: &'static str,
    /// The bound.
    pub most: u32,
}

/// Of texts that have no bound of their own, in letters.
const LENGTH_MAX: u32 = 1_024;
/// Of lists that have no bound of their own.
const ITEMS_MAX: u32 = 64;
/// Of maps that have no bound of their own.
const PROPERTIES_MAX: u32 = 64;
/// Of descriptions of Kubernetes' own types, in bytes: the whole of them is known elsewhere, and would be most of the
/// file.
const DESCRIPTION_MAX: usize = 400;

/// All our resources' definitions.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![
        definition(
            KafkaCluster::crd(),
            cluster::rules::RULES,
            cluster::rules::BOUNDS,
        ),
        definition(Topic::crd(), topic::rules::RULES, topic::rules::BOUNDS),
    ]
}

/// A definition as the file in `crds/` has it.
pub fn yaml(crd: &CustomResourceDefinition) -> String {
    let value = serde_json::to_value(crd).expect("a definition is JSON");
    let text = serde_saphyr::to_string(&whole_numbers(value)).expect("JSON is YAML");
    format!(
        "# Generated from operator/src/crd: milena-operator crds\n{}\n",
        text.trim_end()
    )
}

/// # Panics
/// Where a rule or bound stands at a place that the types do not have.
fn definition(
    crd: CustomResourceDefinition,
    rules: &[Rule],
    bounds: &[Bound],
) -> CustomResourceDefinition {
    let mut value = serde_json::to_value(crd).expect("a definition is JSON");
    let root = &mut value["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    for bound in bounds {
        place(root, bound.at).insert(bound.key.to_owned(), json!(bound.most));
    }
    finish(root);
    for rule in rules {
        let schema = place(root, rule.at);
        let standing = schema
            .entry("x-kubernetes-validations")
            .or_insert_with(|| json!([]));
        let list = standing.as_array_mut().expect("validations are a list");
        list.push(json!({ "rule": rule.check, "message": rule.says }));
    }
    serde_json::from_value(value).expect("it is still a definition")
}

/// The schema at a path such as `spec.pools[].volumes[]`.
fn place<'a>(root: &'a mut Value, path: &str) -> &'a mut Map<String, Value> {
    let mut at = root;
    for step in path.split('.').filter(|step| !step.is_empty()) {
        let (name, inside) = match step.strip_suffix("[]") {
            Some(name) => (name, Some("items")),
            None => match step.strip_suffix("{}") {
                Some(name) => (name, Some("additionalProperties")),
                None => (step, None),
            },
        };
        at = &mut at["properties"][name];
        if let Some(inside) = inside {
            at = &mut at[inside];
        }
    }
    at.as_object_mut()
        .unwrap_or_else(|| panic!("the schema has no {path}"))
}

/// Bounds everything, and takes out what a manifest has no use for: nulls, and defaults that say "nothing".
fn finish(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    // A null is then dropped by the API server, and `has()` means what it says.
    object.remove("nullable");
    if object.get("default").is_some_and(says_nothing) {
        object.remove("default");
    }
    if let Some(text) = object.get("description").and_then(Value::as_str) {
        let text = short(text);
        object.insert("description".into(), text.into());
    }
    let kind = object
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let bound = match kind {
        "string" if object.contains_key("enum") => None,
        "string" => Some(("maxLength", LENGTH_MAX)),
        "array" => Some(("maxItems", ITEMS_MAX)),
        "object" if object.contains_key("additionalProperties") => {
            Some(("maxProperties", PROPERTIES_MAX))
        }
        _ => None,
    };
    if let Some((key, most)) = bound {
        object.entry(key).or_insert_with(|| json!(most));
    }
    for inside in ["items", "additionalProperties"] {
        if let Some(schema) = object.get_mut(inside) {
            finish(schema);
        }
    }
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(finish);
    }
}

/// Whether a default is what an absent field means anyway; of an object, members that say nothing are left out first.
fn says_nothing(default: &Value) -> bool {
    match default {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.values().all(says_nothing),
        Value::Number(_) => false,
    }
}

/// The first paragraphs that fit, as one.
fn short(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.len() <= DESCRIPTION_MAX {
        return text;
    }
    let end = text
        .match_indices(". ")
        .map(|(at, _)| at + 1)
        .take_while(|end| *end <= DESCRIPTION_MAX)
        .last();
    match end {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// A definition's type has fractions for all bounds; `1.0` would be read as another number than was meant.
pub(super) fn whole_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            #[allow(clippy::cast_possible_truncation)] // Bounds are far below 2^53.
            Some(fraction) if number.is_f64() && fraction.fract() == 0.0 => json!(fraction as i64),
            _ => Value::Number(number),
        },
        Value::Array(items) => items.into_iter().map(whole_numbers).collect(),
        Value::Object(members) => members
            .into_iter()
            .map(|(name, member)| (name, whole_numbers(member)))
            .collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests;
