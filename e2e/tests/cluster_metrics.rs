//! What `/metrics` of the others says when a broker of three is killed.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::cluster::{Cluster, Plan, View};
use e2e::http;
use e2e::load::{batch, produce_one};
use e2e::process::poll;
use e2e::wire::Wire;
use milena_protocol::records::Compression;
use serde_json::json;

/// From what happens to its being counted.
const COUNTED_LIMIT: Duration = Duration::from_secs(30);
/// On all three brokers.
const WHOLE: &str = "whole";
/// Each on one of them.
const ALONE: &str = "alone";
const PARTITIONS: i32 = 3;

/// What series sum up to on those of the brokers that run: a metric's name, with a label that has to be in it.
fn sum_on(cluster: &mut Cluster, ids: &[i32], metric: &str, label: &str) -> Result<f64> {
    let mut sum = 0.0;
    for id in ids {
        let node = cluster.node(*id);
        if !node.is_up() {
            continue;
        }
        let page = http::get(&node.http(), "/metrics")?.body;
        let ours = page.lines().filter(|line| {
            let name = line.split(['{', ' ']).next();
            name == Some(metric) && line.contains(label)
        });
        for line in ours {
            let (_, value) = line.rsplit_once(' ').context("a line without a value")?;
            sum += value.parse::<f64>().context("a value")?;
        }
    }
    Ok(sum)
}

/// Two records that the killed broker will lack.
fn produce_two(cluster: &mut Cluster, before: &View, killed: i32) -> Result<()> {
    let mut led = (0..PARTITIONS).filter_map(|at| Some((at, before.leader(WHOLE, at)?)));
    let led = led.find(|(_, leader)| *leader != killed);
    let (partition, leader) = led.context("it leads all")?;
    let mut wire = Wire::connect(&cluster.node(leader).bootstrap())?;
    let two = batch(&[Some(b"one"), Some(b"two")], Compression::None);
    produce_one(&mut wire, WHOLE, partition, two)??;
    Ok(())
}

/// `cluster describe` names the partitions that nobody leads, with who may.
fn check_described(cluster: &Cluster, offline: usize, killed: i32) -> Result<()> {
    let milena = cluster.command_line();
    let described = milena.prints_json("cluster describe")?;
    let named = described["unhealthy"].as_array().context("no list")?;
    let leaderless = named.iter().filter(|one| {
        one["topic"] == ALONE && one["offline"] == true && one["electable"] == json!([killed])
    });
    ensure!(leaderless.count() == offline, "{described:#}");
    let lagging = named.iter().filter(|one| one["under_replicated"] == true);
    ensure!(lagging.count() == PARTITIONS as usize, "{described:#}");
    let text = milena.prints("cluster describe")?;
    ensure!(
        text.contains("MAY BE ELECTED") && text.contains("offline"),
        "{text}"
    );
    Ok(())
}

/// A metric, a label, and what its sum has to be.
type Wanted<'a> = (&'a str, &'a str, &'a dyn Fn(f64) -> bool);

/// Waits until each of the sums is as wanted.
fn until(cluster: &mut Cluster, wanted: &[Wanted<'_>]) -> Result<()> {
    let mut last = BTreeMap::new();
    let are_so = poll(COUNTED_LIMIT, || {
        let mut all = true;
        for (metric, label, is_wanted) in wanted {
            let sum = sum_on(cluster, &cluster.ids(), metric, label).ok()?;
            all &= is_wanted(sum);
            last.insert(format!("{metric} {label}"), sum);
        }
        all.then_some(())
    });
    are_so.with_context(|| format!("not as wanted: {last:#?}"))
}

#[test]
fn a_killed_broker_is_seen_in_the_others_metrics_until_it_is_back() -> Result<()> {
    Cluster::with("cluster-metrics", &Plan::of(3), |cluster| {
        cluster.create_topic(WHOLE, PARTITIONS, 3)?;
        cluster.create_topic(ALONE, PARTITIONS, 1)?;
        let killed = cluster.quorum_leader()?;
        let view = cluster.view()?;
        let alone = (0..PARTITIONS).filter(|at| view.replicas(ALONE, *at) == [killed]);
        let alone = alone.count();
        ensure!(alone > 0, "nothing is on broker {killed} alone: {view}");
        let follower = format!("follower=\"{killed}\"");
        let is = |wanted: f64| move |sum: f64| sum == wanted;
        let some = |sum: f64| sum > 0.0;
        until(
            cluster,
            &[
                ("milena_partitions_without_leader", "", &is(0.0)),
                ("milena_partitions_under_replicated", "", &is(0.0)),
            ],
        )?;
        let others: Vec<i32> = cluster
            .ids()
            .into_iter()
            .filter(|id| *id != killed)
            .collect();
        let elections = sum_on(cluster, &others, "milena_quorum_elections_total", "")?;
        let taken = sum_on(cluster, &others, "milena_leaderships_taken_total", "")?;
        let led_by_killed = (0..PARTITIONS).filter(|at| view.leader(WHOLE, *at) == Some(killed));
        let led_by_killed = led_by_killed.count() as f64;

        cluster.node(killed).kill9()?;
        produce_two(cluster, &view, killed)?;
        until(
            cluster,
            &[
                ("milena_partitions_without_leader", "", &is(alone as f64)),
                (
                    "milena_partitions_under_replicated",
                    "",
                    &is(PARTITIONS.into()),
                ),
                ("milena_isr_changes_total", "change=\"shrink\"", &some),
                ("milena_replication_lag_records", &follower, &is(2.0)),
                ("milena_broker_fenced_total", "", &some),
                // Each of the two has seen the next leader of the quorum come.
                ("milena_quorum_elections_total", "", &|sum| {
                    sum >= elections + 2.0
                }),
                ("milena_leaderships_taken_total", "", &|sum| {
                    sum >= taken + led_by_killed
                }),
            ],
        )?;
        check_described(cluster, alone, killed)?;

        cluster.start(killed)?;
        until(
            cluster,
            &[
                ("milena_partitions_without_leader", "", &is(0.0)),
                ("milena_partitions_under_replicated", "", &is(0.0)),
                ("milena_isr_changes_total", "change=\"expand\"", &some),
                ("milena_replication_lag_records", &follower, &is(0.0)),
            ],
        )
    })
}
