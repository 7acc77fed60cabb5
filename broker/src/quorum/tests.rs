use std::sync::Arc;

use milena_metadata::{
    AllocateProducerIds, BrokerId, CreateTopics, DeleteTopics, IncarnationId, LastEnd, NewTopic,
    NoConfigRules, RegisterBroker, TopicId, TopicReference,
};

use super::*;

pub(super) fn registration() -> RegisterBroker {
    RegisterBroker {
        id: BrokerId::new(1).unwrap(),
        incarnation: IncarnationId::random(),
        endpoints: Vec::new(),
        node: None,
        rack: None,
        pool: None,
        directories: Vec::new(),
        software: "test".into(),
        last_end: LastEnd::None,
        fenced: false,
    }
}

pub(super) fn topics(names: impl IntoIterator<Item = String>, partitions: i32) -> CreateTopics {
    let topic = |name| NewTopic {
        name,
        id: TopicId::random(),
        partitions,
        replication_factor: 1,
        assignments: Vec::new(),
        configs: Vec::new(),
    };
    CreateTopics {
        topics: names.into_iter().map(topic).collect(),
        default_partitions: 1,
        default_replication_factor: 1,
        validate_only: false,
    }
}

fn open(dir: &Path) -> Quorum {
    Quorum::open(dir, Arc::new(NoConfigRules), StoreOptions::default()).unwrap()
}

#[tokio::test]
async fn what_was_answered_is_in_the_image_and_there_after_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let quorum = open(dir.path());
    let mut changes = quorum.watch();
    quorum.request(registration()).await.unwrap();
    let created = quorum
        .request(topics(["a".into(), "a".into(), "b".into()], 3))
        .await
        .unwrap();
    assert_eq!(
        created.iter().map(Result::is_ok).collect::<Vec<_>>(),
        [false, false, true]
    );
    assert!(changes.has_changed().unwrap());
    assert_eq!(changes.borrow_and_update().topic_count(), 1);
    let image = quorum.image();
    assert_eq!(image.topic("b").unwrap().partition_count(), 3);
    drop(quorum);
    assert_eq!(*open(dir.path()).image(), *image);
}

#[tokio::test]
async fn concurrent_producers_never_get_the_same_ids() {
    let dir = tempfile::tempdir().unwrap();
    let quorum = Arc::new(open(dir.path()));
    let epoch = quorum.request(registration()).await.unwrap().epoch;
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let quorum = quorum.clone();
        asked.spawn(async move {
            let broker = BrokerId::new(1).unwrap();
            let ask = AllocateProducerIds {
                broker,
                broker_epoch: epoch,
            };
            quorum.request(ask).await.unwrap().first
        });
    }
    let mut firsts = asked.join_all().await;
    firsts.sort();
    assert_eq!(
        firsts,
        (0..50).map(|block| block * 1_000).collect::<Vec<i64>>()
    );
}

#[tokio::test]
async fn a_refusal_has_kafkas_code_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let quorum = open(dir.path());
    let broker = BrokerId::new(7).unwrap();
    let ask = AllocateProducerIds {
        broker,
        broker_epoch: 1,
    };
    let error = quorum.request(ask).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::BrokerIdNotRegistered);
    assert_eq!(*quorum.image(), Image::default());
}

/// A debug build on a busy machine gets ten times the time that a release build is to keep.
#[tokio::test]
async fn ten_thousand_partitions_are_there_after_a_reopen_and_gone_when_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let quorum = open(dir.path());
    quorum.request(registration()).await.unwrap();
    let names: Vec<String> = (0..10_000).map(|topic| format!("topic-{topic}")).collect();
    let created = quorum.request(topics(names.clone(), 1)).await.unwrap();
    assert!(created.iter().all(Result::is_ok));
    drop(quorum);
    let quorum = open(dir.path());
    assert_eq!(quorum.image().partition_count(), 10_000);
    let topics = names.into_iter().map(TopicReference::Name).collect();
    quorum.request(DeleteTopics { topics }).await.unwrap();
    assert_eq!(quorum.image().partition_count(), 0);
}
