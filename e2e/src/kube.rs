//! A Kubernetes cluster, by way of `kubectl`, `helm` and `docker` on the PATH: what a person would type.
//!
//! The tests `kube_*` run on the context `E2E_CONTEXT`, a cluster of kind; without it they say that they are skipped.
//! `e2e/kube/run.sh` makes such a cluster, and brings the images there.

mod begin;
pub mod broker;
mod clients;
mod evidence;
pub mod manifests;
mod node;
pub mod operator;
pub mod prometheus;
mod scene;
mod undone;
mod watch;

use std::io::{Seek, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::tempfile;

use crate::process;
pub use begin::{LEDGER, PARTITIONS, broker_told, names, uids};
pub use clients::{ask, fill, inside};
pub use node::{Annotated, Cordoned, Down};
pub use scene::{Scene, scene};
pub use undone::Undone;
pub use watch::{condition, holds, is_true, until};

/// One command; `helm --wait` and `kubectl wait` are given bounds of their own below it.
const COMMAND_LIMIT: Duration = Duration::from_secs(300);

/// A context of the kubeconfig.
#[derive(Debug, Clone)]
pub struct Kube {
    context: String,
}

impl Kube {
    /// What `E2E_CONTEXT` names.
    pub fn from_environment() -> Option<Self> {
        let context = std::env::var("E2E_CONTEXT").ok()?;
        (!context.is_empty()).then_some(Self { context })
    }

    /// `kubectl`, what it prints; an error with all that it said unless it succeeds.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.kubectl_with("", arguments)
    }

    /// The same with this on its standard input.
    pub fn kubectl_with(&self, input: &str, arguments: &[&str]) -> Result<String> {
        run(self.command(arguments), input)
    }

    /// `kubectl` for whoever runs it in another way.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command.args(["--context", &self.context]).args(arguments);
        command
    }

    /// What `kubectl … -o json` prints.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.kubectl(&[arguments, &["-o", "json"]].concat())?;
        serde_json::from_str(&text)
            .with_context(|| format!("kubectl {arguments:?}: not JSON: {text}"))
    }

    /// `helm`, what it prints.
    pub fn helm(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("helm");
        command
            .args(["--kube-context", &self.context])
            .args(arguments);
        run(command, "")
    }

    /// A command on one of the nodes, which are containers.
    pub fn on_node(&self, node: &str, arguments: &[&str]) -> Result<String> {
        docker(&[&["exec", node][..], arguments].concat())
    }

    /// The addresses of the nodes that run pods, in the order of their names.
    pub fn worker_addresses(&self) -> Result<Vec<String>> {
        self.addresses("!node-role.kubernetes.io/control-plane")
    }

    /// The address of a node that runs no broker: the control plane's.
    pub fn control_plane_address(&self) -> Result<String> {
        let mut found = self.addresses("node-role.kubernetes.io/control-plane")?;
        Ok(found.swap_remove(0))
    }

    /// Those of the nodes with such labels; at least one.
    fn addresses(&self, labels: &str) -> Result<Vec<String>> {
        let nodes = self.json(&["get", "nodes", "-l", labels])?;
        let found: Vec<String> = list(&nodes["items"])
            .iter()
            .flat_map(|node| list(&node["status"]["addresses"]))
            .filter(|address| address["type"] == "InternalIP")
            .map(|address| text(&address["address"]).to_owned())
            .collect();
        ensure!(!found.is_empty(), "no nodes with {labels}: {nodes}");
        Ok(found)
    }
}

/// `docker`, what it prints.
pub fn docker(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new("docker");
    command.args(arguments);
    run(command, "")
}

/// Elements of an array; none where it is no array.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A string; empty where it is none.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The repository's folder, where the charts are.
pub fn repository() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn run(mut command: Command, input: &str) -> Result<String> {
    let (mut stdin, mut stdout, mut stderr) = (tempfile()?, tempfile()?, tempfile()?);
    stdin.write_all(input.as_bytes())?;
    stdin.rewind()?;
    command
        .stdin(stdin)
        .stdout(Stdio::from(stdout.try_clone()?))
        .stderr(Stdio::from(stderr.try_clone()?));
    let mut child = command
        .spawn()
        .with_context(|| format!("start {command:?}"))?;
    let status = process::wait(&mut child, COMMAND_LIMIT);
    if status.is_none() {
        child.kill()?;
        child.wait()?;
    }
    stdout.rewind()?;
    stderr.rewind()?;
    let printed = std::io::read_to_string(stdout)?;
    let complaint = std::io::read_to_string(stderr)?;
    match status {
        Some(status) if status.success() => Ok(printed),
        Some(status) => bail!("{command:?}: {status}\n{printed}{complaint}"),
        None => bail!("{command:?}: still runs after {COMMAND_LIMIT:?}\n{printed}{complaint}"),
    }
}
