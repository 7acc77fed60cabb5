//! What a new image means for the replicas here, through a broker without listeners.

use milena_metadata::{AlterPartitionReassignments, WantedReplicas};

use crate::broker::tests::beside::{create_on, register};
use crate::config::Sources;
use crate::server::assemble_alone;

#[tokio::test]
async fn a_topic_is_copied_once_however_many_of_its_replicas_go_and_the_others_stay() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display().to_string();
    let config = Sources::of(&[("log.dirs", &*path)]).load().unwrap().0;
    let broker = assemble_alone(config).await;
    register(&broker, 101, None).await;
    let both: &[i32] = &[broker.node_id(), 101];
    create_on(&broker, "t", &[both; 4]).await;
    create_on(&broker, "u", &[both; 2]).await;
    let go = [("t", 0), ("t", 1), ("t", 3), ("u", 0)];
    let wanted = go.map(|(topic, partition)| WantedReplicas {
        topic: topic.into(),
        partition,
        brokers: Some(vec![101]),
    });
    let reassign = AlterPartitionReassignments {
        partitions: wanted.to_vec(),
        allow_replication_factor_change: true,
    };
    let moved = broker.quorum().request(reassign).await.unwrap();
    assert!(moved.iter().all(Result::is_ok), "{moved:?}");
    let partitions = broker.partitions();
    let before = partitions.applied.lock().clone();
    let (topics, left) = partitions.given_up(&broker.image(), &before);
    let left = left.iter().map(|p| (p.topic().as_str(), p.index()));
    assert_eq!(left.collect::<Vec<_>>(), go);
    let stay = |topic: &super::HostedTopic| {
        let indices = topic.partitions().map(|p| p.index());
        (topic.name().to_string(), indices.collect::<Vec<_>>())
    };
    let topics: Vec<_> = topics.iter().map(stay).collect();
    assert_eq!(topics, [("t".into(), vec![2]), ("u".into(), vec![1])]);
    broker.take_over().await;
    let here = |topic, index| partitions.partition(topic, index).is_ok();
    assert!(go.iter().all(|&(topic, index)| !here(topic, index)));
    assert!(here("t", 2) && here("u", 1));
}
