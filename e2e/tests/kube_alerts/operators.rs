//! Operators that may do nothing, and operators that say nothing.

use anyhow::{Result, ensure};
use e2e::kube::manifests::MAIN;
use e2e::kube::{broker, list, operator};
use serde_json::{Value, json};

use crate::stage::Stage;
use crate::undo::Undo;

/// The name of the program as the kernel shows it.
const PROGRAM: &str = "milena-operator";
const RIGHTS: [&str; 2] = ["clusterrolebinding", operator::RELEASE];
/// More than may fail, and some of them at the same time.
const LOOKS: usize = 12;

/// The operator has no rights but those on its Lease, and is made to look at the cluster again and again.
pub fn has_no_rights<'a>(stage: &'a Stage<'_>) -> Result<Undo<'a>> {
    let kube = &stage.scene.kube;
    let mut binding = kube.json(&[&["get"][..], &RIGHTS].concat())?;
    let metadata = &mut binding["metadata"];
    for own in [
        "uid",
        "resourceVersion",
        "creationTimestamp",
        "managedFields",
    ] {
        metadata[own] = Value::Null;
    }
    let undo = Undo::by(move || {
        kube.kubectl_with(&binding.to_string(), &["create", "-f", "-"])
            .map(drop)
    });
    kube.kubectl(&[&["delete"][..], &RIGHTS].concat())?;
    for look in 0..LOOKS {
        let note = json!({"metadata": {"annotations": {"e2e.milena.dev/look": look.to_string()}}});
        stage.scene.patch(&format!("kafkacluster/{MAIN}"), &note)?;
    }
    Ok(undo)
}

/// All operators' processes are stopped; one that led finds its time over when it is continued, and ends.
pub fn are_silent<'a>(stage: &'a Stage<'_>) -> Result<Undo<'a>> {
    let kube = &stage.scene.kube;
    let pods = kube.json(&["-n", operator::NAMESPACE, "get", "pods"])?;
    let pods: Vec<Value> = list(&pods["items"]).to_vec();
    ensure!(!pods.is_empty(), "no operator is there");
    let stopped = pods.clone();
    let undo = Undo::by(move || {
        let continued = stopped
            .iter()
            .map(|pod| broker::signal_program(kube, pod, PROGRAM, "CONT"));
        continued.fold(Ok(()), Result::and)?;
        operator::until_there(kube)
    });
    for pod in &pods {
        broker::signal_program(kube, pod, PROGRAM, "STOP")?;
    }
    Ok(undo)
}
