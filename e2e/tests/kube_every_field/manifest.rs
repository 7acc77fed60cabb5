//! A KafkaCluster that says nearly everything that can be said, in a way that a cluster of kind can satisfy.
//!
//! Left out: `image.digest`, since images that are loaded into kind have no digest of a registry; `runtimeClassName`, as kind
//! has no RuntimeClass; load balancers, whose address the test `kube_load_balancer` gives.

use e2e::kube::manifests::MAIN;
use e2e::kube::operator;
use serde_json::{Value, json};

/// Of the second pool.
pub const OTHER_POOL: i32 = 1000;
/// Ports of the nodes, from the part of their range that Kubernetes keeps for those who ask for one.
pub const NODE_PORT: u16 = 30_059;
pub const NODE_PORT_OF_0: u16 = 30_058;
/// Of the listener with a Service for each broker.
pub const VPC_PORT: u16 = 9095;
/// Nobody resolves it; it is what the status shows.
pub const ALTERNATIVE: &str = "kafka.example.com";
/// Where private networks are, those of kind among them.
pub const SOURCES: [&str; 4] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];
/// The label of namespaces that are let in, and what topics of theirs are called.
pub const TEAM: &str = "milena.dev/e2e-team";
pub const PREFIX: &str = "shop.";
/// A ConfigMap, the file in it, and where brokers have it.
pub const EXTRA: (&str, &str) = ("extra", "lines");
pub const EXTRA_PATH: &str = "/etc/extra";

/// `first` brokers in the first pool and one in the second; `namespace` is the cluster's own.
pub fn every_field(namespace: &str, first: i32) -> Value {
    json!({
        "apiVersion": "milena.dev/v1alpha1", "kind": "KafkaCluster", "metadata": {"name": MAIN},
        "spec": {
            "version": operator::VERSION, "metadataVersion": "Auto",
            "image": {
                "repository": operator::repository_of("milena"), "tag": operator::VERSION, "pullPolicy": "Never",
                "pullSecrets": [{"name": "registry"}],
            },
            "quorum": {"voters": 3},
            "pools": pools(namespace, first),
            // Each node is a rack of its own.
            "placement": {"nodeSpread": "Preferred", "rackKey": "kubernetes.io/hostname", "rackSpread": "Required"},
            "topicDefaults": {"replicationFactor": 2, "minInSyncReplicas": 1},
            "listeners": listeners(),
            "config": {"num.partitions": 3, "auto.create.topics.enable": false, "compression.type": "zstd"},
            "topicAccess": [
                {"namespaces": {"names": [namespace]}},
                {
                    "namespaces": {"selector": {"matchLabels": {TEAM: namespace}}},
                    "topicPrefixes": [PREFIX], "operations": ["Create"],
                },
            ],
            "rollout": {"maxUnavailable": 1, "soakSeconds": 2, "unreplicated": "Wait", "onOperatorUpgrade": "Auto"},
            "restartedAt": "2026-01-01T00:00:00Z",
            "drain": {"onCordon": "Nothing", "maxBytesPerSecond": "50Mi"},
            // Of a claim that is long gone: it does nothing.
            "replace": [{"brokerId": 0, "claimUid": "3f000000-0000-4000-8000-000000000000", "acceptLoss": false}],
            "monitoring": {"podMonitor": "Never"}, "deletionPolicy": "Delete", "paused": false,
        },
    })
}

fn pools(namespace: &str, first: i32) -> Value {
    let pool = |name: &str, replicas: i32, first_id: i32, template: &Value| {
        json!({
            "name": name, "replicas": replicas, "firstBrokerId": first_id, "onScaleDown": "Delete",
            "volumes": [{"name": "data", "size": "1Gi", "className": "standard"}],
            "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
            "podTemplate": template,
        })
    };
    let first_template = json!({
        "labels": {"team": "data"}, "annotations": {"example.com/a": "b"},
        "tolerations": [{"key": "milena.dev/e2e", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
            "weight": 1,
            "preference": {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]},
        }]}},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "priorityClassName": namespace, "schedulerName": "default-scheduler",
        "serviceAccountAnnotations": {"example.com/role": "kafka"},
        "securityContext": {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000},
        "terminationGracePeriodSeconds": 120,
        "env": [
            {"name": "TZ", "value": "UTC"},
            {"name": "LINES", "valueFrom": {"configMapKeyRef": {"name": EXTRA.0, "key": EXTRA.1}}},
        ],
        "volumes": [{"name": "extra", "configMap": {"name": EXTRA.0}}],
        "volumeMounts": [{"name": "extra", "mountPath": EXTRA_PATH}],
    });
    let other_template = json!({"topologySpreadConstraints": [{
        "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway",
    }]});
    json!([
        pool("broker", first, 0, &first_template),
        pool("other", 1, OTHER_POOL, &other_template),
    ])
}

fn listeners() -> Value {
    json!([
        {"name": "internal", "port": 9092, "type": "Internal"},
        {
            "name": "external", "port": 9094, "type": "NodePort",
            "bootstrap": {
                "nodePort": NODE_PORT, "annotations": {"example.com/of": "bootstrap"},
                "alternativeNames": [ALTERNATIVE],
            },
            "brokers": [{"id": 0, "nodePort": NODE_PORT_OF_0}],
            "advertisedHostTemplate": "{nodeIp}", "externalTrafficPolicy": "Local",
            "allowedSources": SOURCES, "annotations": {"example.com/of": "broker-{id}"},
        },
        {"name": "vpc", "port": VPC_PORT, "type": "ClusterIP"},
    ])
}
