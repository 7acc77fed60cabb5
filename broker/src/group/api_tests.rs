//! The handlers of groups, over the versions in which they differ.

use std::collections::BTreeMap;

use milena_metadata::{
    Elected, Image, PartitionId, PartitionRecord, Record, TopicId, TopicName, TopicRecord,
};
use milena_protocol::Str;
use milena_protocol::api::describe_groups::DescribeGroupsRequest;
use milena_protocol::api::find_coordinator::FindCoordinatorRequest;
use milena_protocol::api::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use milena_protocol::api::list_groups::ListGroupsRequest;
use milena_protocol::api::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use milena_protocol::api::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use milena_protocol::api::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestGroupTopic,
    OffsetFetchRequestTopic,
};

use super::coordinator::memory_log::MemoryLog;
use super::host::GroupHost;
use super::*;
use crate::api::{self, RequestContext};

/// Groups over a log in memory, and topic `t` with one partition.
struct Host {
    groups: Groups,
    image: Image,
}

impl GroupHost for Host {
    fn groups(&self) -> &Groups {
        &self.groups
    }

    fn image(&self) -> Arc<Image> {
        Arc::new(self.image.clone())
    }

    async fn ensure_offsets_topic(&self) -> Result<(), ErrorCode> {
        Ok(())
    }
}

async fn host() -> Host {
    let settings = Settings {
        limits: Limits {
            size_max: 10,
            initial_rebalance_delay_ms: 0,
        },
        session_timeout_ms: 6_000..=30_000,
        offset_metadata_size_max: 4096,
        offsets_retention_ms: 1_000_000,
        offsets_retention_check_interval_ms: 600_000,
    };
    let groups = Groups::new(MemoryLog::new(), 1, settings);
    groups.elected(0, 0);
    while groups.list().await.is_err() {
        tokio::task::yield_now().await;
    }
    let mut image = Image::default();
    add_topic(&mut image, TopicId::random());
    Host { groups, image }
}

fn add_topic(image: &mut Image, id: TopicId) {
    let topic = TopicRecord {
        id,
        name: TopicName::new("t").unwrap(),
    };
    let partition = PartitionRecord {
        topic: id,
        partition: PartitionId::new(0).unwrap(),
        replicas: Vec::new(),
        isr: Vec::new(),
        elr: Vec::new(),
        leader: None,
        last_leader: None,
        leader_epoch: 0,
        partition_epoch: 0,
        elected: Elected::default(),
        unopened: Vec::new(),
        reassignment: None,
    };
    image.apply(&Record::Topic(topic)).unwrap();
    image.apply(&Record::Partition(partition)).unwrap();
}

fn context(version: i16) -> RequestContext {
    RequestContext {
        version,
        client_id: "c".into(),
        address: "192.0.2.1:9999".parse().unwrap(),
        listener: "PLAINTEXT".into(),
        hurry: None,
    }
}

async fn commit(host: &Host, version: i16, topic: &str, partition: i32, offset: i64) -> ErrorCode {
    let by_id = |name: &str| {
        host.image
            .topic(name)
            .map(|topic| topic.id.0)
            .unwrap_or_default()
    };
    let request = OffsetCommitRequest {
        group_id: "g".into(),
        topics: vec![OffsetCommitRequestTopic {
            name: if version < 10 {
                topic.into()
            } else {
                Str::default()
            },
            topic_id: if version < 10 {
                Default::default()
            } else {
                by_id(topic)
            },
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: partition,
                committed_offset: offset,
                ..Default::default()
            }],
        }],
        ..Default::default()
    };
    let response = api::offset_commit::handle(host, &context(version), request).await;
    response.topics[0].partitions[0].error_code
}

/// The offset of `t` 0 in the group.
async fn fetch(host: &Host, version: i16) -> i64 {
    if version < 8 {
        let topic = OffsetFetchRequestTopic {
            name: "t".into(),
            partition_indexes: vec![0],
        };
        let (group_id, topics) = ("g".into(), Some(vec![topic]));
        let request = OffsetFetchRequest {
            group_id,
            topics,
            ..Default::default()
        };
        let response = api::offset_fetch::handle(host, &context(version), request).await;
        assert_eq!(response.error_code, ErrorCode::None);
        return response.topics[0].partitions[0].committed_offset;
    }
    let topic = OffsetFetchRequestGroupTopic {
        name: if version < 10 {
            "t".into()
        } else {
            Str::default()
        },
        topic_id: if version < 10 {
            Default::default()
        } else {
            host.image.topic("t").unwrap().id.0
        },
        partition_indexes: vec![0],
    };
    let (group_id, topics) = ("g".into(), Some(vec![topic]));
    let groups = vec![OffsetFetchRequestGroup {
        group_id,
        topics,
        ..Default::default()
    }];
    let request = OffsetFetchRequest {
        groups,
        ..Default::default()
    };
    let response = api::offset_fetch::handle(host, &context(version), request).await;
    response.groups[0].topics[0].partitions[0].committed_offset
}

#[tokio::test(start_paused = true)]
async fn offsets_are_committed_and_fetched_in_every_version() {
    let host = host().await;
    assert_eq!(fetch(&host, 5).await, -1);
    for version in 0..=10 {
        assert_eq!(
            commit(&host, version, "t", 0, i64::from(version)).await,
            ErrorCode::None
        );
        assert_eq!(
            fetch(&host, version).await,
            i64::from(version),
            "version {version}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn offsets_of_unknown_topics_and_partitions_are_refused() {
    let host = host().await;
    assert_eq!(
        commit(&host, 9, "u", 0, 1).await,
        ErrorCode::UnknownTopicOrPartition
    );
    assert_eq!(
        commit(&host, 9, "t", 1, 1).await,
        ErrorCode::UnknownTopicOrPartition
    );
    assert_eq!(
        commit(&host, 10, "u", 0, 1).await,
        ErrorCode::UnknownTopicId
    );
}

#[tokio::test(start_paused = true)]
async fn a_null_list_fetches_all_topics() {
    let host = host().await;
    commit(&host, 9, "t", 0, 5).await;
    let request = OffsetFetchRequest {
        group_id: "g".into(),
        topics: None,
        ..Default::default()
    };
    let response = api::offset_fetch::handle(&host, &context(7), request).await;
    assert_eq!(response.topics[0].name, "t");
    assert_eq!(response.topics[0].partitions[0].committed_offset, 5);
}

#[tokio::test(start_paused = true)]
async fn a_topic_made_anew_begins_without_the_old_ones_offsets() {
    let mut host = host().await;
    commit(&host, 9, "t", 0, 5).await;
    host.image = Image::default();
    add_topic(&mut host.image, TopicId::random());
    assert_eq!(fetch(&host, 9).await, -1);
    assert_eq!(fetch(&host, 10).await, -1);
}

#[tokio::test(start_paused = true)]
async fn an_offset_is_deleted_and_unknown_ones_are_named() {
    let host = host().await;
    commit(&host, 9, "t", 0, 5).await;
    let partitions = [0, 7].map(|partition_index| OffsetDeleteRequestPartition { partition_index });
    let request = OffsetDeleteRequest {
        group_id: "g".into(),
        topics: vec![OffsetDeleteRequestTopic {
            name: "t".into(),
            partitions: partitions.to_vec(),
        }],
    };
    let response = api::offset_delete::handle(&host, &context(0), request).await;
    let errors: BTreeMap<i32, ErrorCode> = response.topics[0]
        .partitions
        .iter()
        .map(|result| (result.partition_index, result.error_code))
        .collect();
    assert_eq!(
        (errors[&0], errors[&7]),
        (ErrorCode::None, ErrorCode::UnknownTopicOrPartition)
    );
    assert_eq!(fetch(&host, 9).await, -1);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_group_is_dead_or_not_found_by_version() {
    let host = host().await;
    for (version, error) in [(5, ErrorCode::None), (6, ErrorCode::GroupIdNotFound)] {
        let request = DescribeGroupsRequest {
            groups: vec!["g".into()],
            include_authorized_operations: false,
        };
        let response = api::describe_groups::handle(&host, &context(version), request).await;
        let group = &response.groups[0];
        assert_eq!(
            (group.error_code, group.group_state.as_str()),
            (error, "Dead")
        );
        assert_eq!(group.authorized_operations, i32::MIN);
    }
}

#[tokio::test(start_paused = true)]
async fn groups_are_listed_by_state_and_type() {
    let host = host().await;
    commit(&host, 9, "t", 0, 5).await;
    let cases = [
        (&[][..], &[][..], 1),
        (&["empty"], &["classic"], 1),
        (&["Stable"], &[], 0),
        (&[], &["consumer"], 0),
    ];
    for (states, types, count) in cases {
        let texts = |names: &[&str]| names.iter().map(|name| Str::from(*name)).collect();
        let request = ListGroupsRequest {
            states_filter: texts(states),
            types_filter: texts(types),
        };
        let response = api::list_groups::handle(&host, &context(5), request).await;
        assert_eq!(response.groups.len(), count, "{states:?} {types:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_joins_under_its_clients_name_and_address() {
    let host = host().await;
    let join = |member_id: Str| JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 6_000,
        rebalance_timeout_ms: 6_000,
        member_id,
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: Default::default(),
        }],
        ..Default::default()
    };
    let told = api::join_group::handle(&host, &context(9), join(Str::default())).await;
    assert_eq!(told.error_code, ErrorCode::MemberIdRequired);
    assert_eq!(told.member_id.len(), "c-".len() + 36);
    let joined = api::join_group::handle(&host, &context(9), join(told.member_id)).await;
    assert_eq!(
        (joined.error_code, joined.generation_id),
        (ErrorCode::None, 1)
    );
    let request = DescribeGroupsRequest {
        groups: vec!["g".into()],
        include_authorized_operations: true,
    };
    let response = api::describe_groups::handle(&host, &context(6), request).await;
    assert_eq!(response.groups[0].members[0].client_host, "/192.0.2.1");
    assert_ne!(response.groups[0].authorized_operations, i32::MIN);
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_nobody_leads_and_one_of_transactions_are_told_apart() {
    let host = host().await;
    let cases = [
        (0, ErrorCode::CoordinatorNotAvailable),
        (1, ErrorCode::TransactionalIdAuthorizationFailed),
        (9, ErrorCode::InvalidRequest),
    ];
    for (key_type, error) in cases {
        let keys = (Str::from("g"), vec![Str::from("g")]);
        let request = FindCoordinatorRequest {
            key: keys.0,
            key_type,
            coordinator_keys: keys.1,
        };
        let old = api::find_coordinator::handle(&host, &context(3), request.clone()).await;
        assert_eq!((old.error_code, old.node_id), (error, -1));
        let new = api::find_coordinator::handle(&host, &context(4), request).await;
        assert_eq!(
            (new.coordinators[0].error_code, new.coordinators[0].node_id),
            (error, -1)
        );
    }
}
