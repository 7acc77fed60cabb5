//! Prometheus' text format, version 0.0.4: a family's help and type, then its series.

use std::fmt::Write as _;

use super::table::Metric;

/// A page under construction.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

/// One metric's series.
pub struct Family<'a> {
    metric: &'static Metric,
    page: &'a mut Page,
}

impl Page {
    /// A page that goes on behind `text`.
    pub fn after(text: String) -> Self {
        Self { text }
    }

    /// Begins a metric; a family without series is allowed.
    pub fn family(&mut self, metric: &'static Metric) -> Family<'_> {
        let (name, help, kind) = (metric.name, metric.help, metric.kind.name());
        _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { metric, page: self }
    }

    /// A metric without labels.
    pub fn one(&mut self, metric: &'static Metric, value: f64) {
        self.family(metric).series(&[], value);
    }

    pub fn into_text(self) -> String {
        self.text
    }
}

impl Family<'_> {
    /// Adds a series; the values are in the order of the metric's labels.
    pub fn series(&mut self, labels: &[&str], value: f64) {
        debug_assert_eq!(labels.len(), self.metric.labels.len());
        let text = &mut self.page.text;
        text.push_str(self.metric.name);
        for (at, (name, value)) in self.metric.labels.iter().zip(labels).enumerate() {
            text.push(if at == 0 { '{' } else { ',' });
            text.push_str(name);
            text.push_str("=\"");
            escape(value, text);
            text.push('"');
        }
        if !labels.is_empty() {
            text.push('}');
        }
        _ = writeln!(text, " {value}");
    }
}

fn escape(value: &str, into: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => into.push_str("\\\\"),
            '"' => into.push_str("\\\""),
            '\n' => into.push_str("\\n"),
            c => into.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    #[test]
    fn a_label_can_hold_anything_that_a_client_may_send() {
        let mut page = Page::default();
        page.family(&table::GROUP_MEMBERS)
            .series(&["a\"b\\c\nd} 7"], 2.0);
        let text = page.into_text();
        let series = text.lines().last();
        assert_eq!(
            series,
            Some(r#"milena_group_members{group="a\"b\\c\nd} 7"} 2"#)
        );
    }

    #[test]
    fn large_numbers_are_written_in_full() {
        let mut page = Page::default();
        page.one(&table::LOGS_BYTES, 9_007_199_254_740_991.0);
        assert!(
            page.into_text()
                .ends_with("milena_logs_bytes 9007199254740991\n")
        );
    }
}
