//! A cluster to build in tests.

use kube::core::ObjectMeta;

use crate::cluster::validate::{Found, Operator, Wanted, check};
use crate::crd::KafkaCluster;
use crate::crd::cluster::{KafkaClusterSpec, Pool, PoolVolume};

/// `kafka/main`: three brokers in one pool, nothing else said.
pub fn cluster() -> KafkaCluster {
    KafkaCluster {
        metadata: ObjectMeta {
            name: Some("main".to_owned()),
            namespace: Some("kafka".to_owned()),
            uid: Some("5b1f4f2e-0000-4000-8000-000000000001".to_owned()),
            generation: Some(1),
            ..ObjectMeta::default()
        },
        spec: KafkaClusterSpec {
            pools: vec![pool("broker", 0, 3)],
            ..KafkaClusterSpec::default()
        },
        status: None,
    }
}

/// A pool with a volume of 1 GiB a broker.
pub fn pool(name: &str, first_broker_id: i32, replicas: i32) -> Pool {
    Pool {
        name: name.to_owned(),
        replicas,
        first_broker_id,
        volumes: vec![PoolVolume {
            name: "data".to_owned(),
            size: "1Gi".to_owned(),
            class_name: None,
        }],
        ..Pool::default()
    }
}

/// An operator of version 0.1.0.
pub fn operator() -> Operator {
    Operator {
        version: "0.1.0".parse().unwrap(),
        image_repository: "registry.example.com/milena".to_owned(),
        levels: vec![("0.1.0".parse().unwrap(), 1)],
    }
}

/// Nothing is there yet.
pub fn nothing() -> Found {
    Found {
        fresh_cluster_id: "MkU3OEVBNTcwNTJENDM2Qk".to_owned(),
        ..Found::default()
    }
}

/// What a new cluster with that spec is to be.
pub fn wanted(change: impl FnOnce(&mut KafkaClusterSpec)) -> Wanted {
    let mut cluster = cluster();
    change(&mut cluster.spec);
    check(&cluster, &nothing(), &operator()).unwrap()
}
