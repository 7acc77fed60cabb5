//! What nodes do by themselves: one dies and comes back.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::kube::manifests::MAIN;
use e2e::kube::{Down, broker, scene, text, until};
use e2e::witness::Witnesses;

const BACK_LIMIT: Duration = Duration::from_secs(180);

#[test]
fn a_killed_node_costs_no_record_and_its_broker_comes_back_with_it() -> Result<()> {
    scene("killed-node", |scene| {
        let target = scene.three_brokers()?;
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
