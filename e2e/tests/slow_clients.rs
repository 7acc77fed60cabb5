//! Clients that take their time: consumers that do not read, and producers that do not finish.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use e2e::broker::Broker;
use e2e::load::{Bystander, FETCH_VERSION, PRODUCE_VERSION, batch, create_topic, fetch};
use e2e::load::{produce, produce_one};
use e2e::process;
use e2e::wire::{Wire, framed};
use milena_protocol::api::fetch::FetchRequest;
use milena_protocol::api::produce::ProduceRequest;
use milena_protocol::header::decode_response;
use milena_protocol::records::Compression;

const TOPIC: &str = "much";
/// What another client may wait for its record, there and back, meanwhile.
const ROUND_MAX: Duration = Duration::from_secs(5);
/// Bound of each wait for a state.
const WITHIN: Duration = Duration::from_secs(30);

/// A batch of almost a mebibyte.
fn large_batch() -> Bytes {
    batch(&[Some(&vec![7; 1_000_000][..])], Compression::None)
}

/// Lets another client work until it has done some rounds; the slowest.
fn others_go_on(bystander: Bystander, broker: &Broker) -> Result<()> {
    let mut wire = Wire::connect(&broker.bootstrap())?;
    for _ in 0..20 {
        let records = batch(&[Some(b"x")], Compression::None);
        produce_one(&mut wire, "other", 0, records)??;
    }
    let rounds = bystander.finish()?;
    println!("another client's slowest round: {:?}", rounds.slowest);
    ensure!(rounds.count > 0 && rounds.slowest < ROUND_MAX, "{rounds:?}");
    Ok(())
}

#[test]
fn consumers_that_do_not_read_hold_little_memory_and_nobody_up() -> Result<()> {
    const BATCHES: usize = 32;
    const CONSUMERS: usize = 50;
    const FETCHES: i32 = 20;
    /// Of [`CONSUMERS`] times 32 MiB that they have asked for, [`FETCHES`] times over.
    const MEMORY_MAX: u64 = 24 << 20;

    let broker = Broker::start(&[])?;
    create_topic(&broker.bootstrap(), TOPIC, 1, &[])?;
    create_topic(&broker.bootstrap(), "other", 1, &[])?;
    let mut wire = Wire::connect(&broker.bootstrap())?;
    for _ in 0..BATCHES {
        produce_one(&mut wire, TOPIC, 0, large_batch())??;
    }
    let before = broker.memory_bytes("VmRSS")?;
    let mut request = fetch(TOPIC, 0, 0, 0);
    request.max_bytes = i32::MAX;
    request.topics[0].partitions[0].partition_max_bytes = i32::MAX;
    let mut consumers = Vec::new();
    for _ in 0..CONSUMERS {
        let mut consumer = Wire::connect(&broker.bootstrap())?;
        for id in 0..FETCHES {
            consumer.send(&request, FETCH_VERSION, id)?;
        }
        consumers.push(consumer);
    }
    others_go_on(Bystander::start(&broker.bootstrap(), "other")?, &broker)?;
    let held = broker.memory_bytes("VmRSS")?.saturating_sub(before);
    println!("{CONSUMERS} consumers hold {} KiB", held >> 10);
    ensure!(held < MEMORY_MAX, "{} MiB", held >> 20);
    // Whoever reads at last gets everything, in order.
    for consumer in consumers.iter_mut().take(2) {
        for id in 0..2 {
            let frame = consumer.receive()?.expect("an answer");
            let (found, answer) = decode_response::<FetchRequest>(frame, FETCH_VERSION)?;
            let records = answer.responses[0].partitions[0].records.as_ref();
            let len = records.map_or(0, |records| records.len());
            ensure!(found == id && len > BATCHES * 1_000_000, "{found}: {len}");
        }
    }
    Ok(())
}

#[test]
fn requests_beyond_the_bytes_in_hand_wait_in_their_sockets_and_are_all_answered() -> Result<()> {
    const IN_HAND_MAX: usize = 4 << 20;
    const PRODUCERS: usize = 40;
    /// What each sends of its request at first.
    const BEGUN: usize = 64 << 10;
    /// The bytes in hand, what is begun, and the allocator's share; all requests together have 40 MB.
    const MEMORY_MAX: u64 = 4 * IN_HAND_MAX as u64;

    let broker = Broker::start(&[
        "--set",
        "queued.max.request.bytes=4194304",
        "--set",
        "socket.request.max.bytes=2097152",
    ])?;
    create_topic(&broker.bootstrap(), TOPIC, 1, &[])?;
    let mut warm = Wire::connect(&broker.bootstrap())?;
    produce_one(&mut warm, TOPIC, 0, large_batch())??;
    let before = broker.memory_bytes("VmRSS")?;
    let request = framed(&produce(TOPIC, 0, -1, large_batch()), PRODUCE_VERSION, 7);
    let mut producers = Vec::new();
    for _ in 0..PRODUCERS {
        let mut wire = Wire::connect(&broker.bootstrap())?;
        wire.send_bytes(&request[..BEGUN])?;
        producers.push(wire);
    }
    let in_hand = || broker.metric("milena_in_flight_request_bytes");
    let full = process::poll(WITHIN, || {
        let bytes = in_hand().ok()? as usize;
        (bytes + request.len() > IN_HAND_MAX).then_some(bytes)
    });
    ensure!(full.is_some_and(|bytes| bytes <= IN_HAND_MAX), "{full:?}");

    let rest = request[BEGUN..].to_vec();
    let begun = Instant::now();
    let work: Vec<_> = producers
        .into_iter()
        .map(|mut wire| {
            let rest = rest.clone();
            std::thread::spawn(move || -> Result<i64> {
                wire.send_bytes(&rest)?;
                let frame = wire.receive()?.expect("an answer");
                let (_, answer) = decode_response::<ProduceRequest>(frame, PRODUCE_VERSION)?;
                let result = &answer.responses[0].partition_responses[0];
                result.error_code.ok()?;
                Ok(result.base_offset)
            })
        })
        .collect();
    let mut offsets = work
        .into_iter()
        .map(|work| work.join().expect("no panic"))
        .collect::<Result<Vec<_>>>()?;
    offsets.sort_unstable();
    ensure!(offsets == (1..=PRODUCERS as i64).collect::<Vec<_>>());
    let held = broker.memory_bytes("VmHWM")?.saturating_sub(before);
    println!(
        "{PRODUCERS} requests of 1 MB answered in {:?}, with {} KiB of memory",
        begun.elapsed(),
        held >> 10
    );
    ensure!(held < MEMORY_MAX, "{} KiB", held >> 10);
    ensure!(process::poll(WITHIN, || (in_hand().ok()? == 0.0).then_some(())).is_some());
    Ok(())
}
