//! The cluster that the faults happen to, and ways to look at it that a silent broker does not hold up.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::cluster::View;
use e2e::kube::manifests::{MAIN, cluster, topic};
use e2e::kube::prometheus::Prometheus;
use e2e::kube::{LEDGER, PARTITIONS, Scene};
use e2e::ledger::Target;
use e2e::load::{batch, block_on, produce_one};
use e2e::wire::Wire;
use milena_client::admin::NewTopic;
use milena_client::{Client, ClientOptions, Producer, ProducerOptions, Record};
use milena_protocol::Str;
use milena_protocol::api::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumRequestPartition, DescribeQuorumRequestTopic,
};
use milena_protocol::records::Compression;
use serde_json::{Value, json};

use crate::volume::SmallVolume;

/// The brokers' numbers, which are their pods' too.
pub const BROKERS: [i32; 3] = [0, 1, 2];
/// A topic with a partition on each broker, of which it is the only replica.
pub const ALONE: &str = "alone";
/// A topic that no broker may be missing of.
const STRICT: &str = "strict";
/// A topic with something to compact. It is not the operator's, so that its settings can be changed at once.
pub const COMPACTED: &str = "compacted";
/// In bytes; a record fills a segment, and what has a key of its own is kept.
const COMPACTED_SEGMENT: usize = 16 << 10;
/// Of one broker, from one address.
pub const CONNECTIONS_MAX: usize = 300;
/// In bytes.
pub const REQUEST_MAX: usize = 4 << 20;
/// Of two of the largest requests.
const REQUESTS_MAX: usize = 2 * REQUEST_MAX;
/// A broker that goes on answers within it.
const ASK_LIMIT: Duration = Duration::from_secs(3);

/// What faults happen to.
pub struct Stage<'a> {
    /// Where it is.
    pub scene: &'a Scene,
    /// What tells of alerts.
    pub prometheus: Prometheus,
    /// The topic with a replica on each broker.
    pub target: Target,
    /// The volume that is to be full.
    pub volume: SmallVolume,
    /// Where clients outside find each broker.
    addresses: BTreeMap<i32, String>,
}

/// Three brokers whose bounds a test reaches, and that roll only where that costs nobody anything.
pub fn manifest() -> Value {
    let mut manifest = cluster(BROKERS.len() as i32);
    manifest["spec"]["config"] = json!({
        "log.cleaner.backoff.ms": 500,
        "max.connections.per.ip": CONNECTIONS_MAX,
        "offsets.topic.num.partitions": 3,
        "queued.max.request.bytes": REQUESTS_MAX,
        "socket.request.max.bytes": REQUEST_MAX,
    });
    manifest["spec"]["rollout"]["unreplicated"] = json!("Wait");
    manifest
}

/// Makes the cluster and its topics; [`LEDGER`] as clients outside reach it.
pub fn set_up(scene: &Scene) -> Result<Target> {
    let with_min = |name, partitions, replicas, min: i32| {
        let mut manifest = topic(name, partitions, replicas);
        manifest["spec"]["config"] = json!({"minInSyncReplicas": min});
        scene.apply(&manifest)
    };
    let brokers = BROKERS.len() as i32;
    with_min(ALONE, brokers, 1, 1)?;
    with_min(STRICT, 1, brokers, brokers)?;
    let target = scene.cluster_with_ledger(&manifest())?;
    scene.until_topic(ALONE)?;
    scene.until_topic(STRICT)?;
    Ok(target)
}

impl<'a> Stage<'a> {
    /// After [`set_up`].
    pub fn of(scene: &'a Scene, target: Target, prometheus: Prometheus) -> Result<Self> {
        let addresses = block_on(fill(&target))??;
        ensure!(
            addresses.keys().eq(&BROKERS),
            "brokers {addresses:?}, not {BROKERS:?}"
        );
        let pod = scene.pods(MAIN)?.swap_remove(0);
        Ok(Self {
            scene,
            prometheus,
            target,
            volume: SmallVolume::of(scene, &pod)?,
            addresses,
        })
    }

    /// A broker's pod as it is now.
    pub fn pod(&self, broker: i32) -> Result<Value> {
        let name = pod_name(broker);
        self.scene.get(&["pod", &name])
    }

    /// Where clients outside find a broker.
    pub fn address(&self, broker: i32) -> &str {
        &self.addresses[&broker]
    }

    /// A client that knows these brokers first.
    pub fn client(&self, brokers: &[i32]) -> Client {
        let addresses: Vec<&str> = brokers.iter().map(|id| self.address(*id)).collect();
        Client::new(ClientOptions::new(&addresses.join(",")))
    }

    /// The metadata as a broker has it.
    pub fn view(&self, broker: i32) -> Result<View> {
        View::ask(self.address(broker), ASK_LIMIT)
    }

    /// The broker that leads the quorum, as another one knows it.
    pub fn quorum_leader(&self, asked: i32) -> Result<i32> {
        let partition = DescribeQuorumRequestPartition { partition_index: 0 };
        let request = DescribeQuorumRequest {
            topics: vec![DescribeQuorumRequestTopic {
                topic_name: Str::from("__cluster_metadata"),
                partitions: vec![partition],
            }],
        };
        let mut wire = Wire::connect_within(self.address(asked), ASK_LIMIT)?;
        let told = wire.ask(&request, 0)?;
        told.error_code.ok()?;
        let mut partitions = told.topics.iter().flat_map(|topic| &topic.partitions);
        let partition = partitions.next().context("no quorum is described")?;
        ensure!(partition.leader_id >= 0, "the quorum has no leader");
        Ok(partition.leader_id)
    }
}

/// The name of a broker's pod.
pub fn pod_name(broker: i32) -> String {
    format!("{MAIN}-broker-{broker}")
}

/// The brokers but for one.
pub fn others(broker: i32) -> Vec<i32> {
    BROKERS.into_iter().filter(|id| *id != broker).collect()
}

/// Makes and fills [`COMPACTED`], and has each broker answer a Produce, so that there is a series for it; where the brokers
/// are.
async fn fill(target: &Target) -> Result<BTreeMap<i32, String>> {
    let client = Client::new(ClientOptions::new(&target.bootstrap));
    let configs = [
        ("cleanup.policy", "compact".to_owned()),
        ("min.cleanable.dirty.ratio", "0".to_owned()),
        // Until it is to be compacted.
        ("min.compaction.lag.ms", "86400000".to_owned()),
        ("segment.bytes", COMPACTED_SEGMENT.to_string()),
    ];
    let compacted = NewTopic {
        name: COMPACTED.to_owned(),
        partitions: Some(1),
        replication_factor: Some(BROKERS.len() as i16),
        configs: configs.map(|(name, value)| (name.to_owned(), value)).into(),
    };
    client.create_topic(&compacted, false).await?;
    let options = ProducerOptions {
        batch_bytes: COMPACTED_SEGMENT / 2,
        ..ProducerOptions::default()
    };
    let producer = Producer::start(client.clone(), options).await?;
    let mut deliveries = Vec::new();
    for key in 0..10 {
        let record = Record::new(COMPACTED).key(format!("{key}"));
        let record = record.value(vec![b'x'; COMPACTED_SEGMENT / 2]);
        deliveries.push(producer.send(record).await?);
    }
    for partition in 0..PARTITIONS {
        let record = Record {
            partition: Some(partition),
            ..Record::new(LEDGER).value("first")
        };
        deliveries.push(producer.send(record).await?);
    }
    for delivery in deliveries {
        delivery.placed().await?;
    }
    let brokers = &client.refresh_all().await?.brokers;
    let addresses = brokers.iter().map(|(id, one)| (*id, one.address()));
    Ok(addresses.collect())
}

/// Sends records of so many bytes to a partition with acks=all, by the address of its leader; whether they were taken.
pub fn write(wire: &mut Wire, topic: &str, partition: i32, bytes: usize) -> Result<bool> {
    let value = vec![b'x'; bytes];
    let records = batch(&[Some(&value)], Compression::None);
    Ok(produce_one(wire, topic, partition, records)?.is_ok())
}
