//! The disk of one broker's logs is full, and the quorum's files are on another: others lead, and once there is room again a
//! start brings the broker back. Mounts a file system in memory, which needs root.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::cluster::{Cluster, Plan, View};
use e2e::load::block_on;
use e2e::skip::skipped;
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
    fn mount(at: &Path) -> Result<Self> {
        fs::create_dir_all(at)?;
        let size = format!("size={DISK_MIB}m");
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

    fn make_room(&self) -> Result<()> {
        fs::remove_file(self.filler())?;
        let options = format!("remount,size={LARGER_DISK_MIB}m");
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
    let disk = SmallDisk::mount(&cluster.node(SMALL).data())?;
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

    disk.make_room()?;
    if cluster.node(SMALL).is_running() {
        cluster.node(SMALL).kill9()?;
    }
    cluster.start(SMALL)?;
    cluster.until_in_sync()?;
    cluster.node(SMALL).kill9()?;
    drop(disk);
    cluster.remove()
}
