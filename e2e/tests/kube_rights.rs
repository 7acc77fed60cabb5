//! The operator's rights and the brokers', as the API server lists them, against the list that is kept.
//! `UPDATE_RIGHTS=1` writes it anew.

use std::fs;

use anyhow::{Context, Result, ensure};
use e2e::kube::manifests::{MAIN, cluster, topic};
use e2e::kube::{Kube, operator, repository, scene};
use serde_json::json;

const KEPT: &str = "e2e/kube/rights.txt";
const KEPT_OF_LIMITED: &str = "e2e/kube/rights_limited.txt";

/// Resources with the verbs that an account has on them in a namespace, sorted.
fn rights(kube: &Kube, account: &str, namespace: &str) -> Result<String> {
    let listed = kube.kubectl(&[
        "auth",
        "can-i",
        "--list",
        "--no-headers",
        "-n",
        namespace,
        "--as",
        account,
    ])?;
    let mut lines: Vec<String> = listed
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        // What everybody may: look at themselves and at the API's pages.
        .filter(|line| !line.starts_with('[') && !line.contains("selfsubject"))
        .collect();
    lines.sort();
    Ok(lines.join("\n"))
}

#[test]
fn the_operator_and_the_brokers_may_do_what_they_need_and_no_more() -> Result<()> {
    scene("rights", |scene| {
        let mut manifest = cluster(1);
        manifest["spec"]["paused"] = json!(true);
        scene.apply(&manifest)?;
        let account =
            |namespace: &str, name: &str| format!("system:serviceaccount:{namespace}:{name}");
        let operators = account(operator::NAMESPACE, operator::RELEASE);
        let brokers = account(&scene.namespace, &format!("{MAIN}-broker"));
        let found = format!(
            "# The operator, in a namespace that it looks after\n{}\n\n# The operator, in its own\n{}\n\n# A broker\n{}\n",
            rights(&scene.kube, &operators, &scene.namespace)?,
            rights(&scene.kube, &operators, operator::NAMESPACE)?,
            rights(&scene.kube, &brokers, &scene.namespace)?,
        );
        are_kept(KEPT, &found)
    })
}

/// Compares with a kept list, or writes it.
fn are_kept(name: &str, found: &str) -> Result<()> {
    let path = repository().join(name);
    if std::env::var_os("UPDATE_RIGHTS").is_some() {
        fs::write(&path, found)?;
    }
    let kept = fs::read_to_string(&path).with_context(|| name.to_owned())?;
    ensure!(kept == found, "{name} says otherwise; now:\n{found}");
    Ok(())
}

#[test]
fn with_watch_namespaces_it_does_its_work_by_rights_in_those_alone() -> Result<()> {
    scene("limited", |scene| {
        let _away = operator::Away::take(&scene.kube)?;
        let _limited = operator::Limited::to(&scene.kube, &scene.namespace)?;
        scene.apply(&cluster(1))?;
        scene.apply(&topic("orders", 1, 1))?;
        scene.until_available(MAIN)?;
        scene.until_topic("orders")?;
        scene.patch(
            &format!("kafkacluster/{MAIN}"),
            &json!({"spec": {"restartedAt": "2026-01-02T03:04:05Z"}}),
        )?;
        scene.until_healed("a restart by an operator of few rights")?;
        let account = format!(
            "system:serviceaccount:{}:{}",
            scene.namespace,
            operator::RELEASE
        );
        let found = format!(
            "# The operator, in a namespace of watchNamespaces and its own\n{}\n\n# The operator, in another\n{}\n",
            rights(&scene.kube, &account, &scene.namespace)?,
            rights(&scene.kube, &account, operator::NAMESPACE)?,
        );
        are_kept(KEPT_OF_LIMITED, &found)
    })
}
