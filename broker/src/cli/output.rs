//! What commands print: tables for people, JSON for programs.

use std::collections::BTreeSet;
use std::io::{self, Write};

use comfy_table::{Cell, CellAlignment, Table, presets};
use indicatif::HumanCount;
use milena_protocol::records::Header;
use serde::Serialize;
use serde_json::Value;

use super::failure::Failure;

/// How a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table for people.
    Table,
    /// JSON for programs.
    Json,
}

/// Prints rows as a table under `headers`, numbers to the right.
pub fn table<const N: usize>(headers: [&str; N], rows: &[[String; N]]) -> Result<(), Failure> {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(headers.map(|header| header.to_uppercase()));
    for row in rows {
        table.add_row(row.iter().map(|text| {
            let is_number = text.starts_with(|c: char| c.is_ascii_digit())
                && text.chars().all(|c| c.is_ascii_digit() || c == '.');
            let alignment = if is_number {
                CellAlignment::Right
            } else {
                CellAlignment::Left
            };
            Cell::new(text).set_alignment(alignment)
        }));
    }
    line(&table.trim_fmt())
}

/// Bytes as JSON: text, in which what is not UTF-8 appears as U+FFFD.
pub fn json_text(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, |bytes| String::from_utf8_lossy(bytes).into())
}

/// A record's headers as JSON: an object; where a name occurs twice, a list of names and values.
pub fn json_headers(headers: &[Header]) -> Value {
    let pairs = headers.iter().map(|header| {
        let name = String::from_utf8_lossy(&header.key).into_owned();
        (name, json_text(header.value.as_deref()))
    });
    let names: BTreeSet<_> = headers.iter().map(|header| &header.key).collect();
    if names.len() == headers.len() {
        return pairs.collect::<serde_json::Map<_, _>>().into();
    }
    pairs
        .map(|(name, value)| serde_json::json!([name, value]))
        .collect()
}

/// Prints a value as JSON, indented.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}

/// A count with what is counted: `1 log`, `1,204 logs`.
pub fn counted(count: u64, (one, many): (&str, &str)) -> String {
    let what = if count == 1 { one } else { many };
    format!("{} {what}", HumanCount(count))
}

/// Prints one line.
pub fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    Ok(writeln!(out, "{text}")?)
}
