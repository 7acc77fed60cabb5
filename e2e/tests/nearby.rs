//! Who says where it is reads from the replica of its rack (KIP-392): kcat with `client.rack`, three brokers in three racks.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::cluster::{Cluster, Plan};
use e2e::http;
use e2e::load::{batch, produce_one};
use e2e::process;
use e2e::skip::skipped;
use e2e::suite::Suite;
use e2e::wire::Wire;
use milena_protocol::records::Compression;

const TOPIC: &str = "nearby";
const RECORDS: usize = 1000;
const AT_ONCE: usize = 50;
/// For reading so many records.
const READ_LIMIT: Duration = Duration::from_secs(60);
const SELECTOR: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";

fn rack(broker: i32) -> String {
    format!("rack-{broker}")
}

/// Records of the topic that a broker has given to consumers.
fn given_by(cluster: &mut Cluster, broker: i32) -> Result<f64> {
    let page = http::get(&cluster.node(broker).http(), "/metrics")?.body;
    let name = format!("milena_topic_records_out_total{{topic=\"{TOPIC}\"}} ");
    let value = page.lines().find_map(|line| line.strip_prefix(&name));
    value.map_or(Ok(0.0), |value| value.parse().context("a value"))
}

fn fill(leader: &str) -> Result<()> {
    let mut wire = Wire::connect(leader)?;
    let values = [Some(b"value".as_slice()); AT_ONCE];
    for _ in 0..RECORDS / AT_ONCE {
        produce_one(&mut wire, TOPIC, 0, batch(&values, Compression::None))??;
    }
    Ok(())
}

/// Reads all records as a client in that rack.
fn read_in(rack: &str, bootstrap: &str) -> Result<()> {
    let mut kcat = Command::new("kcat");
    kcat.args(["-C", "-q", "-o", "beginning", "-b", bootstrap, "-t", TOPIC])
        .args(["-c", &RECORDS.to_string()])
        .args(["-X", &format!("client.rack={rack}")]);
    let mut child = kcat.stdout(std::process::Stdio::null()).spawn()?;
    let ended = process::wait(&mut child, READ_LIMIT);
    if ended.is_none() {
        child.kill()?;
        child.wait()?;
    }
    let status = ended.with_context(|| format!("kcat in {rack} has not read all"))?;
    ensure!(status.success(), "kcat in {rack}: {status}");
    Ok(())
}

#[test]
fn a_client_reads_from_the_replica_of_its_rack_and_without_one_from_the_leader() -> Result<()> {
    if Suite::installed("kcat")?.is_none() {
        return skipped("nearby", "kcat can't be installed");
    }
    let mut plan = Plan::of(3);
    plan.settings
        .push(format!("replica.selector.class={SELECTOR}"));
    let mut cluster = Cluster::prepare("nearby", &plan)?;
    for broker in cluster.ids() {
        cluster
            .node(broker)
            .set(&format!("broker.rack={}", rack(broker)));
    }
    cluster.run(|cluster| {
        cluster.create_topic(TOPIC, 1, 3)?;
        let leader = cluster.leader(TOPIC, 0)?;
        let bootstrap = cluster.node(leader).bootstrap();
        fill(&bootstrap)?;
        for reader in cluster.ids() {
            let before = given_by(cluster, reader)?;
            read_in(&rack(reader), &bootstrap)?;
            let given = given_by(cluster, reader)? - before;
            ensure!(
                given == RECORDS as f64,
                "broker {reader} gave {given} records to its rack; {leader} leads"
            );
        }
        let before = given_by(cluster, leader)?;
        read_in("nowhere", &bootstrap)?;
        ensure!(given_by(cluster, leader)? - before == RECORDS as f64);
        Ok(())
    })
}
