//! The operator may go and come again: clusters stay, records stay, and no namespace waits for it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::kube::manifests::{MAIN, cluster, topic};
use e2e::kube::{Scene, condition, holds, names, operator, scene, text, until};
use e2e::witness::Witnesses;
use serde_json::{Value, json};

const PARTITIONS: i32 = 6;
/// A first broker of three is restarted.
const FIRST_LIMIT: Duration = Duration::from_secs(120);
/// Of a namespace with a cluster in it.
const NAMESPACE_LIMIT: Duration = Duration::from_secs(120);
/// Brokers that all stop wait for each other for 3 s, and the last one for 30 s more where it has not heard yet that all do
/// when the others take the quorum along; whatever their grace period is.
const STOPPED_LIMIT: Duration = Duration::from_secs(60);
/// Kubernetes looks at a namespace that waits for finalizers every 8 s.
const WATCHED: Duration = Duration::from_secs(20);

fn three_brokers(scene: &Scene) -> Result<()> {
    scene.apply(&cluster(3))?;
    scene.apply(&topic("ledger", PARTITIONS, 3))?;
    scene.until_available(MAIN)?;
    scene.until_topic("ledger").map(drop)
}

fn uids(pods: &[Value]) -> Vec<&str> {
    pods.iter()
        .map(|pod| text(&pod["metadata"]["uid"]))
        .collect()
}

#[test]
fn uninstalled_and_installed_again_it_takes_no_broker_down() -> Result<()> {
    scene("reinstall", |scene| {
        three_brokers(scene)?;
        let before = scene.pods(MAIN)?;
        let target = scene.target(MAIN, "ledger", PARTITIONS)?;
        let mut witnesses = Witnesses::begin(&target, scene.folder())?;
        let removed = operator::uninstall(&scene.kube);
        let flows = witnesses.until_flowing();
        // Other tests need it, however this one ends.
        operator::install(&scene.kube, &[])?;
        removed.and(flows)?;
        scene.until_settled(MAIN)?;
        scene.until_topic("ledger")?;
        let after = scene.pods(MAIN)?;
        ensure!(uids(&before) == uids(&after), "a broker was restarted");
        witnesses.end("the operator uninstalled and installed again")
    })
}

#[test]
fn a_namespace_ends_with_the_operator_and_without() -> Result<()> {
    scene("namespace", |scene| {
        three_brokers(scene)?;
        let begun = Instant::now();
        delete_namespace(scene)?;
        println!("the namespace ended within {:.1?}", begun.elapsed());

        create_namespace(scene)?;
        three_brokers(scene)?;
        let removed = operator::uninstall(&scene.kube);
        let ended = the_namespace_ends_by_itself(scene);
        operator::install(&scene.kube, &[])?;
        removed?;
        ended?;
        // What follows a test deletes its namespace, and needs one.
        create_namespace(scene)
    })
}

fn delete_namespace(scene: &Scene) -> Result<()> {
    let limit = format!("--timeout={}s", NAMESPACE_LIMIT.as_secs());
    let arguments = ["delete", "namespace", &*scene.namespace, &limit];
    scene.kube.kubectl(&arguments).map(drop)
}

/// Without an operator, with the grace period that brokers have where nothing is said of it.
fn the_namespace_ends_by_itself(scene: &Scene) -> Result<()> {
    let begun = Instant::now();
    begin_to_delete_namespace(scene)?;
    until_brokers_are_gone(scene)?;
    let stopped = begun.elapsed();
    until_namespace_is_gone(scene)?;
    println!(
        "without the operator its brokers had stopped after {stopped:.1?}, and it ended within {:.1?}",
        begun.elapsed()
    );
    Ok(())
}

fn begin_to_delete_namespace(scene: &Scene) -> Result<()> {
    let delete = ["delete", "namespace", &*scene.namespace, "--wait=false"];
    scene.kube.kubectl(&delete).map(drop)
}

/// And has Kubernetes look at the namespace then, as docs/kubernetes.md says it: it may have put that off by half of the pods'
/// grace period, five minutes.
fn until_brokers_are_gone(scene: &Scene) -> Result<()> {
    until("no broker is there", STOPPED_LIMIT, || {
        let pods = scene.pods(MAIN)?;
        ensure!(pods.is_empty(), "{:?}", names(&pods));
        Ok(())
    })?;
    let look = ["annotate", "namespace", &*scene.namespace, "look=now"];
    match scene.kube.kubectl(&look) {
        Err(error) if format!("{error:#}").contains("NotFound") => Ok(()),
        looked => looked.map(drop),
    }
}

fn until_namespace_is_gone(scene: &Scene) -> Result<()> {
    let limit = format!("--timeout={}s", NAMESPACE_LIMIT.as_secs());
    let namespace = format!("namespace/{}", scene.namespace);
    let wait = ["wait", "--for=delete", &namespace, &limit];
    scene.kube.kubectl(&wait).map(drop)
}

fn create_namespace(scene: &Scene) -> Result<()> {
    let arguments = ["create", "namespace", &*scene.namespace];
    scene.kube.kubectl(&arguments).map(drop)
}

#[test]
fn where_the_operator_is_dead_a_namespace_waits_for_topics_alone_until_they_are_released()
-> Result<()> {
    scene("operator-dead", |scene| {
        three_brokers(scene)?;
        let away = operator::Away::take(&scene.kube)?;
        let begun = Instant::now();
        begin_to_delete_namespace(scene)?;
        until_brokers_are_gone(scene)?;
        until("only the topic is left", NAMESPACE_LIMIT, || {
            only_the_topic_is_left(scene)
        })?;
        println!("only the topic was left after {:.1?}", begun.elapsed());
        holds("it waits", WATCHED, || only_the_topic_is_left(scene))?;

        let begun = Instant::now();
        release_finalizers(scene)?;
        until_namespace_is_gone(scene)?;
        println!("released, it ended within {:.1?}", begun.elapsed());
        drop(away);
        create_namespace(scene)
    })
}

/// What Kubernetes says that the namespace waits for, and that nothing else of a cluster is there.
fn only_the_topic_is_left(scene: &Scene) -> Result<()> {
    let others = "kafkaclusters,pods,statefulsets,services,persistentvolumeclaims,configmaps";
    let others = scene.get(&[others])?;
    ensure!(others["items"] == json!([]), "{others}");
    let topic = scene.get(&["topics.milena.dev", "ledger"])?;
    let finalizers = &topic["metadata"]["finalizers"];
    ensure!(*finalizers == json!(["milena.dev/topic"]), "{finalizers}");
    let namespace = scene.kube.json(&["get", "namespace", &scene.namespace])?;
    let remaining = condition(&namespace, "NamespaceFinalizersRemaining");
    let message = text(&remaining.context("nothing remains")?["message"]);
    let expected = "milena.dev/topic in 1 resource instances";
    ensure!(message.ends_with(expected), "{message}");
    Ok(())
}

/// What the chart runs before it goes, as docs/kubernetes.md says it.
fn release_finalizers(scene: &Scene) -> Result<()> {
    let in_its_namespace = ["-n", operator::NAMESPACE];
    let kubectl = |input: &str, arguments: &[&str]| {
        let arguments = [&in_its_namespace[..], arguments].concat();
        scene.kube.kubectl_with(input, &arguments)
    };
    let get = [&in_its_namespace[..], &["get", "hooks", operator::RELEASE]].concat();
    let hooks = scene.kube.helm(&get)?;
    kubectl(&hooks, &["apply", "-f", "-"])?;
    let job = format!("job/{}-release-finalizers", operator::RELEASE);
    let limit = format!("--timeout={}s", NAMESPACE_LIMIT.as_secs());
    kubectl("", &["wait", "--for=condition=complete", &job, &limit])?;
    println!("{}", kubectl("", &["logs", &job])?.trim());
    kubectl("", &["delete", &job]).map(drop)
}

#[test]
fn the_operator_killed_amid_a_roll_ends_it_and_restarts_no_broker_twice() -> Result<()> {
    scene("operator-killed", |scene| {
        three_brokers(scene)?;
        let before: Vec<String> = uids(&scene.pods(MAIN)?)
            .into_iter()
            .map(str::to_owned)
            .collect();
        let target = scene.target(MAIN, "ledger", PARTITIONS)?;
        let witnesses = Witnesses::begin(&target, scene.folder())?;
        let restart = json!({"spec": {"restartedAt": "2026-01-02T03:04:05Z"}});
        scene.patch(&format!("kafkacluster/{MAIN}"), &restart)?;
        let mut first = Vec::new();
        until("the first broker is restarted", FIRST_LIMIT, || {
            let pods = scene.pods(MAIN)?;
            first = uids(&pods)
                .into_iter()
                .map(str::to_owned)
                .filter(|uid| !before.contains(uid))
                .collect();
            ensure!(!first.is_empty(), "none yet");
            Ok(())
        })?;
        let kill = [
            "-n",
            operator::NAMESPACE,
            "delete",
            "pods",
            "--all",
            "--grace-period=0",
            "--force",
        ];
        scene.kube.kubectl(&kill)?;
        scene.until_settled(MAIN)?;
        let pods = scene.pods(MAIN)?;
        let after = uids(&pods);
        ensure!(
            !after.iter().any(|uid| before.iter().any(|old| old == uid)),
            "a broker was left out"
        );
        ensure!(
            first.iter().all(|uid| after.contains(&uid.as_str())),
            "a broker was restarted twice"
        );
        scene.until_in_sync(&target)?;
        witnesses.end("the operator killed amid a roll")
    })
}
