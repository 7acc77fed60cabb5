//! A cluster that grows and shrinks under load, and one with many partitions that loses a broker.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use e2e::cluster::{Cluster, Plan, View};
use e2e::trial::{PARTITIONS, TOPIC, under_load};
use e2e::wire::Wire;
use milena_protocol::Str;
use milena_protocol::api::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};

/// Until a few partitions under load have moved.
const MOVED_LIMIT: Duration = Duration::from_secs(120);
const BROKERS: i32 = 3;
const GROWN: i32 = 5;
const REPLICAS: i32 = 3;

/// Moves every partition to three of the brokers 1 to `brokers`, evenly, and waits until each is there and in sync.
fn spread(cluster: &Cluster, brokers: i32) -> Result<()> {
    let replicas = |partition: i32| -> Vec<i32> {
        let places = partition..partition + REPLICAS;
        places.map(|place| place % brokers + 1).collect()
    };
    let partition = |index: i32| ReassignablePartition {
        partition_index: index,
        replicas: Some(replicas(index)),
    };
    let request = AlterPartitionReassignmentsRequest {
        topics: vec![ReassignableTopic {
            name: Str::from(TOPIC),
            partitions: (0..PARTITIONS).map(partition).collect(),
        }],
        ..AlterPartitionReassignmentsRequest::default()
    };
    let any = cluster.bootstrap();
    let any = any.split(',').next().context("no broker")?;
    let told = Wire::connect(any)?.ask(&request, 0)?;
    told.error_code.ok()?;
    for one in told.responses.iter().flat_map(|topic| &topic.partitions) {
        let result = one.error_code.ok();
        result.with_context(|| format!("move {TOPIC}-{}", one.partition_index))?;
    }
    let is_there = |view: &View| {
        (0..PARTITIONS).all(|one| view.replicas(TOPIC, one) == replicas(one)) && view.is_in_sync()
    };
    cluster.until("all partitions have moved", MOVED_LIMIT, is_there)
}

#[test]
fn three_brokers_become_five_and_three_again_under_load() -> Result<()> {
    under_load(
        "growth to 5 brokers and back",
        &Plan::of(BROKERS),
        |trial| {
            trial.round(|cluster| {
                for broker in BROKERS + 1..=GROWN {
                    cluster.join(broker)?;
                }
                spread(cluster, GROWN)
            })?;
            trial.round(|cluster| {
                spread(cluster, BROKERS)?;
                for broker in BROKERS + 1..=GROWN {
                    cluster.stop(broker)?;
                }
                Ok(())
            })
        },
    )
}

const MANY: i32 = 10_000;
/// Partitions of one topic: a request has to be answered within a client's usual patience.
const TOPIC_PARTITIONS: i32 = 1_000;
/// Far more than it takes, on a machine that is busy with the other tests.
const MANY_LIMIT: Duration = Duration::from_secs(240);

#[test]
fn ten_thousand_partitions_get_new_leaders_when_a_broker_is_killed() -> Result<()> {
    Cluster::with("many-partitions", &Plan::of(BROKERS), |cluster| {
        let begun = Instant::now();
        for topic in 0..MANY / TOPIC_PARTITIONS {
            cluster.create_topic(&format!("many-{topic}"), TOPIC_PARTITIONS, 3)?;
        }
        cluster.until("all partitions are whole", MANY_LIMIT, View::is_in_sync)?;
        println!("{MANY} partitions x 3 created in {:?}", begun.elapsed());
        let killed = cluster.leader("many-0", 0)?;
        let begun = Instant::now();
        cluster.node(killed).kill9()?;
        cluster.until("others lead", MANY_LIMIT, |view| {
            view.is_led_without(killed)
        })?;
        println!(
            "{MANY} partitions led by others {:?} after kill -9",
            begun.elapsed()
        );
        let begun = Instant::now();
        cluster.start(killed)?;
        cluster.until("all partitions are whole", MANY_LIMIT, View::is_in_sync)?;
        println!(
            "{MANY} partitions in sync {:?} after the start",
            begun.elapsed()
        );
        Ok(())
    })
}
