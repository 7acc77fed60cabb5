//! Nodes that are drained as their administrators do it, and nodes that are down.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::manifests::MAIN;
use super::{Kube, Scene, broker, list, text, until};

/// What `kubectl drain` waits for a broker's lease and its stop.
const DRAIN_LIMIT: &str = "--timeout=180s";
/// Kubernetes calls a silent node NotReady after some 40 to 50 s.
const NOT_READY_LIMIT: Duration = Duration::from_secs(120);
/// A node that was started again.
const READY_LIMIT: Duration = Duration::from_secs(180);
/// What an administrator says of a node that will not come back.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// A node without new pods, until this is dropped.
pub struct Cordoned<'a> {
    scene: &'a Scene,
    node: String,
}

impl<'a> Cordoned<'a> {
    /// Cordons the node of a pod, and leaves the pod there.
    pub fn cordon(scene: &'a Scene, pod: &Value) -> Result<Self> {
        let node = broker::node(pod)?.to_owned();
        scene.kube.kubectl(&["cordon", &node])?;
        Ok(Self { scene, node })
    }

    /// Cordons the node of a pod of [`MAIN`] and evicts it from there.
    pub fn drain(scene: &'a Scene, pod: &Value) -> Result<Self> {
        let node = broker::node(pod)?.to_owned();
        let cordoned = Self { scene, node };
        // Other tests' and the operator's pods stay.
        let selector = format!("--pod-selector=milena.dev/cluster={MAIN}");
        let drain = [
            "drain",
            &cordoned.node,
            &selector,
            "--ignore-daemonsets",
            DRAIN_LIMIT,
        ];
        let begun = Instant::now();
        scene.kube.kubectl(&drain)?;
        println!("{} was drained in {:.1?}", cordoned.node, begun.elapsed());
        Ok(cordoned)
    }

    /// Lets pods come again.
    pub fn uncordon(self) -> Result<()> {
        self.scene.kube.kubectl(&["uncordon", &self.node]).map(drop)
    }
}

impl Drop for Cordoned<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.scene.kube.kubectl(&["uncordon", &self.node]) {
            eprintln!("{} stays cordoned: {error:#}", self.node);
        }
    }
}

/// A node with an annotation, until this is dropped.
pub struct Annotated<'a> {
    kube: &'a Kube,
    node: String,
    key: &'static str,
}

impl<'a> Annotated<'a> {
    /// Annotates the node of a pod.
    pub fn with(kube: &'a Kube, pod: &Value, key: &'static str, value: &str) -> Result<Self> {
        let node = broker::node(pod)?.to_owned();
        let annotated = Self { kube, node, key };
        kube.kubectl(&[
            "annotate",
            "node",
            &annotated.node,
            &format!("{key}={value}"),
        ])?;
        Ok(annotated)
    }
}

impl Drop for Annotated<'_> {
    fn drop(&mut self) {
        let none = format!("{}-", self.key);
        if let Err(error) = self.kube.kubectl(&["annotate", "node", &self.node, &none]) {
            eprintln!("{} stays annotated: {error:#}", self.node);
        }
    }
}

/// A node that is down as by a power cut, until this is dropped.
pub struct Down<'a> {
    kube: &'a Kube,
    node: String,
    given_up: bool,
}

impl<'a> Down<'a> {
    /// Cuts its power.
    pub fn kill(kube: &'a Kube, node: &str) -> Result<Self> {
        broker::kill_node(node)?;
        Ok(Self {
            kube,
            node: node.to_owned(),
            given_up: false,
        })
    }

    /// Waits until Kubernetes misses it.
    pub fn until_missed(&self) -> Result<()> {
        until("Kubernetes misses the node", NOT_READY_LIMIT, || {
            ensure!(!self.is_ready()?, "it is still Ready");
            Ok(())
        })
    }

    /// Says that it will not come back, so that Kubernetes lets go of its pods.
    pub fn give_up(&mut self) -> Result<()> {
        let taint = format!("{OUT_OF_SERVICE}=gone:NoExecute");
        self.given_up = true;
        self.kube
            .kubectl(&["taint", "node", &self.node, &taint])
            .map(drop)
    }

    /// Waits until it is back, once it was started.
    pub fn until_back(&self) -> Result<()> {
        until("the node is back", READY_LIMIT, || {
            ensure!(self.is_ready()?, "it is not Ready");
            Ok(())
        })
    }

    /// Starts it, as this does when it is dropped.
    pub fn start(&mut self) -> Result<()> {
        broker::start_node(&self.node)?;
        if std::mem::take(&mut self.given_up) {
            let taint = format!("{OUT_OF_SERVICE}-");
            self.kube.kubectl(&["taint", "node", &self.node, &taint])?;
        }
        Ok(())
    }

    /// Whether Kubernetes calls it Ready.
    pub fn is_ready(&self) -> Result<bool> {
        let node = self.kube.json(&["get", "node", &self.node])?;
        let mut conditions = list(&node["status"]["conditions"]).iter();
        let ready = conditions.find(|condition| condition["type"] == "Ready");
        Ok(ready.is_some_and(|ready| text(&ready["status"]) == "True"))
    }
}

impl Drop for Down<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.start() {
            eprintln!("{} stays down: {error:#}", self.node);
        }
    }
}
