//! What the operator's chart has for Prometheus and Grafana: the alerts, and the panels' queries.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::super::{list, repository, text};

/// The alerts' rules.
pub fn alerts() -> PathBuf {
    repository().join("charts/milena-operator/files/alerts.yaml")
}

/// The names of all alerts of such rules, in their order.
pub fn names(rules: &str) -> Vec<&str> {
    let lines = rules.lines();
    lines
        .filter_map(|line| line.trim_start().strip_prefix("- alert: "))
        .collect()
}

/// Rules of the same alerts for a test, which can't wait for minutes:
///
/// | in the rules | becomes | so that |
/// | --- | --- | --- |
/// | `for:` | 2 s | a second look finds the same |
/// | a range of at most 5 m | 30 s | it clears soon after one fault |
/// | a longer range | 90 s | several of a kind, one after the other, fall into it |
pub fn hurried(rules: &str) -> String {
    let mut hurried = String::new();
    for line in rules.lines() {
        match line.split_once("for: ") {
            Some((margin, _)) if margin.trim().is_empty() => hurried += &format!("{margin}for: 2s"),
            _ => hurried += &with_short_ranges(line),
        }
        hurried.push('\n');
    }
    hurried
}

fn with_short_ranges(line: &str) -> String {
    let mut parts = line.split('[');
    let mut short = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let range = part.split_once(']').and_then(|(range, rest)| {
            let (number, unit) = range.split_at_checked(range.len().checked_sub(1)?)?;
            let seconds = match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3_600,
                "d" => 86_400,
                _ => return None,
            };
            Some((number.parse::<u64>().ok()? * seconds, rest))
        });
        short += &match range {
            Some((seconds, rest)) if seconds > 300 => format!("[90s]{rest}"),
            Some((_, rest)) => format!("[30s]{rest}"),
            None => format!("[{part}"),
        };
    }
    short
}

/// A query of a dashboard.
#[derive(Debug, Clone)]
pub struct Panel {
    /// What the panel is called.
    pub title: String,
    /// What it asks for.
    pub query: String,
}

/// Every query of the dashboards, as for this cluster.
pub fn panels(namespace: &str, cluster: &str) -> Result<Vec<Panel>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(repository().join("charts/milena-operator/files/dashboards"))? {
        let dashboard: Value = serde_json::from_str(&fs::read_to_string(entry?.path())?)?;
        for panel in list(&dashboard["panels"]) {
            for target in list(&panel["targets"]) {
                let query = text(&target["expr"])
                    .replace("$namespace", namespace)
                    .replace("$cluster", cluster)
                    .replace("$topic", ".*")
                    .replace("$group", ".*")
                    .replace("$__rate_interval", "20s");
                let title = text(&panel["title"]).to_owned();
                found.push(Panel { title, query });
            }
        }
    }
    ensure!(found.len() > 30, "{} queries", found.len());
    Ok(found)
}

impl Panel {
    /// Whether it is about what there is only while something is wrong, or a change waits.
    pub fn is_empty_when_well(&self) -> bool {
        let names = [
            "milena_request_errors_total",
            "milena_broker_fenced_total",
            "milena_quorum_member_lag_entries",
            "milena_operator_waiting",
        ];
        names.iter().any(|name| self.query.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_hurried_wherever_they_would_wait() {
        let rules = "- alert: A\n  expr: changes(a{b!=\"\"}[15m]) > increase(c[5m]) or last_over_time(d[1d])\n  for: 1h\n\
                     \x20 summary: 'it waits for: [x]'\n";
        let hurried = hurried(rules);
        assert_eq!(
            hurried,
            "- alert: A\n  expr: changes(a{b!=\"\"}[90s]) > increase(c[30s]) or last_over_time(d[90s])\n  for: 2s\n\
             \x20 summary: 'it waits for: [x]'\n"
        );
        assert_eq!(names(&hurried), ["A"]);
    }
}
