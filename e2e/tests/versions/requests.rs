//! A request of each API that does something, or is refused for one reason; the same in all versions but where they
//! name things differently.

use anyhow::Result;
use bytes::Bytes;
use e2e::broker::Broker;
use e2e::load::{batch, create_topic};
use milena_protocol::Uuid;
use milena_protocol::api::add_raft_voter::AddRaftVoterRequest;
use milena_protocol::api::alter_configs::*;
use milena_protocol::api::alter_partition_reassignments::*;
use milena_protocol::api::alter_replica_log_dirs::*;
use milena_protocol::api::api_versions::ApiVersionsRequest;
use milena_protocol::api::create_partitions::*;
use milena_protocol::api::create_topics::*;
use milena_protocol::api::delete_groups::DeleteGroupsRequest;
use milena_protocol::api::delete_records::*;
use milena_protocol::api::delete_topics::*;
use milena_protocol::api::describe_cluster::DescribeClusterRequest;
use milena_protocol::api::describe_configs::*;
use milena_protocol::api::describe_groups::DescribeGroupsRequest;
use milena_protocol::api::describe_log_dirs::*;
use milena_protocol::api::describe_producers::*;
use milena_protocol::api::describe_quorum::*;
use milena_protocol::api::describe_topic_partitions::*;
use milena_protocol::api::elect_leaders::*;
use milena_protocol::api::fetch::*;
use milena_protocol::api::heartbeat::HeartbeatRequest;
use milena_protocol::api::incremental_alter_configs::*;
use milena_protocol::api::init_producer_id::InitProducerIdRequest;
use milena_protocol::api::leave_group::*;
use milena_protocol::api::list_config_resources::ListConfigResourcesRequest;
use milena_protocol::api::list_groups::ListGroupsRequest;
use milena_protocol::api::list_offsets::*;
use milena_protocol::api::list_partition_reassignments::*;
use milena_protocol::api::offset_delete::*;
use milena_protocol::api::offset_fetch::*;
use milena_protocol::api::offset_for_leader_epoch::*;
use milena_protocol::api::produce::*;
use milena_protocol::api::remove_raft_voter::RemoveRaftVoterRequest;
use milena_protocol::api::unregister_broker::UnregisterBrokerRequest;
use milena_protocol::api::update_features::*;
use milena_protocol::records::Compression;
use milena_protocol::records::legacy::{Magic, NewMessage};

use super::world::{GROUP, World, commit, find, join, metadata, sync};
use super::{Asking, TOPIC};

const TOPIC_KIND: i8 = 2;
/// A broker that there is not.
const NOBODY: i32 = 99;

/// Asks every API in every version.
pub fn ask_all(broker: &Broker, asking: &mut Asking) -> Result<()> {
    let address = broker.bootstrap();
    let mut world = World::of(&address)?;
    asking.ask(&[], |_| {
        Ok(ApiVersionsRequest {
            client_software_name: "e2e".into(),
            client_software_version: "1".into(),
        })
    })?;
    ask_of_records(&world, asking)?;
    ask_of_groups(&mut world, asking)?;
    ask_of_topics(&address, &world, asking)?;
    ask_of_the_cluster(asking)
}

fn ask_of_records(world: &World, asking: &mut Asking) -> Result<()> {
    let topic_id = world.topic_id;
    asking.ask(&[], |version| {
        Ok(ProduceRequest {
            acks: -1,
            timeout_ms: 1000,
            topic_data: vec![TopicProduceData {
                name: TOPIC.into(),
                topic_id,
                partition_data: vec![PartitionProduceData {
                    records: Some(records(version)),
                    ..Default::default()
                }],
            }],
            ..Default::default()
        })
    })?;
    asking.ask(&[], |_| {
        Ok(FetchRequest {
            topics: vec![FetchTopic {
                topic: TOPIC.into(),
                topic_id,
                partitions: vec![FetchPartition {
                    partition_max_bytes: 1 << 20,
                    ..Default::default()
                }],
            }],
            ..Default::default()
        })
    })?;
    asking.ask(&[], |_| {
        Ok(ListOffsetsRequest {
            replica_id: -1,
            topics: vec![ListOffsetsTopic {
                name: TOPIC.into(),
                partitions: vec![ListOffsetsPartition {
                    timestamp: -1,
                    ..Default::default()
                }],
            }],
            ..Default::default()
        })
    })?;
    ask_of_epochs_and_producers(asking)?;
    asking.ask(&[], |version| {
        Ok(DeleteRecordsRequest {
            topics: vec![DeleteRecordsTopic {
                name: TOPIC.into(),
                partitions: vec![DeleteRecordsPartition {
                    offset: i64::from(version) + 1,
                    ..Default::default()
                }],
            }],
            timeout_ms: 1000,
        })
    })
}

fn ask_of_epochs_and_producers(asking: &mut Asking) -> Result<()> {
    asking.ask(&[], |_| {
        Ok(OffsetForLeaderEpochRequest {
            topics: vec![OffsetForLeaderTopic {
                topic: TOPIC.into(),
                partitions: vec![OffsetForLeaderPartition::default()],
            }],
            ..Default::default()
        })
    })?;
    asking.ask(&[], |_| Ok(InitProducerIdRequest::default()))?;
    asking.ask(&[], |_| {
        Ok(DescribeProducersRequest {
            topics: vec![DescribeProducersTopic {
                name: TOPIC.into(),
                partition_indexes: vec![0],
            }],
        })
    })
}

/// One record in the newest format that a version of Produce carries.
fn records(version: i16) -> Bytes {
    let magic = match version {
        0..=1 => Magic::V0,
        2 => Magic::V1,
        _ => return batch(&[Some(b"value")], Compression::None),
    };
    let message = NewMessage {
        offset: 0,
        compression: Compression::None,
        is_log_append_time: false,
        timestamp: 1,
        key: None,
        value: Some(b"value"),
    };
    let mut set = Vec::new();
    message.put(magic, &mut set).expect("a small message");
    set.into()
}

fn ask_of_groups(world: &mut World, asking: &mut Asking) -> Result<()> {
    let topic_id = world.topic_id;
    asking.ask(&[], |version| Ok(find(version)))?;
    // Of a stranger the newer versions want that he joins again with the name that they give him.
    asking.ask_as(
        |version| {
            if version < 4 {
                &[]
            } else {
                &["MemberIdRequired"]
            }
        },
        |version| Ok(join(&format!("joined-{version}"))),
    )?;
    asking.ask(&[], |version| {
        let group = format!("synced-{version}");
        Ok(sync(&group, &world.member(&group)?))
    })?;
    asking.ask(&[], |version| {
        let group = format!("alive-{version}");
        Ok(HeartbeatRequest {
            generation_id: 1,
            member_id: world.member(&group)?,
            group_id: group.into(),
            ..Default::default()
        })
    })?;
    asking.ask(&[], |version| {
        let group = format!("left-{version}");
        let member_id = world.member(&group)?;
        Ok(LeaveGroupRequest {
            group_id: group.into(),
            member_id: member_id.clone(),
            members: vec![LeaveGroupMember {
                member_id,
                ..Default::default()
            }],
        })
    })?;
    ask_of_offsets(topic_id, asking)?;
    asking.ask(&[], |_| {
        Ok(DescribeGroupsRequest {
            groups: vec!["alive-0".into()],
            ..Default::default()
        })
    })?;
    asking.ask(&[], |_| Ok(ListGroupsRequest::default()))?;
    asking.ask(&[], |version| {
        let group = format!("deleted-{version}");
        world.commit(&group)?;
        Ok(DeleteGroupsRequest {
            groups_names: vec![group.into()],
        })
    })
}

fn ask_of_offsets(topic_id: Uuid, asking: &mut Asking) -> Result<()> {
    asking.ask(&[], |_| Ok(commit(GROUP, topic_id)))?;
    asking.ask(&[], |_| {
        Ok(OffsetFetchRequest {
            group_id: GROUP.into(),
            topics: Some(vec![OffsetFetchRequestTopic {
                name: TOPIC.into(),
                partition_indexes: vec![0],
            }]),
            groups: vec![OffsetFetchRequestGroup {
                group_id: GROUP.into(),
                topics: Some(vec![OffsetFetchRequestGroupTopic {
                    name: TOPIC.into(),
                    topic_id,
                    partition_indexes: vec![0],
                }]),
                ..Default::default()
            }],
            ..Default::default()
        })
    })?;
    asking.ask(&[], |_| {
        Ok(OffsetDeleteRequest {
            group_id: GROUP.into(),
            topics: vec![OffsetDeleteRequestTopic {
                name: TOPIC.into(),
                partitions: vec![OffsetDeleteRequestPartition::default()],
            }],
        })
    })
}

fn ask_of_topics(address: &str, world: &World, asking: &mut Asking) -> Result<()> {
    asking.ask(&[], |_| Ok(metadata()))?;
    asking.ask(&[], |_| {
        Ok(DescribeTopicPartitionsRequest {
            topics: vec![DescribeTopicPartitionsTopic { name: TOPIC.into() }],
            ..Default::default()
        })
    })?;
    asking.ask(&[], |version| {
        Ok(CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: format!("made-{version}").into(),
                num_partitions: 1,
                replication_factor: 1,
                ..Default::default()
            }],
            ..Default::default()
        })
    })?;
    asking.ask(&[], |version| {
        Ok(CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic {
                name: "made-0".into(),
                count: i32::from(version) + 2,
                ..Default::default()
            }],
            timeout_ms: 10_000,
            ..Default::default()
        })
    })?;
    asking.ask(&[], |version| {
        let name = format!("gone-{version}");
        create_topic(address, &name, 1, &[])?;
        Ok(DeleteTopicsRequest {
            topics: vec![DeleteTopicState {
                name: Some(name.as_str().into()),
                ..Default::default()
            }],
            topic_names: vec![name.into()],
            timeout_ms: 10_000,
        })
    })?;
    ask_of_configs(asking)?;
    asking.ask(&[], |_| {
        Ok(AlterPartitionReassignmentsRequest {
            topics: vec![ReassignableTopic {
                name: TOPIC.into(),
                partitions: vec![ReassignablePartition {
                    replicas: Some(vec![world.node_id]),
                    ..Default::default()
                }],
            }],
            ..Default::default()
        })
    })?;
    asking.ask(&[], |_| Ok(ListPartitionReassignmentsRequest::default()))?;
    asking.ask(&["ElectionNotNeeded"], |_| {
        Ok(ElectLeadersRequest {
            topic_partitions: Some(vec![ElectLeadersTopic {
                topic: TOPIC.into(),
                partitions: vec![0],
            }]),
            ..Default::default()
        })
    })
}

fn ask_of_configs(asking: &mut Asking) -> Result<()> {
    let (name, value) = ("retention.ms", || Some("86400000".into()));
    asking.ask(&[], |_| {
        Ok(DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: TOPIC_KIND,
                resource_name: TOPIC.into(),
                ..Default::default()
            }],
            include_synonyms: true,
            include_documentation: true,
        })
    })?;
    asking.ask(&[], |_| {
        Ok(AlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: TOPIC_KIND,
                resource_name: TOPIC.into(),
                configs: vec![AlterableConfig {
                    name: name.into(),
                    value: value(),
                }],
            }],
            ..Default::default()
        })
    })?;
    asking.ask(&[], |_| {
        Ok(IncrementalAlterConfigsRequest {
            resources: vec![IncrementalAlterConfigsResource {
                resource_type: TOPIC_KIND,
                resource_name: TOPIC.into(),
                configs: vec![IncrementalAlterableConfig {
                    name: name.into(),
                    value: value(),
                    ..Default::default()
                }],
            }],
            ..Default::default()
        })
    })?;
    asking.ask(&[], |_| Ok(ListConfigResourcesRequest::default()))
}

fn ask_of_the_cluster(asking: &mut Asking) -> Result<()> {
    asking.ask(&[], |_| Ok(DescribeClusterRequest::default()))?;
    asking.ask(&[], |_| Ok(DescribeLogDirsRequest::default()))?;
    asking.ask(&["LogDirNotFound"], |_| {
        Ok(AlterReplicaLogDirsRequest {
            dirs: vec![AlterReplicaLogDir {
                path: "/nowhere".into(),
                topics: vec![AlterReplicaLogDirTopic {
                    name: TOPIC.into(),
                    partitions: vec![0],
                }],
            }],
        })
    })?;
    asking.ask(&[], |_| {
        Ok(DescribeQuorumRequest {
            topics: vec![DescribeQuorumRequestTopic {
                topic_name: "__cluster_metadata".into(),
                partitions: vec![DescribeQuorumRequestPartition::default()],
            }],
        })
    })?;
    asking.ask(&[], |_| Ok(UpdateFeaturesRequest::default()))?;
    asking.ask(&["BrokerIdNotRegistered"], |_| {
        Ok(UnregisterBrokerRequest { broker_id: NOBODY })
    })?;
    asking.ask(&["VoterNotFound"], |_| {
        Ok(AddRaftVoterRequest {
            voter_id: NOBODY,
            ..Default::default()
        })
    })?;
    asking.ask(&["VoterNotFound"], |_| {
        Ok(RemoveRaftVoterRequest {
            voter_id: NOBODY,
            ..Default::default()
        })
    })
}
