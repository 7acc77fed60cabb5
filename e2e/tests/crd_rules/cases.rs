//! Manifests that are refused, each for one reason, and two that are not.

use serde_json::{Value, json};

/// A manifest that is refused when it is created.
pub struct Refused {
    /// The object's name.
    pub name: &'static str,
    /// What differs in `spec` from a manifest that is taken.
    pub change: Value,
    /// Words of the refusal.
    pub words: &'static str,
}

fn refused(name: &'static str, change: Value, words: &'static str) -> Refused {
    Refused {
        name,
        change,
        words,
    }
}

pub fn cluster(name: &str) -> Value {
    json!({
        "apiVersion": "milena.dev/v1alpha1", "kind": "KafkaCluster", "metadata": { "name": name },
        "spec": { "pools": [pool(json!({}))] },
    })
}

pub fn topic(name: &str) -> Value {
    json!({
        "apiVersion": "milena.dev/v1alpha1", "kind": "Topic", "metadata": { "name": name },
        "spec": { "clusterRef": { "name": "main" }, "partitions": 3 },
    })
}

/// RFC 7396: null removes.
pub fn merge(mut base: Value, change: &Value) -> Value {
    let Some(members) = change.as_object() else {
        return change.clone();
    };
    if !base.is_object() {
        base = json!({});
    }
    for (name, member) in members {
        let merged = merge(base[name].take(), member);
        if let Some(base) = base.as_object_mut() {
            match member.is_null() {
                true => _ = base.remove(name),
                false => _ = base.insert(name.clone(), merged),
            }
        }
    }
    base
}

fn pool(change: Value) -> Value {
    let pool =
        json!({ "name": "broker", "replicas": 3, "volumes": [{ "name": "data", "size": "1Gi" }] });
    merge(pool, &change)
}

pub fn pools(change: Value) -> Value {
    json!({ "pools": [pool(change)] })
}

fn template(change: Value) -> Value {
    pools(json!({ "podTemplate": change }))
}

pub fn volume(change: Value) -> Value {
    let volume = merge(json!({ "name": "data", "size": "2Gi" }), &change);
    pools(json!({ "volumes": [volume] }))
}

fn listeners(others: Value) -> Value {
    let mut all = vec![json!({ "name": "internal", "port": 9092 })];
    all.extend(others.as_array().cloned().unwrap_or_default());
    json!({ "listeners": all })
}

/// Clusters that are refused.
pub fn clusters() -> Vec<Refused> {
    let all = [
        refused_pools(),
        refused_pods(),
        refused_numbers(),
        refused_listeners(),
    ];
    all.into_iter().flatten().collect()
}

fn refused_pools() -> Vec<Refused> {
    let same = json!({ "pools": [pool(json!({})), pool(json!({ "name": "other" }))] });
    let twice = json!({ "pools": [pool(json!({})), pool(json!({ "firstBrokerId": 1000 }))] });
    vec![
        refused(
            "1st",
            json!({}),
            "first part of its Services' and pods' names",
        ),
        refused(
            "a-name-that-is-longer-than-is-allowed",
            json!({}),
            "at most 32",
        ),
        refused("same-ids", same, "the same firstBrokerId"),
        refused("same-name", twice, "uplicate"),
        refused(
            "odd-ids",
            pools(json!({ "firstBrokerId": 500 })),
            "must be a multiple of 1000",
        ),
        // By server-side apply an empty list is one that is taken away, and the spec with it.
        refused("no-pool", json!({ "pools": [] }), "spec"),
        refused("none", pools(json!({ "replicas": 0 })), "replicas"),
        refused(
            "volume-name",
            volume(json!({ "name": "logs" })),
            "exactly one volume today",
        ),
        refused(
            "volume-zero",
            volume(json!({ "size": "0Gi" })),
            "a size above 0",
        ),
        refused("volume-word", volume(json!({ "size": "big" })), "size"),
    ]
}

fn refused_pods() -> Vec<Refused> {
    let mount = |path: &str| {
        template(json!({
            "volumes": [{ "name": "ca", "configMap": { "name": "ca" } }],
            "volumeMounts": [{ "name": "ca", "mountPath": path }],
        }))
    };
    let env = |change: Value| template(json!({ "env": [merge(json!({ "name": "A" }), &change)] }));
    let label = json!({ "labels": { "milena.dev/x": "1" } });
    let annotation = json!({ "annotations": { "milena.dev/x": "1" } });
    let no_volume = json!({ "volumeMounts": [{ "name": "ca", "mountPath": "/ca" }] });
    let from =
        json!({ "value": "7", "valueFrom": { "secretKeyRef": { "name": "a", "key": "b" } } });
    let ours = json!({ "volumes": [{ "name": "admin", "secret": { "secretName": "a" } }] });
    let grace = json!({ "terminationGracePeriodSeconds": 10 });
    vec![
        refused("label", template(label), "labels under milena.dev/"),
        refused(
            "annotation",
            template(annotation),
            "annotations under milena.dev/",
        ),
        refused(
            "mount-of-none",
            template(no_volume),
            "names a volume that podTemplate.volumes does not have",
        ),
        refused(
            "mount-data",
            mount("/var/lib/milena/data"),
            "are the broker's own",
        ),
        refused("mount-etc", mount("/etc/milena"), "are the broker's own"),
        refused(
            "env-ours",
            env(json!({ "name": "MILENA_NODE_ID", "value": "7" })),
            "that begin with MILENA_",
        ),
        refused("env-both", env(from), "value or valueFrom"),
        refused(
            "env-none",
            env(json!({ "valueFrom": {} })),
            "exactly one of secretKeyRef",
        ),
        refused(
            "extra-none",
            template(json!({ "volumes": [{ "name": "x" }] })),
            "exactly one of secret and configMap",
        ),
        refused("extra-ours", template(ours), "the operator's own volumes"),
        refused("grace", template(grace), "terminationGracePeriodSeconds"),
    ]
}

fn refused_numbers() -> Vec<Refused> {
    let in_sync = json!({ "topicDefaults": { "replicationFactor": 2, "minInSyncReplicas": 3 } });
    let replicas = json!({ "topicDefaults": { "replicationFactor": 4 } });
    let nested = json!({ "config": { "num.partitions": { "a": 1 } } });
    let access = json!({ "topicAccess": [{ "namespaces": {} }] });
    let replace = json!({ "replace": [{ "brokerId": 1, "claimUid": "all" }] });
    vec![
        refused(
            "voters-even",
            json!({ "quorum": { "voters": 2 } }),
            "must be 1, 3 or 5",
        ),
        refused(
            "voters-many",
            json!({ "quorum": { "voters": 5 } }),
            "quorum.voters is more than there are brokers",
        ),
        refused(
            "replicas-many",
            replicas,
            "replicationFactor is more than there are brokers",
        ),
        refused(
            "in-sync-many",
            in_sync,
            "minInSyncReplicas is more than replicationFactor",
        ),
        refused("version", json!({ "version": "latest" }), "version"),
        refused(
            "enum",
            json!({ "deletionPolicy": "Keep" }),
            "Unsupported value",
        ),
        refused("setting", nested, "at most 0"),
        refused("access", access, "namespaces names none"),
        refused(
            "digest",
            json!({ "image": { "digest": "sha256:1" } }),
            "digest",
        ),
        refused("replace", replace, "claimUid"),
    ]
}

fn refused_listeners() -> Vec<Refused> {
    let external = |change: Value| {
        listeners(json!([merge(
            json!({ "name": "external", "port": 9094 }),
            &change
        )]))
    };
    let outside =
        json!({ "listeners": [{ "name": "external", "port": 9094, "type": "NodePort" }] });
    let with_node_port =
        json!({ "type": "ClusterIP", "brokers": [{ "id": 0, "nodePort": 31000 }] });
    vec![
        refused(
            "no-internal",
            outside,
            "one of type Internal called internal",
        ),
        refused(
            "same-port",
            external(json!({ "port": 9092 })),
            "two listeners have the same port",
        ),
        refused("taken-port", external(json!({ "port": 9404 })), "are taken"),
        refused("peers-port", external(json!({ "port": 9091 })), "are taken"),
        refused(
            "peers-name",
            external(json!({ "name": "peers" })),
            "peers is the brokers' own listener",
        ),
        refused(
            "traffic",
            external(json!({ "externalTrafficPolicy": "Local" })),
            "externalTrafficPolicy is for listeners of type",
        ),
        refused(
            "node-port",
            external(with_node_port),
            "nodePort is for listeners of type",
        ),
        refused(
            "block",
            external(json!({ "allowedSources": ["everyone"] })),
            "allowedSources",
        ),
        refused(
            "template",
            external(json!({ "advertisedHostTemplate": "kafka-{nr}" })),
            "advertisedHostTemplate",
        ),
    ]
}

/// Topics that are refused.
pub fn topics() -> Vec<Refused> {
    const LONG: &str = "a123456789.a123456789.a123456789.a123456789.a123456789.a123456789.a123456789.a123456789.\
                        a123456789.a123456789.a123456789.a123456789.a123456789.a123456789.a123456789.a123456789.\
                        a123456789.a123456789.a123456789.a123456789.a123456789.a123456789.a1234567";
    vec![
        refused(LONG, json!({}), "at most 249 letters"),
        refused(
            "reserved",
            json!({ "topicName": "__consumer_offsets" }),
            "topicName is reserved",
        ),
        refused("letters", json!({ "topicName": "a b" }), "topicName"),
        refused("none", json!({ "partitions": 0 }), "partitions"),
        refused(
            "in-sync",
            json!({ "replicationFactor": 2, "config": { "minInSyncReplicas": 3 } }),
            "config.minInSyncReplicas is more than replicationFactor",
        ),
        refused(
            "rack",
            json!({ "placement": { "racks": ["a"], "leaderRack": "b" } }),
            "leaderRack is none of racks",
        ),
        refused(
            "retention",
            json!({ "config": { "retentionMs": -2 } }),
            "retentionMs",
        ),
        refused(
            "policy",
            json!({ "config": { "cleanupPolicy": "compact" } }),
            "Unsupported value",
        ),
    ]
}

/// A cluster with about everything that can be said.
pub fn full() -> Value {
    let spec = json!({
        "version": "0.1.0", "metadataVersion": "Auto",
        "image": { "repository": "registry.example.com:5000/milena", "tag": "0.1.0", "pullPolicy": "Always",
            "pullSecrets": [{ "name": "registry" }] },
        "quorum": { "voters": 3 },
        "pools": [pool(json!({ "firstBrokerId": 0, "onScaleDown": "Delete",
            "resources": { "requests": { "cpu": 1, "memory": "1Gi" }, "limits": { "memory": "2Gi" } },
            "podTemplate": {
                "labels": { "team": "data" }, "annotations": { "example.com/a": "b" },
                "tolerations": [{ "key": "a", "operator": "Exists" }], "nodeSelector": { "disk": "fast" },
                "topologySpreadConstraints": [{ "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule" }],
                "priorityClassName": "high", "serviceAccountAnnotations": { "a": "b" },
                "securityContext": { "runAsUser": 1000 }, "terminationGracePeriodSeconds": 600,
                "env": [{ "name": "TZ", "value": "UTC" }],
                "volumes": [{ "name": "ca", "secret": { "secretName": "ca" } }],
                "volumeMounts": [{ "name": "ca", "mountPath": "/etc/ca" }],
            } })), pool(json!({ "name": "other", "firstBrokerId": 1000 }))],
        "placement": { "nodeSpread": "Preferred", "rackKey": "example.com/rack", "rackSpread": "Required" },
        "topicDefaults": { "replicationFactor": 3, "minInSyncReplicas": 2 },
        "listeners": [{ "name": "internal", "port": 9092 }, { "name": "external", "port": 9094, "type": "NodePort",
            "bootstrap": { "nodePort": 31094, "annotations": { "a": "b" }, "alternativeNames": ["kafka.example.com"] },
            "brokers": [{ "id": 0, "advertisedHost": "k0.example.com", "advertisedPort": 443, "nodePort": 31000 }],
            "advertisedHostTemplate": "kafka-{id}.example.com", "externalTrafficPolicy": "Local",
            "allowedSources": ["10.0.0.0/8"], "annotations": { "a": "b" } }],
        "config": { "num.partitions": 3, "auto.create.topics.enable": false, "compression.type": "zstd" },
        "topicAccess": [{ "namespaces": { "names": ["shop"], "selector": { "matchLabels": { "a": "b" } } },
            "topicPrefixes": ["shop."], "operations": ["Create", "Delete"] }],
        "rollout": { "maxUnavailable": 1, "soakSeconds": 5, "unreplicated": "Wait", "onOperatorUpgrade": "Auto" },
        "restartedAt": "2026-01-01T00:00:00Z",
        "drain": { "onCordon": "Replicas", "maxBytesPerSecond": "50Mi" },
        "replace": [{ "brokerId": 2, "claimUid": "3f000000-0000-4000-8000-000000000000", "acceptLoss": false }],
        "monitoring": { "podMonitor": "Never" }, "deletionPolicy": "Delete", "paused": true,
    });
    merge(cluster("full"), &json!({ "spec": spec }))
}
