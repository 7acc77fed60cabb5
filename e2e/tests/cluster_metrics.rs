//! What `/metrics` of the others says when a broker of three is killed, and of what moves, is misplaced, or has no majority.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::cluster::{Cluster, Plan, View};
use e2e::http;
use e2e::load::{batch, block_on, produce_one};
use e2e::process::poll;
use e2e::wire::Wire;
use milena_client::admin::NewTopic;
use milena_client::{Client, ClientOptions};
use milena_protocol::records::Compression;
use serde_json::json;

/// From what happens to its being counted.
const COUNTED_LIMIT: Duration = Duration::from_secs(30);
/// A change that no majority can make is tried for so long.
const ASKED_LIMIT: Duration = Duration::from_secs(3);
const LEADERLESS: &str = "milena_partitions_without_leader";
const UNDER_REPLICATED: &str = "milena_partitions_under_replicated";
const UNDER_MIN_ISR: &str = "milena_partitions_under_min_isr";
/// On all three brokers.
const WHOLE: &str = "whole";
/// On all three, and written to while all are in sync.
const STRICT: &str = "strict";
/// Each on one of them.
const ALONE: &str = "alone";
/// Of the record that is moved.
const RECORD_BYTES: usize = 100_000;
const PARTITIONS: i32 = 3;

/// What series sum up to on those of the brokers that run: a metric's name, with a label that has to be in it.
fn sum_on(cluster: &mut Cluster, ids: &[i32], metric: &str, label: &str) -> Result<f64> {
    let (mut sum, mut found) = (0.0, false);
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
            found = true;
        }
    }
    ensure!(found, "nobody tells {metric} {label}");
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
    for topic in [WHOLE, STRICT] {
        let lagging = named
            .iter()
            .filter(|one| one["topic"] == topic && one["under_replicated"] == true);
        ensure!(lagging.count() == PARTITIONS as usize, "{described:#}");
    }
    let text = milena.prints("cluster describe")?;
    ensure!(
        text.contains("MAY BE ELECTED") && text.contains("offline"),
        "{text}"
    );
    Ok(())
}

fn create_topics(cluster: &Cluster) -> Result<()> {
    for (topic, replicas) in [(WHOLE, 3), (STRICT, 3), (ALONE, 1)] {
        cluster.create_topic(topic, PARTITIONS, replicas)?;
    }
    let milena = cluster.command_line();
    milena.prints("topic alter strict -c min.insync.replicas=3")?;
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
        create_topics(cluster)?;
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
                (LEADERLESS, "", &is(0.0)),
                (UNDER_REPLICATED, "", &is(0.0)),
                (UNDER_MIN_ISR, "", &is(0.0)),
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
                (LEADERLESS, "", &is(alone as f64)),
                (UNDER_REPLICATED, "", &is((2 * PARTITIONS).into())),
                (UNDER_MIN_ISR, "", &is(PARTITIONS.into())),
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
                (LEADERLESS, "", &is(0.0)),
                (UNDER_REPLICATED, "", &is(0.0)),
                (UNDER_MIN_ISR, "", &is(0.0)),
                ("milena_isr_changes_total", "change=\"expand\"", &some),
                ("milena_replication_lag_records", &follower, &is(0.0)),
            ],
        )
    })
}

/// A record on one broker, and the two others.
fn fill_alone(cluster: &mut Cluster) -> Result<Vec<i32>> {
    cluster.create_topic(ALONE, 1, 1)?;
    let leader = cluster.leader(ALONE, 0)?;
    let mut wire = Wire::connect(&cluster.node(leader).bootstrap())?;
    let one = batch(&[Some(&vec![7; RECORD_BYTES])], Compression::None);
    produce_one(&mut wire, ALONE, 0, one)??;
    let others = cluster.ids().into_iter().filter(|id| *id != leader);
    Ok(others.collect())
}

#[test]
fn what_is_misplaced_moved_or_waits_for_a_majority_is_seen_in_the_metrics() -> Result<()> {
    const MISPLACED: &str = "milena_partitions_misplaced";
    const MOVED: &str = "milena_reassignment_bytes_total";
    const WAITING: &str = "milena_quorum_commit_lag_entries";
    Cluster::with("cluster-metrics-moves", &Plan::of(3), |cluster| {
        let others = fill_alone(cluster)?;
        let is = |wanted: f64| move |sum: f64| sum == wanted;
        let none = is(0.0);
        until(
            cluster,
            &[
                (MISPLACED, "", &none),
                (MOVED, "", &none),
                (WAITING, "", &none),
            ],
        )?;

        let milena = cluster.command_line();
        milena.prints("topic alter alone -c placement.racks=nowhere")?;
        until(cluster, &[(MISPLACED, "", &is(1.0))])?;
        milena.prints("topic alter alone -d placement.racks")?;
        let to = others[0];
        milena.prints(&format!("topic move alone-0 --to {to} --wait=50s"))?;
        let all = |sum: f64| sum >= RECORD_BYTES as f64;
        until(cluster, &[(MISPLACED, "", &none), (MOVED, "", &all)])?;

        let leader = cluster.quorum_leader()?;
        let voters: Vec<i32> = cluster
            .ids()
            .into_iter()
            .filter(|id| *id != leader)
            .collect();
        for id in &voters {
            cluster.node(*id).kill9()?;
        }
        let topic = NewTopic {
            name: "waits".to_owned(),
            ..NewTopic::default()
        };
        let mut options = ClientOptions::new(&cluster.bootstrap());
        options.deadline = ASKED_LIMIT;
        let client = Client::new(options);
        let asked = block_on(async { client.create_topic(&topic, false).await })?;
        ensure!(asked.is_err(), "made without a majority");
        until(cluster, &[(WAITING, "", &|sum| sum > 0.0)])?;
        for id in &voters {
            cluster.node(*id).start()?;
        }
        cluster.until_ready()?;
        until(cluster, &[(WAITING, "", &none)])
    })
}
