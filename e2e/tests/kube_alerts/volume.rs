//! A broker's volume on a disk of its own: a small file system in memory, which is mounted over the volume's folder on the
//! broker's node. Nothing else of the machine is filled.

use std::cell::Cell;

use anyhow::{Context, Result, ensure};
use e2e::kube::{Kube, Scene, broker, text};
use e2e::load::block_on;
use e2e::wire::Wire;
use milena_client::admin::Resource;
use serde_json::Value;

use crate::brokers::start_again;
use crate::stage::{ALONE, BROKERS, COMPACTED, Stage, write};
use crate::undo::Undo;

/// The broker with the volume.
pub const BROKER: i32 = BROKERS[0];
/// More than twice what the broker keeps there.
const MIB: u32 = 256;
const FILLER: &str = "filler";
const WRITE: usize = 60_000;
/// More than what is left of pages that the log has already.
const WRITES_MAX: usize = 50;

/// The folder of a volume, on which another file system is mounted until this is dropped.
pub struct SmallVolume {
    kube: Kube,
    node: String,
    folder: String,
    is_mounted: Cell<bool>,
}

impl SmallVolume {
    /// The volume of a broker's pod, as it is.
    pub fn of(scene: &Scene, pod: &Value) -> Result<Self> {
        let claim = format!("data-{}", text(&pod["metadata"]["name"]));
        let claim = scene.get(&["persistentvolumeclaim", &claim])?;
        let volume = text(&claim["spec"]["volumeName"]);
        let volume = scene.kube.json(&["get", "persistentvolume", volume])?;
        // A container that is started again has what is mounted here by then; of other kinds kubelet has a mount of its own.
        let folder = volume["spec"]["hostPath"]["path"].as_str();
        let folder = folder.with_context(|| format!("a volume without a folder: {volume}"))?;
        ensure!(
            folder.starts_with('/') && folder.len() > 1,
            "{folder} is no folder of a volume"
        );
        Ok(Self {
            kube: scene.kube.clone(),
            node: broker::node(pod)?.to_owned(),
            folder: folder.to_owned(),
            is_mounted: Cell::new(false),
        })
    }

    /// Mounts a copy of what is in the folder over it. Who has it open goes on with what was there.
    fn mount(&self) -> Result<()> {
        self.is_mounted.set(true);
        // A mount can't be moved from below one that is shared, as a node's root is.
        let mount = format!(
            "set -e; new=$(mktemp -d); mount -t tmpfs -o size={MIB}m tmpfs $new; \
             cp -a '{0}/.' $new; mount --bind $new '{0}'; umount $new; rmdir $new",
            self.folder
        );
        self.run(&mount)
    }

    /// Takes what is left of it.
    fn fill(&self) -> Result<()> {
        let filler = self.filler();
        self.run(&format!("cat /dev/zero > '{filler}' 2>&1 || true"))
    }

    fn make_room(&self) -> Result<()> {
        let filler = self.filler();
        self.run(&format!("rm -f '{filler}'"))
    }

    fn filler(&self) -> String {
        format!("{}/{FILLER}", self.folder)
    }

    fn run(&self, script: &str) -> Result<()> {
        let command = ["sh", "-c", script];
        self.kube.on_node(&self.node, &command).map(drop)
    }
}

impl Drop for SmallVolume {
    fn drop(&mut self) {
        // Lazily, as the broker is still there. Whatever was mounted last is on top.
        let unmount = format!("umount -l '{}'", self.folder);
        if self.is_mounted.get()
            && let Err(error) = self.run(&unmount)
        {
            eprintln!("{} stays mounted: {error:#}", self.folder);
        }
    }
}

/// The broker is killed, and its next life finds its data on another device: what it had not synced may be missing, as after
/// a loss of power. Of what no other broker has it leads again.
pub fn comes_back_on_another_device<'a>(stage: &'a Stage<'_>) -> Result<Undo<'a>> {
    let (pod, kube) = (stage.pod(BROKER)?, &stage.scene.kube);
    // Where the mount fails: who was killed needs no more.
    let stopped = Undo::by(|| broker::signal(kube, &pod, "CONT"));
    broker::signal(kube, &pod, "STOP")?;
    stage.volume.mount()?;
    broker::kill9(kube, &pod)?;
    stopped.forget();
    Ok(Undo::nothing())
}

/// The volume is full: writes are refused, and so is what a compaction writes.
pub fn is_full<'a>(stage: &'a Stage<'_>) -> Result<Undo<'a>> {
    let undo = Undo::by(|| {
        stage.volume.make_room()?;
        // A log that a disk has refused is opened again by the next life.
        start_again(stage, BROKER)
    });
    stage.volume.fill()?;
    let view = stage.view(BROKER)?;
    let partitions = view.partitions(ALONE) as i32;
    let led = (0..partitions).find(|at| view.leader(ALONE, *at) == Some(BROKER));
    let led = led.with_context(|| format!("broker {BROKER} leads nothing alone: {view}"))?;
    let mut wire = Wire::connect(stage.address(BROKER))?;
    for writes in 0.. {
        ensure!(writes < WRITES_MAX, "{writes} writes find room");
        if !write(&mut wire, ALONE, led, WRITE)? {
            break;
        }
    }
    let now = [("min.compaction.lag.ms".to_owned(), Some("0".to_owned()))];
    let client = stage.client(&BROKERS);
    block_on(client.alter_configs(Resource::Topic, COMPACTED, &now, false))??;
    Ok(undo)
}
