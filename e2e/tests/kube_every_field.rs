//! A spec that says nearly everything: its brokers come up, clients reach each listener, and each field has done what it
//! says, as far as the resources that Kubernetes has tell.

#[path = "kube_every_field/manifest.rs"]
mod manifest;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::cluster::View;
use e2e::kube::manifests::{MAIN, topic};
use e2e::kube::{
    Scene, Undone, condition, fill, holds, inside, list, names, operator, scene, text, until,
};
use e2e::ledger::{Stored, Target};
use manifest::{
    ALTERNATIVE, EXTRA, EXTRA_PATH, NODE_PORT, NODE_PORT_OF_0, OTHER_POOL, PREFIX, SOURCES, TEAM,
    VPC_PORT, every_field,
};
use milena_client::{Client, ClientOptions};
use serde_json::{Value, json};

/// In the first pool, and in all.
const FIRST: i32 = 3;
const BROKERS: usize = 4;
const PARTITIONS: i32 = 4;
const SEEN_LIMIT: Duration = Duration::from_secs(30);
const ASK_LIMIT: Duration = Duration::from_secs(3);
/// What is kept is so for longer than a look takes.
const KEPT: Duration = Duration::from_secs(5);
const GONE_LIMIT: Duration = Duration::from_secs(60);

/// What brokers need beside their cluster; the class goes when the result is dropped.
fn surroundings(scene: &Scene) -> Result<Undone<'_>> {
    let (name, file) = EXTRA;
    scene.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {file: "tea\ncakes\n"},
    }))?;
    let class = &scene.namespace;
    let undone = Undone::by(&scene.kube, &["delete", "priorityclass", class]);
    scene.apply(&json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": class}, "value": 7,
    }))?;
    Ok(undone)
}

/// Whether all that is wanted is there; of a list each element, in any order, beside others.
fn has(found: &Value, wanted: &Value) -> bool {
    match wanted {
        Value::Object(members) => members
            .iter()
            .all(|(name, wanted)| has(&found[name], wanted)),
        Value::Array(wanted) => {
            let one = |wanted| list(found).iter().any(|found| has(found, wanted));
            wanted.iter().all(one)
        }
        wanted => found == wanted,
    }
}

fn expect(scene: &Scene, resource: &[&str], wanted: &Value) -> Result<()> {
    let found = scene.get(resource)?;
    ensure!(
        has(&found, wanted),
        "{resource:?}: {wanted} is not all in {found}"
    );
    Ok(())
}

fn pods_are_as_said(scene: &Scene) -> Result<()> {
    let image = operator::broker_image();
    let of_both = json!({
        "metadata": {"labels": {"milena.dev/cluster": MAIN}},
        "spec": {
            "imagePullSecrets": [{"name": "registry"}],
            "containers": [{
                "image": image, "imagePullPolicy": "Never",
                "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
            }],
        },
    });
    let of_first = json!({
        "metadata": {"labels": {"team": "data"}, "annotations": {"example.com/a": "b"}},
        "spec": {
            "tolerations": [{"key": "milena.dev/e2e", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1}]}},
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "priorityClassName": scene.namespace, "priority": 7,
            "terminationGracePeriodSeconds": 120,
            "securityContext": {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000, "runAsNonRoot": true},
            "containers": [{
                "env": [
                    {"name": "TZ", "value": "UTC"},
                    {"name": "LINES", "valueFrom": {"configMapKeyRef": {"name": EXTRA.0, "key": EXTRA.1}}},
                ],
                "volumeMounts": [{"name": "extra", "mountPath": EXTRA_PATH, "readOnly": true}],
            }],
            "volumes": [{"name": "extra", "configMap": {"name": EXTRA.0}}],
        },
    });
    for id in 0..FIRST {
        let pod = format!("{MAIN}-broker-{id}");
        expect(scene, &["pod", &pod], &of_both)?;
        expect(scene, &["pod", &pod], &of_first)?;
    }
    let pod = format!("{MAIN}-other-{OTHER_POOL}");
    expect(scene, &["pod", &pod], &of_both)?;
    let spread = json!({"spec": {"topologySpreadConstraints": [{"topologyKey": "topology.kubernetes.io/zone"}]}});
    expect(scene, &["pod", &pod], &spread)
}

fn surroundings_are_as_said(scene: &Scene) -> Result<()> {
    let account = format!("{MAIN}-broker");
    let role = json!({"metadata": {"annotations": {"example.com/role": "kafka"}}});
    expect(scene, &["serviceaccount", &account], &role)?;
    let from: Vec<Value> = SOURCES
        .iter()
        .map(|cidr| json!({"ipBlock": {"cidr": cidr}}))
        .collect();
    let rule = json!({"spec": {"ingress": [{"from": from, "ports": [{"port": 9094}]}]}});
    expect(scene, &["networkpolicy", MAIN], &rule)?;
    let service = |of: &str, port: Value, said: &str| {
        let wanted = json!({
            "metadata": {"annotations": {"example.com/of": said}},
            "spec": {"type": "NodePort", "externalTrafficPolicy": "Local", "ports": [port]},
        });
        expect(
            scene,
            &["service", &format!("{MAIN}-external-{of}")],
            &wanted,
        )
    };
    service("bootstrap", json!({"nodePort": NODE_PORT}), "bootstrap")?;
    service("0", json!({"nodePort": NODE_PORT_OF_0}), "broker-0")?;
    service(
        &OTHER_POOL.to_string(),
        json!({"port": 9094}),
        "broker-1000",
    )?;
    let vpc = json!({"spec": {"type": "ClusterIP", "ports": [{"port": VPC_PORT}]}});
    expect(scene, &["service", &format!("{MAIN}-vpc-1")], &vpc)
}

fn status_is_as_said(cluster: &Value) -> Result<()> {
    let status = &cluster["status"];
    let brokers = list(&status["brokers"]);
    ensure!(brokers.len() == BROKERS, "{brokers:?}");
    for broker in brokers {
        ensure!(
            broker["rack"] == broker["node"],
            "a rack is a node: {broker}"
        );
    }
    let wanted = json!({
        "version": operator::VERSION,
        "topicDefaults": {"replicationFactor": 2, "minInSyncReplicas": 1},
        "bootstrap": {"external": format!("{ALTERNATIVE}:{NODE_PORT}")},
    });
    ensure!(has(status, &wanted), "{wanted} is not all in {status}");
    ensure!(list(&status["voters"]).len() == 3, "{}", status["voters"]);
    ensure!(status["metadataVersion"].is_string(), "no level: {status}");
    Ok(())
}

/// The nodes of brokers, which alone take connections.
fn outside(scene: &Scene, topic: &str) -> Result<Target> {
    let pods = scene.pods(MAIN)?;
    let servers = pods
        .iter()
        .map(|pod| format!("{}:{NODE_PORT}", text(&pod["status"]["hostIP"])));
    Ok(Target {
        bootstrap: servers.collect::<Vec<_>>().join(","),
        topic: topic.to_owned(),
        partitions: PARTITIONS,
    })
}

/// Outside by the nodes of brokers and by no other, inside by the Services of the listener `vpc`, and in a broker's own pod
/// with the file that it has mounted.
fn clients_are_served(scene: &Scene) -> Result<()> {
    for (name, partitions) in [("outside", PARTITIONS), ("inside", 1), ("mounted", 1)] {
        scene.apply(&topic(name, partitions, 2))?;
        scene.until_topic(name)?;
    }
    let target = outside(scene, "outside")?;
    fill(&target, 100)?;
    let stored = Stored::read(Client::new(ClientOptions::new(&target.bootstrap)), &target)?;
    ensure!(
        stored.ends().iter().sum::<i64>() == 100,
        "{:?}",
        stored.ends()
    );
    let elsewhere = format!("{}:{NODE_PORT}", scene.kube.control_plane_address()?);
    let answer = View::ask(&elsewhere, ASK_LIMIT);
    ensure!(answer.is_err(), "{elsewhere} has no broker, and answers");

    let vpc = format!("{MAIN}-vpc-bootstrap.{}.svc:{VPC_PORT}", scene.namespace);
    let read = inside(scene, &vpc, "inside", "coffee\n")?;
    ensure!(read == "coffee\n", "{read}");

    let file = format!("{EXTRA_PATH}/{}", EXTRA.1);
    let bootstrap = format!("{MAIN}-bootstrap:9092");
    let milena = |arguments: &[&str]| {
        let exec = ["exec", "main-broker-0", "--", "/milena"];
        scene.kubectl(&[&exec[..], arguments, &["-b", &bootstrap]].concat())
    };
    milena(&["produce", "mounted", &file])?;
    let read = milena(&["consume", "mounted", "--from", "beginning", "--exit"])?;
    ensure!(read == "tea\ncakes\n", "{read}");
    Ok(())
}

/// Topics of a namespace elsewhere.
struct Elsewhere<'a> {
    scene: &'a Scene,
    namespace: String,
    _undone: Undone<'a>,
}

impl<'a> Elsewhere<'a> {
    fn make(scene: &'a Scene) -> Result<Self> {
        let namespace = format!("{}-elsewhere", scene.namespace);
        scene.kube.kubectl(&["create", "namespace", &namespace])?;
        let _undone = Undone::by(
            &scene.kube,
            &["delete", "namespace", &namespace, "--wait=false"],
        );
        Ok(Self {
            scene,
            namespace,
            _undone,
        })
    }

    fn apply(&self, name: &str) -> Result<()> {
        let mut foreign = topic(name, 1, 2);
        foreign["metadata"]["namespace"] = json!(self.namespace);
        foreign["spec"]["clusterRef"]["namespace"] = json!(self.scene.namespace);
        let apply = ["apply", "-f", "-"];
        self.scene
            .kube
            .kubectl_with(&foreign.to_string(), &apply)
            .map(drop)
    }

    fn until(&self, name: &str, kind: &str) -> Result<()> {
        until(&format!("{name} is {kind}"), SEEN_LIMIT, || {
            let get = ["-n", &self.namespace, "get", "topics.milena.dev", name];
            let found = self.scene.kube.json(&get)?;
            let said = condition(&found, kind).with_context(|| format!("no {kind}: {found}"))?;
            ensure!(said["status"] == "True", "{said}");
            Ok(())
        })
    }
}

/// A namespace is let in by its label, for names with the prefix, and may not delete.
fn topic_access_is_as_said(scene: &Scene) -> Result<()> {
    let elsewhere = Elsewhere::make(scene)?;
    let (theirs, other) = (format!("{PREFIX}orders"), "orders");
    elsewhere.apply(&theirs)?;
    elsewhere.apply(other)?;
    elsewhere.until(&theirs, "NotPermitted")?;
    let label = format!("{TEAM}={}", scene.namespace);
    scene
        .kube
        .kubectl(&["label", "namespace", &elsewhere.namespace, &label])?;
    elsewhere.until(&theirs, "Ready")?;
    elsewhere.until(other, "NotPermitted")?;
    let delete = [
        "-n",
        &elsewhere.namespace,
        "delete",
        "topics.milena.dev",
        &theirs,
        other,
        "--timeout=60s",
    ];
    scene.kube.kubectl(&delete)?;
    let target = outside(scene, &theirs)?;
    holds("who may not delete leaves its topic", KEPT, || {
        let view = scene.view(&target)?;
        ensure!(view.partitions(&theirs) == 1, "it is gone");
        Ok(())
    })
}

/// The broker's claim goes with it.
fn a_broker_taken_away_takes_its_claim_along(scene: &Scene) -> Result<()> {
    scene.apply(&every_field(&scene.namespace, FIRST - 1))?;
    let after = scene.until_settled(MAIN)?;
    ensure!(
        list(&after["status"]["brokers"]).len() == BROKERS - 1,
        "{}",
        after["status"]
    );
    until("its claim is gone", GONE_LIMIT, || {
        let claims = scene.claims(MAIN)?;
        ensure!(claims.len() == BROKERS - 1, "{:?}", names(&claims));
        Ok(())
    })
}

#[test]
fn a_spec_that_says_everything_is_followed() -> Result<()> {
    scene("every-field", |scene| {
        let _surroundings = surroundings(scene)?;
        scene.apply(&every_field(&scene.namespace, FIRST))?;
        // Where brokers are told by their own nodes there is no address to wait for.
        until("there are pods", SEEN_LIMIT, || {
            let pods = scene.pods(MAIN)?;
            ensure!(pods.len() == BROKERS, "{:?}", names(&pods));
            Ok(())
        })?;
        let cluster = scene.until_available(MAIN)?;
        pods_are_as_said(scene)?;
        surroundings_are_as_said(scene)?;
        status_is_as_said(&cluster)?;
        clients_are_served(scene)?;
        topic_access_is_as_said(scene)?;
        a_broker_taken_away_takes_its_claim_along(scene)
    })
}
