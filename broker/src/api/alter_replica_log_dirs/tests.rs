//! What AlterReplicaLogDirs refuses, and what it remembers.

use milena_protocol::api::alter_replica_log_dirs::{AlterReplicaLogDir, AlterReplicaLogDirTopic};

use super::*;
use crate::broker::tests::beside::{create_on, register};
use crate::broker::tests::{context, create_with};
use crate::config::Sources;
use crate::server::assemble_alone;

async fn alter_one(broker: &Broker, path: &str, (topic, index): (&str, i32)) -> ErrorCode {
    let request = AlterReplicaLogDirsRequest {
        dirs: vec![AlterReplicaLogDir {
            path: path.into(),
            topics: vec![AlterReplicaLogDirTopic {
                name: topic.into(),
                partitions: vec![index],
            }],
        }],
    };
    let response = handle(broker, &context(2), request).await;
    assert_eq!(&*response.results[0].topic_name, topic);
    response.results[0].partitions[0].error_code
}

#[tokio::test]
async fn what_can_not_be_moved_is_refused_as_by_kafka() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| folder.path().join(name).display().to_string());
    let dirs = format!("{a},{b}");
    let set = [("log.dirs", dirs.as_str())];
    let broker = assemble_alone(Sources::of(&set).load().unwrap().0).await;
    let long = "x".repeat(240);
    for topic in ["t", "gone", &long] {
        create_with(&broker, topic, 1).await;
    }
    register(&broker, 101, None).await;
    create_on(&broker, "elsewhere", &[&[101]]).await;
    for (path, partition, refused) in [
        ("/nowhere", ("t", 0), ErrorCode::LogDirNotFound),
        ("a", ("t", 0), ErrorCode::LogDirNotFound),
        (&a, ("none", 0), ErrorCode::UnknownTopicOrPartition),
        (&a, ("t", 1), ErrorCode::UnknownTopicOrPartition),
        (&a, ("elsewhere", 0), ErrorCode::ReplicaNotAvailable),
    ] {
        let code = alter_one(&broker, path, partition).await;
        assert_eq!(code, refused, "{partition:?} to {path}");
    }
    let dirs = [
        alter_one(&broker, &a, (&long, 0)).await,
        alter_one(&broker, &b, (&long, 0)).await,
    ];
    assert!(dirs.contains(&ErrorCode::InvalidTopicException), "{dirs:?}");
    let (here, there) = (
        alter_one(&broker, &a, ("t", 0)).await,
        alter_one(&broker, &b, ("t", 0)).await,
    );
    assert_eq!((here, there), (ErrorCode::None, ErrorCode::None));
    std::fs::remove_dir_all(&a).unwrap();
    std::fs::remove_dir_all(&b).unwrap();
    let dirs = [
        alter_one(&broker, &a, ("gone", 0)).await,
        alter_one(&broker, &b, ("gone", 0)).await,
    ];
    assert!(dirs.contains(&ErrorCode::KafkaStorageError), "{dirs:?}");
}

#[tokio::test]
async fn a_replica_comes_where_it_was_asked_for_before_it_was_here() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a", "b"].map(|name| folder.path().join(name).display().to_string());
    let dirs = paths.join(",");
    let set = [("log.dirs", dirs.as_str())];
    let broker = assemble_alone(Sources::of(&set).load().unwrap().0).await;
    register(&broker, 101, None).await;
    for (topic, path) in ["to-a", "to-b"].iter().zip(&paths) {
        create_on(&broker, topic, &[&[101]]).await;
        let code = alter_one(&broker, path, (topic, 0)).await;
        assert_eq!(code, ErrorCode::ReplicaNotAvailable);
        let wanted = milena_metadata::WantedReplicas {
            topic: (*topic).to_owned(),
            partition: 0,
            brokers: Some(vec![broker.node_id()]),
        };
        let command = milena_metadata::AlterPartitionReassignments {
            partitions: vec![wanted],
            allow_replication_factor_change: true,
        };
        let begun = broker.change(command).await.unwrap();
        assert!(begun.iter().all(Result::is_ok), "{begun:?}");
        let partition = broker.partitions().partition(topic, 0).unwrap();
        let lies_in = partition.reader().folder();
        assert_eq!(lies_in.parent(), Some(Path::new(path)));
    }
}
