//! The operator, installed once by its chart for all tests of a cluster.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Kube, broker, repository, text, until};

/// Where it is installed.
pub const NAMESPACE: &str = "milena-e2e-operator";
/// The release, and what it makes.
pub const RELEASE: &str = "milena-operator";
/// The name of its program as the kernel shows it.
const PROGRAM: &str = "milena-operator";
/// Until its pods have gone.
const AWAY_LIMIT: Duration = Duration::from_secs(60);
/// The images' tag: the version of these sources, as the charts have it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Whether this process has installed it.
static INSTALLED: Mutex<bool> = Mutex::new(false);

/// Installs it, or brings it to the chart as it is now; once in a process. Helm refuses two who do so at once.
pub fn ensure(kube: &Kube) -> Result<()> {
    let mut installed = INSTALLED
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if !*installed {
        let folder = repository().join("target/e2e");
        std::fs::create_dir_all(&folder)?;
        let turn = std::fs::File::create(folder.join("operator.lock"))?;
        turn.lock()?;
        install(kube, &[])?;
        *installed = true;
    }
    Ok(())
}

/// Installs or upgrades it, with further values as `name=value`; how long that took.
pub fn install(kube: &Kube, values: &[&str]) -> Result<Duration> {
    install_in(kube, NAMESPACE, values)
}

fn install_in(kube: &Kube, namespace: &str, values: &[&str]) -> Result<Duration> {
    let begun = Instant::now();
    let chart = repository().join("charts/milena-operator");
    let chart = chart.to_str().context("a path of UTF-8")?;
    let images = format!(
        "image.repository={},brokerImage.repository={}",
        repository_of("milena-operator"),
        repository_of("milena")
    );
    let mut arguments = vec![
        "upgrade",
        "--install",
        RELEASE,
        chart,
        "-n",
        namespace,
        "--create-namespace",
    ];
    // Definitions may be there from elsewhere.
    arguments.extend([
        "--take-ownership",
        "--wait",
        "--timeout",
        "3m",
        "--set",
        &images,
    ]);
    for value in values {
        arguments.extend(["--set", value]);
    }
    kube.helm(&arguments)?;
    Ok(begun.elapsed())
}

/// Uninstalls it. Clusters and topics stay; other tests need it again.
pub fn uninstall(kube: &Kube) -> Result<()> {
    uninstall_in(kube, NAMESPACE)
}

fn uninstall_in(kube: &Kube, namespace: &str) -> Result<()> {
    let uninstall = [
        "uninstall",
        RELEASE,
        "-n",
        namespace,
        "--wait",
        "--timeout=3m",
    ];
    kube.helm(&uninstall).map(drop)
}

/// An operator in a namespace, for that namespace alone and with no other rights, until this is dropped. The one for all
/// has to be [`Away`].
pub struct Limited<'a> {
    kube: &'a Kube,
    namespace: &'a str,
}

impl<'a> Limited<'a> {
    /// Installs it.
    pub fn to(kube: &'a Kube, namespace: &'a str) -> Result<Self> {
        let limited = Self { kube, namespace };
        let watched = format!("watchNamespaces={{{namespace}}}");
        let values = [
            &watched,
            "replicas=1",
            "rbac.clusterReads=false",
            "rbac.aggregate=false",
            // They are the other release's.
            "crds.install=false",
        ];
        install_in(kube, namespace, &values)?;
        Ok(limited)
    }
}

impl Drop for Limited<'_> {
    fn drop(&mut self) {
        if let Err(error) = uninstall_in(self.kube, self.namespace) {
            eprintln!("the operator of {} stays: {error:#}", self.namespace);
        }
    }
}

/// The operator of another version, with that version's brokers for new clusters, until this is dropped: others need the
/// usual one.
pub struct Upgraded<'a>(&'a Kube);

impl<'a> Upgraded<'a> {
    /// Upgrades to images with this tag.
    pub fn to(kube: &'a Kube, version: &str) -> Result<Self> {
        let upgraded = Self(kube);
        install(
            kube,
            &[&format!("image.tag={version},brokerImage.tag={version}")],
        )?;
        Ok(upgraded)
    }
}

impl Drop for Upgraded<'_> {
    fn drop(&mut self) {
        if let Err(error) = install(self.0, &[]) {
            eprintln!("the operator stays upgraded: {error:#}");
        }
    }
}

/// Waits until all its pods are there.
pub fn until_there(kube: &Kube) -> Result<()> {
    let deployment = format!("deployment/{RELEASE}");
    let rollout = ["rollout", "status", &deployment, "--timeout=2m"];
    kube.kubectl(&[&["-n", NAMESPACE][..], &rollout].concat())
        .map(drop)
}

/// The operator scaled to nothing, until this is dropped: others need it.
pub struct Away<'a>(&'a Kube);

impl<'a> Away<'a> {
    /// Takes all its pods away.
    pub fn take(kube: &'a Kube) -> Result<Self> {
        let away = Self(kube);
        away.scale(0)?;
        until("no operator is there", AWAY_LIMIT, || {
            let pods = kube.json(&["-n", NAMESPACE, "get", "pods"])?;
            ensure!(pods["items"] == serde_json::json!([]), "one is");
            Ok(())
        })?;
        Ok(away)
    }

    fn scale(&self, replicas: u32) -> Result<()> {
        let (name, replicas) = (
            format!("deployment/{RELEASE}"),
            format!("--replicas={replicas}"),
        );
        let scale = ["-n", NAMESPACE, "scale", &name, &replicas];
        self.0.kubectl(&scale).map(drop)
    }
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        // As many as the chart's values say.
        let back = self.scale(2).and_then(|()| until_there(self.0));
        if let Err(error) = back {
            eprintln!("the operator stays away: {error:#}");
        }
    }
}

/// The leader's process stopped (SIGSTOP), until this is dropped.
pub struct Stopped<'a> {
    kube: &'a Kube,
    /// The pod that led.
    pub leader: Value,
}

impl<'a> Stopped<'a> {
    /// Stops whoever leads.
    pub fn stop(kube: &'a Kube) -> Result<Self> {
        let name = leader(kube)?;
        let leader = kube.json(&["-n", NAMESPACE, "get", "pod", &name])?;
        let stopped = Self { kube, leader };
        stopped.signal("STOP")?;
        Ok(stopped)
    }

    fn signal(&self, signal: &str) -> Result<()> {
        broker::signal_program(self.kube, &self.leader, PROGRAM, signal)
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.signal("CONT") {
            eprintln!("the operator stays stopped: {error:#}");
        }
    }
}

/// The name of the pod that leads.
pub fn leader(kube: &Kube) -> Result<String> {
    let lease = kube.json(&["-n", NAMESPACE, "get", "lease", RELEASE])?;
    let holder = text(&lease["spec"]["holderIdentity"]);
    let (pod, _) = holder
        .split_once('_')
        .with_context(|| format!("nobody leads: {lease}"))?;
    Ok(pod.to_owned())
}

/// The brokers' image.
pub fn broker_image() -> String {
    format!("{}:{VERSION}", repository_of("milena"))
}

/// `image.sh` names what it makes of programs that were built for tests after how they were.
pub fn repository_of(program: &str) -> String {
    match std::env::var("IMAGE_OF").as_deref() {
        Ok("release") => program.to_owned(),
        Ok(of) => format!("{program}-{of}"),
        Err(_) => format!("{program}-debug"),
    }
}
