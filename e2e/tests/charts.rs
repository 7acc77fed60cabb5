//! The charts, as far as they can be tried without a cluster. What needs `helm` says that it is skipped without it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use e2e::skip::skipped;

const OPERATOR: &str = "charts/milena-operator";
const CLUSTER: &str = "charts/milena-cluster";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

/// What is rendered, or lint's words; `None` where there is no helm.
fn helm(arguments: &[&str]) -> Result<Option<std::process::Output>> {
    if Command::new("helm")
        .arg("version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        skipped("charts", "helm is not on the PATH")?;
        return Ok(None);
    }
    let mut command = Command::new("helm");
    command.args(arguments).current_dir(path("."));
    Ok(Some(command.output().context("run helm")?))
}

/// What the chart renders to with these further arguments.
fn rendered(chart: &str, more: &[&str]) -> Result<Option<String>> {
    let Some(output) = helm(
        &[
            &["template", "it", chart, "-n", "there"][..],
            &KUBERNETES[..],
            more,
        ]
        .concat(),
    )?
    else {
        return Ok(None);
    };
    let (stdout, stderr) = (text(output.stdout)?, text(output.stderr)?);
    ensure!(output.status.success(), "{chart} {more:?}: {stderr}");
    Ok(Some(stdout))
}

/// Why the chart does not render with these values.
fn refused(chart: &str, values: &str) -> Result<Option<String>> {
    let Some(output) = helm(
        &[
            &["template", "it", chart, "--set-json", values][..],
            &KUBERNETES[..],
        ]
        .concat(),
    )?
    else {
        return Ok(None);
    };
    ensure!(!output.status.success(), "{chart} takes {values}");
    Ok(Some(text(output.stderr)?))
}

fn text(bytes: Vec<u8>) -> Result<String> {
    Ok(String::from_utf8(bytes)?)
}

/// A cluster's version, for helm that has none to ask and may know only old ones.
const KUBERNETES: [&str; 2] = ["--kube-version", "1.33.0"];

/// How many resources of a kind.
fn count(manifests: &str, kind: &str) -> usize {
    manifests
        .lines()
        .filter(|line| *line == format!("kind: {kind}"))
        .count()
}

#[test]
fn the_chart_has_the_crds_that_were_generated() -> Result<()> {
    let names = |folder: &Path| -> Result<Vec<_>> {
        let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
        let mut names: Vec<_> = entries
            .map(|entry| Ok(entry?.file_name()))
            .collect::<Result<_>>()?;
        names.retain(|name| name.to_string_lossy().ends_with(".yaml"));
        names.sort();
        Ok(names)
    };
    let (ours, generated) = (path(OPERATOR).join("files/crds"), path("crds"));
    let wanted = names(&generated)?;
    ensure!(wanted.len() == 2, "two kinds: {wanted:?}");
    ensure!(names(&ours)? == wanted, "run charts/crds.sh");
    for name in wanted {
        ensure!(
            fs::read(ours.join(&name))? == fs::read(generated.join(&name))?,
            "{} is another file than that of crds/: run charts/crds.sh",
            name.display()
        );
    }
    Ok(())
}

#[test]
fn lint_finds_nothing() -> Result<()> {
    for chart in [OPERATOR, CLUSTER] {
        let Some(output) = helm(&["lint", "--strict", chart])? else {
            return Ok(());
        };
        let told = text(output.stdout)?;
        ensure!(
            output.status.success() && !told.contains("[WARNING]"),
            "{told}"
        );
    }
    Ok(())
}

#[test]
fn crds_stay_when_the_release_goes() -> Result<()> {
    let Some(manifests) = rendered(OPERATOR, &[])? else {
        return Ok(());
    };
    let kept = manifests
        .matches("\n    helm.sh/resource-policy: keep\n")
        .count();
    ensure!(
        count(&manifests, "CustomResourceDefinition") == 2 && kept == 2,
        "{kept} are kept"
    );
    let Some(without) = rendered(OPERATOR, &["--set", "crds.install=false"])? else {
        return Ok(());
    };
    ensure!(count(&without, "CustomResourceDefinition") == 0);
    Ok(())
}

#[test]
fn rights_are_as_narrow_as_what_is_watched() -> Result<()> {
    // Everywhere: the rules, what is read, and two for people.
    let Some(everywhere) = rendered(OPERATOR, &[])? else {
        return Ok(());
    };
    ensure!(count(&everywhere, "ClusterRole") == 4 && count(&everywhere, "Role") == 1);
    let narrow = [
        "--set",
        "watchNamespaces={a,b},rbac.clusterReads=false,rbac.aggregate=false",
    ];
    let manifests = rendered(OPERATOR, &narrow)?.context("helm is there")?;
    ensure!(count(&manifests, "ClusterRole") == 0 && count(&manifests, "Role") == 3);
    ensure!(
        !manifests.contains("\"*\"") && !everywhere.contains("\"*\""),
        "a right to everything"
    );
    Ok(())
}

#[test]
fn monitoring_is_made_where_its_crds_are() -> Result<()> {
    let Some(without) = rendered(OPERATOR, &[])? else {
        return Ok(());
    };
    ensure!(count(&without, "PrometheusRule") + count(&without, "ServiceMonitor") == 0);
    let has = |kind: &str| format!("monitoring.coreos.com/v1/{kind}");
    let (rule, service) = (has("PrometheusRule"), has("ServiceMonitor"));
    let with = [
        "-a",
        &rule,
        "-a",
        &service,
        "--set",
        "monitoring.runbooks=https://example.com/r/",
    ];
    let manifests = rendered(OPERATOR, &with)?.context("helm is there")?;
    ensure!(count(&manifests, "PrometheusRule") == 1 && count(&manifests, "ServiceMonitor") == 1);
    ensure!(manifests.contains("runbook_url: https://example.com/r/disk-nearly-full.md"));
    ensure!(!manifests.contains("runbook_url: docs/"));
    Ok(())
}

#[test]
fn topics_made_by_the_chart_outlive_it_unless_asked_otherwise() -> Result<()> {
    let values = r#"topics={"orders":{"partitions":3,"config":{"retentionMs":86400000}},"logs":{"partitions":1,"deletionPolicy":"Delete"}}"#;
    let Some(manifests) = rendered(CLUSTER, &["--set-json", values])? else {
        return Ok(());
    };
    ensure!(count(&manifests, "KafkaCluster") == 1 && count(&manifests, "Topic") == 2);
    let of = |name: &str| {
        let mut documents = manifests.split("\n---\n");
        documents
            .find(|document| {
                document.contains("kind: Topic") && document.contains(&format!("name: {name}\n"))
            })
            .with_context(|| format!("no Topic {name}: {manifests}"))
    };
    ensure!(
        of("orders")?.contains("deletionPolicy: Retain"),
        "{manifests}"
    );
    ensure!(
        of("logs")?.contains("deletionPolicy: Delete"),
        "{manifests}"
    );
    Ok(())
}

#[test]
fn values_that_can_not_be_meant_are_refused_by_name() -> Result<()> {
    let cases = [
        (OPERATOR, r#"replicas="two""#, "replicas"),
        (OPERATOR, r#"imagee={}"#, "imagee"),
        (
            OPERATOR,
            r#"watchNamespaces=["Not_A_Name"]"#,
            "watchNamespaces",
        ),
        (CLUSTER, r#"topics={"orders":{}}"#, "partitions"),
        (
            CLUSTER,
            r#"cluster.deletionPolicy="Keep""#,
            "deletionPolicy",
        ),
        (CLUSTER, r#"cluster.quorum={"voters":2}"#, "voters"),
    ];
    for (chart, values, name) in cases {
        let Some(why) = refused(chart, values)? else {
            return Ok(());
        };
        ensure!(why.contains(name), "{values}: {why}");
    }
    Ok(())
}
