//! Alerts, dashboards and runbooks belong together, and name series that there are. No cluster is needed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use e2e::skip::skipped;
use serde_json::Value;

const ALERTS: &str = "charts/milena-operator/files/alerts.yaml";
const DASHBOARDS: &str = "charts/milena-operator/files/dashboards";
const ALERT_TESTS: &str = "e2e/kube/alerts_test.yaml";
const RUNBOOKS: &str = "docs/runbooks";
/// What a runbook answers, in this order.
const SECTIONS: &[&str] = &["## Meaning", "## Impact", "## Diagnosis", "## Mending"];
/// What a histogram's name ends with in its series.
const OF_HISTOGRAMS: &[&str] = &["_bucket", "_sum", "_count"];
/// How names of ours begin, and of those that every process has.
const PREFIXES: &[&str] = &["milena_", "process_"];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// Files of a folder whose names end so.
fn files(folder: &str, end: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path(folder)).with_context(|| folder.to_owned())? {
        let file = entry?.path();
        if file.to_string_lossy().ends_with(end) {
            found.push(file);
        }
    }
    found.sort();
    ensure!(!found.is_empty(), "{folder} has no {end}");
    Ok(found)
}

/// The words of a text that begin as names of series do.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| c != '_' && !c.is_ascii_alphanumeric());
    words
        .filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix)))
        .collect()
}

/// Every name that the broker's page and the operator's sources have.
fn known() -> Result<BTreeSet<String>> {
    let page = read(&path("docs/metrics.md"))?;
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let mut known: BTreeSet<String> = rows.map(str::to_owned).collect();
    ensure!(known.len() > 50, "docs/metrics.md has its table");
    let mut folders = vec![path("operator/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let file = entry?.path();
            if file.is_dir() {
                folders.push(file);
            } else {
                let text = read(&file)?;
                known.extend(names(&text).into_iter().map(str::to_owned));
            }
        }
    }
    Ok(known)
}

fn is_known(known: &BTreeSet<String>, name: &str) -> bool {
    let of_histogram = |end: &&str| {
        name.strip_suffix(*end)
            .is_some_and(|name| known.contains(name))
    };
    known.contains(name) || OF_HISTOGRAMS.iter().any(of_histogram)
}

/// Values of a key anywhere in a document.
fn values<'a>(document: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match document {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == key => found.push(text),
                    value => values(value, key, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| values(item, key, found)),
        _ => {}
    }
}

#[test]
fn alerts_and_panels_ask_for_series_that_there_are() -> Result<()> {
    let known = known()?;
    let mut asked = vec![(path(ALERTS), read(&path(ALERTS))?)];
    for file in files(DASHBOARDS, ".json")? {
        let text = read(&file)?;
        let dashboard: Value =
            serde_json::from_str(&text).with_context(|| file.display().to_string())?;
        let mut queries = Vec::new();
        values(&dashboard, "expr", &mut queries);
        values(&dashboard["templating"], "query", &mut queries);
        ensure!(queries.len() > 5, "{} has panels", file.display());
        asked.push((file, queries.join("\n")));
    }
    for (file, text) in &asked {
        let unknown: Vec<&str> = names(text)
            .into_iter()
            .filter(|name| !is_known(&known, name))
            .collect();
        ensure!(
            unknown.is_empty(),
            "{}: nobody has {unknown:?}",
            file.display()
        );
    }
    Ok(())
}

/// Each alert and its runbook's file.
fn alerts(rules: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    let mut alert = "";
    for line in rules.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("- alert: ") {
            alert = name;
        } else if let Some(runbook) = line.strip_prefix("runbook_url: ") {
            found.push((alert, runbook));
        }
    }
    found
}

#[test]
fn each_alert_has_a_runbook_and_each_runbook_an_alert() -> Result<()> {
    let rules = read(&path(ALERTS))?;
    let alerts = alerts(&rules);
    ensure!(
        alerts.len() == rules.matches("- alert: ").count(),
        "an alert without a runbook_url, or with two"
    );
    for (alert, runbook) in &alerts {
        let page = read(&path(runbook)).with_context(|| format!("the runbook of {alert}"))?;
        ensure!(
            page.starts_with(&format!("# {alert}\n")),
            "{runbook} is not about {alert}"
        );
        let mut rest = page.as_str();
        for section in SECTIONS {
            let at = rest.find(section);
            let at = at.with_context(|| format!("{runbook}: no {section} where it belongs"))?;
            rest = &rest[at..];
        }
    }
    for file in files(RUNBOOKS, ".md")? {
        let name = file
            .file_name()
            .context("a file")?
            .to_string_lossy()
            .into_owned();
        ensure!(
            alerts
                .iter()
                .any(|(_, runbook)| runbook.ends_with(&format!("/{name}"))),
            "{RUNBOOKS}/{name} belongs to no alert"
        );
    }
    Ok(())
}

#[test]
fn dashboards_have_ids_of_their_own() -> Result<()> {
    let mut seen = BTreeSet::new();
    for file in files(DASHBOARDS, ".json")? {
        let dashboard: Value = serde_json::from_str(&read(&file)?)?;
        let uid = dashboard["uid"].as_str().context("a dashboard has a uid")?;
        ensure!(seen.insert(uid.to_owned()), "{uid} is there twice");
        let panels = dashboard["panels"]
            .as_array()
            .context("a dashboard has panels")?;
        let mut ids = BTreeSet::new();
        for panel in panels {
            ensure!(
                ids.insert(panel["id"].as_i64()),
                "{uid}: a panel's id twice: {}",
                panel["id"]
            );
        }
    }
    Ok(())
}

/// The rules as Prometheus itself reads and tries them, where its promtool is installed (Debian: prometheus).
#[test]
fn each_alert_fires_for_what_it_is_about_and_clears() -> Result<()> {
    let tests = read(&path(ALERT_TESTS))?;
    let rules = read(&path(ALERTS))?;
    for (alert, _) in alerts(&rules) {
        ensure!(
            tests.contains(&format!("alertname=\"{alert}\"")),
            "{ALERT_TESTS} does not try {alert}"
        );
    }
    for arguments in [["check", "rules", ALERTS], ["test", "rules", ALERT_TESTS]] {
        let promtool = Command::new("promtool")
            .args(arguments)
            .current_dir(path("."))
            .output();
        let Ok(output) = promtool else {
            let why = "promtool is not on the PATH; Debian has it in the package prometheus";
            return skipped("monitoring", why);
        };
        ensure!(
            output.status.success(),
            "promtool {arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
