//! A listener of type LoadBalancer, with the test as the load balancer: each Service gets the address of a node, on which
//! the Service's own port then leads to the broker, as behind a real one.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::kube::manifests::{MAIN, cluster, topic};
use e2e::kube::{LEDGER, PARTITIONS, Scene, list, scene, text, until};
use e2e::ledger::Target;
use e2e::witness::Witnesses;
use serde_json::{Value, json};

const PORT: i64 = 9094;
/// Where private networks are, those of kind among them.
const SOURCES: [&str; 3] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
/// Services are the first that is made.
const SERVICES_LIMIT: Duration = Duration::from_secs(30);

fn manifest() -> Value {
    let mut manifest = cluster(3);
    manifest["spec"]["listeners"][1] = json!({
        "name": "external", "port": PORT, "type": "LoadBalancer", "allowedSources": SOURCES,
    });
    manifest
}

/// What a load balancer's controller does when it has made one.
fn give_address(scene: &Scene, service: &str, address: &str) -> Result<()> {
    let given = json!({"loadBalancer": {"ingress": [{"ip": address}]}});
    scene.patch_status(&format!("service/{service}"), &given)
}

fn services() -> [String; 4] {
    ["bootstrap", "0", "1", "2"].map(|of| format!("{MAIN}-external-{of}"))
}

#[test]
fn brokers_behind_load_balancers_are_told_and_reached_by_their_addresses() -> Result<()> {
    scene("load-balancer", |scene| {
        let begun = Instant::now();
        scene.apply(&manifest())?;
        until("there are Services", SERVICES_LIMIT, || {
            services()
                .iter()
                .try_for_each(|name| scene.get(&["service", name]).map(drop))
        })?;
        ensure!(
            scene.pods(MAIN)?.is_empty(),
            "brokers are started before they have addresses"
        );
        for name in services() {
            let service = scene.get(&["service", &name])?;
            let sources = &service["spec"]["loadBalancerSourceRanges"];
            ensure!(*sources == json!(SOURCES), "{service}");
        }
        let addresses = scene.kube.worker_addresses()?;
        ensure!(addresses.len() >= 4, "one port on each: {addresses:?}");
        for (service, address) in services().iter().zip(&addresses) {
            give_address(scene, service, address)?;
        }
        let resource = scene.until_available(MAIN)?;
        println!("it serves {:.1?} after its manifest", begun.elapsed());
        let expected = format!("{}:{PORT}", addresses[0]);
        let bootstrap = text(&resource["status"]["bootstrap"]["external"]).to_owned();
        ensure!(bootstrap == expected, "{bootstrap} is not {expected}");
        are_told(scene, &addresses[1..])?;

        scene.apply(&topic(LEDGER, PARTITIONS, 3))?;
        scene.until_topic(LEDGER)?;
        let target = Target {
            bootstrap,
            topic: LEDGER.to_owned(),
            partitions: PARTITIONS,
        };
        Witnesses::begin(&target, scene.folder())?.end("clients by load balancers")
    })
}

/// Each broker tells clients the address of its own load balancer.
fn are_told(scene: &Scene, addresses: &[String]) -> Result<()> {
    let told = scene.get(&["configmap", &format!("{MAIN}-brokers")])?;
    for (id, address) in addresses.iter().take(3).enumerate() {
        let told = text(&told["data"][format!("{id}.properties")]);
        ensure!(
            told.contains(&format!("{address}:{PORT}")),
            "broker {id} is not told {address}: {told}"
        );
    }
    let pods = scene.pods(MAIN)?;
    let started = pods
        .iter()
        .flat_map(|pod| list(&pod["status"]["containerStatuses"]));
    let restarts: u64 = started
        .filter_map(|container| container["restartCount"].as_u64())
        .sum();
    ensure!(restarts == 0, "brokers were started {restarts} times again");
    Ok(())
}
