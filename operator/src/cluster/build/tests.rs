//! What the built objects promise.

mod outside;
mod pods;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::samples::{pool, wanted};
use super::*;
use crate::crd::ConfigValue;
use crate::crd::cluster::{Listener, ListenerType};

fn given() -> Given {
    Given {
        fresh_token: "token".to_owned(),
        ..Given::default()
    }
}

fn service<'a>(resources: &'a Resources, name: &str) -> &'a Service {
    let mut services = resources.services.iter();
    services
        .find(|service| service.name_any() == name)
        .unwrap_or_else(|| panic!("there is no Service {name}"))
}

fn properties(resources: &Resources) -> &str {
    &resources.config.data.as_ref().unwrap()["broker.properties"]
}

fn line<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let start = format!("{name}=");
    text.lines()
        .find_map(|line| line.strip_prefix(start.as_str()))
}

fn told(resources: &Resources, id: i32) -> &str {
    let data = resources.brokers.data.as_ref().unwrap();
    line(&data[&format!("{id}.properties")], "advertised.listeners").unwrap()
}

#[test]
fn everything_is_the_clusters_by_label_and_owner() {
    let resources = all(&wanted(|_| {}), &given());
    let mut metas = vec![
        &resources.service_account.metadata,
        &resources.admin_token.metadata,
        &resources.network_policy.metadata,
        &resources.config.metadata,
        &resources.brokers.metadata,
        &resources.budget.metadata,
        &resources.stateful_sets[0].metadata,
    ];
    metas.extend(resources.services.iter().map(|service| &service.metadata));
    for meta in metas {
        let name = meta.name.as_deref().unwrap();
        let labels = meta.labels.as_ref().unwrap();
        assert_eq!(labels[CLUSTER_LABEL], "main", "{name}");
        assert_eq!(
            labels["app.kubernetes.io/managed-by"], "milena-operator",
            "{name}"
        );
        assert_eq!(labels["app.kubernetes.io/instance"], "main", "{name}");
        let owner = &meta.owner_references.as_ref().unwrap()[0];
        assert_eq!(
            (owner.kind.as_str(), owner.controller),
            ("KafkaCluster", Some(true)),
            "{name}"
        );
    }
}

#[test]
fn claims_have_no_owner_and_the_clusters_id() {
    let resources = all(&wanted(|_| {}), &given());
    let spec = resources.stateful_sets[0].spec.as_ref().unwrap();
    let claim = &spec.volume_claim_templates.as_ref().unwrap()[0];
    assert_eq!(claim.metadata.owner_references, None);
    assert_eq!(claim.name_any(), "data");
    assert_eq!(claim.labels()[CLUSTER_ID_LABEL], "MkU3OEVBNTcwNTJENDM2Qk");
    assert_eq!(claim.labels()[POOL_LABEL], "broker");
    let policy = spec
        .persistent_volume_claim_retention_policy
        .as_ref()
        .unwrap();
    assert_eq!(policy.when_deleted.as_deref(), Some("Retain"));
    assert_eq!(policy.when_scaled.as_deref(), Some("Retain"));
}

#[test]
fn a_stateful_set_starts_all_at_once_and_stops_none_by_itself() {
    let wanted = wanted(|spec| spec.pools.push(pool("other", 1000, 2)));
    let resources = all(&wanted, &given());
    let spec = resources.stateful_sets[1].spec.as_ref().unwrap();
    assert_eq!(resources.stateful_sets[1].name_any(), "main-other");
    assert_eq!(spec.pod_management_policy.as_deref(), Some("Parallel"));
    assert_eq!(
        spec.update_strategy.as_ref().unwrap().type_.as_deref(),
        Some("OnDelete")
    );
    assert_eq!(spec.ordinals.as_ref().unwrap().start, Some(1000));
    assert_eq!(spec.replicas, Some(2));
    assert_eq!(spec.service_name.as_deref(), Some("main-peers"));
}

#[test]
fn brokers_that_are_drained_keep_their_pods_settings_and_services() {
    let wanted = wanted(|spec| {
        let listener = |name: &str, port: i32, kind: ListenerType| Listener {
            name: name.to_owned(),
            port,
            kind,
            ..Listener::default()
        };
        spec.listeners = vec![
            listener("internal", 9092, ListenerType::Internal),
            listener("external", 9094, ListenerType::ClusterIP),
        ];
    });
    let given = Given {
        replicas: [("broker".to_owned(), 5)].into(),
        leaving: [
            ("broker".to_owned(), vec![3, 4]),
            ("gone".to_owned(), vec![1000]),
        ]
        .into(),
        ..given()
    };
    let resources = all(&wanted, &given);
    assert_eq!(
        resources.stateful_sets[0].spec.as_ref().unwrap().replicas,
        Some(5)
    );
    assert_eq!(resources.stateful_sets.len(), 1);
    assert!(told(&resources, 4).contains("PEERS://main-broker-4.main-peers.kafka.svc:9091"));
    assert!(told(&resources, 1000).contains("main-gone-1000.main-peers.kafka.svc:9091"));
    service(&resources, "main-external-4");
    service(&resources, "main-external-1000");
}

#[test]
fn peers_find_each_other_before_they_are_ready_and_clients_begin_at_brokers_that_are() {
    let resources = all(&wanted(|_| {}), &given());
    let peers = service(&resources, "main-peers").spec.as_ref().unwrap();
    assert_eq!(peers.cluster_ip.as_deref(), Some("None"));
    assert_eq!(peers.publish_not_ready_addresses, Some(true));
    let bootstrap = service(&resources, "main-bootstrap").spec.as_ref().unwrap();
    assert_eq!(bootstrap.publish_not_ready_addresses, Some(false));
    let ports: Vec<_> = bootstrap
        .ports
        .as_ref()
        .unwrap()
        .iter()
        .map(|port| port.port)
        .collect();
    assert_eq!(ports, [9092]);
}

#[test]
fn all_brokers_are_told_the_same_voters_and_the_word_to_found_only_while_the_cluster_is_new() {
    let mut wanted = wanted(|_| {});
    let founding = all(&wanted, &given());
    let text = properties(&founding);
    let voters = line(text, "controller.quorum.voters").unwrap();
    assert!(
        voters.starts_with("0@main-broker-0.main-peers.kafka.svc:9091,1@"),
        "{voters}"
    );
    assert_eq!(line(text, "cluster.found"), Some("true"));
    assert_eq!(line(text, "cluster.id"), Some("MkU3OEVBNTcwNTJENDM2Qk"));
    wanted.founding = false;
    let later = all(
        &wanted,
        &Given {
            voters: vec![2],
            ..given()
        },
    );
    let text = properties(&later);
    assert_eq!(line(text, "cluster.found"), None);
    let voters = line(text, "controller.quorum.voters");
    assert_eq!(voters, Some("2@main-broker-2.main-peers.kafka.svc:9091"));
}

#[test]
fn settings_reach_the_brokers_as_they_were_written() {
    let resources = all(
        &wanted(|spec| {
            let text = ConfigValue::Text("a=b\\c, #d".to_owned());
            spec.config = [
                ("replica.selector.class".to_owned(), text),
                ("num.partitions".to_owned(), ConfigValue::Int(7)),
            ]
            .into();
        }),
        &given(),
    );
    let text = properties(&resources);
    assert_eq!(line(text, "replica.selector.class"), Some("a=b\\\\c, #d"));
    assert_eq!(line(text, "num.partitions"), Some("7"));
    assert_eq!(
        line(text, "listeners"),
        Some("PEERS://0.0.0.0:9091,INTERNAL://0.0.0.0:9092")
    );
    assert_eq!(line(text, "min.insync.replicas"), Some("2"));
    assert_eq!(line(text, "placement.node.spread"), Some("required"));
    assert_eq!(
        line(text, "http.admin.token.file"),
        Some("/etc/milena/admin/token")
    );
}

#[test]
fn one_budget_counts_all_brokers_and_is_bound_to_what_it_was_decided_on() {
    let wanted = wanted(|spec| spec.pools.push(pool("other", 1000, 2)));
    let given = Given {
        budget: Budget {
            max_unavailable: 1,
            resource_version: Some("42".to_owned()),
        },
        ..given()
    };
    let budget = all(&wanted, &given).budget;
    assert_eq!(budget.metadata.resource_version.as_deref(), Some("42"));
    let spec = budget.spec.unwrap();
    assert_eq!(spec.max_unavailable, Some(IntOrString::Int(1)));
    assert_eq!(
        spec.unhealthy_pod_eviction_policy.as_deref(),
        Some("IfHealthyBudget")
    );
    let selected = spec.selector.unwrap().match_labels.unwrap();
    assert!(!selected.contains_key(POOL_LABEL));
    assert_eq!(selected[CLUSTER_LABEL], "main");
}

#[test]
fn only_brokers_reach_the_peers_port() {
    let resources = all(&wanted(|_| {}), &given());
    let rules = resources.network_policy.spec.unwrap().ingress.unwrap();
    let rule = |port: i32| {
        let has = |rule: &&k8s_openapi::api::networking::v1::NetworkPolicyIngressRule| {
            rule.ports.as_ref().unwrap()[0].port == Some(IntOrString::Int(port))
        };
        rules
            .iter()
            .find(has)
            .unwrap_or_else(|| panic!("no rule for {port}"))
    };
    let peers = rule(9091).from.as_ref().unwrap();
    assert_eq!(peers.len(), 1);
    assert_eq!(
        peers[0]
            .pod_selector
            .as_ref()
            .unwrap()
            .match_labels
            .as_ref()
            .unwrap()[CLUSTER_LABEL],
        "main"
    );
    assert_eq!(peers[0].namespace_selector, None);
    assert!(rule(9404).from.is_some());
    assert!(rule(9092).from.is_none());
}

#[test]
fn the_accounts_annotations_are_those_of_all_pools_and_it_has_no_token() {
    let wanted = wanted(|spec| {
        spec.pools.push(pool("other", 1000, 2));
        for (at, key) in ["a", "b"].into_iter().enumerate() {
            let annotations = &mut spec.pools[at].pod_template.service_account_annotations;
            annotations.insert(key.to_owned(), "1".to_owned());
        }
    });
    let account = all(&wanted, &given()).service_account;
    assert_eq!(account.automount_service_account_token, Some(false));
    assert_eq!(account.annotations().keys().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn there_is_a_pod_monitor_only_where_its_kind_exists_and_it_is_wanted() {
    use crate::crd::cluster::PodMonitorMode;
    let has = Given {
        has_pod_monitors: true,
        ..given()
    };
    let monitor = all(&wanted(|_| {}), &has).pod_monitor.unwrap();
    assert_eq!(
        monitor.data["spec"]["podMetricsEndpoints"][0]["port"],
        "http"
    );
    let unknown = all(&wanted(|_| {}), &given());
    assert_eq!((unknown.pod_monitor, unknown.no_pod_monitor), (None, false));
    let never = wanted(|spec| spec.monitoring.pod_monitor = PodMonitorMode::Never);
    let unwanted = all(&never, &has);
    assert_eq!(
        (unwanted.pod_monitor, unwanted.no_pod_monitor),
        (None, true)
    );
    assert!(
        !all(&never, &given()).no_pod_monitor,
        "there is none to look for"
    );
}
