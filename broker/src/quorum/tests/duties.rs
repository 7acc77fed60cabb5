//! What the leader does at times.

use milena_metadata::{
    AlterPartition, ChangeBroker, ConfigRules, ExpireLeases, IsrProposal, LeaseAnswer,
    MIN_INSYNC_REPLICAS, NeverSafe, PartitionId, RequestLease, ResourceKind, STOPPING_MS_MAX,
    SetStopping, VoterProgress,
};

use super::process::{BOUND, until};
use super::*;
use crate::clock::Clock;

async fn open(leading: Leading) -> (tempfile::TempDir, Quorum) {
    let dir = tempfile::tempdir().unwrap();
    let options = QuorumOptions {
        leading,
        ..QuorumOptions::alone(dir.path().to_owned(), 1)
    };
    let quorum = Quorum::open(options, rules(), None, Handle::current())
        .await
        .unwrap();
    (dir, quorum)
}

fn id(broker: i32) -> BrokerId {
    BrokerId::new(broker).unwrap()
}

fn lease(broker: i32, now_ms: i64, duration_ms: i64) -> RequestLease {
    let voter = VoterProgress {
        broker: id(1),
        caught_up: true,
    };
    RequestLease {
        broker: id(broker),
        now_ms,
        duration_ms,
        max_unavailable: 1,
        never_safe: NeverSafe::Allow,
        voters: vec![voter],
        partitions: Vec::new(),
    }
}

#[tokio::test]
async fn a_lease_ends_when_its_time_is_over() {
    let (_dir, quorum) = open(Leading::default()).await;
    quorum.request(registration()).await.unwrap();
    let ask = lease(1, Clock.now_ms(), 100);
    quorum.request(ask).await.unwrap();
    let granted = quorum.image().lease(id(1)).cloned().unwrap();
    until("it has ended", || quorum.image().leases().len() == 0).await;
    assert!(Clock.now_ms() >= granted.expires_ms);
}

/// As where brokers are started with another default of `min.insync.replicas`.
struct DefaultMinIsr(&'static str);

impl ConfigRules for DefaultMinIsr {
    fn check(&self, _: ResourceKind, _: &str, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn list_default(&self, _: ResourceKind, _: &str) -> Option<String> {
        None
    }

    fn default_value(&self, _: ResourceKind, key: &str) -> Option<String> {
        (key == MIN_INSYNC_REPLICAS).then(|| self.0.to_owned())
    }
}

#[tokio::test]
async fn a_leader_started_with_a_lower_min_isr_frees_partitions_that_waited_by_the_former_one() {
    let dir = tempfile::tempdir().unwrap();
    let open = async |min| {
        let options = QuorumOptions::alone(dir.path().to_owned(), 1);
        let rules = Arc::new(DefaultMinIsr(min));
        let quorum = Quorum::open(options, rules, None, Handle::current());
        quorum.await.unwrap()
    };
    let quorum = open("2").await;
    quorum.request(registration()).await.unwrap();
    let epoch = quorum.request(registration_of(2)).await.unwrap().epoch;
    let mut wanted = topics(["topic".into()], -1);
    wanted.topics[0].replication_factor = -1;
    wanted.topics[0].assignments = vec![(0, vec![1, 2])];
    assert!(quorum.request(wanted).await.unwrap()[0].is_ok());
    let gone = ChangeBroker {
        id: id(2),
        epoch,
        fenced: Some(true),
        draining: None,
        stopping: None,
    };
    quorum.request(gone).await.unwrap();
    let eligible = |quorum: &Quorum| quorum.image().partition("topic", 0).unwrap().elr.clone();
    assert_eq!(eligible(&quorum), [id(2)]);
    quorum.stop().await;
    let quorum = open("1").await;
    until("nobody is waited for", || eligible(&quorum).is_empty()).await;
}

#[tokio::test]
async fn a_broker_whose_clock_is_ahead_ends_nobody_elses_lease_nor_the_clusters_mark() {
    const HOUR_MS: i64 = 3_600_000;
    let (_dir, quorum) = open(Leading::default()).await;
    quorum.request(registration()).await.unwrap();
    quorum.request(registration_of(2)).await.unwrap();
    let ahead_ms = Clock.now_ms() + 100 * HOUR_MS;
    quorum.request(lease(2, ahead_ms, HOUR_MS)).await.unwrap();
    let granted = quorum.image().lease(id(2)).cloned().unwrap();
    assert!(granted.expires_ms <= Clock.now_ms() + HOUR_MS);
    let other = quorum.request(lease(1, ahead_ms, HOUR_MS)).await.unwrap();
    assert!(matches!(other, LeaseAnswer::Refused(refusal) if refusal.leases_out == [id(2)]));
    let mark = SetStopping {
        stopping: true,
        now_ms: ahead_ms,
    };
    quorum.request(mark).await.unwrap();
    let early = ExpireLeases {
        now_ms: ahead_ms,
        seen: Vec::new(),
    };
    assert_eq!(quorum.request(early).await.unwrap(), []);
    let image = quorum.image();
    assert_eq!(image.lease(id(2)), Some(&granted));
    assert!(image.stopping().unwrap().until_ms <= Clock.now_ms() + STOPPING_MS_MAX);
}

#[tokio::test]
async fn an_internal_topic_grows_when_brokers_join() {
    let leading = Leading {
        internal_topics: vec![("topic-internal".into(), 3)],
        ..Leading::default()
    };
    let (_dir, quorum) = open(leading).await;
    quorum.request(registration()).await.unwrap();
    let names = ["topic-internal".into(), "topic-other".into()];
    quorum.request(topics(names, 4)).await.unwrap();
    let replicas = |topic: &str| {
        let image = quorum.image();
        let partitions = image.topic(topic).unwrap().partitions();
        partitions
            .map(|(_, partition)| partition.target().len())
            .collect::<Vec<_>>()
    };
    for broker in 2..=4 {
        quorum.request(registration_of(broker)).await.unwrap();
    }
    until("it grows", || replicas("topic-internal") == [3; 4]).await;
    assert_eq!(replicas("topic-other"), [1; 4]);
}

/// Broker 1 is the first replica, and broker 2 leads since that one was away for a moment.
async fn led_by_another(quorum: &Quorum) {
    let one = quorum.request(registration()).await.unwrap().epoch;
    let two = quorum.request(registration_of(2)).await.unwrap().epoch;
    let mut wanted = topics(["topic".into()], -1);
    wanted.topics[0].replication_factor = -1;
    wanted.topics[0].assignments = vec![(0, vec![1, 2])];
    assert!(quorum.request(wanted).await.unwrap()[0].is_ok());
    for fenced in [true, false] {
        let change = ChangeBroker {
            id: id(1),
            epoch: one,
            fenced: Some(fenced),
            draining: None,
            stopping: None,
        };
        quorum.request(change).await.unwrap();
    }
    let image = quorum.image();
    let topic = image.topic("topic").unwrap();
    let partition = topic.partition(0).unwrap();
    assert_eq!(partition.leader, Some(id(2)));
    let proposal = IsrProposal {
        topic: topic.id,
        partition: PartitionId::new(0).unwrap(),
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        isr: vec![(id(1), one), (id(2), two)],
    };
    let back = AlterPartition {
        broker: id(2),
        broker_epoch: two,
        partitions: vec![proposal],
    };
    quorum.request(back).await.unwrap()[0].as_ref().unwrap();
}

#[tokio::test]
async fn leaderships_go_back_to_preferred_leaders_that_are_back_in_sync() {
    let rebalance = Rebalance {
        every: Duration::from_millis(1),
        imbalance_percentage: 10,
    };
    let (_dir, quorum) = open(Leading {
        rebalance: Some(rebalance),
        ..Leading::default()
    })
    .await;
    led_by_another(&quorum).await;
    let leader = || quorum.image().partition("topic", 0).unwrap().leader;
    until("the first replica leads", || leader() == Some(id(1))).await;
}

#[tokio::test]
async fn nobody_is_elected_below_the_imbalance_that_is_allowed() {
    let every = Duration::from_millis(1);
    let allowed = Rebalance {
        every,
        imbalance_percentage: 100,
    };
    let (_dir, quorum) = open(Leading {
        rebalance: Some(allowed),
        internal_topics: vec![("grows-later".into(), 2)],
        ..Leading::default()
    })
    .await;
    led_by_another(&quorum).await;
    // It grows in a look after the one that would elect.
    quorum
        .request(topics(["grows-later".into()], 1))
        .await
        .unwrap();
    let mut images = quorum.watch();
    let grown = images.wait_for(|image| {
        let partition = image.partition("grows-later", 0);
        partition.is_some_and(|partition| partition.target().len() == 2)
    });
    tokio::time::timeout(BOUND, grown).await.unwrap().unwrap();
    let leader = quorum.image().partition("topic", 0).unwrap().leader;
    assert_eq!(leader, Some(id(2)));
}
