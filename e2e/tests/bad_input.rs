//! Bad requests get Kafka's code for them through the wire, and change nothing.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use e2e::broker::Broker;
use e2e::load::{batch, create_topic, fetch_one, produce_one};
use e2e::process::poll;
use e2e::wire::Wire;
use milena_protocol::ErrorCode::{
    self, IllegalGeneration, InvalidConfig, InvalidPartitions, InvalidReplicationFactor,
    InvalidRequest, InvalidTopicException, MemberIdRequired, OffsetOutOfRange, PolicyViolation,
    TopicAlreadyExists, UnknownMemberId, UnknownTopicOrPartition,
};
use milena_protocol::api::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource, AlterableConfig,
};
use milena_protocol::api::api_versions::ApiVersionsRequest;
use milena_protocol::api::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use milena_protocol::api::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use milena_protocol::api::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use milena_protocol::api::delete_topics::DeleteTopicsRequest;
use milena_protocol::api::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use milena_protocol::api::heartbeat::HeartbeatRequest;
use milena_protocol::api::incremental_alter_configs::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResource, IncrementalAlterableConfig,
};
use milena_protocol::api::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use milena_protocol::api::leave_group::LeaveGroupRequest;
use milena_protocol::api::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use milena_protocol::api::metadata::{MetadataRequest, MetadataRequestTopic};
use milena_protocol::api::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use milena_protocol::api::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use milena_protocol::records::Compression;
use milena_protocol::{Request, Str};
use std::time::Duration;

const TOPIC: &str = "there";
const TOPIC_KIND: i8 = 2;
/// Longer than a broker without an initial delay takes to find the coordinator's shard.
const COORDINATOR_LIMIT: Duration = Duration::from_secs(30);

/// A broker with one topic of three partitions, and a connection to it.
fn broker_with_a_topic() -> Result<(Broker, Wire)> {
    let no_delay = "group.initial.rebalance.delay.ms=0";
    let broker = Broker::start(&["--set", no_delay])?;
    create_topic(&broker.bootstrap(), TOPIC, 3, &[])?;
    let wire = Wire::connect(&broker.bootstrap())?;
    Ok((broker, wire))
}

fn topic(name: &str, partitions: i32, replicas: i16, config: &[(&str, &str)]) -> CreatableTopic {
    let configs = config.iter().map(|(name, value)| CreatableTopicConfig {
        name: Str::from(*name),
        value: Some(Str::from(*value)),
    });
    CreatableTopic {
        name: Str::from(name),
        num_partitions: partitions,
        replication_factor: replicas,
        configs: configs.collect(),
        ..Default::default()
    }
}

fn create(wire: &mut Wire, topics: Vec<CreatableTopic>) -> Result<Vec<(ErrorCode, String)>> {
    let request = CreateTopicsRequest {
        topics,
        ..Default::default()
    };
    let response = wire.ask(&request, 5)?;
    let told = |message: Option<Str>| message.map_or(String::new(), |text| text.to_string());
    let results = response.topics.into_iter();
    Ok(results
        .map(|topic| (topic.error_code, told(topic.error_message)))
        .collect())
}

fn topic_names(wire: &mut Wire) -> Result<Vec<String>> {
    let request = MetadataRequest {
        topics: None,
        allow_auto_topic_creation: false,
        ..Default::default()
    };
    let topics = wire.ask(&request, 5)?.topics.into_iter();
    Ok(topics
        .filter_map(|topic| Some(topic.name?.to_string()))
        .collect())
}

#[test]
fn topics_that_can_not_be_are_refused_one_by_one_and_none_of_them_is_made() -> Result<()> {
    let (_broker, mut wire) = broker_with_a_topic()?;
    let long = "n".repeat(250);
    let cases = [
        (topic("", 1, 1, &[]), InvalidTopicException),
        (topic(".", 1, 1, &[]), InvalidTopicException),
        (topic("..", 1, 1, &[]), InvalidTopicException),
        (topic("a b", 1, 1, &[]), InvalidTopicException),
        (topic("a/../b", 1, 1, &[]), InvalidTopicException),
        (topic("größe", 1, 1, &[]), InvalidTopicException),
        (topic(&long, 1, 1, &[]), InvalidTopicException),
        (topic("zero", 0, 1, &[]), InvalidPartitions),
        (topic("negative", -2, 1, &[]), InvalidPartitions),
        (topic("many", 10_001, 1, &[]), PolicyViolation),
        (topic("most", i32::MAX, 1, &[]), PolicyViolation),
        (topic("wide", 1, 2, &[]), InvalidReplicationFactor),
        (topic("nowhere", 1, 0, &[]), InvalidReplicationFactor),
        (topic("odd", 1, 1, &[("retention.mss", "1")]), InvalidConfig),
        (
            topic("bad", 1, 1, &[("retention.ms", "soon")]),
            InvalidConfig,
        ),
        (topic("low", 1, 1, &[("segment.bytes", "0")]), InvalidConfig),
        (topic(TOPIC, 1, 1, &[]), TopicAlreadyExists),
    ];
    for (topic, expected) in cases {
        let name = topic.name.to_string();
        let (code, message) = create(&mut wire, vec![topic])?.remove(0);
        ensure!(
            code == expected,
            "{name:?}: {code:?} instead of {expected:?}"
        );
        ensure!(!message.is_empty(), "{name:?}: {code:?} without a message");
    }
    let twins = vec![topic("twin", 1, 1, &[]), topic("twin", 1, 1, &[])];
    let twice = create(&mut wire, twins)?;
    assert_eq!([twice[0].0, twice[1].0], [InvalidRequest; 2]);
    let mixed = vec![topic("a b", 1, 1, &[]), topic("good", 1, 1, &[])];
    let mixed = create(&mut wire, mixed)?;
    assert_eq!(
        [mixed[0].0, mixed[1].0],
        [InvalidTopicException, ErrorCode::None]
    );
    let mut names = topic_names(&mut wire)?;
    names.sort();
    assert_eq!(names, ["good", TOPIC], "a refused topic was made");
    Ok(())
}

fn end_of(wire: &mut Wire, topic: &str, partition: i32) -> Result<ErrorCode> {
    let partition = ListOffsetsPartition {
        partition_index: partition,
        timestamp: -1,
        ..Default::default()
    };
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: Str::from(topic),
            partitions: vec![partition],
        }],
        ..Default::default()
    };
    Ok(wire.ask(&request, 5)?.topics[0].partitions[0].error_code)
}

fn metadata(wire: &mut Wire, topic: &str, create: bool) -> Result<ErrorCode> {
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some(Str::from(topic)),
            ..Default::default()
        }]),
        allow_auto_topic_creation: create,
        ..Default::default()
    };
    Ok(wire.ask(&request, 5)?.topics[0].error_code)
}

fn grow(wire: &mut Wire, topic: &str, count: i32) -> Result<ErrorCode> {
    let request = CreatePartitionsRequest {
        topics: vec![CreatePartitionsTopic {
            name: Str::from(topic),
            count,
            ..Default::default()
        }],
        ..Default::default()
    };
    Ok(wire.ask(&request, 1)?.results[0].error_code)
}

fn delete_records(wire: &mut Wire, topic: &str, offset: i64) -> Result<ErrorCode> {
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: Str::from(topic),
            partitions: vec![DeleteRecordsPartition {
                offset,
                ..Default::default()
            }],
        }],
        timeout_ms: 1000,
    };
    Ok(wire.ask(&request, 1)?.topics[0].partitions[0].error_code)
}

fn describe_configs(wire: &mut Wire, topic: &str) -> Result<ErrorCode> {
    let request = DescribeConfigsRequest {
        resources: vec![DescribeConfigsResource {
            resource_type: TOPIC_KIND,
            resource_name: Str::from(topic),
            ..Default::default()
        }],
        ..Default::default()
    };
    Ok(wire.ask(&request, 1)?.results[0].error_code)
}

#[test]
fn unknown_topics_and_partitions_are_told_by_every_api() -> Result<()> {
    let (_broker, mut wire) = broker_with_a_topic()?;
    let unknown = UnknownTopicOrPartition;
    let records = || batch(&[Some(b"v")], Compression::None);
    for (topic, partition) in [("nope", 0), (TOPIC, 3), (TOPIC, -1)] {
        let produced = produce_one(&mut wire, topic, partition, records())?;
        ensure!(
            produced == Err(unknown),
            "Produce to {topic}-{partition}: {produced:?}"
        );
        let fetched = fetch_one(&mut wire, topic, partition, 0)?;
        ensure!(
            fetched == Err(unknown),
            "Fetch of {topic}-{partition}: {fetched:?}"
        );
        let listed = end_of(&mut wire, topic, partition)?;
        ensure!(
            listed == unknown,
            "ListOffsets of {topic}-{partition}: {listed:?}"
        );
    }
    assert_eq!(metadata(&mut wire, "nope", false)?, unknown);
    assert_eq!(metadata(&mut wire, "a b", true)?, InvalidTopicException);
    assert_eq!(grow(&mut wire, "nope", 4)?, unknown);
    assert_eq!(delete_records(&mut wire, "nope", 0)?, unknown);
    assert_eq!(describe_configs(&mut wire, "nope")?, unknown);
    let delete = DeleteTopicsRequest {
        topic_names: vec![Str::from("nope")],
        ..Default::default()
    };
    assert_eq!(wire.ask(&delete, 5)?.responses[0].error_code, unknown);
    assert_eq!(alter(&mut wire, "nope", "retention.ms", "1")?, [unknown; 2]);
    ensure!(topic_names(&mut wire)? == [TOPIC], "asking made a topic");
    Ok(())
}

#[test]
fn partitions_of_a_topic_only_grow() -> Result<()> {
    let (_broker, mut wire) = broker_with_a_topic()?;
    for count in [-1, 0, 2, 3] {
        assert_eq!(
            grow(&mut wire, TOPIC, count)?,
            InvalidPartitions,
            "to {count}"
        );
    }
    assert_eq!(grow(&mut wire, TOPIC, 20_000)?, PolicyViolation);
    assert_eq!(end_of(&mut wire, TOPIC, 3)?, UnknownTopicOrPartition);
    Ok(())
}

/// By AlterConfigs and by IncrementalAlterConfigs.
fn alter(wire: &mut Wire, topic: &str, name: &str, value: &str) -> Result<[ErrorCode; 2]> {
    let all = AlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: TOPIC_KIND,
            resource_name: Str::from(topic),
            configs: vec![AlterableConfig {
                name: Str::from(name),
                value: Some(Str::from(value)),
            }],
        }],
        ..Default::default()
    };
    let one = IncrementalAlterConfigsRequest {
        resources: vec![IncrementalAlterConfigsResource {
            resource_type: TOPIC_KIND,
            resource_name: Str::from(topic),
            configs: vec![IncrementalAlterableConfig {
                name: Str::from(name),
                config_operation: 0,
                value: Some(Str::from(value)),
            }],
        }],
        ..Default::default()
    };
    Ok([
        wire.ask(&all, 1)?.responses[0].error_code,
        wire.ask(&one, 0)?.responses[0].error_code,
    ])
}

#[test]
fn unknown_and_bad_configs_are_refused() -> Result<()> {
    let (_broker, mut wire) = broker_with_a_topic()?;
    for (name, value) in [
        ("retention.mss", "1"),
        ("retention.ms", "soon"),
        ("retention.ms", "-2"),
        ("cleanup.policy", "shred"),
        ("compression.type", "rar"),
        ("min.insync.replicas", "0"),
        ("", "1"),
    ] {
        let codes = alter(&mut wire, TOPIC, name, value)?;
        ensure!(codes == [InvalidConfig; 2], "{name}={value}: {codes:?}");
    }
    Ok(())
}

#[test]
fn an_offset_that_the_log_has_not_is_out_of_range() -> Result<()> {
    let (_broker, mut wire) = broker_with_a_topic()?;
    let records = batch(&[Some(b"0"), Some(b"1"), Some(b"2")], Compression::None);
    produce_one(&mut wire, TOPIC, 0, records)??;
    for offset in [4, i64::MAX, -5] {
        let fetched = fetch_one(&mut wire, TOPIC, 0, offset)?;
        ensure!(
            fetched == Err(OffsetOutOfRange),
            "fetch at {offset}: {fetched:?}"
        );
    }
    for offset in [4, -2] {
        assert_eq!(delete_records(&mut wire, TOPIC, offset)?, OffsetOutOfRange);
    }
    assert_eq!(delete_records(&mut wire, TOPIC, 2)?, ErrorCode::None);
    assert_eq!(fetch_one(&mut wire, TOPIC, 0, 1)?, Err(OffsetOutOfRange));
    Ok(())
}

const GROUP: &str = "group";

fn join(wire: &mut Wire, member_id: &Str) -> Result<(ErrorCode, Str, i32)> {
    let request = JoinGroupRequest {
        group_id: Str::from(GROUP),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        member_id: member_id.clone(),
        protocol_type: Str::from("consumer"),
        protocols: vec![JoinGroupRequestProtocol {
            name: Str::from("range"),
            metadata: Bytes::from_static(b"anything"),
        }],
        ..Default::default()
    };
    let joined = wire.ask(&request, 5)?;
    Ok((joined.error_code, joined.member_id, joined.generation_id))
}

fn sync(wire: &mut Wire, member_id: &Str, generation: i32) -> Result<ErrorCode> {
    let request = SyncGroupRequest {
        group_id: Str::from(GROUP),
        generation_id: generation,
        member_id: member_id.clone(),
        assignments: vec![SyncGroupRequestAssignment {
            member_id: member_id.clone(),
            assignment: Bytes::from_static(b"all"),
        }],
        ..Default::default()
    };
    Ok(wire.ask(&request, 3)?.error_code)
}

fn heartbeat(wire: &mut Wire, member_id: &Str, generation: i32) -> Result<ErrorCode> {
    let request = HeartbeatRequest {
        group_id: Str::from(GROUP),
        generation_id: generation,
        member_id: member_id.clone(),
        ..Default::default()
    };
    Ok(wire.ask(&request, 3)?.error_code)
}

fn commit(wire: &mut Wire, member_id: &Str, generation: i32) -> Result<ErrorCode> {
    let request = OffsetCommitRequest {
        group_id: Str::from(GROUP),
        generation_id_or_member_epoch: generation,
        member_id: member_id.clone(),
        topics: vec![OffsetCommitRequestTopic {
            name: Str::from(TOPIC),
            partitions: vec![OffsetCommitRequestPartition {
                committed_offset: 1,
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    Ok(wire.ask(&request, 7)?.topics[0].partitions[0].error_code)
}

/// The only member of the group, in its first generation.
fn member(wire: &mut Wire) -> Result<(Str, i32)> {
    // Nobody has asked for the coordinator yet, which makes the topic that it keeps groups in.
    let find = milena_protocol::api::find_coordinator::FindCoordinatorRequest {
        key: Str::from(GROUP),
        ..Default::default()
    };
    poll(COORDINATOR_LIMIT, || match wire.ask(&find, 2) {
        Ok(found) if found.error_code != ErrorCode::None => None,
        other => Some(other),
    })
    .context("no coordinator")??;
    let (code, member_id, _) = join(wire, &Str::from(""))?;
    ensure!(code == MemberIdRequired, "the first JoinGroup: {code:?}");
    let (code, member_id, generation) = join(wire, &member_id)?;
    ensure!(code == ErrorCode::None, "the second JoinGroup: {code:?}");
    ensure!(
        sync(wire, &member_id, generation)? == ErrorCode::None,
        "SyncGroup"
    );
    Ok((member_id, generation))
}

#[test]
fn stale_generations_and_unknown_members_are_told_and_the_member_goes_on() -> Result<()> {
    let (_broker, mut wire) = broker_with_a_topic()?;
    let (known, generation) = member(&mut wire)?;
    let nobody = Str::from("nobody");
    for stale in [generation - 1, generation + 1] {
        assert_eq!(heartbeat(&mut wire, &known, stale)?, IllegalGeneration);
        assert_eq!(sync(&mut wire, &known, stale)?, IllegalGeneration);
        assert_eq!(commit(&mut wire, &known, stale)?, IllegalGeneration);
    }
    assert_eq!(heartbeat(&mut wire, &nobody, generation)?, UnknownMemberId);
    assert_eq!(sync(&mut wire, &nobody, generation)?, UnknownMemberId);
    assert_eq!(commit(&mut wire, &nobody, generation)?, UnknownMemberId);
    assert_eq!(commit(&mut wire, &Str::from(""), -1)?, UnknownMemberId);
    assert_eq!(join(&mut wire, &nobody)?.0, UnknownMemberId);
    let leave = LeaveGroupRequest {
        group_id: Str::from(GROUP),
        member_id: nobody,
        ..Default::default()
    };
    assert_eq!(wire.ask(&leave, 2)?.error_code, UnknownMemberId);
    assert_eq!(heartbeat(&mut wire, &known, generation)?, ErrorCode::None);
    assert_eq!(commit(&mut wire, &known, generation)?, ErrorCode::None);
    Ok(())
}

#[test]
fn an_unknown_version_of_api_versions_is_answered_and_of_others_ends_the_connection() -> Result<()>
{
    let (broker, mut wire) = broker_with_a_topic()?;
    let mut frame = e2e::wire::framed(&ApiVersionsRequest::default(), 3, 7);
    frame[6..8].copy_from_slice(&99_i16.to_be_bytes());
    wire.send_bytes(&frame)?;
    let answer = wire.receive()?.context("no answer to ApiVersions 99")?;
    assert_eq!(answer[..4], 7_i32.to_be_bytes());
    assert_eq!(answer[4..6], 35_i16.to_be_bytes(), "UNSUPPORTED_VERSION");
    ensure!(topic_names(&mut wire)? == [TOPIC], "the connection goes on");
    let newest = *HeartbeatRequest::VERSIONS.end();
    for (key, version) in [
        (HeartbeatRequest::KEY, newest + 1),
        (HeartbeatRequest::KEY, -1),
        (999, 0),
    ] {
        let mut frame = e2e::wire::framed(&HeartbeatRequest::default(), 0, 8);
        frame[4..6].copy_from_slice(&key.to_be_bytes());
        frame[6..8].copy_from_slice(&version.to_be_bytes());
        let mut wire = Wire::connect(&broker.bootstrap())?;
        wire.send_bytes(&frame)?;
        ensure!(
            wire.receive()?.is_none(),
            "key {key} version {version} was answered"
        );
    }
    Ok(())
}
