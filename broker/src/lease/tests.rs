//! What is gathered for a stop, and what comes of it: on one broker, whose other replicas, so the metadata says, are on
//! brokers that the test speaks for.

use std::time::Duration;

use milena_log::BatchToAppend;
use milena_metadata::{
    ConfigChange, ConfigOperation, ConfigResource, IncrementalAlterConfigs, LeaseAnswer,
    LeaseRefusal, NeverSafe, NotStaying, ResourceKind,
};
use milena_protocol::records::{BatchBuilder, BatchHeader, BatchOptions};

use super::*;
use crate::broker::tests::beside::{create_on, id, register};
use crate::broker::tests::{broker, create_with};
use crate::partition::leadership::Member;

fn stop_of(broker: i32, never_safe: NeverSafe) -> WantedStop {
    WantedStop {
        broker: id(broker),
        duration: Duration::from_secs(60),
        max_unavailable: 1,
        never_safe,
    }
}

async fn refused(broker: &Arc<Broker>, wanted: WantedStop) -> LeaseRefusal {
    match request(broker, wanted).await.unwrap() {
        LeaseAnswer::Refused(refusal) => refusal,
        granted => panic!("{granted:?}"),
    }
}

async fn append(broker: &Broker, topic: &str) {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(1, None, Some(b"value"), &[]).unwrap();
    let body = builder.finish().unwrap();
    let header = BatchHeader::parse(&body).unwrap();
    let partition = broker.partitions().partition(topic, 0).unwrap();
    let batches = vec![BatchToAppend { header, body }];
    partition.append(batches, 1, broker.now_ms()).await.unwrap();
}

#[tokio::test]
async fn a_broker_alone_may_stop_only_where_pausing_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    create_with(&broker, "t", 2).await;
    let refusal = refused(&broker, stop_of(1, NeverSafe::Block)).await;
    let named: Vec<String> = refusal
        .never_safe
        .iter()
        .map(|(topic, partition)| format!("{topic}-{partition}"))
        .collect();
    assert_eq!(
        (named.join(" "), refusal.never_safe_count),
        ("t-0 t-1".into(), 2)
    );
    assert_eq!(
        refusal.quorum.map(|quorum| (quorum.voters, quorum.staying)),
        Some((1, 0))
    );
    let answer = request(&broker, stop_of(1, NeverSafe::Allow))
        .await
        .unwrap();
    let LeaseAnswer::Granted(granted) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!((granted.pausing_count, granted.quorum_pauses), (2, true));
    assert!(broker.image().lease(id(1)).is_some());
    assert!(release(&broker, id(1)).await.unwrap());
    assert!(!release(&broker, id(1)).await.unwrap(), "it is given back");
}

#[tokio::test]
async fn a_follower_that_is_behind_is_named_with_its_bytes_and_counts_once_it_has_caught_up() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    serve(&broker);
    let life = register(&broker, 2, None).await.epoch;
    create_on(&broker, "t", &[&[1, 2]]).await;
    append(&broker, "t").await;
    // Broker 2 may stop: this one leads, and has everything.
    let answer = request(&broker, stop_of(2, NeverSafe::Block))
        .await
        .unwrap();
    assert!(matches!(answer, LeaseAnswer::Granted(_)), "{answer:?}");
    release(&broker, id(2)).await.unwrap();
    // This one may not, before broker 2 has what is here.
    let refusal = refused(&broker, stop_of(1, NeverSafe::Allow)).await;
    let blocking = &refusal.blocking[0];
    let follower = &blocking.followers[0];
    let bytes = broker
        .partitions()
        .partition("t", 0)
        .unwrap()
        .reader()
        .size_bytes();
    assert_eq!((blocking.topic.as_str(), blocking.staying), ("t", 0));
    assert_eq!(
        (follower.broker, follower.reason),
        (id(2), NotStaying::Behind)
    );
    assert_eq!(follower.bytes_behind, Some(bytes));
    let asking = tokio::spawn({
        let broker = broker.clone();
        async move { request(&broker, stop_of(1, NeverSafe::Allow)).await }
    });
    // While the question is open.
    let partition = broker.partitions().partition("t", 0).unwrap();
    let follower = Member {
        broker: id(2),
        epoch: life,
    };
    partition.follower_fetched(follower, (-1, 1)).unwrap();
    let answer = asking.await.unwrap().unwrap();
    assert!(matches!(answer, LeaseAnswer::Granted(_)), "{answer:?}");
}

#[tokio::test]
async fn a_leader_that_does_not_answer_blocks_what_it_leads() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    serve(&broker);
    register(&broker, 2, None).await;
    register(&broker, 3, None).await;
    create_on(&broker, "t", &[&[2, 3, 1]]).await;
    need_two_in_sync(&broker, "t").await;
    // Broker 2 is registered, and no member of the quorum: nobody can ask it how far broker 1 is.
    let refusal = refused(&broker, stop_of(3, NeverSafe::Block)).await;
    let blocking = &refusal.blocking[0];
    assert_eq!((blocking.needed, blocking.staying), (2, 1));
    let follower = &blocking.followers[0];
    assert_eq!(follower.broker, id(1));
    assert_eq!(
        (follower.reason, follower.bytes_behind),
        (NotStaying::Behind, None)
    );
}

async fn need_two_in_sync(broker: &Broker, topic: &str) {
    let resource = ConfigResource {
        kind: ResourceKind::Topic,
        name: topic.into(),
    };
    let change = ConfigChange {
        key: "min.insync.replicas".into(),
        operation: ConfigOperation::Set,
        value: Some("2".into()),
    };
    let command = IncrementalAlterConfigs {
        resources: vec![(resource, vec![change])],
        validate_only: false,
    };
    let altered = broker.change(command).await.unwrap();
    assert!(altered.iter().all(Result::is_ok), "{altered:?}");
}
