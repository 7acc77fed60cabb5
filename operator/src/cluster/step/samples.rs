//! A cluster of three brokers in which all is well, for the tests of the steps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::cluster::brokers::{ShownBroker, ShownCluster, ShownMember, ShownQuorum, State};
use crate::cluster::observed::{Budget, Claim, Node, Observed, Pod, Set, TopicFacts, View};
use crate::cluster::wanted::{
    MetadataVersion, Wanted, WantedDrain, WantedPool, WantedRollout, WantedTopicDefaults,
};
use crate::crd::cluster::{
    ClusterPlacement, OnCordon, OnOperatorUpgrade, OnScaleDown, PodTemplate, PullPolicy,
    Unreplicated,
};

const GIB: u64 = 1 << 30;

/// The revision of all pods.
pub const REVISION: &str = "r1";

/// What is wanted, and the same as it is.
pub fn healthy() -> (Wanted, Observed) {
    (wanted(3), observed(3))
}

/// A cluster of so many brokers, all of them voters.
pub fn wanted(brokers: i32) -> Wanted {
    Wanted {
        name: "main".to_owned(),
        namespace: "kafka".to_owned(),
        uid: "cluster".to_owned(),
        cluster_id: "id".to_owned(),
        founding: false,
        image: "milena:1".to_owned(),
        pull_policy: PullPolicy::IfNotPresent,
        pull_secrets: Vec::new(),
        version: "1".to_owned(),
        metadata_version: MetadataVersion::Unchanged,
        pools: vec![pool("broker", 0..brokers)],
        voters: (0..brokers.min(3)).collect(),
        listeners: Vec::new(),
        placement: ClusterPlacement::default(),
        topic_defaults: WantedTopicDefaults {
            replication_factor: 3,
            min_in_sync_replicas: 2,
        },
        broker_config: BTreeMap::new(),
        live_config: BTreeMap::new(),
        rollout: WantedRollout {
            max_unavailable: 1,
            soak: Duration::from_secs(10),
            unreplicated: Unreplicated::Wait,
            on_operator_upgrade: OnOperatorUpgrade::Approve,
        },
        drain: WantedDrain {
            on_cordon: OnCordon::Leaders,
            bytes_per_second_max: None,
        },
        replace: Vec::new(),
        pod_monitor: false,
        paused: false,
    }
}

/// A pool of 1 GiB volumes.
pub fn pool(name: &str, ids: std::ops::Range<i32>) -> WantedPool {
    WantedPool {
        name: name.to_owned(),
        ids,
        volume_size: "1Gi".to_owned(),
        volume_bytes: GIB,
        volume_class: None,
        on_scale_down: OnScaleDown::Retain,
        resources: Default::default(),
        template: PodTemplate::default(),
        grace_seconds: 600,
        revision: REVISION.to_owned(),
        asked: BTreeMap::new(),
        template_revision: "t1".to_owned(),
    }
}

/// That many brokers, each in its zone, for an hour.
pub fn observed(brokers: i32) -> Observed {
    let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    let mut observed = Observed {
        now,
        nodes: Some(BTreeMap::new()),
        budget: Some(Budget {
            resource_version: "7".to_owned(),
            max_unavailable: Some(1),
        }),
        ..Observed::default()
    };
    let set = Set {
        name: "main-broker".to_owned(),
        uid: "set".to_owned(),
        start: 0,
        replicas: brokers,
        volume_size: "1Gi".to_owned(),
        cluster_id: Some("id".to_owned()),
        revision: REVISION.to_owned(),
        terminating: false,
    };
    observed.sets.insert("broker".to_owned(), set);
    let mut view = View {
        cluster: ShownCluster {
            cluster_id: "id".to_owned(),
            quorum: Some(ShownQuorum::default()),
            ..Default::default()
        },
        brokers: BTreeMap::new(),
        topics: Arc::default(),
    };
    for id in 0..brokers {
        observed.pods.insert(id, pod(now, id));
        observed.claims.insert(id, claim(id));
        let nodes = observed.nodes.as_mut().unwrap();
        nodes.insert(format!("node-{id}"), node(id));
        view.brokers.insert(id, broker(id));
        let quorum = view.cluster.quorum.as_mut().unwrap();
        let member = ShownMember {
            broker: id,
            lag: Some(0),
            silent_ms: Some(20),
        };
        match id {
            0..3 => quorum.voters.push(member),
            _ => quorum.learners.push(member),
        }
    }
    observed.view = Some(view);
    observed
}

fn pod(now: Timestamp, id: i32) -> Pod {
    let hour_ago = now.checked_sub(SignedDuration::from_hours(1)).unwrap();
    Pod {
        name: format!("main-broker-{id}"),
        uid: format!("pod-{id}"),
        pool: "broker".to_owned(),
        node: Some(format!("node-{id}")),
        ip: Some(format!("10.0.0.{id}")),
        host_ip: Some(format!("10.1.0.{id}")),
        revision: REVISION.to_owned(),
        asked: BTreeMap::new(),
        template_revision: "t1".to_owned(),
        zone: Some(format!("zone-{id}")),
        claim_uid: Some(format!("claim-{id}")),
        owners: vec!["set".to_owned(), "cluster".to_owned()],
        image: "milena:1".to_owned(),
        ready_since: Some(hour_ago),
        unready_since: None,
        was_ready: true,
        started: true,
        answers: true,
        trouble: None,
        trouble_text: String::new(),
        deadline: None,
        created: hour_ago,
    }
}

fn claim(id: i32) -> Claim {
    Claim {
        name: format!("data-main-broker-{id}"),
        uid: format!("claim-{id}"),
        pool: "broker".to_owned(),
        cluster_id: Some("id".to_owned()),
        founded: true,
        leaving: None,
        moved: Vec::new(),
        requested: GIB,
        capacity: GIB,
        node: None,
        class: None,
        version: Some("1".to_owned()),
        level: None,
        terminating: false,
        lost: false,
    }
}

fn node(id: i32) -> Node {
    let zone = (
        "topology.kubernetes.io/zone".to_owned(),
        format!("zone-{id}"),
    );
    Node {
        labels: BTreeMap::from([zone]),
        ready: true,
        ..Node::default()
    }
}

fn broker(id: i32) -> ShownBroker {
    ShownBroker {
        id,
        state: State::Serving,
        replicas: 10,
        sole: Some(0),
        ..ShownBroker::default()
    }
}

/// The broker is down: fenced, and its pod is not ready.
pub fn fence(observed: &mut Observed, id: i32) {
    unready(observed, id);
    broker_of(observed, id).state = State::Fenced;
}

/// The pod is not ready.
pub fn unready(observed: &mut Observed, id: i32) {
    observed.pods.get_mut(&id).unwrap().ready_since = None;
}

/// As the quorum has it.
pub fn broker_of(observed: &mut Observed, id: i32) -> &mut ShownBroker {
    let view = observed.view.as_mut().unwrap();
    view.brokers.get_mut(&id).unwrap()
}

/// The quorum, as its leader has it.
pub fn quorum_of(observed: &mut Observed) -> &mut ShownQuorum {
    let view = observed.view.as_mut().unwrap();
    view.cluster.quorum.as_mut().unwrap()
}

/// The pod's node.
pub fn node_of(observed: &mut Observed, id: i32) -> &mut Node {
    let nodes = observed.nodes.as_mut().unwrap();
    nodes.get_mut(&format!("node-{id}")).unwrap()
}

/// A topic of three partitions with that many replicas.
pub fn topic(observed: &mut Observed, name: &str, replication_factor: i32) {
    let view = observed.view.as_mut().unwrap();
    let facts = TopicFacts {
        partitions: 3,
        replication_factor,
        ..TopicFacts::default()
    };
    Arc::make_mut(&mut view.topics).insert(name.to_owned(), facts);
}
