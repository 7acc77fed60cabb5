//! Pools come and go: all records, replicas and votes move from one pool to another, under the eyes of clients.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::kube::manifests::{MAIN, cluster};
use e2e::kube::{LEDGER, PARTITIONS, Scene, list, names, scene, until};
use e2e::witness::Witnesses;
use serde_json::{Value, json};

/// Ids of the second pool begin here.
const SECOND: i32 = 1000;
/// Three brokers are emptied, hand over their votes, and stop one after the other.
const MOVED_LIMIT: Duration = Duration::from_secs(420);
const GONE_LIMIT: Duration = Duration::from_secs(60);

/// A cluster of one or both pools of three brokers. There are fewer nodes than six.
fn of_pools(first: bool, second: bool) -> Value {
    let mut manifest = cluster(3);
    manifest["spec"]["placement"] = json!({"nodeSpread": "Preferred"});
    let pool = manifest["spec"]["pools"][0].clone();
    let mut other = pool.clone();
    (other["name"], other["firstBrokerId"]) = (json!("second"), json!(SECOND));
    let pools = [(first, pool), (second, other)];
    let wanted = pools.into_iter().filter(|(wanted, _)| *wanted);
    manifest["spec"]["pools"] = wanted.map(|(_, pool)| pool).collect();
    manifest
}

#[test]
fn a_second_pool_takes_over_all_of_the_first_one() -> Result<()> {
    scene("pools", |scene| {
        let target = scene.cluster_with_ledger(&of_pools(true, false))?;
        let witnesses = Witnesses::begin(&target, scene.folder())?;
        scene.apply(&of_pools(true, true))?;
        scene.until_healed("a second pool")?;
        let pods = scene.pods(MAIN)?;
        ensure!(pods.len() == 6, "{:?}", names(&pods));

        scene.apply(&of_pools(false, true))?;
        only_the_second_is_left(scene)?;
        let view = scene.view(&target)?;
        for partition in 0..PARTITIONS {
            let replicas = view.replicas(LEDGER, partition);
            ensure!(
                replicas.len() == 3 && replicas.iter().all(|id| *id >= SECOND),
                "{LEDGER}-{partition} is on {replicas:?}"
            );
        }
        ensure!(scene.claims(MAIN)?.len() == 6, "onScaleDown is Retain");
        scene.until_in_sync(&target)?;
        witnesses.end("all moved to a second pool")
    })
}

fn only_the_second_is_left(scene: &Scene) -> Result<()> {
    scene.until_cluster("the second pool is alone", MAIN, MOVED_LIMIT, |cluster| {
        let ids = |part: &Value, id: fn(&Value) -> Option<i64>| -> Vec<Option<i64>> {
            list(part).iter().map(id).collect()
        };
        let status = &cluster["status"];
        let brokers = ids(&status["brokers"], |broker| broker["id"].as_i64());
        let voters = ids(&status["voters"], Value::as_i64);
        let second: Vec<Option<i64>> = (1000..1003).map(Some).collect();
        ensure!(
            brokers == second && voters == second,
            "brokers {brokers:?}, voters {voters:?}, {}",
            status["rollout"]
        );
        Ok(())
    })?;
    scene.until_settled(MAIN)?;
    until("the first pool's StatefulSet is gone", GONE_LIMIT, || {
        let sets = scene.get(&["statefulsets"])?;
        let sets = names(list(&sets["items"]));
        ensure!(sets == ["main-second"], "{sets:?}");
        Ok(())
    })?;
    let pods = scene.pods(MAIN)?;
    ensure!(
        names(&pods) == ["main-second-1000", "main-second-1001", "main-second-1002"],
        "{:?}",
        names(&pods)
    );
    Ok(())
}
