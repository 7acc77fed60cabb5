//! A Topic's `placement`: its replicas stand in the racks and pools that it names, its leaders in the rack that it names; the
//! condition PlacementSatisfied says so, and what somebody moves elsewhere is moved back.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::cluster::View;
use e2e::kube::manifests::{MAIN, cluster, topic};
use e2e::kube::{Scene, ask, broker, broker_told, is_true, list, scene, text, until};
use e2e::ledger::Target;
use milena_client::admin::ReplicaWishes;
use serde_json::{Value, json};

const PARTITIONS: i32 = 4;
/// Of a pool, from this id on.
const POOL_SIZE: i32 = 2;
const OTHER_POOL: i32 = 1000;
/// Where the topic with racks may be, its leaders in the first; and where it may not.
const RACKS: [&str; 2] = ["zone-a", "zone-b"];
const FOREIGN_RACK: &str = "zone-c";
/// The node label that says it.
const ZONE: &str = "topology.kubernetes.io/zone";
/// The operator asks for what is misplaced once a minute, and repairs as often at the most.
const SAID_LIMIT: Duration = Duration::from_secs(90);
/// A vote moves in some looks, while nothing else goes on.
const VOTERS_LIMIT: Duration = Duration::from_secs(90);
const REPAIRED_LIMIT: Duration = Duration::from_secs(120);

/// Two pools of two brokers, over all zones.
fn two_pools() -> Value {
    let mut manifest = cluster(POOL_SIZE);
    let mut other = manifest["spec"]["pools"][0].clone();
    other["name"] = json!("other");
    other["firstBrokerId"] = json!(OTHER_POOL);
    let pools = manifest["spec"]["pools"].as_array_mut();
    pools
        .into_iter()
        .for_each(|pools| pools.push(other.clone()));
    manifest["spec"]["placement"] = json!({"rackSpread": "Required"});
    manifest
}

fn placed(name: &str, placement: &Value) -> Value {
    let mut manifest = topic(name, PARTITIONS, 2);
    manifest["spec"]["config"] = json!({"minInSyncReplicas": 1});
    manifest["spec"]["placement"] = placement.clone();
    manifest
}

/// The topic whose racks are named, the one whose pool is, and the cluster's resource with the racks of its brokers.
fn two_topics(scene: &Scene) -> Result<(Target, Target, Value)> {
    scene.apply(&two_pools())?;
    scene.until_available(MAIN)?;
    let cluster = scene.until_cluster("all brokers have racks", MAIN, SAID_LIMIT, |cluster| {
        let brokers = list(&cluster["status"]["brokers"]);
        let all = brokers.len() == 4 && brokers.iter().all(|one| one["rack"].is_string());
        ensure!(all, "{brokers:?}");
        Ok(())
    })?;
    let by_rack = json!({"racks": RACKS, "leaderRack": RACKS[0]});
    scene.apply(&placed("racked", &by_rack))?;
    scene.apply(&placed("pooled", &json!({"pools": ["other"]})))?;
    for name in ["racked", "pooled"] {
        scene.until_topic(name)?;
        until_satisfied(scene, name)?;
    }
    let racked = scene.target(MAIN, "racked", PARTITIONS)?;
    let pooled = scene.target(MAIN, "pooled", PARTITIONS)?;
    Ok((racked, pooled, cluster))
}

fn until_satisfied(scene: &Scene, name: &str) -> Result<()> {
    until(&format!("{name} is placed"), SAID_LIMIT, || {
        is_true(
            &scene.get(&["topics.milena.dev", name])?,
            "PlacementSatisfied",
        )
    })
}

fn rack(cluster: &Value, id: i32) -> Result<&str> {
    Ok(text(&broker_told(cluster, id)?["rack"]))
}

/// One replica in each rack, the preferred leader in the first.
fn stands_in_its_racks(view: &View, cluster: &Value) -> Result<()> {
    for partition in 0..PARTITIONS {
        let replicas = view.replicas("racked", partition);
        let racks = replicas.iter().map(|id| rack(cluster, *id));
        let racks: Vec<&str> = racks.collect::<Result<_>>()?;
        ensure!(racks == RACKS, "{partition} is on {replicas:?}: {racks:?}");
    }
    Ok(())
}

fn stands_in_its_pool(view: &View) -> Result<()> {
    for partition in 0..PARTITIONS {
        let mut replicas = view.replicas("pooled", partition);
        replicas.sort_unstable();
        let pool: Vec<i32> = (OTHER_POOL..OTHER_POOL + POOL_SIZE).collect();
        ensure!(replicas == pool, "{partition} is on {replicas:?}");
    }
    Ok(())
}

/// What the brokers say of the cluster.
fn told(scene: &Scene) -> Result<Value> {
    let pod = scene.pods(MAIN)?.swap_remove(0);
    let path = format!(
        "/api/v1/namespaces/{}/pods/{}:9404/proxy/v1/cluster",
        scene.namespace,
        text(&pod["metadata"]["name"])
    );
    Ok(serde_json::from_str(
        &scene.kube.kubectl(&["get", "--raw", &path])?,
    )?)
}

/// How many partitions break a rule, as the brokers count.
fn misplaced(scene: &Scene) -> Result<i64> {
    let told = told(scene)?;
    let count = &told["partitions"]["misplaced"];
    count.as_i64().with_context(|| format!("no count: {told}"))
}

/// What brokers call their racks are the zones of the nodes that they stand on.
fn racks_are_zones(scene: &Scene, cluster: &Value) -> Result<()> {
    let brokers = list(&cluster["status"]["brokers"]);
    for pod in scene.pods(MAIN)? {
        let node = scene.kube.json(&["get", "node", broker::node(&pod)?])?;
        let zone = &node["metadata"]["labels"][ZONE];
        let own = brokers
            .iter()
            .find(|one| one["pod"] == pod["metadata"]["name"]);
        let own = own.with_context(|| format!("nothing of {}", pod["metadata"]["name"]))?;
        ensure!(own["rack"] == *zone, "{own} stands in {zone}");
    }
    Ok(())
}

/// Each of the three voters is of another rack, though the first ones were named before anybody had a rack.
fn voters_stand_apart(scene: &Scene, cluster: &Value) -> Result<()> {
    let told = told(scene)?;
    let voters = list(&told["quorum"]["voters"]).iter();
    let ids = voters.filter_map(|voter| i32::try_from(voter["broker"].as_i64()?).ok());
    let racks: Vec<&str> = ids.map(|id| rack(cluster, id)).collect::<Result<_>>()?;
    let distinct: BTreeSet<&&str> = racks.iter().collect();
    ensure!(
        (racks.len(), distinct.len()) == (3, 3),
        "{racks:?}: {}",
        told["quorum"]
    );
    Ok(())
}

/// By Kafka's protocol, as any tool does it: a partition of each topic to where it may not be.
fn displace(racked: &Target, view: &View, foreign: i32) -> Result<()> {
    let mut replicas = view.replicas("racked", 0);
    replicas[0] = foreign;
    let wishes = ReplicaWishes::from([
        (("racked".to_owned(), 0), Some(replicas)),
        (("pooled".to_owned(), 1), Some(vec![0, 1])),
    ]);
    let answers = ask(&racked.bootstrap, async |client| {
        client.alter_partition_reassignments(&wishes, false).await
    })?;
    for (partition, answer) in answers {
        answer.with_context(|| format!("{partition:?}"))?;
    }
    Ok(())
}

#[test]
fn replicas_stand_where_the_topic_says_and_are_moved_back_there() -> Result<()> {
    scene("placement", |scene| {
        let (racked, pooled, cluster) = two_topics(scene)?;
        scene.until_in_sync(&racked)?;
        let view = scene.view(&racked)?;
        stands_in_its_racks(&view, &cluster)?;
        stands_in_its_pool(&view)?;
        ensure!(misplaced(scene)? == 0, "{} misplaced", misplaced(scene)?);
        racks_are_zones(scene, &cluster)?;
        until("voters of three racks", VOTERS_LIMIT, || {
            voters_stand_apart(scene, &cluster)
        })?;

        let brokers = list(&cluster["status"]["brokers"]).iter();
        let mut foreign = brokers.filter(|one| one["rack"] == FOREIGN_RACK);
        let foreign = foreign.next().and_then(|one| one["id"].as_i64());
        let foreign = i32::try_from(foreign.context("no broker elsewhere")?)?;
        displace(&racked, &view, foreign)?;
        let begun = Instant::now();
        until("the replicas are back", REPAIRED_LIMIT, || {
            let view = scene.view(&racked)?;
            stands_in_its_racks(&view, &cluster)?;
            stands_in_its_pool(&view)
        })?;
        println!("repaired after {:.1?}", begun.elapsed());
        scene.until_in_sync(&pooled)?;
        ensure!(misplaced(scene)? == 0, "{} misplaced", misplaced(scene)?);
        scene.until_settled(MAIN)?;
        repair_is_told(scene)
    })
}

fn repair_is_told(scene: &Scene) -> Result<()> {
    let about = format!("involvedObject.name={MAIN},reason=PlacementRepair");
    let events = scene.get(&["events", "--field-selector", &about])?;
    let told = list(&events["items"]).iter();
    let told: Vec<&str> = told.map(|event| text(&event["message"])).collect();
    ensure!(!told.is_empty(), "no event");
    println!("{told:?}");
    Ok(())
}
