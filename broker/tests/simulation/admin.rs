//! What an operator does meanwhile.

use std::rc::Rc;
use std::time::Duration;

use milena_protocol::api::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use milena_protocol::api::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreateTopicsRequest,
};
use milena_protocol::api::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use milena_protocol::api::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumRequestPartition, DescribeQuorumRequestTopic,
};
use milena_protocol::api::elect_leaders::ElectLeadersRequest;
use milena_protocol::api::incremental_alter_configs::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResource, IncrementalAlterableConfig,
};
use milena_protocol::{ErrorCode, Str};
use rand::Rng;
use rand::seq::SliceRandom;
use tokio::time::sleep;

use super::clients::Client;
use super::ledger::{Place, Shared};
use super::run::Health;

const WATCH_PERIOD: Duration = Duration::from_millis(250);
const TOPIC_RESOURCE: i8 = 2;

/// Creates a topic, however long it takes; where `replicas` are named, they are those of every partition.
pub async fn create(
    client: &mut Client,
    name: &'static str,
    partitions: i32,
    replicas: Option<[i32; 3]>,
) {
    let assigned = replicas.map(|replicas| {
        let assign = |partition_index| CreatableReplicaAssignment {
            partition_index,
            broker_ids: replicas.to_vec(),
        };
        (0..partitions).map(assign).collect()
    });
    let (num_partitions, replication_factor) = match &assigned {
        Some(_) => (-1, -1),
        None => (partitions, 3),
    };
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: Str::from(name),
            num_partitions,
            replication_factor,
            assignments: assigned.unwrap_or_default(),
            ..CreatableTopic::default()
        }],
        timeout_ms: 5_000,
        ..CreateTopicsRequest::default()
    };
    loop {
        let broker = client.any_broker();
        let answer = client.ask(broker, &request, 7).await;
        let code = answer
            .ok()
            .and_then(|answer| Some(answer.topics.first()?.error_code));
        match code {
            Some(ErrorCode::None | ErrorCode::TopicAlreadyExists) => return,
            _ => sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Looks again and again whether all brokers say that all replicas of the topic are in sync.
pub async fn watch(mut client: Client, brokers: i32, topic: &'static str, health: Rc<Health>) {
    loop {
        sleep(WATCH_PERIOD).await;
        let round = health.begin_round();
        let mut well = true;
        for broker in 1..=brokers {
            well = well && says_in_sync(&mut client, broker, topic).await;
        }
        if well {
            health.end_round(round);
        }
    }
}

async fn says_in_sync(client: &mut Client, broker: i32, topic: &'static str) -> bool {
    let Ok(answer) = client.metadata(broker, &[topic]).await else {
        return false;
    };
    let mut partitions = answer
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .peekable();
    partitions.peek().is_some()
        && partitions.all(|partition| {
            partition.leader_id > 0
                && partition.replica_nodes.len() == 3
                && partition.isr_nodes.len() == partition.replica_nodes.len()
        })
}

/// Changes things while others go wrong; whether each succeeds is of no interest.
pub async fn meddle(
    mut client: Client,
    brokers: i32,
    places: Vec<Place>,
    ledger: Shared,
    is_over: impl Fn() -> bool,
) {
    while !is_over() {
        let pause = client.rng.random_range(100..2_500);
        sleep(Duration::from_millis(pause)).await;
        let place = places[client.rng.random_range(0..places.len())];
        match client.rng.random_range(0..4) {
            0 => reassign(&mut client, brokers, place).await,
            1 => configure(&mut client, place.0).await,
            2 => elect(&mut client).await,
            _ => delete_records(&mut client, place, &ledger).await,
        }
    }
}

async fn reassign(client: &mut Client, brokers: i32, (topic, partition): Place) {
    let mut all: Vec<i32> = (1..=brokers).collect();
    all.shuffle(&mut client.rng);
    all.truncate(3);
    let request = AlterPartitionReassignmentsRequest {
        topics: vec![ReassignableTopic {
            name: Str::from(topic),
            partitions: vec![ReassignablePartition {
                partition_index: partition,
                replicas: Some(all),
            }],
        }],
        ..AlterPartitionReassignmentsRequest::default()
    };
    let broker = client.any_broker();
    let _ = client.ask(broker, &request, 0).await;
}

async fn configure(client: &mut Client, topic: &'static str) {
    let (name, value) = match client.rng.random_range(0..3) {
        0 => ("segment.bytes", client.rng.random_range(16_384..65_536)),
        1 => ("flush.messages", client.rng.random_range(1..1_000)),
        _ => ("index.interval.bytes", client.rng.random_range(256..4_096)),
    };
    let request = IncrementalAlterConfigsRequest {
        resources: vec![IncrementalAlterConfigsResource {
            resource_type: TOPIC_RESOURCE,
            resource_name: Str::from(topic),
            configs: vec![IncrementalAlterableConfig {
                name: Str::from(name),
                config_operation: 0,
                value: Some(value.to_string().into()),
            }],
        }],
        validate_only: false,
    };
    let broker = client.any_broker();
    let _ = client.ask(broker, &request, 1).await;
}

async fn elect(client: &mut Client) {
    let request = ElectLeadersRequest {
        topic_partitions: None,
        timeout_ms: 2_000,
        ..ElectLeadersRequest::default()
    };
    let broker = client.any_broker();
    let _ = client.ask(broker, &request, 2).await;
}

/// Who leads the metadata quorum and in which term, as some broker has it.
pub async fn quorum_leader(client: &mut Client) -> Option<(i32, i32)> {
    let request = DescribeQuorumRequest {
        topics: vec![DescribeQuorumRequestTopic {
            topic_name: Str::from("__cluster_metadata"),
            partitions: vec![DescribeQuorumRequestPartition::default()],
        }],
    };
    let broker = client.any_broker();
    let answer = client.ask(broker, &request, 0).await.ok()?;
    let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    partitions
        .next()
        .map(|partition| (partition.leader_id, partition.leader_epoch))
        .filter(|(leader, _)| *leader > 0)
}

async fn delete_records(client: &mut Client, place: Place, ledger: &Shared) {
    let offset = {
        let mut ledger = ledger.borrow_mut();
        let reached = ledger.reached(place);
        let offset = client.rng.random_range(0..=reached / 2);
        // A batch's begin, or the middle of one.
        let offset = match client.rng.random() {
            true => ledger.begin_before(place, offset),
            false => offset,
        };
        ledger.may_start_at(place, offset);
        offset
    };
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: Str::from(place.0),
            partitions: vec![DeleteRecordsPartition {
                partition_index: place.1,
                offset,
            }],
        }],
        timeout_ms: 2_000,
    };
    if let Some(leader) = client.leader(place).await {
        let _ = client.ask(leader, &request, 2).await;
    }
}
