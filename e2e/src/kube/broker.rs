//! Faults of a broker's process and of its node. A node is a container of kind; what is done to it is undone by
//! whoever did it.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Kube, Scene, docker, text};

/// The name of the program as the kernel shows it.
const PROGRAM: &str = "milena";
/// The data directory in a broker's volume.
const DATA: &str = "data";

/// kill -9 of the broker in this pod.
pub fn kill9(kube: &Kube, pod: &Value) -> Result<()> {
    signal(kube, pod, "KILL")
}

/// Sends the broker in this pod a signal, on its node.
pub fn signal(kube: &Kube, pod: &Value, signal: &str) -> Result<()> {
    signal_program(kube, pod, PROGRAM, signal)
}

/// The same with another program's pod; its name as the kernel shows it, so at most 15 letters.
pub fn signal_program(kube: &Kube, pod: &Value, program: &str, signal: &str) -> Result<()> {
    let (node, uid) = (node(pod)?, text(&pod["metadata"]["uid"]));
    // Control groups are named after the pod, with - or _ as the container runtime is set.
    let find = format!(
        "for p in /proc/[0-9]*; do \
           [ \"$(cat $p/comm 2>/dev/null)\" = {program} ] || continue; \
           tr _ - < $p/cgroup | grep -q 'pod{uid}' && kill -s {signal} ${{p#/proc/}} && echo ${{p#/proc/}}; \
         done; true"
    );
    let told = kube.on_node(node, &["sh", "-c", &find])?;
    ensure!(!told.trim().is_empty(), "no process of pod {uid} on {node}");
    Ok(())
}

/// Empties the volumes of these brokers at one moment, as disks that were replaced: none runs on while another is emptied.
pub fn wipe(scene: &Scene, pods: &[Value]) -> Result<()> {
    let each = |what: &dyn Fn(&Value) -> Result<()>| pods.iter().try_for_each(what);
    each(&|pod| signal(&scene.kube, pod, "STOP"))?;
    each(&|pod| {
        let empty = ["find", &*folder(scene, pod)?, "-mindepth", "1", "-delete"];
        scene.kube.on_node(node(pod)?, &empty).map(drop)
    })?;
    each(&|pod| kill9(&scene.kube, pod))
}

/// Names of what is in a broker's data directory, one a line.
pub fn folders(scene: &Scene, pod: &Value) -> Result<String> {
    let data = format!("{}/{DATA}", folder(scene, pod)?);
    scene.kube.on_node(node(pod)?, &["ls", &data])
}

/// Where a broker's volume is on its node.
fn folder(scene: &Scene, pod: &Value) -> Result<String> {
    let claim = format!("data-{}", text(&pod["metadata"]["name"]));
    let claim = scene.get(&["persistentvolumeclaim", &claim])?;
    let volume = text(&claim["spec"]["volumeName"]);
    let volume = scene.kube.json(&["get", "persistentvolume", volume])?;
    let spec = &volume["spec"];
    let path = ["hostPath", "local"]
        .iter()
        .find_map(|kind| spec[kind]["path"].as_str());
    let path = path.with_context(|| format!("a volume without a folder: {volume}"))?;
    ensure!(
        path.starts_with('/') && path.len() > 1,
        "{path} is no folder of a volume"
    );
    Ok(path.to_owned())
}

/// The node that a pod stands on.
pub fn node(pod: &Value) -> Result<&str> {
    let node = pod["spec"]["nodeName"].as_str();
    node.with_context(|| format!("a pod without a node: {}", pod["metadata"]["name"]))
}

/// Stops a node as a power cut does.
pub fn kill_node(node: &str) -> Result<()> {
    docker(&["kill", node]).map(drop)
}

/// Starts it again.
pub fn start_node(node: &str) -> Result<()> {
    docker(&["start", node]).map(drop)
}
