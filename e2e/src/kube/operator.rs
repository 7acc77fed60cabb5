//! The operator, installed once by its chart for all tests of a cluster.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Kube, repository};

/// Where it is installed.
pub const NAMESPACE: &str = "milena-e2e-operator";
/// The release, and what it makes.
pub const RELEASE: &str = "milena-operator";
/// Of the images that the tests use, unless `E2E_IMAGE_TAG` says otherwise.
const TAG: &str = "e2e";

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
    let tag = image_tag();
    let chart = repository().join("charts/milena-operator");
    let chart = chart.to_str().context("a path of UTF-8")?;
    let tags = format!("image.tag={tag},brokerImage.tag={tag}");
    let mut arguments = vec![
        "upgrade",
        "--install",
        RELEASE,
        chart,
        "-n",
        NAMESPACE,
        "--create-namespace",
    ];
    arguments.extend(["--wait", "--timeout", "3m", "--set", &tags]);
    for value in values {
        arguments.extend(["--set", value]);
    }
    kube.helm(&arguments)?;
    Ok(begun.elapsed())
}

/// The tag of both images.
pub fn image_tag() -> String {
    std::env::var("E2E_IMAGE_TAG").unwrap_or_else(|_| TAG.to_owned())
}
