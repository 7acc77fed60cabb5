//! The resources that tests apply.

use serde_json::{Value, json};

/// The cluster of most tests.
pub const MAIN: &str = "main";

/// Brokers that fit beside the other tests, with a listener inside and one outside, by NodePort.
pub fn cluster(brokers: i32) -> Value {
    json!({
        "apiVersion": "milena.dev/v1alpha1", "kind": "KafkaCluster",
        "metadata": {"name": MAIN},
        "spec": {
            "pools": [{
                "name": "broker",
                "replicas": brokers,
                "volumes": [{"name": "data", "size": "1Gi"}],
                "resources": {
                    "requests": {"cpu": "50m", "memory": "64Mi"},
                    "limits": {"memory": "512Mi"},
                },
            }],
            "listeners": [
                {"name": "internal", "port": 9092, "type": "Internal"},
                {"name": "external", "port": 9094, "type": "NodePort"},
            ],
            // A test that fails leaves its namespace for no longer than it must.
            "rollout": {"soakSeconds": 2},
        },
    })
}

/// A topic of [`MAIN`], with a replica on each of so many brokers.
pub fn topic(name: &str, partitions: i32, replicas: i32) -> Value {
    json!({
        "apiVersion": "milena.dev/v1alpha1", "kind": "Topic",
        "metadata": {"name": name},
        "spec": {
            "clusterRef": {"name": MAIN},
            "partitions": partitions,
            "replicationFactor": replicas,
        },
    })
}

/// What Pod Security's level "restricted" wants of a pod with one container.
pub fn restricted() -> (Value, Value) {
    let pod = json!({"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}});
    let container = json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
    });
    (pod, container)
}
