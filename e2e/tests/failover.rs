//! Faults of a cluster that real clients work with: librdkafka and Kafka's own, both at once, acks=all, idempotent.
//! Each test is one fault, repeated; `src/trial.rs` has what is checked. `make chaos` repeats them more often.

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use e2e::cluster::{Cluster, Kind};
use e2e::trial::{TOPIC, repeat};

/// How long a broker is stopped, or cut off: beyond the session that it has with the quorum.
const OUTAGE: Duration = Duration::from_secs(10);
/// Until a broker that is gone leads nothing.
const TAKEN_OVER: Duration = Duration::from_secs(60);
/// Partitions of the topic take turns.
const TURNS: u32 = 6;

fn turn(round: u32) -> i32 {
    (round % TURNS) as i32
}

/// Kills a broker, lets others take over, and brings it back.
fn kill_for_a_while(cluster: &mut Cluster, broker: i32) -> Result<()> {
    cluster.node(broker).kill9()?;
    let led = |view: &e2e::cluster::View| view.is_led_without(broker);
    cluster.until("others lead what it led", TAKEN_OVER, led)?;
    cluster.start(broker)
}

#[test]
fn a_killed_leader() -> Result<()> {
    repeat("kill -9 of a leader", Kind::Loopback, |cluster, round| {
        let leader = cluster.leader(TOPIC, turn(round))?;
        kill_for_a_while(cluster, leader)
    })
}

#[test]
fn a_killed_leader_of_the_quorum() -> Result<()> {
    repeat(
        "kill -9 of the quorum's leader",
        Kind::Loopback,
        |cluster, _| {
            let leader = cluster.quorum_leader()?;
            kill_for_a_while(cluster, leader)
        },
    )
}

#[test]
fn a_killed_leader_that_is_back_at_once() -> Result<()> {
    repeat(
        "kill -9 and restart at once",
        Kind::Loopback,
        |cluster, round| {
            let leader = cluster.leader(TOPIC, turn(round))?;
            cluster.node(leader).kill9()?;
            cluster.start(leader)
        },
    )
}

#[test]
fn a_stopped_leader() -> Result<()> {
    repeat("SIGSTOP for 10 s", Kind::Loopback, |cluster, round| {
        let leader = cluster.leader(TOPIC, turn(round))?;
        cluster.node(leader).pause()?;
        sleep(OUTAGE);
        cluster.node(leader).resume()
    })
}

#[test]
fn a_wiped_disk() -> Result<()> {
    // Always the same broker: its first wipe costs the quorum a voter, and another's would cost it the majority.
    repeat("kill -9 and a wiped disk", Kind::Loopback, |cluster, _| {
        let broker = cluster.ids().len() as i32;
        cluster.node(broker).kill9()?;
        cluster.node(broker).wipe()?;
        cluster.start(broker)
    })
}

#[test]
fn a_rolling_restart() -> Result<()> {
    repeat("rolling restart", Kind::Loopback, |cluster, _| {
        for broker in cluster.ids() {
            cluster.stop(broker)?;
            cluster.start(broker)?;
            cluster.until_in_sync()?;
        }
        Ok(())
    })
}

#[test]
fn a_cut_between_two_brokers() -> Result<()> {
    repeat(
        "cut between two for 10 s",
        Kind::Namespaces,
        |cluster, round| {
            let leader = cluster.leader(TOPIC, turn(round))?;
            cluster
                .network()
                .cut(leader, another_than(cluster, leader))?;
            sleep(OUTAGE);
            cluster.network().heal()
        },
    )
}

#[test]
fn a_cut_in_one_direction() -> Result<()> {
    repeat(
        "cut one way for 10 s",
        Kind::Namespaces,
        |cluster, round| {
            let leader = cluster.leader(TOPIC, turn(round))?;
            let other = another_than(cluster, leader);
            cluster.network().cut_one_way(leader, other)?;
            sleep(OUTAGE);
            cluster.network().heal()
        },
    )
}

#[test]
fn a_leader_cut_off_from_all_others() -> Result<()> {
    repeat(
        "cut from all for 10 s",
        Kind::Namespaces,
        |cluster, round| {
            let leader = cluster.leader(TOPIC, turn(round))?;
            cluster.network().isolate(leader)?;
            sleep(OUTAGE);
            cluster.network().heal()
        },
    )
}

fn another_than(cluster: &Cluster, broker: i32) -> i32 {
    broker % cluster.ids().len() as i32 + 1
}
