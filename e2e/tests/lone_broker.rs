//! A lone broker's data directory is a cluster's first node once it listens for peers.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::cluster::{Cluster, View};
use serde_json::Value;

/// Until the topic of committed offsets is on all brokers; it is looked at every ten seconds.
const GROWN_LIMIT: Duration = Duration::from_secs(60);
const OFFSETS: &str = "__consumer_offsets";
const OFFSETS_PARTITIONS: usize = 3;
const RECORDS: &str = "one\ntwo\nthree\n";

/// What has to be as it was: the topic's id, its records, what the group has committed.
fn kept(cluster: &Cluster) -> Result<(Value, String, Value)> {
    let milena = cluster.command_line();
    let topics = milena.prints_json("topic list")?;
    let records = milena.prints("consume kept --from beginning --exit")?;
    let group = milena.prints_json("group describe readers")?;
    let committed = group["partitions"][0]["committed"].clone();
    Ok((topics[0]["id"].clone(), records, committed))
}

#[test]
fn a_lone_brokers_directory_becomes_the_first_node_and_keeps_all() -> Result<()> {
    let settings = [
        "group.initial.rebalance.delay.ms=0",
        &format!("offsets.topic.num.partitions={OFFSETS_PARTITIONS}"),
    ];
    let cluster = Cluster::prepare_lone("lone-broker", &settings)?;
    cluster.run(|cluster| {
        let milena = cluster.command_line();
        cluster.create_topic("kept", 1, 1)?;
        milena.takes(RECORDS, "produce kept")?;
        milena.prints("consume kept -g readers --from beginning -n 3")?;
        let before = kept(cluster)?;
        ensure!(before.1 == RECORDS && before.2 == 3, "{before:?}");
        ensure!(!before.0.is_null(), "the topic has no id");

        cluster.stop(1)?;
        cluster.node(1).listen_for_peers();
        cluster.start(1)?;
        cluster.join(2)?;
        cluster.join(3)?;
        let everywhere = |view: &View| {
            view.partitions(OFFSETS) == OFFSETS_PARTITIONS
                && (0..).take(OFFSETS_PARTITIONS).all(|partition| {
                    let mut on = view.replicas(OFFSETS, partition);
                    on.sort_unstable();
                    on == [1, 2, 3]
                })
                && view.is_in_sync()
        };
        cluster.until("the offsets are on all three", GROWN_LIMIT, everywhere)?;
        let after = kept(cluster)?;
        ensure!(after == before, "{before:?} became {after:?}");
        Ok(())
    })
}
