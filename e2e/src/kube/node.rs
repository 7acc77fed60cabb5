//! A node that is drained as its administrator does it.

use std::time::Instant;

use anyhow::Result;
use serde_json::Value;

use super::manifests::MAIN;
use super::{Scene, broker};

/// What `kubectl drain` waits for a broker's lease and its stop.
const DRAIN_LIMIT: &str = "--timeout=180s";

/// A node without new pods, until this is dropped.
pub struct Cordoned<'a> {
    scene: &'a Scene,
    node: String,
}

impl<'a> Cordoned<'a> {
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
