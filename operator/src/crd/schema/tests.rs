//! What the definitions promise, without an API server; `e2e/tests/crd_rules.rs` asks a real one.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::*;

/// The API server takes an object of at most 1.5 MiB, and `kubectl apply` notes it once more in an annotation of at most
/// this size.
const FILE_BYTES_MAX: usize = 256 * 1024;

fn root(path: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).join(path)
}

/// Compares a generated file with what it is generated from, or writes it where UPDATE_CRDS is set.
fn kept(path: &str, text: &str) {
    let file = root(path);
    if std::env::var_os("UPDATE_CRDS").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
    }
    let there = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        there == text,
        "{path} is out of date: UPDATE_CRDS=1 cargo test -p milena-operator --lib crd"
    );
}

fn file(crd: &CustomResourceDefinition) -> String {
    format!("crds/{}.yaml", crd.spec.names.plural)
}

fn schema(crd: &CustomResourceDefinition) -> Value {
    let value = serde_json::to_value(crd).unwrap();
    value["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

#[test]
fn the_files_are_those_of_the_types() {
    for crd in crds() {
        let text = yaml(&crd);
        assert!(
            text.len() < FILE_BYTES_MAX,
            "{} has {} bytes",
            file(&crd),
            text.len()
        );
        kept(&file(&crd), &text);
    }
}

#[test]
fn the_page_of_the_documentation_is_that_of_the_types() {
    kept("docs/resources.md", &crate::crd::reference::markdown());
}

#[test]
fn a_file_reads_as_the_definition_it_was_written_from() {
    for crd in crds() {
        let read: Value = serde_saphyr::from_str(&yaml(&crd)).unwrap();
        let written = whole_numbers(serde_json::to_value(&crd).unwrap());
        assert!(read == written, "{}", file(&crd));
    }
}

/// Visits every schema with its path.
fn visit(path: &str, schema: &Value, seen: &mut impl FnMut(&str, &Value)) {
    seen(path, schema);
    for (key, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(inside) = schema.get(key) {
            visit(&format!("{path}{mark}"), inside, seen);
        }
    }
    for (name, inside) in schema["properties"].as_object().into_iter().flatten() {
        visit(&format!("{path}.{name}"), inside, seen);
    }
}

#[test]
fn every_list_map_and_text_is_bounded() {
    for crd in crds() {
        visit("", &schema(&crd), &mut |path, schema| {
            let bound = match schema["type"].as_str() {
                Some("string") if schema.get("enum").is_none() => "maxLength",
                Some("array") => "maxItems",
                Some("object") if schema.get("additionalProperties").is_some() => "maxProperties",
                _ => return,
            };
            assert!(schema.get(bound).is_some(), "{path} has no {bound}");
        });
    }
}

#[test]
fn every_field_of_ours_says_what_it_is() {
    for crd in crds() {
        visit("", &schema(&crd), &mut |path, schema| {
            let is_field = !path.is_empty() && !path.ends_with(['[', ']', '{', '}']);
            let ours = ["spec", "status"]
                .iter()
                .any(|part| path.starts_with(&format!(".{part}.")));
            if is_field && ours {
                let text = schema["description"].as_str().unwrap_or_default();
                assert!(!text.is_empty(), "{path} has no description");
            }
        });
    }
}

#[test]
fn nothing_is_nullable_so_that_has_means_what_it_says() {
    for crd in crds() {
        visit("", &schema(&crd), &mut |path, schema| {
            assert!(schema.get("nullable").is_none(), "{path}");
        });
    }
}

#[test]
fn lists_with_identity_are_of_type_map_and_their_keys_are_required_or_have_a_default() {
    for crd in crds() {
        visit("", &schema(&crd), &mut |path, schema| {
            for key in schema["x-kubernetes-list-map-keys"]
                .as_array()
                .into_iter()
                .flatten()
            {
                let items = &schema["items"];
                let required = items["required"]
                    .as_array()
                    .is_some_and(|names| names.contains(key));
                let field = &items["properties"][key.as_str().unwrap()];
                assert!(required || field.get("default").is_some(), "{path}: {key}");
            }
        });
    }
}

#[test]
fn rules_that_compare_with_the_old_object_stand_on_what_can_not_be_removed_by_itself() {
    for rule in cluster::rules::RULES.iter().chain(topic::rules::RULES) {
        if !rule.check.contains("oldSelf") {
            continue;
        }
        let may_stand = ["spec", "spec.pools[]", "spec.pools[].volumes[]"];
        assert!(may_stand.contains(&rule.at), "{}: {}", rule.at, rule.check);
    }
}

#[test]
fn every_rule_says_what_to_do_in_a_line() {
    for rule in cluster::rules::RULES.iter().chain(topic::rules::RULES) {
        assert!(
            rule.says.len() > 20 && !rule.says.contains('\n'),
            "{}",
            rule.check
        );
        assert!(!rule.says.ends_with('.'), "{}", rule.says);
    }
}

#[test]
fn a_bare_manifest_is_read() {
    let cluster: KafkaCluster = serde_saphyr::from_str(
        "apiVersion: milena.dev/v1alpha1\nkind: KafkaCluster\nmetadata: {name: main}\n\
         spec: {pools: [{name: broker, replicas: 3, volumes: [{name: data, size: 1Gi}]}], config: {num.partitions: 3}, \
         unknown: 1}\n",
    )
    .unwrap();
    assert_eq!(cluster.spec.pools[0].first_broker_id, 0);
    assert_eq!(cluster.spec.rollout.soak_seconds, 10);
    assert_eq!(cluster.spec.config["num.partitions"].to_string(), "3");
}

#[test]
fn amounts_are_read_as_text_or_number_and_values_of_settings_whatever_they_are() {
    let amount: crate::crd::Amount = serde_json::from_str("2").unwrap();
    assert_eq!(amount.0, "2");
    let value: crate::crd::ConfigValue = serde_json::from_str("[1]").unwrap();
    assert_eq!(value.text(), None);
    let value: crate::crd::ConfigValue = serde_json::from_str("true").unwrap();
    assert_eq!(value.text().as_deref(), Some("true"));
}
