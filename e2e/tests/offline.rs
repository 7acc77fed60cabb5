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

/// The first segment of a topic's only partition.
fn first_segment(cluster: &mut Cluster, topic: &str) -> Result<PathBuf> {
    let folder = cluster.node(1).data().join(format!("{topic}-0"));
    let file = folder.join("00000000000000000000.log");
    ensure!(file.exists(), "{} is not there", file.display());
    Ok(file)
}

#[test]
fn nobody_leads_a_partition_whose_only_log_is_damaged_and_the_others_do_not_notice() -> Result<()> {
    let cluster = Cluster::prepare_lone("damaged-log", &[])?;
    cluster.run(|cluster| {
        let milena = cluster.command_line();
        for topic in ["damaged", "well"] {
            cluster.create_topic(topic, 1, 1)?;
            milena.takes("one\ntwo\nthree\n", &format!("produce {topic}"))?;
        }
        cluster.stop(1)?;
        let file = first_segment(cluster, "damaged")?;
        let whole = fs::read(&file)?;
        fs::write(&file, &whole[..whole.len() - 1])?;
        cluster.start(1)?;
        let is_shut =
            |view: &View| view.leader("damaged", 0).is_none() && view.leader("well", 0) == Some(1);
        cluster.until("nobody leads the damaged one", LIMIT, is_shut)?;
        let records = milena.prints("consume well --from beginning --exit")?;
        ensure!(records == "one\ntwo\nthree\n", "{records}");
        let health = milena.prints("cluster describe")?;
        ensure!(health.contains("1 offline"), "{health}");

        // The stop of a broker with such a log is as clean as any: nothing of the other topic is in doubt.
        cluster.stop(1)?;
        let at = cluster.node(1).log_end();
        fs::write(&file, &whole)?;
        cluster.start(1)?;
        cluster.until_in_sync()?;
        let said = cluster.node(1).log().split_off(at);
        ensure!(!said.contains("was not clean"), "{said}");
        for topic in ["damaged", "well"] {
            let records = milena.prints(&format!("consume {topic} --from beginning --exit"))?;
            ensure!(records == "one\ntwo\nthree\n", "{topic}: {records}");
            let told = milena.prints(&format!("topic describe {topic}"))?;
            ensure!(!told.contains("may lack records"), "{told}");
        }
        Ok(())
    })
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
        ensure!(
            read == "record
"
            .repeat(2 * PARTITIONS as usize),
            "{read}"
        );
        Ok(())
    })
}
