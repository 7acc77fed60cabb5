//! What must not hold up the broker's end: requests that wait, and clients that do not take their answers.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::broker::Broker;
use e2e::load::{batch, create_topic, fetch, produce_one};
use e2e::process::poll;
use e2e::wire::Wire;
use milena_protocol::records::Compression;

/// Opens a session where it is asked to, and names topics by name.
const FETCH_VERSION: i16 = 12;
/// Far more than anything here takes, and far less than the waits that must not be waited for.
const LIMIT: Duration = Duration::from_secs(10);
/// The wait that clients ask for: days.
const WAIT_MS: i32 = i32::MAX;
/// More than a socket holds for a client that does not read.
const UNREAD_BATCHES: usize = 40;
const UNREAD_BATCH_SIZE: usize = 1 << 20;

/// A client whose Fetch waits for records that don't come.
fn waiting_client(broker: &Broker) -> Result<Wire> {
    create_topic(&broker.bootstrap(), "quiet", 1, &[])?;
    let mut wire = Wire::connect(&broker.bootstrap())?;
    let mut request = fetch("quiet", 0, 0, WAIT_MS);
    request.session_epoch = 0;
    wire.send(&request, FETCH_VERSION, 1)?;
    until(broker, "milena_fetch_sessions", 1.0)?;
    Ok(wire)
}

fn until(broker: &Broker, metric: &str, value: f64) -> Result<()> {
    let reached = || {
        let now = broker.metric(metric);
        now.is_ok_and(|now| now == value).then_some(())
    };
    poll(LIMIT, reached).with_context(|| format!("{metric} is not {value} after {LIMIT:?}"))
}

#[test]
fn a_fetch_that_waits_for_days_does_not_hold_the_stop() -> Result<()> {
    let mut broker = Broker::start(&[])?;
    let _client = waiting_client(&broker)?;
    let begun = Instant::now();
    broker.stop()?;
    ensure!(begun.elapsed() < LIMIT, "it took {:?}", begun.elapsed());
    Ok(())
}

#[test]
fn a_client_that_leaves_while_its_fetch_waits_is_forgotten() -> Result<()> {
    let broker = Broker::start(&[])?;
    let client = waiting_client(&broker)?;
    until(&broker, "milena_connections", 1.0)?;
    drop(client);
    until(&broker, "milena_connections", 0.0)?;
    until(&broker, "milena_fetch_sessions", 0.0)
}

/// A client that has asked for more than its socket holds, and reads none of it.
fn reluctant_client(broker: &Broker) -> Result<Wire> {
    create_topic(&broker.bootstrap(), "full", 1, &[])?;
    let mut wire = Wire::connect(&broker.bootstrap())?;
    let value = vec![7; UNREAD_BATCH_SIZE - 1000];
    for _ in 0..UNREAD_BATCHES {
        let records = batch(&[Some(&value)], Compression::None);
        produce_one(&mut wire, "full", 0, records)?.map_err(anyhow::Error::from)?;
    }
    let mut request = fetch("full", 0, 0, 0);
    (request.session_epoch, request.max_bytes) = (0, i32::MAX);
    request.topics[0].partitions[0].partition_max_bytes = i32::MAX;
    wire.send(&request, FETCH_VERSION, 1)?;
    until(broker, "milena_fetch_sessions", 1.0)?;
    Ok(wire)
}

#[test]
fn a_client_that_does_not_read_costs_no_clean_stop() -> Result<()> {
    let mut broker = Broker::start(&["--set", "shutdown.timeout.ms=6000"])?;
    let _client = reluctant_client(&broker)?;
    let begun = Instant::now();
    broker.stop()?;
    ensure!(begun.elapsed() < LIMIT, "it took {:?}", begun.elapsed());
    ensure!(broker.log_tail().contains("everything is on disk"));
    Ok(())
}

#[test]
fn a_second_signal_ends_the_stop_at_once() -> Result<()> {
    let mut broker = Broker::start(&["--set", "shutdown.timeout.ms=600000"])?;
    let _client = reluctant_client(&broker)?;
    broker.terminate()?;
    let stopping = || broker.log_tail().contains("a second signal").then_some(());
    poll(LIMIT, stopping).context("the broker does not say that it stops")?;
    // One right after the first is the same wish.
    let ended = || {
        broker.terminate().ok()?;
        broker.ended(Duration::ZERO)
    };
    let status = poll(LIMIT, ended).context("it still runs")?;
    ensure!(status.code() == Some(1), "it ended with {status}");
    Ok(())
}

#[test]
fn two_signals_in_one_moment_cost_no_clean_stop() -> Result<()> {
    let mut broker = Broker::start(&[])?;
    broker.interrupt()?;
    broker.terminate()?;
    let status = broker.ended(LIMIT).context("it still runs")?;
    ensure!(status.success(), "it ended with {status}");
    ensure!(broker.log_tail().contains("everything is on disk"));
    Ok(())
}

#[test]
fn a_terminal_that_is_closed_stops_no_broker() -> Result<()> {
    let mut broker = Broker::start(&[])?;
    broker.hang_up()?;
    let ignored = || {
        broker
            .log_tail()
            .contains("SIGHUP is ignored")
            .then_some(())
    };
    poll(LIMIT, ignored).context("nothing is told of the signal")?;
    broker.stop()
}
