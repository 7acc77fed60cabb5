//! What is built, applied on a real API server: taken whole, written once, and put right where others have changed it.
//!
//! E2E_CONTEXT names kubectl's context of a Kubernetes cluster; without it there is nothing to apply to, and the test says
//! so. No controller has to run there.

use std::io::Write;
use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Namespace, Secret, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::conditions::is_crd_established;
use kube::runtime::wait::await_condition;
use kube::{Client, Config, ResourceExt};
use milena_operator::apply::{self, ApplyError, precise};
use milena_operator::cluster::build::{self, Budget, Given, Resources};
use milena_operator::cluster::validate::{Found, Operator, Wanted, check};
use milena_operator::crd::KafkaCluster;
use serde_json::json;

async fn client() -> Option<Client> {
    let context = std::env::var("E2E_CONTEXT")
        .ok()
        .filter(|name| !name.is_empty())?;
    let options = KubeConfigOptions {
        context: Some(context),
        ..KubeConfigOptions::default()
    };
    let file = Kubeconfig::read().expect("there is a kubeconfig");
    let config = Config::from_custom_kubeconfig(file, &options).await;
    Some(Client::try_from(config.expect("the context is there")).expect("a client"))
}

/// Installs our definitions, makes the cluster's resource, paused for the sake of an operator that may be there, and
/// returns its uid.
async fn owner(client: &Client, namespace: &str) -> String {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let forced = PatchParams::apply(apply::MANAGER).force();
    for definition in milena_operator::crd::crds() {
        let name = definition.name_any();
        let applied = definitions
            .patch(&name, &forced, &Patch::Apply(&definition))
            .await;
        applied.expect("the definition is taken");
        let established = await_condition(definitions.clone(), &name, is_crd_established());
        let established = tokio::time::timeout(Duration::from_secs(30), established).await;
        established
            .expect("within its time")
            .expect("it is watched");
    }
    let mut cluster = resource(namespace, "1024Mi", "");
    cluster.spec.paused = true;
    cluster.metadata.uid = None;
    cluster.metadata.generation = None;
    let clusters: Api<KafkaCluster> = Api::namespaced(client.clone(), namespace);
    let created = clusters.create(&PostParams::default(), &cluster).await;
    created.expect("it is taken").uid().expect("it has a uid")
}

fn resource(namespace: &str, size: &str, uid: &str) -> KafkaCluster {
    serde_json::from_value(json!({
        "apiVersion": "milena.dev/v1alpha1", "kind": "KafkaCluster",
        "metadata": { "name": "main", "namespace": namespace, "uid": uid, "generation": 1 },
        "spec": {
            "pools": [{ "name": "broker", "replicas": 3, "volumes": [{ "name": "data", "size": size }],
                "resources": { "requests": { "cpu": 1, "memory": "1024Mi" } } }],
            "listeners": [{ "name": "internal", "port": 9092 }, { "name": "external", "port": 9094, "type": "NodePort" }],
            "config": { "num.partitions": 3 },
        },
    }))
    .expect("it is a KafkaCluster")
}

fn wanted(namespace: &str, size: &str, uid: &str) -> Wanted {
    let version = || "0.1.0".parse().expect("it is a version");
    let operator = Operator {
        version: version(),
        image_repository: "milena".to_owned(),
        levels: vec![(version(), 1)],
    };
    let found = Found {
        fresh_cluster_id: "MkU3OEVBNTcwNTJENDM2Qk".to_owned(),
        ..Found::default()
    };
    check(&resource(namespace, size, uid), &found, &operator).expect("it can be followed")
}

fn built(wanted: &Wanted) -> Resources {
    let given = Given {
        fresh_token: format!("token-{:?}", std::time::Instant::now()),
        budget: Budget::default(),
        ..Given::default()
    };
    build::all(wanted, &given)
}

/// Of nothing that is there.
const OTHER_UID: &str = "5b1f4f2e-0000-4000-8000-000000000002";

#[tokio::test]
async fn what_is_built_is_taken_whole_written_once_and_put_right() {
    let Some(client) = client().await else {
        // Not eprintln, which the test harness keeps to itself when a test passes.
        let note = "applying: skipped, E2E_CONTEXT names no Kubernetes cluster\n";
        std::io::stderr()
            .write_all(note.as_bytes())
            .expect("stderr takes a line");
        return;
    };
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let name = format!("applying-{}", std::process::id());
    let namespace = json!({ "metadata": { "name": name } });
    let namespace = serde_json::from_value(namespace).expect("it is a Namespace");
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .expect("a namespace");
    // The garbage collector takes what has an owner that is not there.
    let uid = owner(&client, &name).await;
    let wanted = wanted(&name, "1024Mi", &uid);

    let first = apply::apply(&built(&wanted), &wanted, &client).await;
    assert!(first.problems.is_empty(), "{:?}", first.problems);
    assert!(first.changed.len() >= 11, "{:?}", first.changed);
    nothing_is_written_twice(&client, &wanted).await;
    additions_are_taken_out(&client, &wanted).await;
    services_of_a_listener_that_is_gone_go_and_others_stay(&client, &wanted).await;
    claims_that_can_not_be_changed_stay(&client, &name, &uid).await;
    what_belongs_to_somebody_else_is_left_alone(&client, &name).await;

    namespaces
        .delete(&name, &DeleteParams::default())
        .await
        .expect("it goes");
}

async fn nothing_is_written_twice(client: &Client, wanted: &Wanted) {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &wanted.namespace);
    let token = secrets.get("main-admin").await.expect("a token").data;
    let second = apply::apply(&built(wanted), wanted, client).await;
    assert_eq!(second.changed, Vec::<String>::new());
    assert!(second.problems.is_empty(), "{second:?}");
    assert_eq!(
        secrets.get("main-admin").await.expect("a token").data,
        token
    );
}

async fn additions_are_taken_out(client: &Client, wanted: &Wanted) {
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), &wanted.namespace);
    let services: Api<Service> = Api::namespaced(client.clone(), &wanted.namespace);
    let by_hand = PatchParams {
        field_manager: Some("by-hand".to_owned()),
        ..PatchParams::default()
    };
    let spy = json!({ "metadata": { "labels": { "team": "a" } }, "spec": { "template": { "spec": {
        "dnsPolicy": "Default", "containers": [{ "name": "spy", "image": "spy" }, { "name": "broker", "image": "x" }] } } } });
    sets.patch("main-broker", &by_hand, &Patch::Strategic(&spy))
        .await
        .expect("a patch");
    let port =
        json!({ "spec": { "selector": { "a": "b" }, "ports": [{ "name": "x", "port": 22 }] } });
    services
        .patch("main-external-1", &by_hand, &Patch::Strategic(&port))
        .await
        .expect("a patch");
    let before = services.get("main-external-0").await.expect("a Service");

    let third = apply::apply(&built(wanted), wanted, client).await;
    assert!(third.problems.is_empty(), "{:?}", third.problems);
    let set = sets.get("main-broker").await.expect("a StatefulSet");
    assert_eq!(set.labels()["team"], "a", "foreign labels stay");
    let pod = set.spec.and_then(|spec| spec.template.spec).expect("a pod");
    let names: Vec<_> = pod.containers.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["broker"]);
    assert_eq!(pod.containers[0].image.as_deref(), Some("milena:0.1.0"));
    assert_eq!(pod.dns_policy.as_deref(), Some("ClusterFirst"));
    let spec = services
        .get("main-external-1")
        .await
        .expect("a Service")
        .spec
        .expect("a spec");
    assert_eq!(spec.ports.map(|ports| ports.len()), Some(1));
    assert!(!spec.selector.expect("a selector").contains_key("a"));
    let after = services.get("main-external-0").await.expect("a Service");
    assert_eq!(after.resource_version(), before.resource_version());
    let fourth = apply::apply(&built(wanted), wanted, client).await;
    assert_eq!(fourth.changed, Vec::<String>::new());
}

async fn services_of_a_listener_that_is_gone_go_and_others_stay(client: &Client, wanted: &Wanted) {
    let services: Api<Service> = Api::namespaced(client.clone(), &wanted.namespace);
    let mut without = wanted.clone();
    without.listeners.truncate(1);
    let applied = apply::apply(&built(&without), &without, client).await;
    assert!(applied.problems.is_empty(), "{:?}", applied.problems);
    let left = services.list(&Default::default()).await.expect("Services");
    let mut names: Vec<_> = left.items.iter().map(ResourceExt::name_any).collect();
    names.sort();
    assert_eq!(names, ["main-bootstrap", "main-peers"]);
    let gone = precise::delete(&services, "main-peers", OTHER_UID, None).await;
    assert!(!gone.expect("an answer"), "another uid is another Service");
}

async fn claims_that_can_not_be_changed_stay(client: &Client, namespace: &str, uid: &str) {
    let larger = wanted(namespace, "2Gi", uid);
    let applied = apply::apply(&built(&larger), &larger, client).await;
    assert!(applied.problems.is_empty(), "{:?}", applied.problems);
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), namespace);
    let spec = sets.get("main-broker").await.expect("a set").spec;
    let claims = spec.and_then(|spec| spec.volume_claim_templates);
    let claim = claims.and_then(|claims| claims.into_iter().next());
    let resources = claim.and_then(|claim| claim.spec?.resources);
    let size = resources.and_then(|resources| resources.requests?.remove("storage"));
    assert_eq!(size.expect("a size").0, "1Gi");
}

async fn what_belongs_to_somebody_else_is_left_alone(client: &Client, namespace: &str) {
    let other = wanted(namespace, "2Gi", OTHER_UID);
    let applied = apply::apply(&built(&other), &other, client).await;
    assert!(!applied.problems.is_empty());
    for problem in &applied.problems {
        assert!(matches!(problem, ApplyError::Foreign { .. }), "{problem}");
    }
}
