//! Ten thousand partitions: made, at rest, written, started with and deleted.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::broker::Broker;
use e2e::load::{Bystander, PRODUCE_VERSION, batch, block_on, create_topic, produce};
use e2e::process::poll;
use e2e::wire::Wire;
use milena_client::{Client, ClientOptions};
use milena_protocol::ErrorCode;
use milena_protocol::api::produce::{PartitionProduceData, ProduceRequest};
use milena_protocol::records::Compression;

const PARTITIONS: i32 = 10_000;
/// Partitions that get a record: their files are more than the broker may hold open.
const WRITTEN: i32 = 1000;
/// Far fewer than systems usually give a process.
const DESCRIPTORS_MAX: u64 = 600;
/// Of a broker whose partitions rest: listeners, connections, the metadata, and no log.
const DESCRIPTORS_AT_REST: usize = 200;
/// An unoptimised broker's for each partition; the aim is a tenth of what 10,000 cost in Apache Kafka.
const BYTES_EACH_MAX: u64 = 10 << 10;
/// What another client may wait for its record, there and back, meanwhile.
const ROUND_MAX: Duration = Duration::from_secs(5);
/// Partitions of one produce request.
const AT_ONCE: usize = 500;
/// Partitions that lacked a descriptor get their record within this.
const WRITTEN_WITHIN: Duration = Duration::from_secs(30);
/// From the answer to the deletion until the last folder is gone; less than the usual delay of a minute.
const REMOVED_WITHIN: Duration = Duration::from_secs(45);

/// Prints what a step took.
fn timed<T>(what: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    let done = step().with_context(|| what.to_owned())?;
    println!("{what}: {:?}", begun.elapsed());
    Ok(done)
}

/// One record for each of these partitions; those that did not take it.
fn write(wire: &mut Wire, partitions: &[i32]) -> Result<Vec<i32>> {
    let records = batch(&[Some(b"value")], Compression::None);
    let mut request: ProduceRequest = produce("wide", 0, -1, records.clone());
    request.topic_data[0].partition_data = partitions
        .iter()
        .map(|index| PartitionProduceData {
            index: *index,
            records: Some(records.clone()),
        })
        .collect();
    let answer = wire.ask(&request, PRODUCE_VERSION)?;
    let mut refused = Vec::new();
    for result in &answer.responses[0].partition_responses {
        match result.error_code {
            ErrorCode::None => {}
            // Descriptors are short for a moment: clients try this error again.
            ErrorCode::KafkaStorageError => refused.push(result.index),
            other => anyhow::bail!("partition {}: {other:?}", result.index),
        }
    }
    Ok(refused)
}

fn write_some(broker: &Broker) -> Result<()> {
    let mut wire = Wire::connect(&broker.bootstrap())?;
    let mut left: Vec<i32> = (0..PARTITIONS)
        .step_by((PARTITIONS / WRITTEN) as usize)
        .collect();
    let deadline = Instant::now() + WRITTEN_WITHIN;
    while !left.is_empty() {
        ensure!(Instant::now() < deadline, "{} partitions left", left.len());
        let mut refused = Vec::new();
        for some in left.chunks(AT_ONCE) {
            refused.extend(write(&mut wire, some)?);
        }
        left = refused;
    }
    Ok(())
}

/// Folders of the wide topic that are wanted.
fn folders(broker: &Broker, wanted: impl Fn(&str) -> bool) -> Result<usize> {
    let names = fs::read_dir(broker.data())?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    Ok(names
        .iter()
        .filter(|name| name.starts_with("wide-") && wanted(name))
        .count())
}

fn delete(broker: &Broker) -> Result<()> {
    let client = Client::new(ClientOptions::new(&broker.bootstrap()));
    block_on(async { client.delete_topic("wide").await })??;
    Ok(())
}

/// Waits until nothing of the wide topic is left on the disk.
fn until_removed(broker: &Broker) -> Result<()> {
    let left = || folders(broker, |_| true);
    let none_left = poll(REMOVED_WITHIN, || match left() {
        Ok(0) => Some(Ok(())),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    });
    none_left.with_context(|| format!("{:?} folders are left", left()))?
}

#[test]
fn ten_thousand_partitions_are_made_written_and_deleted_within_a_clients_usual_time() -> Result<()>
{
    // What was deleted goes at once, and not after a minute.
    let mut broker = Broker::start(&["--set", "log.segment.delete.delay.ms=0"])?;
    broker.limit_descriptors(DESCRIPTORS_MAX)?;
    create_topic(&broker.bootstrap(), "bystander", 1, &[])?;
    let before = broker.memory_bytes("VmRSS")?;
    let bystander = Bystander::start(&broker.bootstrap(), "bystander")?;

    timed("created", || {
        create_topic(&broker.bootstrap(), "wide", PARTITIONS, &[])
    })?;
    let descriptors = broker.descriptors()?;
    ensure!(
        descriptors < DESCRIPTORS_AT_REST,
        "{descriptors} descriptors at rest"
    );
    timed("a record in some", || write_some(&broker))?;
    let each = broker.memory_bytes("VmRSS")?.saturating_sub(before) / PARTITIONS as u64;
    println!("{each} bytes of memory for each partition");
    ensure!(each < BYTES_EACH_MAX, "{each} bytes of memory each");
    let rounds = bystander.finish()?;
    println!("another client's slowest round: {:?}", rounds.slowest);
    ensure!(rounds.slowest < ROUND_MAX, "{:?}", rounds.slowest);

    broker.kill9()?;
    timed("started after kill -9", || broker.start_again())?;
    broker.limit_descriptors(DESCRIPTORS_MAX)?;
    let descriptors = broker.descriptors()?;
    ensure!(
        descriptors < DESCRIPTORS_AT_REST,
        "{descriptors} descriptors after the start"
    );
    write_some(&broker)?;
    timed("stopped with few descriptors", || broker.stop())?;
    let log = broker.log()?;
    ensure!(log.contains("stopped; everything is on disk"), "{log}");
    timed("started after a clean stop", || broker.start_again())?;
    let bystander = Bystander::start(&broker.bootstrap(), "bystander")?;
    timed("deleted", || delete(&broker))?;
    ensure!(folders(&broker, |name| !name.ends_with("-delete"))? == 0);
    timed("removed", || until_removed(&broker))?;
    let rounds = bystander.finish()?;
    println!("another client's slowest round: {:?}", rounds.slowest);
    ensure!(rounds.slowest < ROUND_MAX, "{:?}", rounds.slowest);
    timed("stopped", || broker.stop())
}

#[test]
fn logs_hold_no_more_files_open_than_they_may() -> Result<()> {
    let mut broker = Broker::start(&["--set", "log.open.files.max=20"])?;
    create_topic(&broker.bootstrap(), "wide", PARTITIONS / 10, &[])?;
    let before = broker.descriptors()?;
    let mut wire = Wire::connect(&broker.bootstrap())?;
    let partitions: Vec<i32> = (0..PARTITIONS / 10).collect();
    ensure!(write(&mut wire, &partitions)?.is_empty());
    let closed = poll(WRITTEN_WITHIN, || {
        broker
            .descriptors()
            .ok()
            .filter(|open| *open <= before + 20)
    });
    closed.with_context(|| format!("{:?} descriptors, {before} before", broker.descriptors()))?;
    // They are opened again for whoever asks.
    ensure!(write(&mut wire, &partitions)?.is_empty());
    broker.stop()
}
