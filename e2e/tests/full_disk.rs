//! A disk of one broker is full, that of its logs or that of its metadata: others lead, and once there is room again a
//! start brings the broker back. Mounts a file system in memory, which needs root.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use e2e::cluster::{Cluster, Plan, View};
use e2e::load::block_on;
use e2e::skip::skipped;
use milena_client::admin::NewTopic;
use milena_client::{Client, Producer, ProducerOptions, Record};

const TOPIC: &str = "kept";
const PARTITIONS: i32 = 3;
/// The broker with the small disk.
const SMALL: i32 = 2;
const DISK_MIB: u32 = 64;
/// Room enough for what was missed.
const LARGER_DISK_MIB: u32 = 512;
const VALUE_BYTES: usize = 60_000;
/// Together more than what is preallocated of each log's last segment.
const RECORDS_A_ROUND: usize = 250;
const ROUNDS_MAX: usize = 20;
/// Until others lead; far more than it takes.
const HANDED_LIMIT: Duration = Duration::from_secs(30);

/// A file system of its own size, which goes with this.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, mib: u32) -> Result<Self> {
        fs::create_dir_all(at)?;
        let size = format!("size={mib}m");
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(at))?;
        Ok(Self(at.to_owned()))
    }

    /// Takes what is left of it.
    fn fill(&self) -> Result<()> {
        let mut file = fs::File::create(self.filler())?;
        let piece = [0; 1 << 16];
        while file.write_all(&piece).is_ok() {}
        Ok(())
    }

    fn make_room(&self, mib: u32) -> Result<()> {
        fs::remove_file(self.filler())?;
        let options = format!("remount,size={mib}m");
        run(Command::new("mount").args(["-o", &options]).arg(&self.0))
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: after a failure the broker's process may still be there.
        let _ = run(Command::new("umount").arg("--lazy").arg(&self.0));
    }
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().context("start mount or umount")?;
    ensure!(status.success(), "{command:?} ended with {status}");
    Ok(())
}

/// Sends as many records to each partition, and waits for all in-sync replicas; values are numbered from `first`.
fn produce(client: Client, first: usize) -> Result<()> {
    block_on(async {
        let producer = Producer::start(client, ProducerOptions::default()).await?;
        let mut deliveries = Vec::new();
        for number in first..first + RECORDS_A_ROUND {
            for partition in 0..PARTITIONS {
                let value = format!("{number:0VALUE_BYTES$}");
                let record = Record {
                    partition: Some(partition),
                    ..Record::new(TOPIC).value(value)
                };
                deliveries.push(producer.send(record).await?);
            }
        }
        for delivery in deliveries {
            delivery.placed().await?;
        }
        anyhow::Ok(())
    })?
}

#[test]
fn a_broker_whose_disk_is_full_is_replaced_and_comes_back_when_there_is_room() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return skipped("full_disk", "only root can mount a small disk");
    }
    let mut cluster = Cluster::prepare("full-disk", &Plan::of(3))?;
    let disk = SmallDisk::mount(&cluster.node(SMALL).data(), DISK_MIB)?;
    let metadata = cluster.folder().join("metadata");
    let setting = format!("metadata.log.dir={}", metadata.display());
    cluster.node(SMALL).set(&setting);
    cluster.start_all()?;
    cluster.until_ready()?;
    cluster.create_topic(TOPIC, PARTITIONS, 3)?;
    cluster.until("all are in sync", HANDED_LIMIT, View::is_in_sync)?;
    disk.fill()?;

    let mut rounds = 0;
    let is_handed_over = |view: &View| {
        (0..PARTITIONS).all(|partition| {
            let leader = view.leader(TOPIC, partition);
            leader.is_some_and(|leader| leader != SMALL)
        })
    };
    while rounds < ROUNDS_MAX && !cluster.view().is_ok_and(|view| is_handed_over(&view)) {
        produce(cluster.client(), rounds * RECORDS_A_ROUND)?;
        rounds += 1;
    }
    cluster.until("others lead", HANDED_LIMIT, is_handed_over)?;
    produce(cluster.client(), rounds * RECORDS_A_ROUND)?;

    disk.make_room(LARGER_DISK_MIB)?;
    if cluster.node(SMALL).is_running() {
        cluster.node(SMALL).kill9()?;
    }
    cluster.start(SMALL)?;
    cluster.until_in_sync()?;
    cluster.node(SMALL).kill9()?;
    drop(disk);
    cluster.remove()
}

/// Beside topics of some records, what the metadata of a cluster takes.
const METADATA_MIB: u32 = 16;
const METADATA_LARGER_MIB: u32 = 64;
/// Each is two changes, of some KiB together; more than fit into what the store's file has already.
const TOPICS_MAX: u32 = 400;
const TOPIC_PARTITIONS: i32 = 40;

/// Makes and deletes topics until the broker ends, since its disk holds no more metadata; how it ended.
fn change_metadata_until_it_ends(cluster: &mut Cluster, broker: i32) -> Result<ExitStatus> {
    let topic = NewTopic {
        name: "made".to_owned(),
        partitions: Some(TOPIC_PARTITIONS),
        replication_factor: Some(2),
        configs: Vec::new(),
    };
    let mut refused = None;
    for _ in 0..TOPICS_MAX {
        if let Some(status) = cluster.node(broker).ended(Duration::ZERO) {
            return Ok(status);
        }
        let client = cluster.client();
        let (created, deleted) = block_on(async {
            let created = client.create_topic(&topic, false).await;
            (created, client.delete_topic(&topic.name).await)
        })?;
        // One that loses its broker while it is under way may be done, and refused when it is asked for again.
        refused = created.err().or(deleted.err()).or(refused);
    }
    bail!(
        "broker {broker} runs on after {TOPICS_MAX} topics on a full disk; the last refusal: {refused:?}"
    )
}

#[test]
fn a_broker_that_can_keep_no_metadata_ends_and_others_lead() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return skipped("full_disk, metadata", "only root can mount a small disk");
    }
    let mut cluster = Cluster::prepare("full-metadata", &Plan::of(3))?;
    let mut disks = BTreeMap::new();
    for broker in cluster.ids() {
        let folder = cluster.folder().join(format!("metadata-{broker}"));
        disks.insert(broker, SmallDisk::mount(&folder, METADATA_MIB)?);
        let setting = format!("metadata.log.dir={}", folder.display());
        cluster.node(broker).set(&setting);
    }
    cluster.start_all()?;
    cluster.until_ready()?;
    cluster.create_topic(TOPIC, PARTITIONS, 3)?;
    cluster.until("all are in sync", HANDED_LIMIT, View::is_in_sync)?;

    let leader = cluster.quorum_leader()?;
    let follower = leader % 3 + 1;
    for broker in [leader, follower] {
        disks[&broker].fill()?;
        let begun = Instant::now();
        let status = change_metadata_until_it_ends(&mut cluster, broker)?;
        ensure!(
            status.code() == Some(1),
            "broker {broker} ended with {status}"
        );
        // Who asks the broker that ends asks another next.
        ensure!(begun.elapsed() < HANDED_LIMIT, "{:?}", begun.elapsed());
        let log = cluster.node(broker).log();
        ensure!(log.contains("make room on it"), "{log}");
        let led = |view: &View| view.is_led_without(broker);
        cluster.until("others lead", HANDED_LIMIT, led)?;

        disks[&broker].make_room(METADATA_LARGER_MIB)?;
        cluster.start(broker)?;
        cluster.until_in_sync()?;
    }
    for broker in cluster.ids() {
        cluster.node(broker).kill9()?;
    }
    drop(disks);
    cluster.remove()
}
