//! `docs/resources.md`, every field of the custom resources, is written from `crds/`. `UPDATE_DOCS=1` writes it anew.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

const PAGE: &str = "docs/resources.md";
const HEAD: &str = "# The resources' fields\n\n<!-- Generated from `crds/`: `make docs` -->\n\n\
    `kubectl explain` tells the same. What begins with `…` stands elsewhere: those are Kubernetes' own types.\n";
/// Kubernetes' own types, which have documentation of their own.
const FOREIGN: &[&str] = &[
    "affinity",
    "env",
    "resources",
    "securityContext",
    "tolerations",
    "topologySpreadConstraints",
    "volumeMounts",
    "podTemplate.volumes",
    "selector",
    "conditions",
    "pullSecrets",
];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

/// A field's type as a person writes it: `string`, `[object]`, `{string: string}`, or its choices.
fn kind(schema: &Value) -> String {
    if let Some(choices) = schema["enum"].as_array() {
        let choices: Vec<&str> = choices.iter().filter_map(Value::as_str).collect();
        return choices.join(" \\| ");
    }
    if schema["x-kubernetes-int-or-string"] == true {
        return "integer or string".to_owned();
    }
    match schema["type"].as_str() {
        Some("array") => format!("[{}]", kind(&schema["items"])),
        Some("object") if schema["additionalProperties"].is_object() => {
            format!("{{string: {}}}", kind(&schema["additionalProperties"]))
        }
        Some(name) => name.to_owned(),
        None => "string, integer or boolean".to_owned(),
    }
}

fn is_foreign(field: &str) -> bool {
    FOREIGN
        .iter()
        .any(|name| field.ends_with(&format!(".{name}")))
}

/// A row for each field below a schema, in the order of their names.
fn rows(schema: &Value, field: &str, page: &mut String) -> Result<()> {
    let inner = match schema["type"].as_str() {
        Some("array") => &schema["items"],
        _ => schema,
    };
    let end = if schema["type"] == "array" { "[]" } else { "" };
    let required = inner["required"].as_array().cloned().unwrap_or_default();
    for (name, schema) in inner["properties"].as_object().into_iter().flatten() {
        let field = format!("{field}{end}.{name}");
        let foreign = is_foreign(&field);
        let default = match &schema["default"] {
            Value::Object(_) | Value::Array(_) | Value::Null
                if required.contains(&Value::from(name.as_str())) =>
            {
                "required".to_owned()
            }
            Value::Object(_) | Value::Array(_) | Value::Null => String::new(),
            Value::String(text) => format!("`{text}`"),
            other => format!("`{other}`"),
        };
        let text = schema["description"].as_str().unwrap_or_default();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let text = if foreign {
            "…".to_owned()
        } else {
            text.replace('|', "\\|")
        };
        let shown = field.trim_start_matches('.');
        writeln!(
            page,
            "| `{shown}` | {} | {default} | {text} |",
            kind(schema)
        )?;
        if !foreign {
            rows(schema, &field, page)?;
        }
    }
    Ok(())
}

fn page() -> Result<String> {
    let mut page = HEAD.to_owned();
    let mut files: Vec<PathBuf> = fs::read_dir(path("crds"))
        .context("crds/")?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.sort();
    for file in files {
        let text = fs::read_to_string(&file)?;
        let crd: Value =
            serde_saphyr::from_str(&text).with_context(|| file.display().to_string())?;
        let version = &crd["spec"]["versions"][0];
        let kind = crd["spec"]["names"]["kind"].as_str().context("a kind")?;
        let schema = &version["schema"]["openAPIV3Schema"]["properties"];
        for part in ["spec", "status"] {
            write!(page, "\n## {kind}: {part}\n\n")?;
            writeln!(
                page,
                "| field | type | default | what it says |\n| --- | --- | --- | --- |"
            )?;
            rows(&schema[part], "", &mut page)?;
        }
    }
    Ok(page)
}

#[test]
fn the_page_of_fields_is_that_of_the_generated_definitions() -> Result<()> {
    let page = page()?;
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path(PAGE), &page)?;
    }
    let kept = fs::read_to_string(path(PAGE)).with_context(|| PAGE.to_owned())?;
    ensure!(kept == page, "{PAGE} is not up to date: run `make docs`");
    Ok(())
}
