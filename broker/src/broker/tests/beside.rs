//! Other brokers beside the one under test: registered with its quorum, and nothing else of them.

use std::sync::Arc;

use milena_log::BatchToAppend;
use milena_metadata::{
    BrokerId, ChangeBroker, Endpoint, IncarnationId, LastEnd, RegisterBroker, Registered,
};
use milena_protocol::records::{BatchBuilder, BatchHeader, BatchOptions};

use super::Broker;
use crate::partition::Partition;

/// Where the others are found, by listener.
const LISTENERS: [(&str, u16); 2] = [("PLAINTEXT", 9092), ("PEERS", 9091)];

pub(crate) fn id(number: i32) -> BrokerId {
    BrokerId::new(number).unwrap()
}

/// A new life of a broker on an old disk, unfenced and without an address.
pub(crate) fn registration(number: i32) -> RegisterBroker {
    RegisterBroker {
        id: id(number),
        incarnation: IncarnationId::random(),
        endpoints: Vec::new(),
        node: None,
        rack: None,
        pool: None,
        directories: Vec::new(),
        software: "test".into(),
        levels: Default::default(),
        last_end: LastEnd::Clean,
        fenced: false,
    }
}

/// Registers a broker, unfenced; it is found at `host-<number>`.
pub(crate) async fn register(broker: &Broker, number: i32, rack: Option<&str>) -> Registered {
    let endpoint = |(listener, port): (&str, u16)| Endpoint {
        listener: listener.into(),
        host: format!("host-{number}").into(),
        port,
        security_protocol: "PLAINTEXT".into(),
    };
    let command = RegisterBroker {
        endpoints: LISTENERS.map(endpoint).to_vec(),
        rack: rack.map(Into::into),
        ..registration(number)
    };
    broker.change(command).await.unwrap()
}

/// Fences a broker in its present life.
pub(crate) async fn fence(broker: &Broker, number: i32) {
    set_fenced(broker, number, true).await;
}

/// Lets a fenced broker take part again.
pub(crate) async fn unfence(broker: &Broker, number: i32) {
    set_fenced(broker, number, false).await;
}

async fn set_fenced(broker: &Broker, number: i32, fenced: bool) {
    let command = ChangeBroker {
        id: id(number),
        epoch: broker.image().broker(id(number)).unwrap().epoch,
        fenced: Some(fenced),
        draining: None,
        stopping: None,
    };
    broker.change(command).await.unwrap();
}

/// Creates a topic with one partition on each list of brokers, the preferred leader first.
pub(crate) async fn create_on(broker: &Broker, topic: &str, assignments: &[&[i32]]) {
    use milena_protocol::api::create_topics::{
        CreatableReplicaAssignment, CreatableTopic, CreateTopicsRequest,
    };
    let assignments = assignments.iter().zip(0..).map(|(brokers, index)| {
        let (partition_index, broker_ids) = (index, brokers.to_vec());
        CreatableReplicaAssignment {
            partition_index,
            broker_ids,
        }
    });
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: topic.into(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: assignments.collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let response = crate::api::create_topics::handle(broker, &super::context(7), request).await;
    let created = &response.topics[0];
    assert!(created.error_code.is_none(), "{:?}", created.error_message);
}

/// A batch of one record, as a leader stores it.
pub(crate) fn batch(base_offset: i64, partition_leader_epoch: i32) -> Vec<BatchToAppend> {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset,
        partition_leader_epoch,
        ..BatchOptions::default()
    });
    builder.push(1, None, Some(b"value"), &[]).unwrap();
    let body = builder.finish().unwrap();
    let header = BatchHeader::parse(&body).unwrap();
    vec![BatchToAppend { header, body }]
}

/// The partition of that topic and number, which is hosted here.
pub(crate) fn partition(broker: &Broker, topic: &str, index: i32) -> Arc<Partition> {
    broker.partitions().partition(topic, index).unwrap()
}
