//! Partitions on their way by the command line: throttled, looked at, given up, drained.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::cluster::{Cluster, Plan};
use e2e::command::CommandLine;
use e2e::load::{batch, block_on, produce_one};
use e2e::process::poll;
use e2e::wire::Wire;
use milena_client::admin::Resource;
use milena_protocol::records::Compression;

/// Until a change of a setting is everywhere.
const TOLD_LIMIT: Duration = Duration::from_secs(20);
const TOPIC: &str = "t";
/// Of a record; what one partition weighs takes a minute at the rate of the throttle.
const RECORD_BYTES: usize = 900_000;
const RECORDS: usize = 4;
const SLOW: &str = "50000";
const REPLICAS: &str = "follower.replication.throttled.replicas";
const RATE: &str = "follower.replication.throttled.rate";

/// A topic with two partitions of a few megabytes on two brokers of three, and for each the broker that has it not.
fn fill(cluster: &mut Cluster) -> Result<[(Vec<i32>, i32); 2]> {
    cluster.create_topic(TOPIC, 2, 2)?;
    for partition in 0..2 {
        let leader = cluster.leader(TOPIC, partition)?;
        let mut wire = Wire::connect(&cluster.node(leader).bootstrap())?;
        for _ in 0..RECORDS {
            let one = batch(&[Some(&vec![7; RECORD_BYTES])], Compression::None);
            produce_one(&mut wire, TOPIC, partition, one)??;
        }
    }
    let view = cluster.view()?;
    let place = |partition| {
        let on = view.replicas(TOPIC, partition);
        let mut others = cluster.ids().into_iter().filter(|id| !on.contains(id));
        let other = others.next().context("it is on all brokers")?;
        anyhow::Ok((on, other))
    };
    Ok([place(0)?, place(1)?])
}

/// Begins what goes on after the command, which says how its throttle ends.
fn begin(milena: &CommandLine, command: &str) -> Result<()> {
    let words: Vec<&str> = command.split(' ').collect();
    let done = milena.run(&words)?;
    ensure!(
        done.status == Some(0) && done.stderr.contains("milena topic unthrottle"),
        "{command}: {done:#?}"
    );
    Ok(())
}

/// The topic's own list of throttled replicas; none where it has none.
fn throttled(milena: &CommandLine) -> Result<Option<String>> {
    let described = milena.prints_json("topic describe t")?;
    Ok(described[0]["configs"][REPLICAS]
        .as_str()
        .map(str::to_owned))
}

/// The rate as a broker has it.
fn rate(cluster: &Cluster) -> Result<Option<String>> {
    let asked = async {
        let client = cluster.client();
        client.configs(Resource::Broker, &["1"]).await
    };
    let configs = block_on(asked)??.remove("1").unwrap_or_default();
    let rate = configs.into_iter().find(|config| config.name == RATE);
    Ok(rate
        .filter(|config| !config.is_default)
        .and_then(|config| config.value))
}

/// Waits until neither a replica nor the rate is left.
fn until_unthrottled(cluster: &Cluster, milena: &CommandLine) -> Result<()> {
    let mut last = (None, None);
    let gone = poll(TOLD_LIMIT, || {
        last = (throttled(milena).ok()?, rate(cluster).ok()?);
        (last == (None, None)).then_some(())
    });
    gone.with_context(|| format!("still throttled: {last:?}"))
}

#[test]
fn throttled_moves_keep_to_themselves_and_leave_no_throttle_behind() -> Result<()> {
    Cluster::with("throttled-moves", &Plan::of(3), |cluster| {
        let milena = cluster.command_line();
        let [(on, other), (on_1, other_1)] = fill(cluster)?;
        let (to, to_1) = (
            format!("{},{other}", on[0]),
            format!("{},{other_1}", on_1[0]),
        );
        begin(
            &milena,
            &format!("topic move t-0 --to {to} --throttle {SLOW}"),
        )?;
        begin(
            &milena,
            &format!("topic move t-1 --to {to_1} --throttle {SLOW}"),
        )?;
        let both = format!("0:{other},1:{other_1}");
        ensure!(throttled(&milena)?.as_deref() == Some(both.as_str()));
        ensure!(rate(cluster)?.as_deref() == Some(SLOW));

        let moves = milena.prints_json("topic moves")?;
        for (at, other) in [(0, other), (1, other_1)] {
            let way = &moves[at];
            let bytes = |key: &str| way[key].as_u64().unwrap_or_default();
            ensure!(
                way["partition"] == at && way["adding"][0] == other,
                "{moves:#}"
            );
            ensure!(bytes("bytes_left") > 0, "{moves:#}");
            let whole = bytes("bytes_left") + bytes("bytes_done");
            ensure!(whole > (RECORDS * RECORD_BYTES) as u64, "{moves:#}");
            ensure!(way["bytes_per_second"].is_u64(), "{moves:#}");
        }
        let none = milena.prints_json("topic unthrottle")?;
        ensure!(none["unthrottled"] == 0, "what is copied stays throttled");

        milena.prints("topic move t-0 --cancel")?;
        ensure!(throttled(&milena)? == Some(format!("1:{other_1}")));
        milena.prints("topic move t-1 --cancel")?;
        ensure!(milena.prints("topic moves")? == "nothing is on its way\n");
        until_unthrottled(cluster, &milena)?;

        milena.prints(&format!(
            "topic move t-0 --to {to} --throttle 90000000 --wait=50s"
        ))?;
        ensure!(cluster.view()?.replicas(TOPIC, 0) == [on[0], other]);
        until_unthrottled(cluster, &milena)
    })
}

#[test]
fn a_drain_tells_its_bytes_is_throttled_and_names_what_gives_it_up() -> Result<()> {
    Cluster::with("throttled-drain", &Plan::of(3), |cluster| {
        let milena = cluster.command_line();
        let [(on, _), _] = fill(cluster)?;
        let drained = on[0];
        let plan = milena.prints_json(&format!("cluster drain {drained} --dry-run"))?;
        let (moves, copies) = (&plan["moves"], plan["copies"].as_u64());
        let copies = copies.context("no number of copies")?;
        ensure!(
            moves[0]["topic"] == TOPIC && plan["applied"] == false,
            "{plan:#}"
        );
        let expected = copies * (RECORDS * RECORD_BYTES) as u64;
        let bytes = plan["bytes_to_copy"].as_u64().unwrap_or_default();
        ensure!(
            copies > 0 && bytes > expected && bytes < 2 * expected,
            "{plan:#}"
        );
        let moves = milena.prints_json("topic moves")?;
        ensure!(moves.as_array().is_some_and(Vec::is_empty), "{moves:#}");

        begin(
            &milena,
            &format!("cluster drain {drained} --throttle {SLOW}"),
        )?;
        ensure!(throttled(&milena)?.is_some());
        ensure!(rate(cluster)?.as_deref() == Some(SLOW));
        let told = milena.prints(&format!("cluster drain {drained} --cancel"))?;
        ensure!(told.contains("still on their way"), "{told}");
        ensure!(told.contains("milena topic move t-0 --cancel"), "{told}");
        milena.prints("topic move t --cancel")?;
        until_unthrottled(cluster, &milena)
    })
}
