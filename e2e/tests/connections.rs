//! Very many connections, and the limits on them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::broker::Broker;
use e2e::load::{Bystander, PRODUCE_VERSION, batch, create_topic, produce};
use e2e::skip::skipped;
use e2e::wire::{Wire, framed};
use milena_protocol::api::api_versions::ApiVersionsRequest;
use milena_protocol::api::produce::ProduceRequest;
use milena_protocol::header::decode_response;
use milena_protocol::records::Compression;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const IDLE: usize = 5000;
const BUSY: usize = 1000;
/// Descriptors of this process and of the broker: the connections, and files of both.
const DESCRIPTORS: u64 = 8000;
/// The aim is 8 KiB; the allocator's own pages and an unoptimised build come on top.
const IDLE_BYTES_MAX: u64 = 32 << 10;
/// Of the idle connections every so-manieth is asked at last.
const SAMPLED: usize = 50;
/// What another client may wait for its record, there and back, while all of them are busy.
const ROUND_MAX: Duration = Duration::from_secs(5);
/// Rounds of each busy connection.
const ROUNDS: usize = 3;

/// Raises this process's limit, which the broker inherits; `false`, and a line, where that is not allowed.
fn raise_descriptors() -> Result<bool> {
    let limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|maximum| maximum < DESCRIPTORS) {
        let why = format!(
            "the hard limit of open files is {:?}, and {DESCRIPTORS} are needed: ulimit -Hn",
            limit.maximum
        );
        skipped("connections", &why)?;
        return Ok(false);
    }
    let raised = Rlimit {
        current: Some(limit.current.unwrap_or(u64::MAX).max(DESCRIPTORS)),
        ..limit
    };
    setrlimit(Resource::Nofile, raised)?;
    Ok(true)
}

/// Connections that have asked something once.
fn connect(broker: &Broker, count: usize) -> Result<Vec<Wire>> {
    (0..count)
        .map(|_| {
            let mut wire = Wire::connect(&broker.bootstrap())?;
            wire.ask(&ApiVersionsRequest::default(), 0)?;
            Ok(wire)
        })
        .collect()
}

fn busy_request() -> ProduceRequest {
    produce("busy", 0, -1, batch(&[Some(b"busy")], Compression::None))
}

fn is_stored(wire: &mut Wire) -> Result<()> {
    let frame = wire.receive()?.context("closed instead of an answer")?;
    let (_, answer) = decode_response::<ProduceRequest>(frame, PRODUCE_VERSION)?;
    answer.responses[0].partition_responses[0].error_code.ok()?;
    Ok(())
}

#[test]
fn thousands_of_idle_and_busy_connections_are_served() -> Result<()> {
    if !raise_descriptors()? {
        return Ok(());
    }
    let broker = Broker::start(&[])?;
    create_topic(&broker.bootstrap(), "busy", 1, &[])?;
    create_topic(&broker.bootstrap(), "bystander", 1, &[])?;
    let before = broker.memory_bytes("VmRSS")?;
    let mut idle = connect(&broker, IDLE)?;
    let each = broker.memory_bytes("VmRSS")?.saturating_sub(before) / IDLE as u64;
    println!("{IDLE} idle connections: {each} bytes of memory each");
    ensure!(each <= IDLE_BYTES_MAX, "{each} bytes each");

    let bystander = Bystander::start(&broker.bootstrap(), "bystander")?;
    let mut busy = connect(&broker, BUSY)?;
    let begun = Instant::now();
    let request = framed(&busy_request(), PRODUCE_VERSION, 7);
    for _ in 0..ROUNDS {
        // All have a request with the broker at once, half of it first.
        for half in [&request[..request.len() / 2], &request[request.len() / 2..]] {
            busy.iter_mut().try_for_each(|wire| wire.send_bytes(half))?;
        }
        for wire in &mut busy {
            is_stored(wire)?;
        }
    }
    let rounds = bystander.finish()?;
    println!(
        "{BUSY} busy connections: {} produces in {:?}; another client's slowest round {:?}",
        BUSY * ROUNDS,
        begun.elapsed(),
        rounds.slowest
    );
    ensure!(rounds.count > 0, "another client did nothing meanwhile");
    ensure!(rounds.slowest < ROUND_MAX, "{:?}", rounds.slowest);
    for (at, wire) in idle.iter_mut().enumerate().step_by(SAMPLED) {
        let answer = wire.ask(&ApiVersionsRequest::default(), 0);
        answer.with_context(|| format!("idle connection {at}"))?;
    }
    Ok(())
}

#[test]
fn connections_above_a_limit_are_closed_and_make_room_when_they_end() -> Result<()> {
    for limit in ["max.connections=5", "max.connections.per.ip=5"] {
        let broker = Broker::start(&["--set", limit])?;
        let mut held = connect(&broker, 5)?;
        ensure!(connect(&broker, 1).is_err(), "{limit}: one more was served");
        for wire in &mut held {
            wire.ask(&ApiVersionsRequest::default(), 0)?;
        }
        held.pop();
        let room = e2e::process::poll(Duration::from_secs(10), || connect(&broker, 1).ok());
        ensure!(room.is_some(), "{limit}: no room after one has left");
    }
    Ok(())
}

#[test]
fn idle_connections_and_half_sent_requests_are_closed_after_their_time() -> Result<()> {
    let broker = Broker::start(&["--set", "connections.max.idle.ms=300"])?;
    let mut idle = connect(&broker, 3)?;
    idle[1].send_bytes(&[0, 0])?;
    idle[2].send_bytes(&[0, 0, 1, 0, 7, 7])?;
    for (at, wire) in idle.iter_mut().enumerate() {
        ensure!(wire.receive()?.is_none(), "connection {at} was answered");
    }
    Ok(())
}
