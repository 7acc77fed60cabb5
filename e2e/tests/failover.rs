//! Faults of a cluster that real clients work with: librdkafka and Kafka's own, both at once, acks=all, idempotent.
//! Each test is one fault, repeated; `src/trial.rs` has what is checked. `make chaos` repeats them more often.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::cluster::{Cluster, Kind};
use e2e::ledger::GROUP;
use e2e::trial::{Fault, TOPIC, repeat};
use e2e::wire::Wire;
use milena_protocol::api::find_coordinator::FindCoordinatorRequest;

/// How long a broker is stopped, or cut off: beyond the session that it has with the quorum.
const OUTAGE: Duration = Duration::from_secs(10);
/// Until a broker that is gone leads nothing.
const TAKEN_OVER: Duration = Duration::from_secs(60);
/// Partitions of the topic take turns.
const TURNS: u32 = 6;
/// Where a client is told that its broker is gone.
const TOLD_GAP_MAX: Duration = Duration::from_secs(10);
/// Who has ended is fenced by the session that drops, and not by its time, 3 s. docs/reliability.md has what it takes
/// on a machine of its own: well below a second.
const NOTICED_AT_ONCE: Duration = Duration::from_secs(2);
/// Where a broker is silent, and a client waits for it as long as it has set itself: 30 s in Kafka's own.
const SILENT_GAP_MAX: Duration = Duration::from_secs(45);
/// The last with one key a request.
const FIND_ONE_VERSION: i16 = 3;

/// A fault of processes.
const fn of_a_process(name: &'static str) -> Fault {
    Fault {
        name,
        network: Kind::Loopback,
        gap_max: TOLD_GAP_MAX,
        best_gap_max: NOTICED_AT_ONCE,
    }
}

/// A fault that says nothing to those who wait.
const fn silent(name: &'static str, network: Kind) -> Fault {
    Fault {
        name,
        network,
        gap_max: SILENT_GAP_MAX,
        best_gap_max: SILENT_GAP_MAX,
    }
}

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
    let fault = of_a_process("kill -9 of a leader");
    repeat(&fault, |cluster, round| {
        let leader = cluster.leader(TOPIC, turn(round))?;
        kill_for_a_while(cluster, leader)
    })
}

#[test]
fn a_killed_leader_of_the_quorum() -> Result<()> {
    let fault = of_a_process("kill -9 of the quorum's leader");
    repeat(&fault, |cluster, _| {
        let leader = cluster.quorum_leader()?;
        kill_for_a_while(cluster, leader)
    })
}

#[test]
fn a_killed_coordinator_of_a_group() -> Result<()> {
    let fault = of_a_process("kill -9 of a group's coordinator");
    repeat(&fault, |cluster, _| {
        let coordinator = coordinator(cluster)?;
        kill_for_a_while(cluster, coordinator)
    })
}

/// The broker that the group of the ledger's consumer is on.
fn coordinator(cluster: &mut Cluster) -> Result<i32> {
    let any = cluster.node(1).bootstrap();
    let request = FindCoordinatorRequest {
        key: GROUP.into(),
        ..FindCoordinatorRequest::default()
    };
    let found = Wire::connect(&any)?.ask(&request, FIND_ONE_VERSION)?;
    ensure!(found.error_code.is_none(), "{found:?}");
    Ok(found.node_id)
}

#[test]
fn a_killed_leader_that_is_back_at_once() -> Result<()> {
    let fault = of_a_process("kill -9 and restart at once");
    repeat(&fault, |cluster, round| {
        let leader = cluster.leader(TOPIC, turn(round))?;
        cluster.node(leader).kill9()?;
        cluster.start(leader)
    })
}

#[test]
fn a_stopped_leader() -> Result<()> {
    let fault = silent("SIGSTOP for 10 s", Kind::Loopback);
    repeat(&fault, |cluster, round| {
        let leader = cluster.leader(TOPIC, turn(round))?;
        cluster.node(leader).pause()?;
        sleep(OUTAGE);
        cluster.node(leader).resume()
    })
}

#[test]
fn a_wiped_disk() -> Result<()> {
    // Always the same broker: its first wipe costs the quorum a voter, and another's would cost it the majority.
    let fault = of_a_process("kill -9 and a wiped disk");
    repeat(&fault, |cluster, _| {
        let broker = cluster.ids().len() as i32;
        cluster.node(broker).kill9()?;
        cluster.node(broker).wipe()?;
        cluster.start(broker)
    })
}

#[test]
fn a_rolling_restart() -> Result<()> {
    let fault = of_a_process("rolling restart");
    repeat(&fault, |cluster, _| {
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
    let fault = silent("cut between two for 10 s", Kind::Namespaces);
    repeat(&fault, |cluster, round| {
        let leader = cluster.leader(TOPIC, turn(round))?;
        let other = another_than(cluster, leader);
        cluster.network().cut(leader, other)?;
        sleep(OUTAGE);
        cluster.network().heal()
    })
}

#[test]
fn a_cut_in_one_direction() -> Result<()> {
    let fault = silent("cut one way for 10 s", Kind::Namespaces);
    repeat(&fault, |cluster, round| {
        let leader = cluster.leader(TOPIC, turn(round))?;
        let other = another_than(cluster, leader);
        cluster.network().cut_one_way(leader, other)?;
        sleep(OUTAGE);
        cluster.network().heal()
    })
}

#[test]
fn a_leader_cut_off_from_all_others() -> Result<()> {
    let fault = silent("cut from all for 10 s", Kind::Namespaces);
    repeat(&fault, |cluster, round| {
        let leader = cluster.leader(TOPIC, turn(round))?;
        cluster.network().isolate(leader)?;
        sleep(OUTAGE);
        cluster.network().heal()
    })
}

fn another_than(cluster: &Cluster, broker: i32) -> i32 {
    broker % cluster.ids().len() as i32 + 1
}
