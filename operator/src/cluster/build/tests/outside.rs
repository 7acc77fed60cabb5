//! What clients outside are promised.

use super::super::samples::wanted;
use super::super::*;
use super::{given, service, told};
use crate::cluster::build::advertised::{Exposed, bootstrap};
use crate::crd::cluster::{Listener, ListenerBroker, ListenerType, TrafficPolicy};

fn listener(kind: ListenerType) -> Listener {
    Listener {
        name: "external".to_owned(),
        port: 9094,
        kind,
        ..Listener::default()
    }
}

fn with(external: Listener) -> Wanted {
    wanted(|spec| {
        let internal = Listener {
            name: "internal".to_owned(),
            port: 9092,
            ..Listener::default()
        };
        spec.listeners = vec![external, internal];
    })
}

fn map<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// Two nodes; each broker's Service has the node port 31000 + its id.
fn surroundings() -> Surroundings {
    let exposed = |id: i32| {
        let exposed = Exposed {
            node_port: Some(31_000 + id),
            ingress: Some(format!("lb-{id}.example.com")),
        };
        (format!("main-external-{id}"), exposed)
    };
    Surroundings {
        nodes: map([("n1", "10.0.0.1"), ("n2", "10.0.0.2")]),
        services: (0..3).map(exposed).collect(),
        ..Surroundings::default()
    }
}

fn built(external: Listener, surroundings: Surroundings) -> Resources {
    let given = Given {
        surroundings,
        ..given()
    };
    all(&with(external), &given)
}

#[test]
fn a_node_port_listener_has_a_service_a_broker_that_leads_there_ready_or_not() {
    let resources = built(listener(ListenerType::NodePort), surroundings());
    let spec = service(&resources, "main-external-1")
        .spec
        .as_ref()
        .unwrap();
    assert_eq!(spec.type_.as_deref(), Some("NodePort"));
    assert_eq!(spec.publish_not_ready_addresses, Some(true));
    let selector = spec.selector.as_ref().unwrap();
    assert_eq!(
        selector["statefulset.kubernetes.io/pod-name"],
        "main-broker-1"
    );
    let bootstrap = service(&resources, "main-external-bootstrap")
        .spec
        .as_ref()
        .unwrap();
    assert_eq!(bootstrap.publish_not_ready_addresses, Some(false));
}

#[test]
fn nobody_is_told_an_address_that_is_not_known_yet() {
    let resources = built(listener(ListenerType::NodePort), Surroundings::default());
    assert_eq!(resources.unaddressed.len(), 3);
    assert!(!told(&resources, 0).contains("EXTERNAL"));
    let resources = built(listener(ListenerType::NodePort), surroundings());
    assert_eq!(resources.unaddressed, Vec::<String>::new());
    assert!(told(&resources, 2).contains("EXTERNAL://10.0.0.1:31002"));
}

#[test]
fn a_broker_is_found_at_its_own_node_and_stays_where_it_was_while_that_is_not_there() {
    let mut around = surroundings();
    around.nodes.insert("n3".to_owned(), "10.0.0.3".to_owned());
    around.told = map([(
        "0.properties",
        "advertised.listeners=PEERS://a:9091,EXTERNAL://10.0.0.2:31000\n",
    )]);
    let is_at = |around: &Surroundings, host: &str| {
        let resources = built(listener(ListenerType::NodePort), around.clone());
        let text = told(&resources, 0);
        let address = format!("EXTERNAL://{host}:31000");
        assert!(text.contains(&address), "{text} without {address}");
    };
    is_at(&around, "10.0.0.2");
    around.broker_nodes = [(0, "n3".to_owned())].into();
    is_at(&around, "10.0.0.3");
    around.nodes.remove("n3");
    is_at(&around, "10.0.0.2");
    around.nodes.remove("n2");
    is_at(&around, "10.0.0.1");
}

#[test]
fn with_the_policy_local_a_broker_is_found_only_at_its_own_node() {
    let mut external = listener(ListenerType::NodePort);
    external.external_traffic_policy = Some(TrafficPolicy::Local);
    let mut around = surroundings();
    around.broker_nodes = [(0, "n2".to_owned())].into();
    let resources = built(external, around);
    assert!(told(&resources, 0).contains("EXTERNAL://10.0.0.2:31000"));
    assert!(!told(&resources, 1).contains("EXTERNAL"));
    assert_eq!(
        resources.unaddressed,
        Vec::<String>::new(),
        "pods come first"
    );
    let spec = service(&resources, "main-external-0")
        .spec
        .as_ref()
        .unwrap();
    assert_eq!(spec.external_traffic_policy.as_deref(), Some("Local"));
}

#[test]
fn a_load_balancer_is_told_by_its_name_and_lets_in_only_whom_it_may() {
    let mut external = listener(ListenerType::LoadBalancer);
    external.allowed_sources = vec!["10.0.0.0/8".to_owned()];
    let resources = built(external, surroundings());
    assert!(told(&resources, 1).contains("EXTERNAL://lb-1.example.com:9094"));
    let spec = service(&resources, "main-external-1")
        .spec
        .as_ref()
        .unwrap();
    assert_eq!(
        spec.load_balancer_source_ranges.as_ref().unwrap(),
        &["10.0.0.0/8"]
    );
    let rules = resources.network_policy.spec.unwrap().ingress.unwrap();
    let blocks: Vec<_> = rules
        .iter()
        .flat_map(|rule| rule.from.iter().flatten())
        .filter_map(|from| Some(from.ip_block.as_ref()?.cidr.clone()))
        .collect();
    assert_eq!(blocks, ["10.0.0.0/8"]);
}

#[test]
fn what_the_manifest_says_goes_before_what_is_found() {
    let mut external = listener(ListenerType::LoadBalancer);
    external.advertised_host_template = Some("kafka-{id}.{node}.example.com".to_owned());
    external.brokers = vec![ListenerBroker {
        id: 2,
        advertised_host: Some("special.example.com".to_owned()),
        advertised_port: Some(443),
        node_port: None,
    }];
    external.annotations = map([("dns", "kafka-{id}.example.com")]);
    let mut around = surroundings();
    around.broker_nodes = [(0, "n2".to_owned())].into();
    let resources = built(external, around);
    assert!(told(&resources, 0).contains("EXTERNAL://kafka-0.n2.example.com:9094"));
    assert!(told(&resources, 2).contains("EXTERNAL://special.example.com:443"));
    assert!(!told(&resources, 1).contains("EXTERNAL"));
    assert_eq!(
        resources.unaddressed,
        Vec::<String>::new(),
        "pods come first"
    );
    let annotations = service(&resources, "main-external-1")
        .metadata
        .annotations
        .as_ref()
        .unwrap();
    assert_eq!(annotations["dns"], "kafka-1.example.com");
}

#[test]
fn an_address_of_version_6_stands_in_brackets_and_is_known_again() {
    let mut around = surroundings();
    around.nodes = map([("n1", "fd00::1"), ("n2", "fd00::2")]);
    let first = built(listener(ListenerType::NodePort), around.clone());
    assert!(told(&first, 1).contains("EXTERNAL://[fd00::2]:31001"));
    around.told = first.brokers.data.clone().unwrap();
    around.nodes = map([("n0", "fd00::9"), ("n1", "fd00::1"), ("n2", "fd00::2")]);
    let second = built(listener(ListenerType::NodePort), around);
    assert_eq!(told(&first, 1), told(&second, 1));
}

#[test]
fn the_status_shows_where_clients_begin() {
    let mut external = listener(ListenerType::LoadBalancer);
    let mut around = surroundings();
    assert_eq!(
        bootstrap(&with(external.clone()), &around),
        map([("internal", "main-bootstrap.kafka.svc:9092")])
    );
    around.services.insert(
        "main-external-bootstrap".to_owned(),
        Exposed {
            node_port: None,
            ingress: Some("lb.example.com".to_owned()),
        },
    );
    assert_eq!(
        bootstrap(&with(external.clone()), &around)["external"],
        "lb.example.com:9094"
    );
    external.bootstrap.alternative_names = vec!["kafka.example.com".to_owned()];
    assert_eq!(
        bootstrap(&with(external), &around)["external"],
        "kafka.example.com:9094"
    );
}
