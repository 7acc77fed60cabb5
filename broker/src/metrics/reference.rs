//! The table as a page for people: `docs/metrics.md`.

use std::fmt::Write as _;

use super::table::TABLE;

const PREFACE: &str = "\
# Metrics

<!-- Generated from the table in `broker/src/metrics`: `milena config metrics > docs/metrics.md` -->

`http://HOST:9404/metrics` (`http.listener`) serves them in Prometheus' text format. Counters begin at 0 with the process. A
series by API is there from the first request of that API on, and one by topic from the first partition of that topic
on. How many series there can be is bounded, whatever clients do; what is left out is counted.

| name | type | labels | what it says |
| --- | --- | --- | --- |
";

/// The page, ending with a line break.
pub fn markdown() -> String {
    let mut page = String::from(PREFACE);
    for metric in TABLE {
        let labels: Vec<String> = metric.labels.iter().map(|l| format!("`{l}`")).collect();
        _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            metric.name,
            metric.kind.name(),
            labels.join(", "),
            metric.help
        );
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_the_documentation_is_the_tables() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            page == markdown(),
            "docs/metrics.md is out of date: cargo run -p milena -- config metrics > docs/metrics.md"
        );
    }
}
