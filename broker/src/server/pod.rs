//! What the annotations of the pod mean for the broker in it: which rack it is in, and which volume its data directory
//! is on. They may come long after the start, and change while it runs; nothing waits for them. So may the addresses in
//! the files of its configuration.

mod addresses;

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use milena_log::{DirectoryError, VolumeClaim};
use milena_metadata::ChangeRack;
use tokio::time::sleep;

use super::rack;
use crate::annotations::{Annotations, Unreadable};
use crate::broker::Broker;
use crate::config::BrokerConfig;
use crate::identity::Known;

pub use addresses::Addresses;

/// How often the file is looked at: kubelet takes up to a minute to change it.
const LOOK: Duration = Duration::from_secs(1);

/// The pod as it was seen last.
pub struct Pod {
    /// `broker.annotations.file`.
    file: Option<PathBuf>,
    /// The first data directory.
    folder: PathBuf,
    claim: VolumeClaim,
    rack: Rack,
    annotations: Annotations,
    /// The file that was read last, and what was wrong with it.
    read: Option<Stamp>,
    problem: Option<String>,
}

/// Where the broker's rack comes from.
enum Rack {
    /// `broker.rack`, whatever the pod says.
    Given(String),
    /// The pod, or until it says, what is remembered of its machine.
    Told {
        node: Option<String>,
        remembered: Option<String>,
    },
}

/// Tells one file under a name from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Stamp {
    /// Of the file that is there now.
    fn of(path: &Path) -> Option<Self> {
        std::fs::metadata(path).map(Self::from).ok()
    }
}

impl From<Metadata> for Stamp {
    fn from(file: Metadata) -> Self {
        Self {
            device: file.dev(),
            inode: file.ino(),
            bytes: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
        }
    }
}

impl Pod {
    /// Looks for the first time, when the data directories are locked. Refuses a volume that the first of them, `folder`, is
    /// not bound to.
    pub fn first_seen(config: &BrokerConfig, folder: &Path) -> Result<Self, DirectoryError> {
        let folder = folder.to_path_buf();
        let rack = match &config.broker_rack {
            Some(rack) => Rack::Given(rack.clone()),
            None => Rack::told(config, &folder),
        };
        let mut pod = Self {
            file: config.annotations_file.as_ref().map(PathBuf::from),
            claim: VolumeClaim::of(&folder)?,
            folder,
            rack,
            annotations: Annotations::default(),
            read: None,
            problem: None,
        };
        pod.look();
        if let Some(uid) = &pod.annotations.claim_uid {
            pod.claim.check(uid)?;
        }
        Ok(pod)
    }

    /// The uid of the claim that the data directory is bound to, where it is.
    pub fn claim_uid(&self) -> Option<&str> {
        self.claim.uid()
    }

    /// The rack that the broker is to register with, where any is known.
    pub fn rack(&self) -> Option<&str> {
        match &self.rack {
            Rack::Given(rack) => Some(rack),
            Rack::Told { remembered, .. } => {
                let told = self.annotations.zone.as_deref();
                told.or(remembered.as_deref())
            }
        }
    }

    /// The rack that the pod says, where that counts.
    fn told_rack(&self) -> Option<&str> {
        match &self.rack {
            Rack::Given(_) => None,
            Rack::Told { .. } => self.annotations.zone.as_deref(),
        }
    }

    /// Reads the file where it is another than the one that was read last. What it does not say any more holds on.
    fn look(&mut self) {
        let Some(path) = &self.file else {
            return;
        };
        let stamp = Stamp::of(path);
        if stamp.is_some() && stamp == self.read {
            return;
        }
        self.read = stamp;
        let problem = match Annotations::read(path) {
            Ok(found) => {
                self.annotations.zone = found.zone.or(self.annotations.zone.take());
                self.annotations.claim_uid = found.claim_uid.or(self.annotations.claim_uid.take());
                None
            }
            Err(unreadable) => Some(unreadable),
        };
        self.tell(problem);
    }

    /// Logs a problem when it comes up, and not each time that it is met.
    fn tell(&mut self, problem: Option<Unreadable>) {
        let problem = problem.map(|problem| problem.to_string());
        if problem != self.problem
            && let (Some(path), Some(problem)) = (&self.file, &problem)
        {
            tracing::warn!(file = %path.display(), "broker.annotations.file {problem}");
        }
        self.problem = problem;
    }

    /// Binds the data directory to the claim that the pod names. Refuses another one than it is bound to; a disk that
    /// does not take it is tried again.
    pub fn bind(&mut self, known: &Known) -> Result<(), DirectoryError> {
        let Some(uid) = &self.annotations.claim_uid else {
            return Ok(());
        };
        match self.claim.bind(uid) {
            Ok(false) => {}
            Ok(true) => {
                tracing::info!(claim = %uid, "the data directory is bound to this volume claim from now on");
                known.set_claim(uid);
            }
            Err(copied @ DirectoryError::Copied { .. }) => return Err(copied),
            Err(error) => {
                tracing::warn!(%error, "the data directory can't be bound to its volume claim");
            }
        }
        Ok(())
    }

    /// Remembers the rack that was told, for the next start on this machine.
    fn remember(&mut self) {
        let Some(told) = self.told_rack().map(str::to_owned) else {
            return;
        };
        let Rack::Told { node, remembered } = &mut self.rack else {
            return;
        };
        if remembered.as_ref() == Some(&told) {
            return;
        }
        if let Some(node) = node
            && let Err(error) = rack::record(&self.folder, node, &told)
        {
            tracing::warn!(%error, "the rack can't be kept for the next start");
        }
        *remembered = Some(told);
    }
}

impl Rack {
    fn told(config: &BrokerConfig, folder: &Path) -> Self {
        let node = config.broker_node.clone();
        // Without a file the configuration is all there is.
        let node_told = node
            .as_deref()
            .filter(|_| config.annotations_file.is_some());
        let remembered = node_told.and_then(|node| rack::recorded(folder, node));
        Self::Told { node, remembered }
    }
}

/// Follows the pod for as long as the broker runs; returns when it finds that the data is a copy.
pub async fn follow(
    mut pod: Pod,
    mut addresses: Addresses,
    broker: Arc<Broker>,
    known: Arc<Known>,
) -> DirectoryError {
    if pod.file.is_none() {
        return std::future::pending().await;
    }
    loop {
        // Away from timers and the quorum, since it may be a file on any disk.
        let known = known.clone();
        let looked = crate::blocking::spawn(move || {
            pod.look();
            let bound = pod.bind(&known);
            pod.remember();
            addresses.look();
            (pod, addresses, bound)
        });
        let Ok((pod_now, addresses_now, bound)) = looked.await else {
            // The runtime ends, and so does the broker.
            return std::future::pending().await;
        };
        if let Err(copied) = bound {
            return copied;
        }
        (pod, addresses) = (pod_now, addresses_now);
        if let Some(rack) = pod.told_rack() {
            move_to(&broker, rack).await;
        }
        addresses.tell(&broker).await;
        sleep(LOOK).await;
    }
}

/// Has the quorum know the rack, where it has another for this life. What fails is tried again at the next look.
async fn move_to(broker: &Broker, rack: &str) {
    let (id, epoch) = (broker.broker_id(), broker.broker_epoch());
    let image = broker.image();
    let life = image.broker(id).filter(|life| life.epoch == epoch);
    if life.is_none_or(|life| life.rack.as_deref() == Some(rack)) {
        return;
    }
    let rack = rack.into();
    let change = ChangeRack { id, epoch, rack };
    let shown = change.rack.clone();
    match broker.quorum().request(change).await {
        Ok(()) => tracing::info!(rack = %shown, "this broker is in another rack from now on"),
        Err(error) => tracing::debug!(%error, rack = %shown, "the rack can't be changed for now"),
    }
}

#[cfg(test)]
mod tests;
