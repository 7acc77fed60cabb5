//! Every field of our resources as a page, `docs/resources.md`: made from the definitions, as `kubectl explain` shows them.

use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Map, Value};

use super::schema::{Rule, crds, whole_numbers};
use super::{cluster, topic};

/// Fields of Kubernetes' own types, and the type: its fields are known elsewhere.
const KUBERNETES: &[(&str, &str)] = &[
    ("affinity", "Affinity"),
    ("tolerations[]", "Toleration"),
    ("topologySpreadConstraints[]", "TopologySpreadConstraint"),
    ("seLinuxOptions", "SELinuxOptions"),
    ("secret", "SecretVolumeSource"),
    ("configMap", "ConfigMapVolumeSource"),
    ("secretKeyRef", "SecretKeySelector"),
    ("configMapKeyRef", "ConfigMapKeySelector"),
    ("selector", "LabelSelector"),
    ("conditions[]", "Condition"),
];

const PREFACE: &str = "\
# KafkaCluster and Topic

<!-- Generated from the types in `operator/src/crd`: UPDATE_CRDS=1 cargo test -p milena-operator --lib crd -->

Every field of `milena.dev/v1alpha1`. `kubectl explain kafkacluster.spec` and `kubectl explain topics.milena.dev.spec` show
the same. `[]` are a list's items, `{}` a map's values. What is refused at once stands at the end of each resource; what only
the cluster can know becomes a condition.
";

/// The page `docs/resources.md`.
pub fn markdown() -> String {
    let mut page = String::from(PREFACE);
    let rules = [cluster::rules::RULES, topic::rules::RULES];
    for (crd, rules) in crds().iter().zip(rules) {
        resource(&mut page, crd, rules);
    }
    page
}

fn resource(page: &mut String, crd: &CustomResourceDefinition, rules: &[Rule]) {
    let value = whole_numbers(serde_json::to_value(crd).expect("a definition is JSON"));
    let root = &value["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let short: Vec<_> = crd.spec.names.short_names.iter().flatten().collect();
    _ = writeln!(page, "\n## {}\n", crd.spec.names.kind);
    _ = writeln!(page, "{}", text(root, "description"));
    _ = writeln!(page, "\nShort name `{}`, category `milena`.", short[0]);
    for part in ["spec", "status"] {
        _ = writeln!(page, "\n### {} {part}\n", crd.spec.names.kind);
        _ = writeln!(page, "| field | type | default | what it is |");
        _ = writeln!(page, "| --- | --- | --- | --- |");
        fields(page, "", &root["properties"][part]);
    }
    _ = writeln!(page, "\n### What is refused of a {}\n", crd.spec.names.kind);
    for rule in rules {
        let at = if rule.at.is_empty() {
            "metadata"
        } else {
            rule.at
        };
        _ = writeln!(page, "- `{at}`: {}", rule.says);
    }
}

/// A row for each field of an object, and of those in it.
fn fields(page: &mut String, path: &str, schema: &Value) {
    let none = Map::new();
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (name, field) in schema["properties"].as_object().unwrap_or(&none) {
        let is_required = required.contains(&name.as_str());
        let path = match path {
            "" => name.clone(),
            path => format!("{path}.{name}"),
        };
        row(page, &path, field, is_required);
        let (path, inside) = match (field.get("items"), field.get("additionalProperties")) {
            (Some(items), _) => (format!("{path}[]"), items),
            (None, Some(values)) => (format!("{path}{{}}"), values),
            (None, None) => (path, field),
        };
        if kubernetes(&path).is_none() {
            fields(page, &path, inside);
        }
    }
}

fn row(page: &mut String, path: &str, field: &Value, is_required: bool) {
    let default = match field.get("default") {
        _ if is_required => "required".to_owned(),
        None => String::new(),
        Some(Value::String(text)) => format!("`{text}`"),
        Some(value) => format!("`{value}`"),
    };
    let (kind, words) = (kind(path, field), text(field, "description"));
    _ = writeln!(page, "| `{path}` | {kind} | {default} | {words} |");
}

/// The type with its bounds, as far as they say something.
fn kind(path: &str, field: &Value) -> String {
    let inside = format!("{path}[]");
    if let Some(name) = kubernetes(path).or_else(|| kubernetes(&inside)) {
        return format!("Kubernetes' {name}");
    }
    if let Some(words) = field["enum"].as_array() {
        let words: Vec<_> = words
            .iter()
            .filter_map(Value::as_str)
            .map(|word| format!("`{word}`"))
            .collect();
        return words.join(", ");
    }
    if field["x-kubernetes-int-or-string"] == Value::Bool(true) {
        return "quantity".to_owned();
    }
    let kind = field["type"]
        .as_str()
        .unwrap_or("string, integer or boolean");
    match (kind, &field["minimum"], &field["maximum"]) {
        ("array", _, _) => format!("list, at most {}", field["maxItems"]),
        ("object", _, _) if field.get("additionalProperties").is_some() => {
            format!("map, at most {}", field["maxProperties"])
        }
        ("integer", Value::Number(least), Value::Number(most)) => {
            format!("integer, {least} to {most}")
        }
        ("integer", Value::Number(least), _) => format!("integer, at least {least}"),
        (kind, _, _) => kind.to_owned(),
    }
}

fn kubernetes(path: &str) -> Option<&'static str> {
    let last = path.rsplit_once('.').map_or(path, |(_, last)| last);
    let (_, name) = KUBERNETES.iter().find(|(field, _)| *field == last)?;
    Some(name)
}

/// On one line; a bar would end the table's cell.
fn text(schema: &Value, key: &str) -> String {
    let text = schema[key].as_str().unwrap_or_default();
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}
