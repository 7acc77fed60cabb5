//! The operator, installed once by its chart for all tests of a cluster.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Kube, repository};

/// Where it is installed.
pub const NAMESPACE: &str = "milena-e2e-operator";
/// The release, and what it makes.
pub const RELEASE: &str = "milena-operator";
/// The images' tag: the version of these sources, as the charts have it.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Whether this process has installed it.
static INSTALLED: Mutex<bool> = Mutex::new(false);

/// Installs it, or brings it to the chart as it is now; once in a process.
pub fn ensure(kube: &Kube) -> Result<()> {
    let mut installed = INSTALLED
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if !*installed {
        install(kube, &[])?;
        *installed = true;
    }
    Ok(())
}

/// Installs or upgrades it, with further values as `name=value`; how long that took.
pub fn install(kube: &Kube, values: &[&str]) -> Result<Duration> {
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
        NAMESPACE,
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
