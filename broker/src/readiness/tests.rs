//! What a broker waits for: a real one and its quorum, beside brokers 2 and 3, of which only the metadata knows.

use std::sync::Arc;

use milena_metadata::{
    AlterPartition, AlterPartitionReassignments, ChangeBroker, IsrProposal, PartitionId,
    WantedReplicas,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::broker::Broker;
use crate::broker::tests::beside::{create_on, fence, id, register, unfence};
use crate::config::Sources;
use crate::server::assemble_alone;

const SELF: i32 = 1;

struct Beside {
    broker: Arc<Broker>,
    _dir: tempfile::TempDir,
}

impl Beside {
    async fn two_others() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display().to_string();
        let config = Sources::of(&[("log.dirs", &path)]).load().unwrap().0;
        let broker = assemble_alone(config).await;
        register(&broker, 2, None).await;
        register(&broker, 3, None).await;
        Self { broker, _dir: dir }
    }

    fn awaits(&self, leaderless: bool) -> Option<Awaits> {
        let broker = &self.broker;
        let (id, epoch) = (broker.broker_id(), broker.broker_epoch());
        awaited(&broker.image(), id, epoch, leaderless)
    }

    fn said(&self) -> String {
        self.awaits(true)
            .map_or_else(String::new, |awaits| awaits.to_string())
    }

    /// It leaves every ISR that has others, and is unfenced again.
    async fn falls_behind(&self) {
        fence(&self.broker, SELF).await;
        unfence(&self.broker, SELF).await;
    }

    /// The leader of a partition of `t` has it join.
    async fn catches_up(&self, index: i32) {
        let image = self.broker.image();
        let topic = image.topic("t").unwrap();
        let partition = topic.partition(index).unwrap();
        let leader = partition.leader.unwrap();
        let epoch_of = |id| image.broker(id).unwrap().epoch;
        let members = partition.isr.iter().copied().chain([id(SELF)]);
        let proposal = AlterPartition {
            broker: leader,
            broker_epoch: epoch_of(leader),
            partitions: vec![IsrProposal {
                topic: topic.id,
                partition: PartitionId::new(index).unwrap(),
                leader_epoch: partition.leader_epoch,
                partition_epoch: partition.partition_epoch,
                isr: members.map(|id| (id, epoch_of(id))).collect(),
            }],
        };
        self.broker.change(proposal).await.unwrap()[0]
            .as_ref()
            .unwrap();
    }
}

#[tokio::test]
async fn a_broker_without_others_waits_for_nothing() {
    let beside = Beside::two_others().await;
    assert_eq!(beside.awaits(true), None);
    create_on(&beside.broker, "alone", &[&[1]]).await;
    beside.falls_behind().await;
    assert_eq!(beside.awaits(true), None, "it leads what nobody else has");
}

#[tokio::test]
async fn a_broker_waits_to_be_unfenced_and_then_for_each_of_its_replicas() {
    let beside = Beside::two_others().await;
    let both: &[i32] = &[1, 2];
    create_on(&beside.broker, "t", &[both, both, both, &[2, 3]]).await;
    assert_eq!(beside.awaits(true), None);
    fence(&beside.broker, SELF).await;
    assert_eq!(beside.awaits(true), Some(Awaits::Quorum));
    unfence(&beside.broker, SELF).await;
    let three = "waits for 3 partitions to be in sync: t-0, t-1, …and 1 more";
    assert_eq!(beside.said(), three);
    beside.catches_up(0).await;
    assert_eq!(
        beside.said(),
        "waits for 2 partitions to be in sync: t-1, t-2"
    );
    beside.catches_up(2).await;
    assert_eq!(beside.said(), "waits for 1 partition to be in sync: t-1");
    beside.catches_up(1).await;
    assert_eq!(beside.awaits(true), None);
}

#[tokio::test]
async fn a_replica_that_a_reassignment_adds_is_not_waited_for() {
    let beside = Beside::two_others().await;
    create_on(&beside.broker, "t", &[&[2, 3]]).await;
    let wanted = WantedReplicas {
        topic: "t".into(),
        partition: 0,
        brokers: Some(vec![2, 1]),
    };
    let reassign = AlterPartitionReassignments {
        partitions: vec![wanted],
        allow_replication_factor_change: true,
    };
    beside.broker.change(reassign).await.unwrap()[0]
        .as_ref()
        .unwrap();
    assert_eq!(beside.awaits(true), None);
}

#[tokio::test]
async fn a_partition_without_a_leader_is_waited_for_and_not_for_ever() {
    let beside = Beside::two_others().await;
    create_on(&beside.broker, "t", &[&[1, 2], &[1, 3]]).await;
    beside.falls_behind().await;
    beside.catches_up(1).await;
    fence(&beside.broker, 2).await;
    let without = "waits for 1 partition to be in sync: t-0; 1 without a leader";
    assert_eq!(beside.said(), without);
    assert_eq!(beside.awaits(false), None);
    let readiness = Readiness::default();
    let stopping = CancellationToken::new();
    tokio::time::pause();
    let begin = Instant::now();
    let within = tokio::time::timeout(
        LEADERLESS_WAIT * 2,
        watch(&beside.broker, &readiness, &stopping),
    );
    within.await.unwrap();
    assert_eq!(readiness.awaits(), None);
    assert!(begin.elapsed() >= LEADERLESS_WAIT, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_draining_broker_says_why_it_joins_nothing() {
    let beside = Beside::two_others().await;
    create_on(&beside.broker, "t", &[&[1, 2]]).await;
    let drain = ChangeBroker {
        id: id(SELF),
        epoch: beside.broker.broker_epoch(),
        fenced: None,
        draining: Some(true),
        stopping: None,
    };
    beside.broker.change(drain).await.unwrap();
    assert_eq!(beside.awaits(true), None, "it is in sync still");
    beside.falls_behind().await;
    assert!(
        beside
            .said()
            .ends_with("t-0; this broker is draining and joins none until that is over")
    );
}

#[tokio::test]
async fn it_latches() {
    let beside = Beside::two_others().await;
    create_on(&beside.broker, "t", &[&[1, 2]]).await;
    let readiness = Readiness::default();
    assert_eq!(readiness.awaits(), Some(Awaits::Data));
    watch(&beside.broker, &readiness, &CancellationToken::new()).await;
    beside.falls_behind().await;
    assert!(beside.awaits(true).is_some());
    assert_eq!(readiness.awaits(), None);
}
