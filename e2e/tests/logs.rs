//! The broker's own log: what machines and people read of it, and that it does not grow with the requests.

use anyhow::{Context, Result, ensure};
use e2e::broker::Broker;
use e2e::load::{batch, create_topic, fetch_one, produce_one};
use e2e::wire::Wire;
use milena_protocol::records::Compression;
use serde_json::Value;

const TOPIC: &str = "busy";
/// Of each of Produce and Fetch.
const REQUESTS: usize = 1000;

/// A record, there and back.
fn round(wire: &mut Wire) -> Result<()> {
    let sent = batch(&[Some(b"value")], Compression::None);
    let offset = produce_one(wire, TOPIC, 0, sent)??;
    ensure!(!fetch_one(wire, TOPIC, 0, offset)??.is_empty());
    Ok(())
}

#[test]
fn each_line_of_a_log_for_machines_is_json_and_no_request_adds_one() -> Result<()> {
    let arguments = ["--log-format", "json", "--log-level", "info"];
    let mut broker = Broker::start(&arguments)?;
    create_topic(&broker.bootstrap(), TOPIC, 1, &[])?;
    let mut wire = Wire::connect(&broker.bootstrap())?;
    round(&mut wire)?;
    let before = broker.log()?;
    for _ in 0..REQUESTS {
        round(&mut wire)?;
    }
    let after = broker.log()?;
    let added = after.get(before.len()..).context("the log is shorter")?;
    ensure!(added.is_empty(), "requests added to the log:\n{added}");
    broker.stop()?;
    let log = broker.log()?;
    ensure!(
        log.lines().count() >= 3,
        "start, end and little else:\n{log}"
    );
    for line in log.lines() {
        check(line).with_context(|| line.to_owned())?;
    }
    Ok(())
}

/// One event: when, how grave, and what.
fn check(line: &str) -> Result<()> {
    let event: Value = serde_json::from_str(line)?;
    for field in ["timestamp", "level", "message", "target"] {
        let text = event[field].as_str();
        ensure!(text.is_some_and(|text| !text.is_empty()), "no {field}");
    }
    let levels = ["ERROR", "WARN", "INFO"];
    let level = event["level"].as_str();
    ensure!(level.is_some_and(|level| levels.contains(&level)));
    let timestamp = event["timestamp"].as_str().context("a timestamp")?;
    ensure!(
        timestamp.as_bytes().get(10) == Some(&b'T') && timestamp.ends_with('Z'),
        "{timestamp} is not in UTC as RFC 3339 writes it"
    );
    Ok(())
}

#[test]
fn a_log_for_people_has_no_json_and_no_colours_in_a_file() -> Result<()> {
    let mut broker = Broker::start(&[])?;
    broker.stop()?;
    let log = broker.log()?;
    ensure!(log.contains("listening") && log.contains("everything is on disk"));
    for line in log.lines() {
        let has_level = [" INFO ", " WARN "]
            .iter()
            .any(|level| line.contains(level));
        let is_coloured = line.contains('\u{1b}');
        ensure!(
            has_level && !is_coloured && !line.starts_with('{'),
            "{line}"
        );
    }
    Ok(())
}
