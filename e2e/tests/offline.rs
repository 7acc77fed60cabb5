//! Logs and data directories that a start can't use, as clients and operators see them.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::cluster::{Cluster, Plan, View};
use e2e::command::CommandLine;

const LIMIT: Duration = Duration::from_secs(30);
const SPREAD: &str = "spread";
const PARTITIONS: i32 = 12;
const RECORDS: &str = "one\ntwo\nthree\n";

/// Damages the first segment of a topic's only partition on a broker that is down; what it was.
fn damage(cluster: &mut Cluster, broker: i32) -> Result<(PathBuf, Vec<u8>)> {
    let folder = cluster.node(broker).data().join("damaged-0");
    let file = folder.join("00000000000000000000.log");
    let whole = fs::read(&file).with_context(|| file.display().to_string())?;
    fs::write(&file, &whole[..whole.len() - 1])?;
    Ok((file, whole))
}

/// The only log of a partition is damaged while its broker is down, and mended.
fn damage_and_mend(cluster: &mut Cluster) -> Result<()> {
    let milena = cluster.command_line();
    for topic in ["damaged", "well"] {
        cluster.create_topic(topic, 1, 1)?;
        milena.takes(RECORDS, &format!("produce {topic}"))?;
    }
    let broker = cluster.leader("damaged", 0)?;
    cluster.stop(broker)?;
    let (file, whole) = damage(cluster, broker)?;
    cluster.start(broker)?;
    let is_shut =
        |view: &View| view.leader("damaged", 0).is_none() && view.leader("well", 0).is_some();
    cluster.until("nobody leads the damaged one", LIMIT, is_shut)?;
    let records = milena.prints("consume well --from beginning --exit")?;
    ensure!(records == RECORDS, "{records}");
    let health = milena.prints("cluster describe")?;
    let shut = format!("its log on broker {broker} could not be opened");
    ensure!(
        health.contains("1 offline") && health.contains(&shut),
        "{health}"
    );

    // The stop of a broker with such a log is as clean as any: nothing of the other topic is in doubt.
    cluster.stop(broker)?;
    let at = cluster.node(broker).log_end();
    fs::write(&file, &whole)?;
    cluster.start(broker)?;
    cluster.until_in_sync()?;
    let said = cluster.node(broker).log().split_off(at);
    ensure!(!said.contains("was not clean"), "{said}");
    for topic in ["damaged", "well"] {
        let records = milena.prints(&format!("consume {topic} --from beginning --exit"))?;
        ensure!(records == RECORDS, "{topic}: {records}");
        let told = milena.prints(&format!("topic describe {topic}"))?;
        ensure!(!told.contains("may lack records"), "{told}");
    }
    Ok(())
}

#[test]
fn nobody_leads_a_partition_whose_only_log_is_damaged_and_the_others_do_not_notice() -> Result<()> {
    Cluster::prepare_lone("damaged-log", &[])?.run(damage_and_mend)
}

#[test]
fn so_it_is_in_a_cluster() -> Result<()> {
    Cluster::with("damaged-log-of-three", &Plan::of(3), damage_and_mend)
}

fn write_to_each(milena: &CommandLine) -> Result<()> {
    (0..PARTITIONS).try_for_each(|partition| {
        milena.takes("record\n", &format!("produce {SPREAD} -p {partition}"))
    })
}

#[test]
fn a_data_directory_that_cant_be_used_costs_a_broker_its_replicas_there_and_nobody_a_partition()
-> Result<()> {
    let mut cluster = Cluster::prepare("away-directory", &Plan::of(3))?;
    for id in cluster.ids() {
        cluster.node(id).add_dir("data-2");
    }
    cluster.run(|cluster| {
        let milena = cluster.command_line();
        cluster.create_topic(SPREAD, PARTITIONS, 3)?;
        write_to_each(&milena)?;
        let away = cluster.node(2).dirs().pop().context("a second directory")?;
        let has_folder = |partition: &i32| away.join(format!("{SPREAD}-{partition}")).is_dir();
        let there: Vec<i32> = (0..PARTITIONS).filter(has_folder).collect();
        ensure!(
            !there.is_empty() && there.len() < PARTITIONS as usize,
            "{there:?}"
        );
        cluster.stop(2)?;
        let identity = away.join("meta.properties");
        let whole = fs::read(&identity)?;
        fs::write(&identity, "nothing\n")?;
        cluster.node(2).start()?;
        let goes_on = |view: &View| {
            (0..PARTITIONS).all(|partition| {
                let in_sync = view.in_sync(SPREAD, partition);
                let leader = view.leader(SPREAD, partition);
                let is_there = there.contains(&partition);
                leader.is_some()
                    && in_sync.contains(&2) != is_there
                    && !(is_there && leader == Some(2))
            })
        };
        cluster.until("its other replicas are in sync", LIMIT, goes_on)?;
        write_to_each(&milena)?;

        cluster.stop(2)?;
        fs::write(&identity, whole)?;
        cluster.start(2)?;
        cluster.until_in_sync()?;
        let read = milena.prints(&format!("consume {SPREAD} --from beginning --exit"))?;
        let all = "record\n".repeat(2 * PARTITIONS as usize);
        ensure!(read == all, "{read}");
        Ok(())
    })
}
