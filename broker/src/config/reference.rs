//! The table as a page: for people, as text or Markdown; for programs, as JSON (`reference/json.rs`).

mod json;

use std::fmt::Write as _;

use super::setting::Effect;
use super::{Setting, broker_settings, topic_settings};
pub use json::json;

/// A paragraph a setting.
pub fn text() -> String {
    let mut page = String::new();
    for (title, rows) in [
        ("BROKER SETTINGS", honoured(broker_settings())),
        ("TOPIC SETTINGS", honoured(topic_settings())),
    ] {
        _ = writeln!(page, "{title}\n");
        for setting in rows {
            let default = setting.default.unwrap_or("none");
            _ = writeln!(
                page,
                "{}  ({}, default: {})",
                setting.name,
                setting.kind,
                shown(default)
            );
            _ = writeln!(page, "    {}", setting.documentation());
            _ = writeln!(
                page,
                "    Allowed: {}. Changes: {}.",
                setting.bounds, setting.update
            );
            if !setting.synonyms.is_empty() {
                _ = writeln!(page, "    Without it: {}.", synonyms(setting));
            }
            page.push('\n');
        }
    }
    page + "Known for Kafka's sake and without effect: `milena config reference -o markdown`.\n"
}

/// The page `docs/configuration.md`.
pub fn markdown() -> String {
    let mut page = String::from(PREFACE);
    _ = writeln!(page, "\n## Broker settings\n");
    _ = writeln!(
        page,
        "| name | type | default | allowed | importance | update | what it does |"
    );
    _ = writeln!(page, "| --- | --- | --- | --- | --- | --- | --- |");
    for setting in honoured(broker_settings()) {
        let (kind, default, allowed) = (
            setting.kind,
            default(setting),
            cell(&setting.bounds.to_string()),
        );
        let words = cell(&setting.documentation());
        let (importance, update) = (setting.importance, setting.update);
        _ = writeln!(
            page,
            "| `{}` | {kind} | {default} | {allowed} | {importance} | {update} | {words} |",
            setting.name
        );
    }
    _ = writeln!(
        page,
        "\n## Topic settings\n\nAll of them change while the broker runs.\n"
    );
    _ = writeln!(
        page,
        "| name | type | default | allowed | without it | what it does |"
    );
    _ = writeln!(page, "| --- | --- | --- | --- | --- | --- |");
    for setting in honoured(topic_settings()) {
        let (kind, default, allowed) = (
            setting.kind,
            default(setting),
            cell(&setting.bounds.to_string()),
        );
        let (from, words) = (synonyms(setting), cell(&setting.documentation()));
        _ = writeln!(
            page,
            "| `{}` | {kind} | {default} | {allowed} | {from} | {words} |",
            setting.name
        );
    }
    _ = writeln!(page, "\n## Known, without effect\n");
    _ = writeln!(
        page,
        "A file written for Kafka may have these; the log names each that does nothing."
    );
    _ = writeln!(page, "\n### Of the broker");
    without_effect(&mut page, broker_settings());
    _ = writeln!(page, "\n### Of topics");
    without_effect(&mut page, topic_settings());
    page
}

const PREFACE: &str = "\
# Configuration

<!-- Generated from the table in `broker/src/config`: `milena config reference -o markdown > docs/configuration.md` -->

Names, types and bounds are Apache Kafka's. Values come, the later ones counting, from

1. the defaults below,
2. files: `milena serve --config server.properties` (`name=value`) or `broker.yaml` (`name: value`, flat or nested);
   `--config` may be given several times, and a later file counts over an earlier one,
3. the environment: `MILENA_NUM_PARTITIONS` sets `num.partitions` (and `MILENA_LOG_LEVEL` sets `milena.log.level`),
4. flags: `--set num.partitions=3`, and short ones such as `--data`,
5. what is set while the broker runs, by any Kafka tool: for all brokers, then for one.

A name that is not known, or a value that is not allowed, stops the start, and the message says where it is.
Update: `read-only` holds from the next start, `cluster-wide` can be set while the broker runs, for all brokers or
one, `per-broker` for one.
";

fn honoured(settings: impl Iterator<Item = &'static Setting>) -> Vec<&'static Setting> {
    settings
        .filter(|setting| setting.effect == Effect::Honoured)
        .collect()
}

/// Names under their common reason.
fn without_effect(page: &mut String, settings: impl Iterator<Item = &'static Setting>) {
    let mut reason = "";
    for setting in settings.filter(|setting| setting.effect != Effect::Honoured) {
        if reason == setting.documentation {
            _ = write!(page, ", `{}`", setting.name);
            continue;
        }
        reason = setting.documentation;
        let stops = if setting.effect == Effect::Refused {
            " Any value but the default stops the start."
        } else {
            ""
        };
        _ = write!(
            page,
            "\n\n{}{stops}\n`{}`",
            setting.documentation(),
            setting.name
        );
    }
    page.push('\n');
}

fn default(setting: &Setting) -> String {
    match setting.default {
        None => "none".into(),
        Some("") => "empty".into(),
        Some(text) => format!("`{text}`"),
    }
}

fn shown(default: &str) -> &str {
    if default.is_empty() { "empty" } else { default }
}

fn synonyms(setting: &Setting) -> String {
    let names: Vec<String> = setting
        .synonyms
        .iter()
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    names.join(", else ")
}

/// A bar would end a table's cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_the_documentation_is_the_tables() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            page == markdown(),
            "docs/configuration.md is out of date: cargo run -p milena -- config reference -o markdown > docs/configuration.md"
        );
    }
}
