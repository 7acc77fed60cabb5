//! What acknowledgements cost that wait for the disk (`flush.messages=1`): as many syncs as one client waits for, and
//! fewer where many wait together.

use anyhow::{Context, Result, ensure};
use e2e::broker::Broker;
use e2e::load::{batch, create_topic, produce_one};
use e2e::wire::Wire;
use milena_protocol::records::Compression;

const RECORDS: usize = 20;
const CLIENTS: usize = 8;

fn flushes(broker: &Broker) -> Result<f64> {
    broker.metric("milena_log_flush_duration_seconds_count")
}

/// One record after the other.
fn produce(bootstrap: &str) -> Result<()> {
    let mut wire = Wire::connect(bootstrap)?;
    for _ in 0..RECORDS {
        let records = batch(&[Some(b"value")], Compression::None);
        produce_one(&mut wire, "t", 0, records)?.map_err(anyhow::Error::from)?;
    }
    Ok(())
}

#[test]
fn each_acknowledgement_waits_for_a_sync_and_many_share_one() -> Result<()> {
    let mut broker = Broker::start(&[])?;
    let bootstrap = broker.bootstrap();
    create_topic(&bootstrap, "t", 1, &[("flush.messages", "1")])?;
    produce(&bootstrap)?;
    let alone = flushes(&broker)?;
    ensure!(
        alone >= RECORDS as f64,
        "{RECORDS} records in {alone} syncs"
    );
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| produce(&bootstrap)))
            .collect();
        let mut ends = clients.into_iter().map(|client| client.join());
        ends.try_for_each(|end| end.map_err(|_| anyhow::anyhow!("a client panicked"))?)
    })?;
    let shared = flushes(&broker)? - alone;
    let records = CLIENTS * RECORDS;
    println!("{records} records of {CLIENTS} clients in {shared} syncs");
    ensure!(
        shared < records as f64,
        "{records} records in {shared} syncs"
    );
    broker.stop().context("a clean stop")
}
