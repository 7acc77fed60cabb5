//! The in-sync replicas of a partition that is led here, whose other replicas, so the metadata says, are on brokers 101
//! and 102; the test speaks for these.

use std::sync::Arc;
use std::time::Duration;

use milena_log::BatchToAppend;
use milena_metadata::{
    AlterPartition, AlterPartitionReassignments, BrokerId, ChangeBroker, CreateTopics, DirectoryId,
    NewTopic, RegisterBroker, TopicId, WantedReplicas,
};
use milena_protocol::records::{BatchBuilder, BatchHeader, BatchOptions};
use tokio_util::sync::CancellationToken;

use super::{ask, proposals, run, wish};
use crate::broker::Broker;
use crate::broker::tests::beside::registration;
use crate::config::Sources;
use crate::partition::Partition;
use crate::partition::leadership::Member;
use crate::server::assemble_alone;

/// Longer than any of it takes.
const SOON: Duration = Duration::from_secs(20);

fn id(number: i32) -> BrokerId {
    BrokerId::new(number).unwrap()
}

struct Led {
    broker: Arc<Broker>,
    partition: Arc<Partition>,
    others: [Member; 2],
    stopping: CancellationToken,
    _dir: tempfile::TempDir,
}

impl Led {
    /// A follower that is late for `lag_max_ms` leaves the in-sync replicas.
    async fn new(lag_max_ms: &str) -> Self {
        Self::with(&[("replica.lag.time.max.ms", lag_max_ms)]).await
    }

    async fn with(set: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display().to_string();
        let set = [&[("log.dirs", path.as_str())], set].concat();
        let broker = assemble_alone(Sources::of(&set).load().unwrap().0).await;
        let others = [register(&broker, 101).await, register(&broker, 102).await];
        create(&broker).await;
        let partition = broker.partitions().partition("t", 0).unwrap();
        let stopping = CancellationToken::new();
        tokio::spawn(run(broker.clone(), stopping.clone()));
        Self {
            broker,
            partition,
            others,
            stopping,
            _dir: dir,
        }
    }

    async fn append(&self) -> i64 {
        let appended = self.partition.append(batch(), 1, self.broker.now_ms());
        appended.await.unwrap().last_offset
    }

    /// Moves a partition from this broker alone to 101, and has this broker know of it.
    async fn move_to_101(&self, topic: &str) {
        let wanted = WantedReplicas {
            topic: topic.into(),
            partition: 0,
            brokers: Some(vec![101]),
        };
        let reassign = AlterPartitionReassignments {
            partitions: vec![wanted],
            allow_replication_factor_change: false,
        };
        let begun = self.broker.change(reassign).await.unwrap();
        assert!(begun.iter().all(Result::is_ok), "{begun:?}");
    }

    async fn set_fenced(&self, follower: usize, fenced: bool) {
        let Member { broker, epoch } = self.others[follower];
        let change = ChangeBroker {
            id: broker,
            epoch,
            fenced: Some(fenced),
            draining: None,
            stopping: None,
        };
        self.broker.change(change).await.unwrap();
    }

    fn fetch(&self, follower: usize, offset: i64) {
        let partition = &self.partition;
        let joins = partition.follower_fetched(self.others[follower], (-1, offset));
        if joins.unwrap() {
            self.broker.isr().look_at(partition.clone());
        }
    }

    async fn until_in_sync(&self, isr: &[i32]) {
        let mut images = self.broker.quorum().watch();
        let there = images.wait_for(|image| {
            let state = image.partition("t", 0).unwrap();
            state.isr.iter().map(|id| id.get()).eq(isr.iter().copied())
        });
        let waited = tokio::time::timeout(SOON, there).await;
        assert!(
            waited.is_ok(),
            "{:?}",
            self.broker.image().partition("t", 0)
        );
        self.broker.take_over().await;
    }
}

fn batch() -> Vec<BatchToAppend> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(1, None, Some(b"value"), &[]).unwrap();
    let body = builder.finish().unwrap();
    let header = BatchHeader::parse(&body).unwrap();
    vec![BatchToAppend { header, body }]
}

impl Drop for Led {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

async fn register(broker: &Broker, number: i32) -> Member {
    let command = RegisterBroker {
        directories: vec![DirectoryId::UNASSIGNED],
        ..registration(number)
    };
    let registered = broker.change(command).await.unwrap();
    Member {
        broker: id(number),
        epoch: registered.epoch,
    }
}

async fn create(broker: &Broker) {
    create_on(broker, "t", &[broker.node_id(), 101, 102]).await;
}

async fn create_on(broker: &Broker, name: &str, brokers: &[i32]) {
    let topic = NewTopic {
        name: name.to_owned(),
        id: TopicId::random(),
        partitions: -1,
        replication_factor: -1,
        assignments: vec![(0, brokers.to_vec())],
        configs: Vec::new(),
    };
    let command = CreateTopics {
        topics: vec![topic],
        default_partitions: 1,
        default_replication_factor: 1,
        validate_only: false,
    };
    let created = broker.change(command).await.unwrap();
    assert!(created.iter().all(Result::is_ok), "{created:?}");
}

#[tokio::test]
async fn a_follower_that_lags_leaves_and_one_that_has_caught_up_joins() {
    let led = Led::new("200").await;
    let me = led.broker.node_id();
    led.until_in_sync(&[me, 101, 102]).await;
    let last = led.append().await;
    led.until_in_sync(&[me]).await;
    assert_eq!(led.partition.high_watermark(), last + 1);
    led.fetch(0, last);
    led.fetch(0, last + 1);
    led.until_in_sync(&[me, 101]).await;
}

#[tokio::test]
async fn a_leader_that_drains_hands_on_what_it_alone_has() {
    let led = Led::new("60000").await;
    let (broker, me) = (&led.broker, led.broker.node_id());
    create_on(broker, "alone", &[me]).await;
    let drain = ChangeBroker {
        id: id(me),
        epoch: broker.broker_epoch(),
        fenced: None,
        draining: Some(true),
        stopping: None,
    };
    broker.change(drain).await.unwrap();
    led.move_to_101("alone").await;
    let partition = broker.partitions().partition("alone", 0).unwrap();
    let joins = partition.follower_fetched(led.others[0], (-1, 0));
    assert!(joins.unwrap(), "it has all that there is");
    broker.isr().look_at(partition);
    let mut images = broker.quorum().watch();
    let moved = images.wait_for(|image| {
        let state = image.partition("alone", 0).unwrap();
        state.brokers().eq([id(101)])
    });
    let waited = tokio::time::timeout(SOON, moved).await;
    assert!(waited.is_ok(), "{:?}", broker.image().partition("alone", 0));
}

#[tokio::test]
async fn a_follower_that_has_come_far_enough_joins_when_it_is_unfenced_and_not_before() {
    let led = Led::new("60000").await;
    let me = led.broker.node_id();
    led.set_fenced(0, true).await;
    let last = led.append().await;
    led.fetch(0, last + 1);
    led.fetch(1, last + 1);
    led.until_in_sync(&[me, 102]).await;
    // It need not fetch once more for it.
    led.set_fenced(0, false).await;
    led.until_in_sync(&[me, 101, 102]).await;
}

#[tokio::test]
async fn a_proposal_in_vain_holds_the_high_watermark_no_longer_than_its_answer() {
    let led = Led::new("200").await;
    let me = led.broker.node_id();
    let last = led.append().await;
    led.until_in_sync(&[me]).await;
    // A life that the metadata does not know: the quorum refuses it, and it must not be waited for.
    let stale = Member {
        epoch: led.others[0].epoch + 1_000,
        ..led.others[0]
    };
    let joins = led.partition.follower_fetched(stale, (-1, last + 1));
    assert!(joins.unwrap());
    led.broker.isr().look_at(led.partition.clone());
    let last = led.append().await;
    let committed = async {
        while led.partition.high_watermark() <= last {
            led.partition.high_watermark_moved().await;
        }
    };
    tokio::time::timeout(SOON, committed).await.unwrap();
}

/// Whether what was decided is an answer that was lost, after which the same is asked for again.
async fn joins_before_the_leader_learns_of_it(is_asked_again: bool) {
    const LAG_MAX_MS: i64 = 60_000;
    let led = Led::new("60000").await;
    let (broker, partition, me) = (&led.broker, &led.partition, led.broker.node_id());
    // The test asks, and has the metadata taken over.
    led.stopping.cancel();
    led.set_fenced(0, true).await;
    led.set_fenced(1, true).await;
    let last = led.append().await;
    assert_eq!(partition.high_watermark(), last + 1, "it is alone in sync");
    led.fetch(0, last + 1);
    led.set_fenced(0, false).await;
    let proposed = proposals(broker, std::slice::from_ref(partition), LAG_MAX_MS);
    assert_eq!(proposed.len(), 1);
    if is_asked_again {
        let first = AlterPartition {
            broker: broker.broker_id(),
            broker_epoch: broker.broker_epoch(),
            partitions: proposed.iter().filter_map(wish).collect(),
        };
        let answers = broker.quorum().request(first).await.unwrap();
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }
    ask(broker, &proposed).await;
    let state = broker.image().partition("t", 0).unwrap().clone();
    assert_eq!(
        state.isr,
        [id(me), id(101)],
        "it may be elected from now on"
    );
    let next = led.append().await;
    assert_eq!(partition.high_watermark(), last + 1, "101 lacks it");
    broker.take_over().await;
    assert_eq!(partition.high_watermark(), last + 1);
    led.fetch(0, next + 1);
    assert_eq!(partition.high_watermark(), next + 1);
}

#[tokio::test]
async fn who_was_let_in_counts_also_while_the_leader_has_not_heard_of_it() {
    joins_before_the_leader_learns_of_it(false).await;
}

#[tokio::test]
async fn who_was_let_in_counts_also_where_the_same_proposal_is_refused_the_second_time() {
    joins_before_the_leader_learns_of_it(true).await;
}

#[tokio::test]
async fn replicas_that_are_on_their_way_stop_no_writes_of_a_partition_that_had_fewer() {
    let led = Led::with(&[("min.insync.replicas", "2")]).await;
    let (broker, me) = (&led.broker, led.broker.node_id());
    create_on(broker, "alone", &[me]).await;
    led.move_to_101("alone").await;
    let state = broker.image().partition("alone", 0).unwrap().clone();
    assert_eq!((state.replicas.len(), state.isr.len()), (2, 1));
    let partition = broker.partitions().partition("alone", 0).unwrap();
    let appended = partition.append(batch(), -1, broker.now_ms()).await;
    let last = appended.unwrap().last_offset;
    assert_eq!(partition.high_watermark(), last + 1, "it is committed");
}

#[tokio::test]
async fn a_clock_that_is_set_back_keeps_no_late_follower_in_sync() {
    const HOUR_MS: i64 = 3_600_000;
    let led = Led::new("200").await;
    let me = led.broker.node_id();
    led.fetch(0, 0);
    led.fetch(1, 0);
    let ahead_ms = led.broker.now_ms() + HOUR_MS;
    let appended = led.partition.append(batch(), 1, ahead_ms).await;
    appended.unwrap();
    led.until_in_sync(&[me]).await;
}
