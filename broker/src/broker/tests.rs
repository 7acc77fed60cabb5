//! What clients of all ages take for granted, through the handlers of a broker without listeners.

pub(crate) mod beside;

use std::future::{Future, poll_fn};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use milena_metadata::{
    ConfigChange, ConfigOperation, ConfigResource, IncrementalAlterConfigs, ResourceKind, TopicName,
};
use milena_protocol::api::create_topics::{CreatableTopic, CreateTopicsRequest};
use milena_protocol::api::describe_log_dirs::DescribeLogDirsRequest;
use milena_protocol::api::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use milena_protocol::api::metadata::{MetadataRequest, MetadataRequestTopic};
use milena_protocol::records::{BatchBuilder, BatchOptions};
use milena_protocol::{ErrorCode, Request, Str};
use tokio::runtime::Runtime;

use super::{AUTO_CREATE_WITHIN, Broker};
use crate::api::{RequestContext, create_topics, describe_log_dirs, list_offsets, metadata};
use crate::config::Sources;
use crate::group::OFFSETS_TOPIC;
use crate::group::host::GroupHost;
use crate::partition::intake::{self, Intake};
use crate::server::assemble_alone;

pub(crate) async fn broker(dir: &Path) -> Arc<Broker> {
    let dir = dir.display().to_string();
    let set = [("log.dirs", dir.as_str()), ("num.partitions", "2")];
    assemble_alone(Sources::of(&set).load().unwrap().0).await
}

/// One with a listener for its peers, and further settings.
pub(crate) async fn broker_with_peers(dir: &Path, more: &[(&str, &str)]) -> Arc<Broker> {
    let dir = dir.display().to_string();
    let listeners = "PLAINTEXT://127.0.0.1:9092,PEERS://127.0.0.1:9091";
    let set = [("log.dirs", dir.as_str()), ("listeners", listeners)];
    let set = [&set, more].concat();
    assemble_alone(Sources::of(&set).load().unwrap().0).await
}

/// Of a request that came on the peers' listener.
pub(crate) fn peers_context(version: i16) -> RequestContext {
    RequestContext {
        listener: "PEERS".into(),
        ..context(version)
    }
}

pub(crate) fn context(version: i16) -> RequestContext {
    RequestContext {
        version,
        client_id: Str::from("test"),
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        listener: "PLAINTEXT".into(),
        hurry: None,
    }
}

async fn create(broker: &Broker, version: i16, name: &str) -> (ErrorCode, i32, i16) {
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: Str::from(name),
            num_partitions: -1,
            replication_factor: -1,
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = create_topics::handle(broker, &context(version), request).await;
    let topic = &response.topics[0];
    (
        topic.error_code,
        topic.num_partitions,
        topic.replication_factor,
    )
}

/// Creates a topic of so many partitions.
pub(crate) async fn create_with(broker: &Broker, name: &str, num_partitions: i32) {
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: Str::from(name),
            num_partitions,
            replication_factor: 1,
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = create_topics::handle(broker, &context(7), request).await;
    assert_eq!(response.topics[0].error_code, ErrorCode::None);
}

/// ListOffsets 0 of the only topic's first partition.
async fn offsets_before(broker: &Broker, timestamp: i64, max_num_offsets: i32) -> Vec<i64> {
    let partition = ListOffsetsPartition {
        timestamp,
        max_num_offsets,
        current_leader_epoch: -1,
        ..Default::default()
    };
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: Str::from("t"),
            partitions: vec![partition],
        }],
        ..Default::default()
    };
    let mut response = list_offsets::handle(broker, &context(0), request).await;
    let found = response.topics.remove(0).partitions.remove(0);
    assert_eq!(found.error_code, ErrorCode::None);
    found.old_style_offsets
}

async fn append_two_records(broker: &Broker) {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for value in [b"one", b"two"] {
        builder
            .push(broker.now_ms(), None, Some(value), &[])
            .unwrap();
    }
    append_batch(broker, builder).await;
}

/// Appends to the first partition of `t`.
pub(crate) async fn append_batch(broker: &Broker, builder: BatchBuilder) {
    append_batch_to(broker, 0, builder).await;
}

/// Appends to a partition of `t`.
pub(crate) async fn append_batch_to(broker: &Broker, partition: i32, builder: BatchBuilder) {
    let partition = broker.partitions().partition("t", partition).unwrap();
    let rules = Intake {
        version: 9,
        config: &partition.config(),
        now_ms: broker.now_ms(),
    };
    let batches = intake::check(builder.finish().unwrap(), &rules)
        .await
        .unwrap();
    partition
        .append(batches, -1, rules.now_ms)
        .await
        .map_err(|refused| refused.code())
        .unwrap();
}

#[tokio::test]
async fn the_brokers_defaults_count_in_every_version_of_create_topics() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    for version in CreateTopicsRequest::VERSIONS {
        let created = create(&broker, version, &format!("t{version}")).await;
        assert_eq!(created, (ErrorCode::None, 2, 1), "version {version}");
    }
}

#[tokio::test]
async fn a_time_to_come_is_after_the_end_in_the_oldest_list_offsets() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    create(&broker, 0, "t").await;
    let to_come = broker.now_ms() + 3_600_000;
    assert_eq!(offsets_before(&broker, to_come, 1).await, [0]);
    append_two_records(&broker).await;
    assert_eq!(offsets_before(&broker, to_come, 1).await, [2]);
    assert_eq!(offsets_before(&broker, to_come, 9).await, [2, 0]);
    assert!(offsets_before(&broker, 1, 9).await.is_empty());
}

#[tokio::test]
async fn logs_follow_the_settings_that_change_while_the_broker_runs() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    create(&broker, 0, "t").await;
    let partition = broker.partitions().partition("t", 0).unwrap();
    assert!(partition.log().await.config().preallocate);
    let cluster = ConfigResource {
        kind: ResourceKind::Broker,
        name: "".into(),
    };
    for (name, value) in [
        ("producer.id.expiration.ms", "12345"),
        ("log.preallocate", "false"),
    ] {
        let change = ConfigChange {
            key: name.to_owned(),
            operation: ConfigOperation::Set,
            value: Some(value.to_owned()),
        };
        let change = IncrementalAlterConfigs {
            resources: vec![(cluster.clone(), vec![change])],
            validate_only: false,
        };
        broker.change(change).await.unwrap().remove(0).unwrap();
    }
    let log = partition.log().await;
    assert_eq!(log.config().producer_id_expiration_ms, 12_345);
    assert!(!log.config().preallocate);
}

#[test]
fn groups_are_loaded_before_anyone_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let first_life = Runtime::new().unwrap();
    first_life.block_on(async {
        let broker = broker(dir.path()).await;
        broker.ensure_offsets_topic().await.unwrap();
        assert_eq!(broker.groups().loading_count(), 0);
        assert_eq!(broker.groups().list().await, Ok(Vec::new()));
    });
    // With it ends all that holds the directory's lock.
    drop(first_life);
    Runtime::new().unwrap().block_on(async {
        let broker = broker(dir.path()).await;
        assert!(broker.image().topic(OFFSETS_TOPIC).is_some());
        assert_eq!(broker.groups().loading_count(), 0);
        assert_eq!(broker.groups().list().await, Ok(Vec::new()));
    });
}

#[tokio::test]
async fn whoever_asks_for_the_offsets_topic_first_it_is_made_for_groups() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(Str::from(OFFSETS_TOPIC)),
            ..Default::default()
        }]),
        allow_auto_topic_creation: true,
        ..Default::default()
    };
    metadata::handle(&broker, &context(9), request).await;
    let image = broker.image();
    let topic = image.topic(OFFSETS_TOPIC).expect("made on demand");
    assert_eq!(topic.partition_count(), 50);
    let configs = image.configs(ResourceKind::Topic, OFFSETS_TOPIC).unwrap();
    assert_eq!(configs.get("cleanup.policy").map(|v| &**v), Some("compact"));
    broker.groups_loaded().await;
    assert_eq!(broker.groups().list().await, Ok(Vec::new()));
}

#[tokio::test]
async fn topics_on_demand_are_waited_for_within_a_bound_and_still_made() {
    let dir = tempfile::tempdir().unwrap();
    let broker = broker(dir.path()).await;
    // Nothing that the quorum decides arrives here meanwhile.
    let held = broker.taking_over.lock().await;
    let names = vec![TopicName::new("t").unwrap()];
    let answer = tokio::time::timeout(AUTO_CREATE_WITHIN * 10, broker.auto_create(names)).await;
    assert_eq!(answer, Ok(ErrorCode::LeaderNotAvailable));
    assert!(broker.partitions().partition("t", 0).is_err());
    drop(held);
    let made = async {
        while broker.partitions().partition("t", 0).is_err() {
            tokio::task::yield_now().await;
        }
    };
    let made = tokio::time::timeout(AUTO_CREATE_WITHIN * 10, made).await;
    assert!(made.is_ok(), "its creation was given up");
}

/// With the only thread that may block held, these get no further.
#[test]
fn what_asks_the_disk_does_so_where_it_may_block() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let broker = broker(dir.path()).await;
        create(&broker, 0, "t").await;
        append_two_records(&broker).await;
        let (release, released) = std::sync::mpsc::channel::<()>();
        let held = tokio::task::spawn_blocking(move || released.recv());
        let request = DescribeLogDirsRequest::default();
        let context = context(4);
        let mut described = pin!(describe_log_dirs::handle(&broker, &context, request));
        let mut found = pin!(offsets_before(&broker, i64::MAX, 1));
        for _ in 0..100 {
            let early = poll_fn(|task| {
                let (described, found) = (described.as_mut().poll(task), found.as_mut().poll(task));
                Poll::Ready(described.is_ready() || found.is_ready())
            });
            assert!(!early.await);
            tokio::task::yield_now().await;
        }
        drop(release);
        assert!(described.await.results[0].total_bytes > 0);
        assert_eq!(found.await, [2]);
        assert!(held.await.unwrap().is_err(), "the thread is free");
    });
}

#[tokio::test]
async fn all_replicas_are_enough_where_they_are_fewer_than_the_minimum() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display().to_string();
    let set = [("log.dirs", path.as_str()), ("min.insync.replicas", "2")];
    let broker = assemble_alone(Sources::of(&set).load().unwrap().0).await;
    create_with(&broker, "t", 1).await;
    append_two_records(&broker).await;
    let partition = broker.partitions().partition("t", 0).unwrap();
    assert_eq!(partition.high_watermark(), 2);
}
