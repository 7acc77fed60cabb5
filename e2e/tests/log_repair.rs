//! Damage that no start looks for: it is found by `milena log check`, and mended by `milena log repair`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::broker::Broker;
use e2e::cluster::{Cluster, Plan};
use e2e::command::CommandLine;
use e2e::load::{batch, create_topic, produce_one};
use e2e::suite::Suite;
use e2e::wire::Wire;
use milena_protocol::records::Compression;

const RECORDS: usize = 10;
/// Of so many.
const DAMAGED: usize = 3;
const LOGGED_LIMIT: Duration = Duration::from_secs(20);

fn produce(bootstrap: &str) -> Result<()> {
    let mut wire = Wire::connect(bootstrap)?;
    for record in 0..RECORDS {
        let records = batch(&[Some(format!("v{record}").as_bytes())], Compression::None);
        produce_one(&mut wire, "t", 0, records)?.map_err(anyhow::Error::from)?;
    }
    Ok(())
}

fn segment(data: &Path) -> PathBuf {
    data.join("t-0").join(format!("{:020}.log", 0))
}

/// Changes a byte of one record's batch; all batches are of one size.
fn spoil(data: &Path) -> Result<()> {
    let segment = segment(data);
    let mut bytes = fs::read(&segment).context("a segment")?;
    let batch = bytes.len() / RECORDS;
    bytes[DAMAGED * batch + batch - 2] ^= 1;
    fs::write(&segment, bytes).context("spoil a segment")
}

#[test]
fn a_damaged_record_is_named_and_all_others_are_kept() -> Result<()> {
    let mut broker = Broker::start(&[])?;
    create_topic(&broker.bootstrap(), "t", 1, &[])?;
    produce(&broker.bootstrap())?;
    let milena = CommandLine::new(&broker.bootstrap());
    let data = broker.data();
    let dir = data.display().to_string();
    milena
        .run(&["log", "check", &dir])?
        .failed(1, &["in use", "stop that broker"])?;
    broker.stop()?;
    let whole = milena.prints(&format!("log check {dir}"))?;
    ensure!(whole.contains("1 log,"), "{whole}");

    spoil(&data)?;
    let found = milena.run(&["log", "check", &dir])?;
    let words = ["t-0", "00000000000000000000.log", " 3 ", "checksum"];
    ensure!(
        found.status == Some(1) && words.iter().all(|word| found.stdout.contains(word)),
        "{found:#?}"
    );
    let undecided = milena.run(&["log", "repair", &dir, "--apply"])?;
    ensure!(
        undecided.status == Some(2) && undecided.stderr.contains("--set-aside"),
        "{undecided:#?}"
    );
    let shown = milena.prints(&format!("log repair {dir} --cut"))?;
    ensure!(shown.contains("nothing was changed"), "{shown}");
    let done = milena.prints(&format!("log repair {dir} --cut --apply"))?;
    ensure!(
        done.contains("goes on without the damaged records"),
        "{done}"
    );
    milena.prints(&format!("log check {dir}"))?;
    ensure!(
        segment(&data).with_added_extension("damaged").exists(),
        "nothing is kept"
    );
    if let Some(dump_log) = Suite::installed("dump-log")? {
        dump_log.run(&[&*dir])?;
    }

    broker.start_again()?;
    let milena = CommandLine::new(&broker.bootstrap());
    let expected: Vec<String> = (0..RECORDS)
        .filter(|record| *record != DAMAGED)
        .map(|record| format!("v{record}"))
        .collect();
    let read = milena.prints("consume t --from beginning --exit")?;
    ensure!(read.lines().eq(&expected), "{read}");
    broker.stop()
}

#[test]
fn a_log_that_was_set_aside_is_copied_anew_and_nobody_trusts_it_before() -> Result<()> {
    Cluster::with("log-set-aside", &Plan::of(3), |cluster| {
        cluster.create_topic("t", 1, 3)?;
        let broker = cluster.leader("t", 0)?;
        produce(&cluster.node(broker).bootstrap())?;
        let milena = cluster.command_line();
        cluster.stop(broker)?;
        let data = cluster.node(broker).data();
        let dir = data.display().to_string();
        spoil(&data)?;
        let done = milena.prints(&format!("log repair {dir} -t t --set-aside --apply"))?;
        ensure!(done.contains("copied from another broker"), "{done}");
        ensure!(!data.join("t-0").exists(), "it is still there");

        cluster.start(broker)?;
        let words = ["not in its data directory any more", "topic=\"t\""];
        cluster.node(broker).until_logged(&words, LOGGED_LIMIT)?;
        cluster
            .node(broker)
            .until_logged(&["leaves the in-sync replicas"], LOGGED_LIMIT)?;
        cluster.until_in_sync()?;
        cluster.stop(broker)?;
        let again = milena.prints_json(&format!("log check {dir} -t t"))?;
        ensure!(
            again[0]["batches"] == RECORDS
                && again[0]["problems"].as_array().is_some_and(Vec::is_empty),
            "{again:#}"
        );
        cluster.start(broker)
    })
}
