//! What a cluster consists of is put back as it was when somebody else takes it away or edits it, and no broker is
//! restarted for it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::kube::manifests::MAIN;
use e2e::kube::{LEDGER, Scene, list, scene, text, until};
use e2e::witness::Witnesses;
use serde_json::{Value, json};

const SET: &str = "statefulset/main-broker";
/// A child is watched: its change is seen at once.
const BACK_LIMIT: Duration = Duration::from_secs(30);

/// Waits until a resource is there again, as another object than before.
fn until_another(scene: &Scene, resource: &str, before: &Value) -> Result<Value> {
    let begun = Instant::now();
    let found = until("it is there again", BACK_LIMIT, || {
        let found = scene.get(&[resource])?;
        ensure!(
            found["metadata"]["uid"] != before["metadata"]["uid"],
            "the same one"
        );
        Ok(found)
    })?;
    println!("{resource} is there again after {:.1?}", begun.elapsed());
    Ok(found)
}

#[test]
fn a_deleted_stateful_set_comes_back_and_takes_over_the_same_pods() -> Result<()> {
    scene("set-orphaned", |scene| {
        let target = scene.three_brokers()?;
        let (pods, set) = (scene.pods(MAIN)?, scene.get(&[SET])?);
        let witnesses = Witnesses::begin(&target, scene.folder())?;
        scene.kubectl(&["delete", SET, "--cascade=orphan"])?;
        let set = until_another(scene, SET, &set)?;
        until_adopted(scene, &set)?;
        scene.until_healed("a StatefulSet deleted without its pods")?;
        scene.are_the_same_pods(&pods)?;
        witnesses.end("a StatefulSet deleted without its pods")
    })
}

#[test]
fn a_stateful_set_deleted_as_people_do_takes_no_pod_with_it() -> Result<()> {
    // Kubernetes deletes what the set had in two ways: behind it, or before it.
    for cascade in ["background", "foreground"] {
        scene(&format!("set-deleted-{cascade}"), |scene| {
            let target = scene.three_brokers()?;
            let (pods, set) = (scene.pods(MAIN)?, scene.get(&[SET])?);
            let witnesses = Witnesses::begin(&target, scene.folder())?;
            let how = format!("--cascade={cascade}");
            scene.kubectl(&["delete", SET, &how, "--wait=false"])?;
            let set = until_another(scene, SET, &set)?;
            until_adopted(scene, &set)?;
            scene.until_healed("a StatefulSet deleted with its pods")?;
            scene.are_the_same_pods(&pods)?;
            witnesses.end("a StatefulSet deleted with its pods")
        })?;
    }
    Ok(())
}

/// Waits until all pods are the StatefulSet's own.
fn until_adopted(scene: &Scene, set: &Value) -> Result<()> {
    let is_its_own = |pod: &Value| {
        let mut owners = list(&pod["metadata"]["ownerReferences"]).iter();
        owners.any(|owner| owner["uid"] == set["metadata"]["uid"] && owner["controller"] == true)
    };
    until("the pods are its own", BACK_LIMIT, || {
        ensure!(scene.pods(MAIN)?.iter().all(is_its_own), "not all are");
        Ok(())
    })
}

#[test]
fn edited_and_deleted_children_are_put_back() -> Result<()> {
    scene("edited", |scene| {
        scene.three_brokers()?;
        let pods = scene.pods(MAIN)?;
        let service = scene.get(&["service/main-bootstrap"])?;
        let map = scene.get(&["configmap/main-config"])?;
        let selector = json!({"app.kubernetes.io/component": "nobody", "added": "by-hand"});
        scene.patch(
            "service/main-bootstrap",
            &json!({"spec": {"selector": selector}}),
        )?;
        until_as(scene, "service/main-bootstrap", "/spec/selector", &service)?;
        let data = json!({"broker.properties": "cluster.id=another"});
        scene.patch("configmap/main-config", &json!({"data": data}))?;
        until_as(scene, "configmap/main-config", "/data", &map)?;
        scene.kubectl(&["delete", "service/main-peers"])?;
        until_there(scene, "service/main-peers")?;
        scene.until_healed("edited and deleted children")?;
        scene.until_topic(LEDGER)?;
        scene.are_the_same_pods(&pods)
    })
}

#[test]
fn a_key_that_somebody_added_is_taken_out() -> Result<()> {
    scene("added-key", |scene| {
        scene.three_brokers()?;
        let map = scene.get(&["configmap/main-config"])?;
        let data = json!({"added": "by hand"});
        scene.patch("configmap/main-config", &json!({"data": data}))?;
        until_as(scene, "configmap/main-config", "/data", &map)?;
        scene.until_healed("an added key").map(drop)
    })
}

#[test]
fn a_port_that_somebody_edited_is_put_back() -> Result<()> {
    scene("edited-port", |scene| {
        scene.three_brokers()?;
        for name in ["service/main-bootstrap", "service/main-external-0"] {
            let service = scene.get(&[name])?;
            let mut port = service["spec"]["ports"][0].clone();
            (port["port"], port["targetPort"]) = (json!(1234), json!(4321));
            scene.patch(name, &json!({"spec": {"ports": [port]}}))?;
            // With the same port on the nodes: clients outside know it.
            until_as(scene, name, "/spec/ports", &service)?;
        }
        scene.until_healed("edited ports")?;
        Ok(())
    })
}

/// Waits until this part of a resource is as it was.
fn until_as(scene: &Scene, resource: &str, part: &str, before: &Value) -> Result<()> {
    let begun = Instant::now();
    until("it is put back", BACK_LIMIT, || {
        let now = scene.get(&[resource])?;
        ensure!(
            now.pointer(part) == before.pointer(part),
            "{:?} instead of {:?}",
            now.pointer(part),
            before.pointer(part)
        );
        Ok(())
    })?;
    println!("{resource} is put back after {:.1?}", begun.elapsed());
    Ok(())
}

fn until_there(scene: &Scene, resource: &str) -> Result<()> {
    let begun = Instant::now();
    let found = until("it is there again", BACK_LIMIT, || scene.get(&[resource]))?;
    let name = text(&found["metadata"]["name"]);
    println!("{name} is there again after {:.1?}", begun.elapsed());
    Ok(())
}
