//! A cluster that grows and shrinks under load, and one with many partitions that loses a broker.

use std::time::{Duration, Instant};

use anyhow::Result;
use e2e::cluster::{Cluster, Plan, View};
use e2e::command::CommandLine;
use e2e::trial::under_load;

/// Until a few partitions under load have moved.
const MOVED_LIMIT: Duration = Duration::from_secs(120);
const BROKERS: i32 = 3;
const GROWN: i32 = 5;

/// Has the command line move partitions, and waits until all are where they shall be, and in sync.
fn move_by(cluster: &Cluster, command: &str, is_there: impl Fn(&View) -> bool) -> Result<()> {
    CommandLine::new(&cluster.bootstrap()).prints(&format!("cluster {command} --wait=50s"))?;
    let is_done = |view: &View| is_there(view) && view.is_in_sync();
    cluster.until("all partitions have moved", MOVED_LIMIT, is_done)
}

fn grow(cluster: &mut Cluster) -> Result<()> {
    for broker in BROKERS + 1..=GROWN {
        cluster.join(broker)?;
    }
    move_by(cluster, "rebalance", |view| {
        (1..=GROWN).all(|broker| view.replicas_on(broker) > 0)
    })
}

fn shrink(cluster: &mut Cluster) -> Result<()> {
    move_by(cluster, "drain 4 5", |view| {
        (BROKERS + 1..=GROWN).all(|broker| view.replicas_on(broker) == 0)
    })?;
    (BROKERS + 1..=GROWN).try_for_each(|broker| cluster.stop(broker))
}

#[test]
fn three_brokers_become_five_and_three_again_under_load() -> Result<()> {
    let plan = Plan::of(BROKERS);
    under_load("growth to 5 brokers and back", &plan, |trial| {
        trial.round(grow)?;
        trial.round(shrink)
    })
}

const MANY: i32 = 10_000;
/// Partitions of one topic: a request has to be answered within a client's usual patience.
const TOPIC_PARTITIONS: i32 = 1_000;
/// Far more than it takes, on a machine that is busy with the other tests.
const MANY_LIMIT: Duration = Duration::from_secs(240);
/// From the kill until every partition has another leader; the test prints how long it was.
const LED_LIMIT: Duration = Duration::from_secs(30);

#[test]
fn ten_thousand_partitions_get_new_leaders_when_a_broker_is_killed() -> Result<()> {
    Cluster::with("many-partitions", &Plan::of(BROKERS), |cluster| {
        let begun = Instant::now();
        for topic in 0..MANY / TOPIC_PARTITIONS {
            cluster.create_topic(&format!("many-{topic}"), TOPIC_PARTITIONS, 3)?;
        }
        cluster.until("all partitions are whole", MANY_LIMIT, View::is_in_sync)?;
        println!("{MANY} partitions x 3 created in {:?}", begun.elapsed());
        let killed = cluster.leader("many-0", 0)?;
        let begun = Instant::now();
        cluster.node(killed).kill9()?;
        cluster.until("others lead", LED_LIMIT, |view| view.is_led_without(killed))?;
        println!(
            "{MANY} partitions led by others {:?} after kill -9",
            begun.elapsed()
        );
        let begun = Instant::now();
        cluster.start(killed)?;
        cluster.until("all partitions are whole", MANY_LIMIT, View::is_in_sync)?;
        println!(
            "{MANY} partitions in sync {:?} after the start",
            begun.elapsed()
        );
        Ok(())
    })
}
