//! Voters that have lost their disks never found a second cluster beside the one that there is.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::cluster::{Cluster, Plan};
use e2e::process::poll;

/// For how long a cluster that must not come about is looked for: founding takes a fresh one less than a second.
const WATCHED: Duration = Duration::from_secs(15);
const TOPIC: &str = "kept";

/// Every cluster id that a disk has, or a broker tells.
fn cluster_ids(cluster: &mut Cluster) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for broker in cluster.ids() {
        let file = cluster.node(broker).data().join("meta.properties");
        let text = fs::read_to_string(file).unwrap_or_default();
        let written = text
            .lines()
            .find_map(|line| line.strip_prefix("cluster.id="));
        found.extend(written.map(str::to_owned));
        let told = cluster.view_of(broker).ok();
        found.extend(told.and_then(|view| view.cluster_id()));
    }
    found
}

/// Wipes some of the brokers while all are down, and starts all again. The cluster's id, and where the log of the last
/// broker's new life begins.
fn wipe(cluster: &mut Cluster, brokers: &[i32]) -> Result<(String, usize)> {
    cluster.create_topic(TOPIC, 3, 3)?;
    let id = cluster.view()?.cluster_id().context("no cluster id")?;
    for broker in cluster.ids() {
        cluster.node(broker).kill9()?;
    }
    for &broker in brokers {
        cluster.node(broker).wipe()?;
    }
    let before = cluster.node(3).log_end();
    cluster.start_all()?;
    Ok((id, before))
}

#[test]
fn one_wiped_voter_of_three_joins_the_cluster_that_the_others_have() -> Result<()> {
    Cluster::with("one-wiped", &Plan::of(3), |cluster| {
        let (id, _) = wipe(cluster, &[1])?;
        cluster.until_in_sync()?;
        ensure!(cluster.view()?.partitions(TOPIC) == 3, "the topic is gone");
        let found = cluster_ids(cluster);
        ensure!(found == BTreeSet::from([id]), "{found:?}");
        Ok(())
    })
}

#[test]
fn two_wiped_voters_of_three_found_no_second_cluster() -> Result<()> {
    Cluster::with("two-wiped", &Plan::of(3), |cluster| {
        let (id, before) = wipe(cluster, &[1, 2])?;
        let second = poll(WATCHED, || {
            let mut found = cluster_ids(cluster);
            found.remove(&id);
            found.pop_first()
        });
        ensure!(second.is_none(), "beside {id} there is {second:?}");
        let survivor = cluster.node(3);
        survivor.until_logged_since(before, &["majority"], WATCHED)?;
        Ok(())
    })
}
