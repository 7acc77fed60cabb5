//! What nodes and processes do by themselves: a node that dies and comes back, a broker that is there and says nothing.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::kube::manifests::{MAIN, cluster, topic};
use e2e::kube::{Down, Scene, broker, scene, text, until};
use e2e::ledger::Target;
use e2e::witness::Witnesses;

const PARTITIONS: i32 = 6;
const BACK_LIMIT: Duration = Duration::from_secs(180);
/// Longer than broker.session.timeout.ms, shorter than the liveness probe's patience.
const SILENCE: Duration = Duration::from_secs(10);

fn three_brokers(scene: &Scene) -> Result<Target> {
    scene.apply(&cluster(3))?;
    scene.apply(&topic("ledger", PARTITIONS, 3))?;
    scene.until_available(MAIN)?;
    scene.until_topic("ledger")?;
    scene.target(MAIN, "ledger", PARTITIONS)
}

#[test]
fn a_killed_node_costs_no_record_and_its_broker_comes_back_with_it() -> Result<()> {
    scene("killed-node", |scene| {
        let target = three_brokers(scene)?;
        let mut witnesses = Witnesses::begin(&target, scene.folder())?;
        let victim = scene.pods(MAIN)?.swap_remove(1);
        let (node, name) = (
            broker::node(&victim)?,
            text(&victim["metadata"]["name"]).to_owned(),
        );
        let mut down = Down::kill(&scene.kube, node)?;
        witnesses.until_flowing()?;
        down.until_missed()?;
        witnesses.until_flowing()?;
        down.start()?;
        let begun = Instant::now();
        until("the broker is ready again", BACK_LIMIT, || {
            ensure!(down.is_ready()?, "its node is not Ready");
            let pod = scene.get(&["pod", &name])?;
            ensure!(
                pod["status"]["containerStatuses"][0]["ready"] == true,
                "{}",
                pod["status"]
            );
            Ok(())
        })?;
        println!("ready {:.1?} after its node was started", begun.elapsed());
        scene.until_settled(MAIN)?;
        scene.until_in_sync(&target)?;
        witnesses.end("a killed node")
    })
}

#[test]
fn a_broker_that_is_silent_for_a_while_is_led_around() -> Result<()> {
    scene("silent", |scene| {
        let target = three_brokers(scene)?;
        let mut witnesses = Witnesses::begin(&target, scene.folder())?;
        let victim = scene.pods(MAIN)?.swap_remove(0);
        broker::signal(&scene.kube, &victim, "STOP")?;
        // The silence has a length of its own: it is the fault. What clients have sent to it they wait for, by themselves
        // for a minute and more.
        std::thread::sleep(SILENCE);
        broker::signal(&scene.kube, &victim, "CONT")?;
        witnesses.until_flowing()?;
        scene.until_settled(MAIN)?;
        scene.until_in_sync(&target)?;
        witnesses.end("SIGSTOP for 10 s")
    })
}
