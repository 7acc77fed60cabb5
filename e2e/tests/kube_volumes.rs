//! Volumes grow by the manifest, without a restart. The provisioner of kind grows none: a second StorageClass of its says
//! that it does, and the test is the resizer.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::kube::manifests::{MAIN, cluster};
use e2e::kube::{Kube, Scene, scene, text, until};
use e2e::witness::Witnesses;
use serde_json::{Value, json};

const SET: &str = "statefulset/main-broker";
const ASKED_LIMIT: Duration = Duration::from_secs(30);
const LARGER: &str = "2Gi";

/// A StorageClass, which goes when this is dropped.
struct Class<'a> {
    kube: &'a Kube,
    name: String,
}

impl<'a> Class<'a> {
    fn make(scene: &'a Scene, grows: bool) -> Result<Self> {
        let class = Self {
            kube: &scene.kube,
            name: scene.namespace.clone(),
        };
        let manifest = json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": class.name},
            "provisioner": "rancher.io/local-path", "volumeBindingMode": "WaitForFirstConsumer",
            "allowVolumeExpansion": grows,
        });
        let apply = ["apply", "-f", "-"];
        class.kube.kubectl_with(&manifest.to_string(), &apply)?;
        Ok(class)
    }
}

impl Drop for Class<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.kube.kubectl(&["delete", "storageclass", &self.name]) {
            eprintln!("it stays: {error:#}");
        }
    }
}

fn manifest(class: &Class, size: &str) -> Value {
    let mut manifest = cluster(3);
    manifest["spec"]["pools"][0]["volumes"] =
        json!([{"name": "data", "size": size, "className": class.name}]);
    manifest
}

/// Waits until every claim asks for the larger size; the claims.
fn until_asked(scene: &Scene) -> Result<Vec<Value>> {
    let begun = Instant::now();
    let claims = until("every claim asks for more", ASKED_LIMIT, || {
        let claims = scene.claims(MAIN)?;
        let asks =
            |claim: &Value| text(&claim["spec"]["resources"]["requests"]["storage"]) == LARGER;
        ensure!(claims.len() == 3 && claims.iter().all(asks), "{claims:?}");
        Ok(claims)
    })?;
    println!(
        "every claim asks for {LARGER} after {:.1?}",
        begun.elapsed()
    );
    Ok(claims)
}

/// What a resizer does when it has made a volume larger.
fn grow(scene: &Scene, claim: &Value) -> Result<()> {
    let name = text(&claim["metadata"]["name"]);
    let grown = json!({"capacity": {"storage": LARGER}});
    scene.patch_status(&format!("persistentvolumeclaim/{name}"), &grown)
}

fn until_template_is_larger(scene: &Scene) -> Result<()> {
    until("new brokers get larger volumes", ASKED_LIMIT, || {
        let set = scene.get(&[SET])?;
        let template = &set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"];
        ensure!(template["requests"]["storage"] == LARGER, "{template}");
        Ok(())
    })
}

#[test]
fn volumes_grow_without_a_restart() -> Result<()> {
    scene("grow", |scene| {
        let class = Class::make(scene, true)?;
        let target = scene.cluster_with_ledger(&manifest(&class, "1Gi"))?;
        let pods = scene.pods(MAIN)?;
        let witnesses = Witnesses::begin(&target, scene.folder())?;
        scene.apply(&manifest(&class, LARGER))?;
        let claims = until_asked(scene)?;
        scene.until_said(&["data-main-broker-0 and 2 more to grow"], ASKED_LIMIT)?;
        claims.iter().try_for_each(|claim| grow(scene, claim))?;
        scene.until_healed("volumes that have grown")?;
        until_template_is_larger(scene)?;
        scene.until_settled(MAIN)?;
        scene.are_the_same_pods(&pods)?;
        witnesses.end("volumes that grow")
    })
}

#[test]
fn a_stateful_set_deleted_amid_a_growth_changes_nothing() -> Result<()> {
    scene("grow-deleted", |scene| {
        let class = Class::make(scene, true)?;
        let target = scene.cluster_with_ledger(&manifest(&class, "1Gi"))?;
        let pods = scene.pods(MAIN)?;
        let witnesses = Witnesses::begin(&target, scene.folder())?;
        scene.apply(&manifest(&class, LARGER))?;
        let claims = until_asked(scene)?;
        grow(scene, &claims[0])?;
        scene.kubectl(&["delete", SET, "--wait=false"])?;
        until_template_is_larger(scene)?;
        claims[1..]
            .iter()
            .try_for_each(|claim| grow(scene, claim))?;
        scene.until_healed("volumes that have grown meanwhile")?;
        scene.are_the_same_pods(&pods)?;
        scene.until_in_sync(&target)?;
        witnesses.end("a StatefulSet deleted amid a growth")
    })
}

#[test]
fn a_volume_that_can_not_grow_is_named_and_brokers_go_on() -> Result<()> {
    scene("grow-refused", |scene| {
        let class = Class::make(scene, false)?;
        let target = scene.cluster_with_ledger(&manifest(&class, "1Gi"))?;
        let pods = scene.pods(MAIN)?;
        let mut witnesses = Witnesses::begin(&target, scene.folder())?;
        scene.apply(&manifest(&class, LARGER))?;
        scene.until_said(&["data-main-broker-0", "can't grow"], ASKED_LIMIT)?;
        witnesses.until_flowing()?;
        scene.are_the_same_pods(&pods)?;
        witnesses.end("a volume that can't grow")
    })
}
